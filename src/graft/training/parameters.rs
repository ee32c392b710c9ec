//! Which parameters of a classifier are trained.

use super::glob::matches;
use crate::graph::{Graph, Op, ValueId};
use crate::onnx::Imported;

/// Patterns over the names of float initializers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// What is trained; nothing means everything that the loss depends on.
    pub train: Vec<String>,
    /// What is not, whatever `train` says.
    pub freeze: Vec<String>,
    /// What is trained without weight decay.
    pub no_decay: Vec<String>,
}

/// Parameters to train.
pub(super) struct Chosen {
    /// In the order of the file; whether `train` has its very name.
    parameters: Vec<(String, ValueId, bool)>,
    left_out: Vec<(String, String)>,
}

impl Selection {
    /// Whether weight decay applies to a parameter.
    pub fn decays(&self, name: &str) -> bool {
        !self.no_decay.iter().any(|pattern| matches(pattern, name))
    }

    /// The parameters among a model's float initializers.
    ///
    /// # Errors
    /// A pattern that matches none.
    pub(super) fn choose(&self, imported: &Imported) -> Result<Chosen, String> {
        let graph = imported.builder.graph();
        let name = |id: &ValueId| graph.value(*id).name.clone().unwrap_or_default();
        let names: Vec<(String, ValueId)> = imported.initializers.iter().map(|id| (name(id), *id)).collect();
        for (flag, patterns) in
            [("--train", &self.train), ("--freeze", &self.freeze), ("--no-decay", &self.no_decay)]
        {
            let idle = |pattern: &&String| !names.iter().any(|(name, _)| matches(pattern, name));
            if let Some(pattern) = patterns.iter().find(idle) {
                return Err(format!(
                    "{flag} {pattern} matches none of the parameters that the logits depend on; `ibgraph inspect` \
                     lists them"
                ));
            }
        }
        let mut chosen = Chosen { parameters: Vec::new(), left_out: Vec::new() };
        for (name, id) in names {
            let named = self.train.iter().any(|pattern| matches(pattern, &name));
            if self.freeze.iter().any(|pattern| matches(pattern, &name)) {
                chosen.left_out.push((name, "frozen".to_owned()));
            } else if !self.train.is_empty() && !named {
                chosen.left_out.push((name, "not matched by --train".to_owned()));
            } else if graph.value(id).ty.rank() == 0 && !named {
                // Exporters store scalar constants of formulas as initializers.
                chosen
                    .left_out
                    .push((name, "a scalar; name it with --train if it is a parameter".to_owned()));
            } else {
                let exact = self.train.contains(&name);
                chosen.parameters.push((name, id, exact));
            }
        }
        if chosen.parameters.is_empty() {
            return Err("there is no parameter to train: no float initializer is left".to_owned());
        }
        Ok(chosen)
    }
}

/// Parameters that the loss depends on, and those that are not trained.
pub(super) struct Settled {
    /// Name, value and gradient.
    pub trained: Vec<(String, ValueId, ValueId)>,
    /// Name and reason.
    pub left_out: Vec<(String, String)>,
}

impl Chosen {
    pub fn values(&self) -> Vec<ValueId> {
        self.parameters.iter().map(|(_, id, _)| *id).collect()
    }

    /// Parameters with their gradients, and what is not trained with the reason. `gradients` are in the order of
    /// [`Self::values`].
    ///
    /// # Errors
    /// A parameter that was named but does not influence the loss, and none that does.
    pub fn with_gradients(&self, gradients: &[Option<ValueId>]) -> Result<Settled, String> {
        let mut trained = Vec::new();
        let mut left_out = self.left_out.clone();
        for ((name, id, exact), gradient) in self.parameters.iter().zip(gradients) {
            match gradient {
                Some(gradient) => trained.push((name.clone(), *id, *gradient)),
                None if *exact => {
                    return Err(format!("`{name}` does not influence the loss, so it cannot be trained"));
                }
                None => left_out.push((name.clone(), "the loss has no gradient by it".to_owned())),
            }
        }
        if trained.is_empty() {
            return Err("there is no parameter to train: none has a gradient".to_owned());
        }
        Ok(Settled { trained, left_out })
    }
}

/// Running statistics of normalizations in training mode: name, value and successor, each once.
pub(super) fn statistics(graph: &Graph) -> Vec<(String, ValueId, ValueId)> {
    let mut found: Vec<(String, ValueId, ValueId)> = Vec::new();
    let layers = graph.nodes().iter().filter(|node| matches!(&node.op, Op::BatchNorm(n) if n.training));
    for node in layers {
        let pairs = node.inputs[3..].iter().zip(node.outputs.iter().skip(1));
        for (value, next) in pairs {
            let is_stored = graph.stored().contains(value);
            let Some(name) = graph.value(*value).name.clone().filter(|_| is_stored) else { continue };
            // The successor must be in the file; layers that share statistics would give two.
            if graph.value(*next).name.is_some() && !found.iter().any(|(_, known, _)| known == value) {
                found.push((name, *value, *next));
            }
        }
    }
    found
}
