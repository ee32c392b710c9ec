//! The loss on top of the classifier, and the inputs that it brings.

use indexmap::IndexMap;

use super::Maker;
use crate::graph::{Dim, TensorType, ValueId};
use crate::loss::{self, metadata::CLASS_WEIGHTS};
use crate::lower;
use crate::train::manifest::{Input, InputRole, Port};

/// What the lowered loss gives.
pub(super) struct Lowered {
    pub(super) loss: ValueId,
    pub(super) logits_grad: ValueId,
    pub(super) features_grad: Option<ValueId>,
}

impl Maker<'_> {
    pub(super) fn lowered(&mut self) -> Lowered {
        let ports = self.loss.inputs();
        let inputs: Vec<ValueId> = ports.iter().map(|port| self.port(port)).collect();
        let graph = lower::portable(self.loss);
        let made = self.b.inline(&graph, &inputs);
        let by_name: IndexMap<String, ValueId> =
            self.loss.outputs().into_iter().map(|port| port.name).zip(made).collect();
        Lowered {
            loss: by_name["loss"],
            logits_grad: by_name["logits_grad"],
            features_grad: by_name.get("features_grad").copied(),
        }
    }

    /// What the loss takes: a value of the classifier in the loss's type, or a new input.
    fn port(&mut self, port: &loss::Port) -> ValueId {
        let theirs = match port.name.as_str() {
            "logits" => Some(self.logits),
            "features" => self.features,
            "labels" => self.labels,
            _ => None,
        };
        if let Some(value) = theirs {
            return self.b.cast(value, port.dtype);
        }
        let base = match port.name.as_str() {
            "labels" => self.plan.labels.unwrap_or("labels"),
            other => other,
        };
        let name = self.additions.names().give(base);
        let batch = self.b.ty(self.logits).shape[0].clone();
        let extent = |dim: &loss::Dim| match dim {
            loss::Dim::Fixed(n) => Dim::Fixed(*n),
            loss::Dim::Symbol(_) => batch.clone(),
        };
        let ty = TensorType { dtype: port.dtype, shape: port.shape.iter().map(extent).collect() };
        let (role, default) = self.role(&port.name);
        self.inputs.push(Input { port: Port::new(&name, &ty), role, default });
        self.names.insert(port.name.clone(), name.clone());
        self.b.input(&name, ty)
    }

    fn role(&self, port: &str) -> (InputRole, Option<f64>) {
        match port {
            "labels" => (InputRole::Labels, None),
            "enabled" => (InputRole::Enabled, Some(1.0)),
            CLASS_WEIGHTS => (InputRole::ClassWeights, None),
            name => {
                let value = self.loss.spec().parameters.get(name).map(|parameter| parameter.value);
                (InputRole::LossParameter, value)
            }
        }
    }
}
