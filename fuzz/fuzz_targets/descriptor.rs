//! The fused operator's attribute: whatever the text, it is refused with a place in it, or the loss runs on a few rows and
//! has a CUDA source.

#![no_main]

use ibgraph_ops::batch::{Inputs, Labels, Outputs, Scalars, Serial, run};
use ibgraph_ops::cuda::{Kind, Plan, Types, source};
use ibgraph_ops::descriptor::{Descriptor, FeatureInput, Input, Output, Reduction, parse};
use ibgraph_ops::simd::Isa;
use libfuzzer_sys::fuzz_target;

const ROWS: usize = 3;
/// Larger ones would take memory, which is not what is looked for.
const MOST_CLASSES: usize = 64;

fuzz_target!(|text: &str| {
    let loss = match parse(text) {
        Ok(loss) => loss,
        Err(error) => return assert!(error.line <= text.lines().count().max(1) && !error.why.is_empty()),
    };
    let types = Types { element: Kind::F32, long_labels: true, double: vec![false; loss.inputs.len()] };
    let code = source(&loss, &types, &Plan::new(loss.classes, Kind::F32));
    assert!(code.contains("#define PROGRAM "));
    if loss.classes <= MOST_CLASSES {
        compute(&loss, text.len() % 2 == 0);
    }
});

/// Runs a loss on rows of which one does not count if the loss says so, and one may have a label that is no class.
fn compute(loss: &Descriptor, enabled: bool) {
    let classes = loss.classes;
    let logits: Vec<f32> = (0..ROWS * classes).map(|k| (k as f32).sin() * 50.0).collect();
    let width = if loss.features == FeatureInput::Raw { 2 } else { 1 };
    let has = |input| loss.position(input).is_some();
    let features = vec![0.5; if has(Input::Features) { ROWS * width } else { 0 }];
    let (by_row, by_class) = ([0.25; ROWS], vec![0.25; classes]);
    let table = |input| has(input).then_some(Scalars::F64(&by_class));
    let inputs = Inputs {
        rows: ROWS,
        logits: &logits,
        labels: Labels::I64(&[0, 1, -100]),
        features: &features,
        loss_grad: has(Input::LossGrad).then_some(Scalars::F64(&by_row)),
        class_weights: table(Input::ClassWeights),
        logit_bias: table(Input::LogitBias),
        label_margin: table(Input::LabelMargin),
        enabled: enabled || !has(Input::Enabled),
        parameters: vec![2.0; loss.parameters()],
    };
    let mut total = vec![0.0; if loss.reduction == Reduction::None { ROWS } else { 1 }];
    let (mut logits_grad, mut features_grad, mut row_loss) = (logits.clone(), features.clone(), [0.0; ROWS]);
    let entries = loss.outputs.iter().filter(|o| matches!(o, Output::Entry(_))).count();
    let mut entries = vec![vec![0.0; ROWS]; entries];
    let outputs = Outputs {
        loss: loss.has(Output::Loss).then_some(&mut total[..]),
        logits_grad: loss.has(Output::LogitsGrad).then_some(&mut logits_grad[..]),
        features_grad: loss.has(Output::FeaturesGrad).then_some(&mut features_grad[..]),
        row_loss: loss.has(Output::RowLoss).then_some(&mut row_loss[..]),
        entries: entries.iter_mut().map(Vec::as_mut_slice).collect(),
    };
    if let Err(error) = run::<f32>(loss, &inputs, outputs, &Serial, Isa::detect()) {
        assert!(error.0.contains("the label is"), "{error}: {loss:?}");
    }
}
