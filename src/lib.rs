//! ibgraph.

pub mod graph;
pub mod loss;
pub mod lower;
pub mod onnx;
pub mod row;
pub mod tensor;
