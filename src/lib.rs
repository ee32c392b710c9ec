//! ibgraph.

pub mod loss;
pub mod tensor;
