//! Attributes and extra inputs of layers: convolutions, pools, normalizations, and operators that move elements.

use super::super::attributes::{float, integer, integers, tensor, text};
use super::super::messages::AttributeProto;
use super::super::write::tensor_proto;
use super::{SpellError, Speller};
use crate::graph::{Activation, Gemm, Op, Pad, Pool, SliceAxis, Window};
use crate::tensor::{DType, Tensor};

/// First operator set with Gelu.
const GELU: i64 = 20;
/// First operator set with HardSwish.
const HARD_SWISH: i64 = 14;
/// First operator set in which a shape can be taken in part.
const PARTIAL_SHAPE: i64 = 15;
/// First operator set in which a slice is given by inputs.
const SLICE_INPUTS: i64 = 10;
/// First operator set in which Gemm's third matrix is optional, and a pad is given by inputs.
const OPTIONAL_INPUTS: i64 = 11;
/// First operator set with LayerNormalization.
const LAYER_NORM: i64 = 17;

impl Speller<'_> {
    /// Attributes of a layer; what it takes as inputs beside values is added to `input`.
    pub(super) fn layer(
        &mut self,
        op: &Op,
        input: &mut Vec<String>,
    ) -> Result<Vec<AttributeProto>, SpellError> {
        Ok(match op {
            Op::Activation(activation) => self.activation(*activation)?,
            Op::Conv(conv) => sliding(&conv.window, Some(conv.group)),
            Op::ConvTranspose(conv, extra) => {
                let mut attributes = sliding(&conv.window, Some(conv.group));
                attributes.push(integers("output_padding", &signed(extra)));
                attributes
            }
            Op::MaxPool(pool) => pooling(pool, false),
            Op::AveragePool(pool) => pooling(pool, true),
            Op::MaxUnpool(window) => vec![
                integers("kernel_shape", &signed(&window.kernel)),
                integers("strides", &signed(&window.strides)),
                integers("pads", &signed(&window.pads)),
            ],
            Op::BatchNorm(norm) => {
                if norm.training && self.opset < HARD_SWISH {
                    return Err(self.too_old("BatchNormalization in training mode", HARD_SWISH));
                }
                let mut attributes = vec![float("epsilon", norm.epsilon.get())];
                if norm.training {
                    attributes.push(float("momentum", norm.momentum.get()));
                    attributes.push(integer("training_mode", 1));
                }
                attributes
            }
            Op::LayerNorm(norm) if self.opset < LAYER_NORM => {
                let _ = norm;
                return Err(self.too_old("LayerNormalization", LAYER_NORM));
            }
            Op::LayerNorm(norm) => {
                vec![integer("axis", norm.axis as i64), float("epsilon", norm.epsilon.get())]
            }
            Op::Flatten(axis) | Op::Concat(axis) => vec![integer("axis", *axis as i64)],
            Op::Transpose(perm) => vec![integers("perm", &signed(perm))],
            Op::Split(axis, extents) => {
                let name = format!("split_{}", join(extents));
                input.push(self.integers(&name, &signed(extents)));
                vec![integer("axis", *axis as i64)]
            }
            Op::Slice(parts) => self.slice(parts, input)?,
            Op::Dropout(dropout) => dropout.seed.map(|seed| integer("seed", seed)).into_iter().collect(),
            Op::Shape(start, end) if self.opset >= PARTIAL_SHAPE => {
                vec![integer("start", *start as i64), integer("end", *end as i64)]
            }
            Op::Shape(..) => return Err(self.too_old("Shape of some axes", PARTIAL_SHAPE)),
            Op::ConstantOfShape(value) => vec![tensor("value", tensor_proto("", &value.tensor()))],
            other => {
                let why = "cannot be written: this program knows it by name only".to_owned();
                return Err(SpellError { operator: other.name().to_owned(), why });
            }
        })
    }

    fn activation(&self, activation: Activation) -> Result<Vec<AttributeProto>, SpellError> {
        Ok(match activation {
            Activation::HardSigmoid { alpha, beta } => {
                vec![float("alpha", alpha.get()), float("beta", beta.get())]
            }
            Activation::LeakyRelu(alpha) | Activation::Elu(alpha) => vec![float("alpha", alpha.get())],
            Activation::Gelu { .. } if self.opset < GELU => return Err(self.too_old("Gelu", GELU)),
            Activation::Gelu { tanh } => vec![text("approximate", if tanh { "tanh" } else { "none" })],
        })
    }

    fn slice(
        &mut self,
        parts: &[SliceAxis],
        input: &mut Vec<String>,
    ) -> Result<Vec<AttributeProto>, SpellError> {
        let starts: Vec<i64> = parts.iter().map(|p| p.start).collect();
        let ends: Vec<i64> = parts.iter().map(|p| p.end).collect();
        let axes: Vec<i64> = parts.iter().map(|p| p.axis as i64).collect();
        let steps: Vec<i64> = parts.iter().map(|p| p.step).collect();
        if self.opset < SLICE_INPUTS {
            if steps.iter().any(|step| *step != 1) {
                return Err(self.too_old("Slice in steps", SLICE_INPUTS));
            }
            return Ok(vec![integers("starts", &starts), integers("ends", &ends), integers("axes", &axes)]);
        }
        for (name, values) in [("starts", starts), ("ends", ends), ("axes", axes), ("steps", steps)] {
            input.push(self.integers(name, &values));
        }
        Ok(Vec::new())
    }

    /// A slice up to extents that are an input already, of as many axes as the operand has from this one on.
    pub(super) fn crop(
        &mut self,
        axis: usize,
        rank: usize,
        input: &mut Vec<String>,
    ) -> Result<Vec<AttributeProto>, SpellError> {
        if self.opset < SLICE_INPUTS {
            return Err(self.too_old("Slice up to extents that are not known before", SLICE_INPUTS));
        }
        let axes: Vec<i64> = (axis..rank).map(|axis| axis as i64).collect();
        input.insert(1, self.integers("starts", &vec![0; axes.len()]));
        input.push(self.integers("axes", &axes));
        Ok(Vec::new())
    }

    /// The pads, and their value in the type of what is padded.
    pub(super) fn pad(&mut self, pad: &Pad, dtype: DType, input: &mut Vec<String>) -> Vec<AttributeProto> {
        let before = pad.pads.iter().map(|(before, _)| *before);
        let pads: Vec<i64> = before.chain(pad.pads.iter().map(|(_, after)| *after)).collect();
        let mode = text("mode", &pad.mode);
        if self.opset < OPTIONAL_INPUTS {
            return vec![mode, integers("pads", &pads), float("value", pad.value.get())];
        }
        input.push(self.integers("pads", &pads));
        if pad.value.get() != 0.0 {
            input.push(self.scalar("pad_value", pad.value.get(), dtype));
        }
        vec![mode]
    }

    /// Before opset 11 the third matrix was needed.
    pub(super) fn gemm(&mut self, gemm: Gemm, dtype: DType, input: &mut Vec<String>) -> Vec<AttributeProto> {
        if self.opset < OPTIONAL_INPUTS && input.len() == 2 {
            input.push(self.scalar("zero", 0.0, dtype));
        }
        vec![
            float("alpha", gemm.alpha.get()),
            float("beta", gemm.beta.get()),
            integer("transA", i64::from(gemm.trans_a)),
            integer("transB", i64::from(gemm.trans_b)),
        ]
    }

    /// Name of an initializer that holds one number.
    fn scalar(&mut self, base: &str, value: f32, dtype: DType) -> String {
        let value = Tensor::scalar_f32(value).cast(dtype);
        self.extra(base, &value)
    }
}

fn sliding(window: &Window, group: Option<usize>) -> Vec<AttributeProto> {
    let mut attributes = vec![
        integers("kernel_shape", &signed(&window.kernel)),
        integers("strides", &signed(&window.strides)),
        integers("dilations", &signed(&window.dilations)),
        integers("pads", &signed(&window.pads)),
    ];
    attributes.extend(group.map(|group| integer("group", group as i64)));
    attributes
}

fn pooling(pool: &Pool, average: bool) -> Vec<AttributeProto> {
    let mut attributes = sliding(&pool.window, None);
    if average {
        // Dilations of an average came with opset 19; there are none that are not 1 before.
        attributes.retain(|a| {
            a.name.as_deref() != Some("dilations") || pool.window.dilations.iter().any(|d| *d != 1)
        });
        attributes.push(integer("count_include_pad", i64::from(pool.count_include_pad)));
    }
    attributes.push(integer("ceil_mode", i64::from(pool.ceil)));
    attributes
}

fn signed(values: &[usize]) -> Vec<i64> {
    values.iter().map(|v| *v as i64).collect()
}

fn join(values: &[usize]) -> String {
    values.iter().map(usize::to_string).collect::<Vec<_>>().join("_")
}
