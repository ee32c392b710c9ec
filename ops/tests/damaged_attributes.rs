//! Attributes with words and lines exchanged at random: refused with a message, or run without a panic.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use ibgraph_ops::batch::{Inputs, Labels, Outputs, Scalars, Serial, run};
use ibgraph_ops::descriptor::{Descriptor, FeatureInput, Input, Output, Reduction, parse};
use ibgraph_ops::simd::Isa;

const ROWS: usize = 3;
/// Larger ones would take memory, which is not what is tested.
const MOST_CLASSES: usize = 64;
const ROUNDS: usize = if cfg!(miri) { 20 } else { 60_000 };

const IB: &str = "ibgraph-loss 1
classes 5
inputs logits labels features class_weights :alpha enabled
outputs loss logits_grad features_grad row_loss 8
reduction mean
features raw
ignore -100
check_labels
scale 1.0
:alpha
q
feature_l1
mul 1 2
const 0.0005
add 3 4
div 0 5
nll
mul 6 7
class_weight
mul 8 9
count
div 10 11
p
pow 13 12
if_zero 12 4 14
one_minus_exp 15
on row_loss=10 share=12 others=14 by_norm=16
off row_loss=7 share=7 others=1 by_norm=4
";

const SMOOTHED: &str = "ibgraph-loss 1
classes 9
inputs logits labels loss_grad logit_bias label_margin
outputs loss logits_grad
reduction none
scale 30.0
nll
mean_nll
max 0 1
loss_grad
mul 2 3
neg 4
on row_loss=2 others=4 label=5 shift=3
";

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end
    }
}

/// A word of one place put into another, a few times, and perhaps a line once more somewhere else, or gone.
fn damaged(text: &str, random: &mut Random) -> String {
    let extra =
        ["0", "1", "-1", "7", "99999999999", "1e309", "nan", "sum", "norm", "norm-column", "weight_sum"];
    let mut words: Vec<&str> = text.split_inclusive([' ', '\n', '=']).collect();
    for _ in 0..=random.below(3) {
        let at = random.below(words.len());
        match random.below(4) {
            0 => words[at] = extra[random.below(extra.len())],
            1 => drop(words.remove(at)),
            _ => words[at] = words[random.below(words.len())],
        }
    }
    let text = words.concat();
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (at, to) = (random.below(lines.len()), random.below(lines.len()));
    match random.below(6) {
        0 => lines.insert(to, lines[at]),
        1 => drop(lines.remove(at)),
        2 => lines.swap(to, at),
        _ => {}
    }
    lines.concat()
}

/// Runs a loss on a few rows, whatever it is.
fn compute(loss: &Descriptor) {
    let c = loss.classes;
    let logits: Vec<f32> = (0..ROWS * c).map(|k| (k as f32).sin()).collect();
    let width = if loss.features == FeatureInput::Raw { 2 } else { 1 };
    let has = |input| loss.position(input).is_some();
    let features = vec![0.5; if has(Input::Features) { ROWS * width } else { 0 }];
    let (by_row, by_class) = (vec![0.25; ROWS], vec![0.25; c]);
    let table = |input| has(input).then_some(Scalars::F64(&by_class));
    for enabled in [true, false] {
        let inputs = Inputs {
            rows: ROWS,
            logits: &logits,
            labels: Labels::I32(&[0, 1, -100]),
            features: &features,
            loss_grad: has(Input::LossGrad).then_some(Scalars::F64(&by_row)),
            class_weights: table(Input::ClassWeights),
            logit_bias: table(Input::LogitBias),
            label_margin: table(Input::LabelMargin),
            enabled: enabled || !has(Input::Enabled),
            parameters: vec![2.0; loss.parameters()],
        };
        let mut total = vec![0.0; if loss.reduction == Reduction::None { ROWS } else { 1 }];
        let (mut logits_grad, mut features_grad) = (logits.clone(), features.clone());
        let mut row_loss = [0.0; ROWS];
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
}

#[test]
fn the_attributes_themselves_run() {
    compute(&parse(IB).unwrap());
    compute(&parse(SMOOTHED).unwrap());
}

#[test]
fn damaged_attributes_are_refused_or_run() {
    let mut random = Random(7);
    let (mut refused, mut ran) = (0, 0);
    for round in 0..ROUNDS {
        let text = damaged([IB, SMOOTHED][round % 2], &mut random);
        match parse(&text) {
            Ok(loss) if loss.classes <= MOST_CLASSES => {
                compute(&loss);
                ran += 1;
            }
            Ok(_) => {}
            Err(error) => {
                assert!(error.line <= text.lines().count().max(1) && !error.why.is_empty());
                refused += 1;
            }
        }
    }
    assert!(refused > ROUNDS / 10 && ran >= ROUNDS / 100, "{refused} refused, {ran} ran of {ROUNDS}");
}
