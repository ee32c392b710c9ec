//! ibgraph's losses as one fused operator for ONNX Runtime.
//!
//! The operator `ai.ibgraph::MarginLoss` computes a loss and its gradients in one pass over the logits and one over the
//! features. Which loss, its attribute `loss` says ([`descriptor`]); so one kernel serves every loss that `ibgraph` compiles.
//! The way through: [`descriptor`] reads the attribute; [`batch`] divides a batch into tasks; [`rows`] has the passes
//! over a row, [`evaluate`] the row program, [`simd`] the instruction set; `ort` is the boundary to ONNX Runtime.
//!
//! Invariant: no input, attribute or size makes the library panic past its boundary or read out of bounds.

pub mod batch;
pub mod cuda;
pub mod descriptor;
pub mod element;
pub mod evaluate;
pub mod math;
mod ort;
pub mod rows;
pub mod simd;
