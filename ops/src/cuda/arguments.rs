//! The argument of the kernels: one list, of which both the source's `struct Args` and what a launch passes are made.

use crate::descriptor::{Descriptor, Input, Output};

/// A member of `struct Args`. Each has 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Pointer to an input; 0 where the loss has none.
    Input(Input),
    /// Pointer to an output; 0 where the loss has none, or no one asked for it.
    Output(Output),
    /// Pointer to the row entry that is this output of the node; [`usize::MAX`] where the loss has none.
    Entry(usize),
    /// Pointer to the workspace.
    Work,
    /// N
    Rows,
    /// D
    Width,
    /// Blocks of the kernel `rows`.
    Blocks,
    /// Vectors of a row that its shared memory has room for.
    Cached,
}

/// The members, in order: as many parameters and entries as the loss has, but at least one of each.
pub fn arguments(loss: &Descriptor) -> Vec<Slot> {
    let inputs = [
        Input::Logits,
        Input::Labels,
        Input::Features,
        Input::LossGrad,
        Input::ClassWeights,
        Input::LogitBias,
        Input::LabelMargin,
        Input::Enabled,
    ];
    let parameters = (0..loss.parameters().max(1)).map(Input::Parameter);
    let mut slots: Vec<Slot> = inputs.into_iter().chain(parameters).map(Slot::Input).collect();
    slots.extend([Output::Loss, Output::LogitsGrad, Output::FeaturesGrad, Output::RowLoss].map(Slot::Output));
    let outputs = loss.outputs.iter().enumerate();
    let entries = outputs.filter(|(_, output)| matches!(output, Output::Entry(_)));
    let entries: Vec<Slot> = entries.map(|(index, _)| Slot::Entry(index)).collect();
    let none = entries.is_empty().then_some(Slot::Entry(usize::MAX));
    slots.extend(entries.into_iter().chain(none));
    slots.extend([Slot::Work, Slot::Rows, Slot::Width, Slot::Blocks, Slot::Cached]);
    slots
}

/// The members as code. Parameters and entries are arrays, which the first of them declares.
pub(super) fn declarations(loss: &Descriptor) -> String {
    let slots = arguments(loss);
    let count = |of: fn(&Slot) -> bool| slots.iter().filter(|slot| of(slot)).count();
    let parameters = count(|slot| matches!(slot, Slot::Input(Input::Parameter(_))));
    let entries = count(|slot| matches!(slot, Slot::Entry(_)));
    let mut declared: Vec<String> =
        slots.iter().map(|slot| declaration(*slot, parameters, entries)).collect();
    declared.dedup();
    declared.join(" ")
}

fn declaration(slot: Slot, parameters: usize, entries: usize) -> String {
    let text = match slot {
        Slot::Input(Input::Logits) => "const ELEMENT* logits;",
        Slot::Input(Input::Labels) => "const LABEL* labels;",
        Slot::Input(Input::Features) => "const ELEMENT* features;",
        Slot::Input(Input::LossGrad) => "const T_LOSS_GRAD* loss_grad;",
        Slot::Input(Input::ClassWeights) => "const T_CLASS_WEIGHTS* class_weights;",
        Slot::Input(Input::LogitBias) => "const T_LOGIT_BIAS* logit_bias;",
        Slot::Input(Input::LabelMargin) => "const T_LABEL_MARGIN* label_margin;",
        Slot::Input(Input::Enabled) => "const unsigned char* enabled;",
        Slot::Input(Input::Parameter(_)) => return format!("const void* parameters[{parameters}];"),
        Slot::Output(Output::Loss) => "MATRIX* loss;",
        Slot::Output(Output::LogitsGrad) => "ELEMENT* logits_grad;",
        Slot::Output(Output::FeaturesGrad) => "ELEMENT* features_grad;",
        Slot::Output(Output::RowLoss) => "MATRIX* row_loss;",
        Slot::Output(Output::Entry(_)) | Slot::Entry(_) => return format!("MATRIX* entries[{entries}];"),
        Slot::Work => "double* work;",
        Slot::Rows => "i64 n;",
        Slot::Width => "i64 d;",
        Slot::Blocks => "i64 blocks;",
        Slot::Cached => "i64 cached;",
    };
    text.to_owned()
}
