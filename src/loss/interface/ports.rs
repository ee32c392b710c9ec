//! The inputs and outputs of a loss graph, with types and shapes.

use super::{ClassWeighting, FeatureInput, INFLUENCE_WEIGHT, Interface};
use crate::loss::Loss;
use crate::loss::spec::Reduction;
use crate::tensor::DType;

/// An extent of a port's shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// Known.
    Fixed(usize),
    /// Known when the graph runs, by name.
    Symbol(&'static str),
}

/// An input or output of a loss graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name in the graph.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Shape; `N` is the batch, `D` the number of features.
    pub shape: Vec<Dim>,
}

const N: Dim = Dim::Symbol("N");
const D: Dim = Dim::Symbol("D");

impl Port {
    fn new(name: &str, dtype: DType, shape: &[Dim]) -> Self {
        Self { name: name.to_owned(), dtype, shape: shape.to_vec() }
    }
}

impl Loss {
    /// The inputs, in graph order: `logits` `[N, C]`, `labels` int64 `[N]`, `features`, `loss_grad` `[N]`, `class_weights`
    /// `[C]`, parameters [], `enabled` bool []; each only where the graph uses it.
    pub fn inputs(&self) -> Vec<Port> {
        let interface = self.interface();
        let scalar = interface.scalar_dtype();
        let mut ports = vec![
            Port::new("logits", interface.dtype, &[N, Dim::Fixed(interface.classes)]),
            Port::new("labels", DType::I64, &[N]),
        ];
        if self.has_features() {
            ports.push(Port::new("features", interface.dtype, &interface.feature_shape()));
        }
        if interface.reduction == Reduction::None && interface.has_backward() {
            ports.push(Port::new("loss_grad", scalar, &[N]));
        }
        if interface.class_weighting == ClassWeighting::Runtime {
            ports.push(Port::new("class_weights", scalar, &[Dim::Fixed(interface.classes)]));
        }
        for name in &interface.runtime_parameters {
            ports.push(Port::new(name, scalar, &[]));
        }
        if interface.enabled_input {
            ports.push(Port::new("enabled", DType::Bool, &[]));
        }
        ports
    }

    /// The outputs, in graph order.
    pub fn outputs(&self) -> Vec<Port> {
        let interface = self.interface();
        let scalar = interface.scalar_dtype();
        let port = |name: &String| match name.as_str() {
            "loss" if interface.reduction != Reduction::None => Port::new(name, scalar, &[]),
            "logits_grad" => Port::new(name, interface.dtype, &[N, Dim::Fixed(interface.classes)]),
            "features_grad" => Port::new(name, interface.dtype, &interface.feature_shape()),
            _ => Port::new(name, scalar, &[N]),
        };
        interface.outputs.iter().map(port).collect()
    }

    /// Whether `entry` is held constant in the backward pass by the option `influence_gradient`.
    pub(crate) fn is_stopped(&self, entry: &str) -> bool {
        entry == INFLUENCE_WEIGHT && self.interface().influence_gradient == super::InfluenceGradient::Stopped
    }
}

impl Interface {
    fn feature_shape(&self) -> Vec<Dim> {
        match self.feature_input {
            FeatureInput::Raw => vec![N, D],
            FeatureInput::Norm => vec![N],
            FeatureInput::NormColumn => vec![N, Dim::Fixed(1)],
        }
    }
}
