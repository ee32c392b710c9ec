//! Reverse-mode differentiation of a [`Graph`](crate::graph::Graph).
//!
//! From values with known gradients (the seeds) back to the values whose gradients are wanted. Every operator has one
//! rule, its vector-Jacobian product, in the file of its group; the rules read what the forward pass made, so nothing is
//! computed twice. Invariant: the nodes that come out are of the standard domain, and a gradient has the type of its
//! value. An operator without a rule, on a path from a wanted value to a seed, is an error that names the node.

mod activation;
mod arithmetic;
mod conv;
mod conv_rows;
mod conv_weight;
mod index;
mod layout;
mod matmul;
mod norm;
mod open;
mod pool;
mod reduce;
mod rules;
mod vjp;

use std::fmt;

use crate::graph::{BinaryOp, Builder, InferError, Node, Op, ValueId};
use crate::tensor::DType;
use vjp::Vjp;

/// A node that cannot be differentiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoRule {
    /// Name of its first output.
    pub node: String,
    /// Its operator.
    pub operator: String,
    /// Why there is no rule for it.
    pub why: String,
    /// The node to blame where it is another, before this one: of what it makes not even the type is known. Then `why` is of
    /// that node.
    pub behind: Option<String>,
}

/// Nodes without a rule between what is wanted and the seeds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct AutodiffError {
    /// In the order of the graph; at least one.
    pub nodes: Vec<NoRule>,
}

impl fmt::Display for NoRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, operator, why, behind } = self;
        match behind {
            None => write!(f, "{operator} (which makes `{node}`): {why}"),
            Some(behind) => write!(
                f,
                "{behind}: {why}, and the type of what it makes is not known, on which {operator} (which makes \
                 `{node}`) depends"
            ),
        }
    }
}

impl fmt::Display for AutodiffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no gradient through ")?;
        for (k, node) in self.nodes.iter().enumerate() {
            let comma = if k > 0 { "; " } else { "" };
            write!(f, "{comma}{node}")?;
        }
        Ok(())
    }
}

/// Appends the backward pass to a graph.
///
/// `seeds` are values with their gradients, of the same type; `wanted` are the values whose gradients are asked for.
/// Values in `constants` are held constant: nothing goes back through them. Returns a gradient for each wanted value, of
/// its type; `None` where no seed depends on it.
///
/// # Errors
/// Every node without a rule that lies between.
pub fn backward(
    b: &mut Builder,
    seeds: &[(ValueId, ValueId)],
    wanted: &[ValueId],
    constants: &[ValueId],
) -> Result<Vec<Option<ValueId>>, AutodiffError> {
    let nodes = b.graph().nodes().to_vec();
    let mut sweep = Sweep::new(b, &nodes, seeds, wanted, constants);
    for node in nodes.iter().rev() {
        sweep.visit(node);
    }
    if sweep.missing.is_empty() {
        Ok(wanted.iter().map(|id| sweep.gradient(*id)).collect())
    } else {
        sweep.missing.reverse();
        Err(AutodiffError { nodes: sweep.missing })
    }
}

struct Sweep<'a> {
    b: &'a mut Builder,
    /// Whether a value depends on a wanted one, by its index.
    active: Vec<bool>,
    /// Gradients so far, by the index of the value.
    gradients: Vec<Option<ValueId>>,
    missing: Vec<NoRule>,
}

impl<'a> Sweep<'a> {
    fn new(
        b: &'a mut Builder,
        nodes: &[Node],
        seeds: &[(ValueId, ValueId)],
        wanted: &[ValueId],
        constants: &[ValueId],
    ) -> Self {
        let count = b.graph().values.len();
        let mut active = vec![false; count];
        wanted.iter().for_each(|id| active[id.index()] = true);
        for node in nodes {
            let reached = node.inputs.iter().any(|id| active[id.index()]);
            for id in &node.outputs {
                let passes = is_float(b.ty(*id).dtype) && !constants.contains(id);
                active[id.index()] |= reached && passes;
            }
        }
        let mut sweep = Self { b, active, gradients: vec![None; count], missing: Vec::new() };
        seeds.iter().for_each(|(value, gradient)| sweep.add(*value, *gradient));
        sweep
    }

    fn gradient(&self, id: ValueId) -> Option<ValueId> {
        self.gradients[id.index()]
    }

    fn add(&mut self, id: ValueId, gradient: ValueId) {
        let sum = match self.gradient(id) {
            Some(other) => self.b.binary(BinaryOp::Add, other, gradient),
            None => gradient,
        };
        self.gradients[id.index()] = Some(sum);
    }

    fn visit(&mut self, node: &Node) {
        let gradients: Vec<_> = node.outputs.iter().map(|id| self.gradient(*id)).collect();
        let needed: Vec<bool> = node.inputs.iter().map(|id| self.active[id.index()]).collect();
        if gradients.iter().all(Option::is_none) || !needed.contains(&true) {
            return;
        }
        let mut vjp = Vjp { b: self.b, node, gradients: &gradients, needed: &needed };
        let mut outcome = rules::apply(&mut vjp);
        if let Some(failure) = self.b.take_failure() {
            outcome = Err(contradiction(&failure));
        }
        match outcome {
            Ok(found) => self.collect(node, &needed, found),
            Err(why) => self.give_up(node, &needed, why),
        }
    }

    /// Adds a rule's gradients to those of the node's inputs.
    fn collect(&mut self, node: &Node, needed: &[bool], found: Vec<Option<ValueId>>) {
        for ((id, gradient), needed) in node.inputs.iter().zip(found).zip(needed) {
            if let (Some(gradient), true) = (gradient, needed) {
                self.add(*id, gradient);
            }
        }
        if let Some(failure) = self.b.take_failure() {
            let (node, operator) = (self.label(node.output()), node.op.name().to_owned());
            self.missing.push(NoRule { node, operator, why: contradiction(&failure), behind: None });
        }
    }

    /// Notes a node without a rule. Its inputs stand for their gradients, whose types they have, so that the nodes before
    /// it are looked at too; what comes out is thrown away.
    fn give_up(&mut self, node: &Node, needed: &[bool], why: String) {
        let label = self.label(node.output());
        let behind = match &node.op {
            Op::Opaque(opaque) => opaque.behind.clone(),
            _ => None,
        };
        self.missing.push(NoRule { node: label, operator: node.op.name().to_owned(), why, behind });
        for (id, _) in node.inputs.iter().zip(needed).filter(|(_, needed)| **needed) {
            self.add(*id, *id);
        }
    }

    fn label(&self, id: ValueId) -> String {
        self.b.graph().value(id).name.clone().unwrap_or_else(|| id.to_string())
    }
}

fn contradiction(failure: &InferError) -> String {
    format!("the types around it contradict each other ({failure})")
}

fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64 | DType::F16 | DType::BF16)
}
