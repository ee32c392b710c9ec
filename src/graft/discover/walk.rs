//! The way back from an output to the logits that it presents.

use crate::graft::discover::layer::linear;
use crate::graft::flow::{Extent, Flow, op};
use crate::onnx::host::label;
use crate::tensor::DType;

/// A value that could be the logits.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    pub value: &'a str,
    /// Whether a linear layer makes it.
    pub layer: bool,
    pub why: String,
}

impl Candidate<'_> {
    /// Whether nothing that is known speaks against it.
    pub fn may_be_logits(&self, flow: &Flow<'_>) -> bool {
        let known = flow.known(self.value);
        let float = known
            .element
            .and_then(DType::from_onnx_code)
            .is_none_or(|dtype| matches!(dtype, DType::F32 | DType::F64 | DType::F16 | DType::BF16));
        let unknown_code = known.element.is_some_and(|code| DType::from_onnx_code(code).is_none());
        let wide = !matches!(known.extent(1), Some(Extent::Fixed(0 | 1)));
        float && !unknown_code && wide && known.rank().is_none_or(|rank| rank == 2)
    }
}

/// Follows `output` back; `None` where the way ends at an input of the model.
pub fn walk<'a>(flow: &Flow<'a>, output: &'a str) -> Option<Candidate<'a>> {
    let mut value = output;
    let mut through: Vec<&str> = Vec::new();
    // Where no layer is found, the outermost reshape makes the logits: what it reads has other axes.
    let mut reshaped = None;
    // Every step goes to an earlier node.
    loop {
        if let Some(layer) = linear(flow, value) {
            let why = format!("made by {}, the last linear layer{}", layer.label, before(output, &through));
            return Some(Candidate { value, layer: true, why });
        }
        let node = flow.maker(value)?;
        let operator = op(node);
        let input = match operator {
            "Softmax" | "LogSoftmax" | "ArgMax" | "TopK" | "ai.onnx.ml:ZipMap" | "ai.onnx.ml:Normalizer" => {
                reshaped = None;
                node.input.first()
            }
            "ai.onnx.ml:ArrayFeatureExtractor" => {
                reshaped = None;
                node.input.get(1)
            }
            "Cast" | "Identity" | "QuantizeLinear" | "DequantizeLinear" => node.input.first(),
            "Flatten" | "Reshape" | "Squeeze" => {
                reshaped = reshaped.or(Some(value));
                node.input.first()
            }
            _ => None,
        };
        let Some(input) = input.filter(|input| !input.is_empty()) else {
            let why = format!("made by {}{}", label(node), before(output, &through));
            return Some(Candidate { value: reshaped.unwrap_or(value), layer: false, why });
        };
        let short = operator.rsplit(':').next().unwrap_or(operator);
        through.push(short);
        value = input;
    }
}

fn before(output: &str, through: &[&str]) -> String {
    let mut names: Vec<&str> = through.iter().rev().copied().collect();
    names.dedup();
    match names.as_slice() {
        [] => format!(" before the output `{output}`"),
        names => format!(" before the output `{output}`, through {}", names.join(", ")),
    }
}
