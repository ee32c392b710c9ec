//! ibgraph.

pub mod loss;
pub mod row;
pub mod tensor;
