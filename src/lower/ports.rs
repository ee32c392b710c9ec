//! The inputs and tables of a loss in the graph being made.

use crate::graph::{Builder, Dim, TensorType, ValueId};
use crate::loss::{self, Loss};
use crate::tensor::{DType, Tensor, TensorData};

/// The graph inputs by name.
pub(super) struct Ports(pub Vec<(String, ValueId)>);

impl Ports {
    pub fn declare(b: &mut Builder, loss: &Loss) -> Self {
        let mut declare = |port: loss::Port| {
            let dims: Vec<Dim> = port.shape.iter().map(dim).collect();
            let id = b.input(&port.name, TensorType::new(port.dtype, &dims));
            (port.name, id)
        };
        Self(loss.inputs().into_iter().map(&mut declare).collect())
    }

    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, id)| *id)
    }

    pub fn get(&self, name: &str) -> ValueId {
        self.find(name).expect("every loss has the inputs logits and labels")
    }
}

fn dim(dim: &loss::Dim) -> Dim {
    match dim {
        loss::Dim::Fixed(n) => Dim::Fixed(*n),
        loss::Dim::Symbol(name) => Dim::symbol(name),
    }
}

/// A table `[C]` as an initializer of type `dtype`.
pub(super) fn stored(b: &mut Builder, name: &str, table: &Option<Vec<f64>>, dtype: DType) -> Option<ValueId> {
    let values = table.clone()?;
    let tensor = Tensor::new(vec![values.len()], TensorData::F64(values));
    let tensor = tensor.expect("a vector has its own length").cast(dtype);
    Some(b.named_constant(name, tensor))
}
