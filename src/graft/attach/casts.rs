//! Conversions between the classifier's element types and the loss's.
//!
//! The loss takes the logits as they are. Features of another type are cast on their way in, and their gradient on its
//! way out; int32 labels are widened.

use indexmap::IndexMap;

use super::PREFIX;
use super::ports::Labels;
use super::rename::Renamer;
use crate::graft::Names;
use crate::graft::discover::Place;
use crate::loss::Loss;
use crate::onnx::Delta;
use crate::onnx::attributes::integer;
use crate::onnx::messages::NodeProto;
use crate::tensor::DType;

/// One conversion.
struct Cast {
    /// The name of the port in the lowered graph.
    ours: &'static str,
    /// What is converted, in the classifier.
    from: String,
    /// What comes out of it.
    to: String,
    /// To which type.
    dtype: DType,
    /// Whether the lowered graph reads what comes out, rather than making what goes in.
    is_input: bool,
}

/// All conversions of a graft.
pub struct Casts(Vec<Cast>);

impl Casts {
    pub fn new(
        loss: &Loss,
        features: Option<&Place>,
        labels: Option<&Labels>,
        outside: &IndexMap<String, String>,
        names: &mut Names,
    ) -> Self {
        let mut casts = Vec::new();
        let mut cast = |ours: &'static str, dtype: DType, is_input: bool| {
            let Some(theirs) = outside.get(ours) else {
                return;
            };
            // Not `…_grad`, which ORT Training keeps for itself.
            let inner = names.give(&format!("{PREFIX}{ours}_as_{dtype}"));
            let (from, to) = if is_input { (theirs.clone(), inner) } else { (inner, theirs.clone()) };
            casts.push(Cast { ours, from, to, dtype, is_input });
        };
        let dtype = loss.interface().dtype;
        if let Some(other) = features.and_then(|place| place.dtype).filter(|other| *other != dtype) {
            cast("features", dtype, true);
            cast("features_grad", other, false);
        }
        if labels.is_some_and(|labels| labels.dtype != DType::I64) {
            cast("labels", DType::I64, true);
        }
        Self(casts)
    }

    /// Names of the lowered graph's ports that a conversion stands before or after.
    pub fn renamed(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.0.iter().map(|cast| {
            let name = if cast.is_input { &cast.to } else { &cast.from };
            (cast.ours.to_owned(), name.clone())
        })
    }

    /// Adds the conversions to what is spliced in.
    pub fn add(self, delta: &mut Delta, renamer: &Renamer) {
        for cast in self.0.into_iter().rev() {
            let node = NodeProto {
                name: Some(renamer.node_name(&format!("Cast:{}", cast.to))),
                op_type: Some("Cast".to_owned()),
                input: vec![cast.from.clone()],
                output: vec![cast.to.clone()],
                attribute: vec![integer("to", i64::from(cast.dtype.onnx_code()))],
                ..NodeProto::default()
            };
            if cast.is_input {
                delta.nodes.insert(0, node);
                continue;
            }
            delta.nodes.push(node);
            let outputs = delta.first_outputs.iter_mut().chain(&mut delta.outputs);
            for port in outputs.filter(|port| port.name.as_deref() == Some(&cast.from)) {
                port.name = Some(cast.to.clone());
                if let Some(tensor) = port.r#type.as_mut().and_then(|ty| ty.tensor_type.as_mut()) {
                    tensor.elem_type = Some(cast.dtype.onnx_code());
                }
            }
        }
    }
}
