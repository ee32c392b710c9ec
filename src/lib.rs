//! ibgraph: a loss-graph compiler and benchmark harness for ONNX.

pub mod artifact;
pub mod check;
pub mod cli;
pub mod graph;
pub mod loss;
pub mod lower;
pub mod onnx;
pub mod row;
pub mod runtime;
pub mod tensor;
