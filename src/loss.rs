//! What is to be computed: the loss source, the options, and the float64 reference.
//!
//! First room of the flow: YAML and command line options become a [`Loss`], which the compiler lowers and which the
//! reference evaluates. Invariant: a [`Loss`] is complete and consistent; no later stage finds a name or an option
//! that it cannot honour.

pub mod adjust;
pub mod builtin;
pub mod expr;
pub mod interface;
pub mod metadata;
pub mod reference;
pub mod spec;
pub mod weights;

pub use adjust::{AdjustError, Tables};
pub use interface::{ClassWeighting, Dim, FeatureInput, InfluenceGradient, Interface, InterfaceError, Port};
pub use spec::{LossSpec, Quantity, Reduction, SpecError, WeightScheme};
pub use weights::{ClassWeights, WeightsError};

/// A loss with everything decided: the formula, its parameters, and what the graph looks like from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Loss {
    spec: LossSpec,
    interface: Interface,
    tables: Tables,
    scale: f64,
}

impl Loss {
    /// Puts a loss together whose logits are not adjusted by class. `class_weights` `[C]` is stored in the graph; `None`
    /// where every class weighs 1 or where the weights are a runtime input.
    ///
    /// # Errors
    /// Options that contradict the formula or each other.
    pub fn new(
        spec: LossSpec,
        interface: Interface,
        class_weights: Option<Vec<f64>>,
    ) -> Result<Self, InterfaceError> {
        Self::with_tables(spec, interface, Tables { class_weights, ..Tables::default() })
    }

    /// Puts a loss together with all that it stores for each class.
    ///
    /// # Errors
    /// Options that contradict the formula or each other, and tables that the formula has no use for or lacks.
    pub fn with_tables(
        spec: LossSpec,
        mut interface: Interface,
        tables: Tables,
    ) -> Result<Self, InterfaceError> {
        interface.settle(&spec, &tables)?;
        let scale = adjust::scale(&spec)?;
        Ok(Self { spec, interface, tables, scale })
    }

    /// The same loss with other outputs; none means the default.
    ///
    /// # Errors
    /// Outputs that the loss does not have.
    pub fn with_outputs(&self, names: &[&str]) -> Result<Self, InterfaceError> {
        let outputs = names.iter().map(|name| (*name).to_owned()).collect();
        let interface = Interface { outputs, ..self.interface.clone() };
        Self::with_tables(self.spec.clone(), interface, self.tables.clone())
    }

    /// The formula.
    pub fn spec(&self) -> &LossSpec {
        &self.spec
    }

    /// The options.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// What the graph stores for each class.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Class weights `[C]` stored in the graph.
    pub fn class_weights(&self) -> Option<&[f64]> {
        self.tables.class_weights.as_deref()
    }

    /// Factor of all logits.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Whether the graph has the input `features`.
    pub fn has_features(&self) -> bool {
        let entries: Vec<&str> = self.interface.outputs.iter().map(String::as_str).collect();
        self.spec.uses(Quantity::FeatureL1, &entries)
    }
}
