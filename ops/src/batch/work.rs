//! What every task of a batch reads.

use std::ops::Range;

use super::labels::{IGNORED, Resolved};
use super::pieces::Pieces;
use super::ports::{Inputs, Outputs};
use crate::descriptor::{Descriptor, FeatureInput, Input, Output, Read, Roots};
use crate::element::Element;
use crate::evaluate::Shared;
use crate::math::Real;

/// Elements of a part of a row: with its output, 32 kB of f32, which is the first level of the cache. Few for Miri.
pub(super) const PART: usize = if cfg!(miri) { 16 } else { 4096 };

/// Bytes of inputs and gradients above which gradients are written past the caches.
const CACHE: usize = if cfg!(miri) { 1 << 13 } else { 24 << 20 };

/// A batch with all that was found out about it before its rows are looked at.
pub(super) struct Work<'a, T: Element> {
    pub loss: &'a Descriptor,
    pub inputs: &'a Inputs<'a, T>,
    /// `[N]`; see [`Resolved`]
    pub classes: Vec<u32>,
    pub shared: Shared,
    /// The roots of the program, by the switch.
    pub roots: Roots,
    /// D, where features are given as they are; else 0
    pub width: usize,
    /// scale · bias `[C]` in the matrix type
    pub bias: Option<Vec<T::Matrix>>,
    /// Σ of the biases
    pub bias_sum: f64,
    /// Whether the program reads the mean of -log p.
    pub smoothed: bool,
    /// Whether the program reads h, and finds it as a norm of features.
    pub normed: bool,
    /// Whether the program reads h, and is given it.
    pub norms: bool,
    /// Whether gradients are written past the caches, because a batch does not fit there.
    pub away: bool,
    pub out: Out<'a, T>,
}

/// Outputs, to be written in pieces.
pub(super) struct Out<'a, T: Element> {
    pub loss: Option<Pieces<'a, T::Matrix>>,
    pub logits_grad: Option<Pieces<'a, T>>,
    pub features_grad: Option<Pieces<'a, T>>,
    pub row_loss: Option<Pieces<'a, T::Matrix>>,
    /// With the step of each.
    pub entries: Vec<(usize, Pieces<'a, T::Matrix>)>,
    /// Shares of the rows, `[N]`
    pub shares: Pieces<'a, f64>,
}

impl<'a, T: Element> Work<'a, T> {
    pub fn new(
        loss: &'a Descriptor,
        inputs: &'a Inputs<'a, T>,
        labels: Resolved,
        outputs: Outputs<'a, T>,
        shares: &'a mut [f64],
    ) -> Self {
        let raw = loss.position(Input::Features).is_some() && loss.features == FeatureInput::Raw;
        let bias = inputs.logit_bias.map(|bias| (0..bias.len()).map(move |j| bias.at(j)));
        let steps = loss.outputs.iter().filter_map(|output| match output {
            Output::Entry(step) => Some(*step),
            _ => None,
        });
        Self {
            loss,
            inputs,
            classes: labels.classes,
            shared: labels.shared,
            roots: if inputs.enabled { loss.on } else { loss.off },
            width: if raw { inputs.features.len() / inputs.rows.max(1) } else { 0 },
            bias_sum: bias.clone().map_or(0.0, Iterator::sum),
            bias: bias.map(|values| values.map(|b| T::Matrix::from_f64(b * loss.scale)).collect()),
            smoothed: loss.reads(Read::MeanNll),
            normed: raw && loss.reads(Read::FeatureL1),
            norms: loss.features != FeatureInput::Raw && loss.reads(Read::FeatureL1),
            away: T::LARGEST.is_none()
                && 2 * (inputs.logits.len() + inputs.features.len()) * size_of::<T>() > CACHE,
            out: Out {
                loss: outputs.loss.map(Pieces::new),
                logits_grad: outputs.logits_grad.map(Pieces::new),
                features_grad: outputs.features_grad.map(Pieces::new),
                row_loss: outputs.row_loss.map(Pieces::new),
                entries: steps.zip(outputs.entries.into_iter().map(Pieces::new)).collect(),
                shares: Pieces::new(shares),
            },
        }
    }

    /// Whether the gradient by the features is 0, whatever they are: the loss is off, or the row does not count.
    #[inline(always)]
    pub fn idle(&self, row: usize) -> bool {
        !self.inputs.enabled || self.classes[row] == IGNORED
    }

    /// Whether logits are used as they are.
    pub fn plain(&self) -> bool {
        self.loss.scale == 1.0 && self.bias.is_none()
    }

    /// Whether exponentials are kept apart from the gradient that they become.
    pub fn keeps_apart(&self) -> bool {
        T::LARGEST.is_some() || self.away
    }

    /// Parts of the logits of a row.
    #[inline(always)]
    pub fn logit_parts(&self) -> usize {
        self.loss.classes.div_ceil(PART)
    }

    /// Parts of a row: those of its logits, and then those of its features.
    #[inline(always)]
    pub fn parts(&self) -> usize {
        self.logit_parts() + self.width.div_ceil(PART)
    }

    /// A part of a row: the row's place in the block that begins at `first`, and the part's number.
    #[inline(always)]
    pub fn spot(&self, first: usize, place: usize, part: usize) -> Spot {
        let parts = self.logit_parts();
        let logits = part < parts;
        let (index, end) = if logits { (part, self.loss.classes) } else { (part - parts, self.width) };
        let columns = index * PART..((index + 1) * PART).min(end);
        Spot { row: first + place, place, index: place * self.parts() + part, columns, logits }
    }
}

/// Where a part of a row is.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    /// The row in the batch.
    pub row: usize,
    /// The row in its block.
    pub place: usize,
    /// The part in its block.
    pub index: usize,
    /// Of the logits, or of the features.
    pub columns: Range<usize>,
    /// Whether it is of the logits.
    pub logits: bool,
}
