//! The boundary to ONNX Runtime: the operator's registration, and its kernel for the CPU.
//!
//! Everything unsafe about ONNX Runtime's C interface is in this room. Invariant: no panic crosses the boundary; every
//! failure becomes a status with a message.

mod api;
mod kernel;
mod operator;
mod register;
mod tensor;
