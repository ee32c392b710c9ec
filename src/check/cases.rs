//! Cases that a loss graph is checked on: the ordinary, and every way in which a sample can be extreme.
//!
//! Deterministic: the same loss gives the same cases. Inputs are made in the graph's own types, so that the reference
//! starts from exactly what the engine sees.

use fastrand::Rng;

use crate::loss::reference::Batch;
use crate::loss::{ClassWeighting, FeatureInput, Interface, Loss, Reduction};
use crate::tensor::{DType, Tensor, TensorData};

mod rows;

use rows::{FeatureKind, LogitKind};

/// Features of a generated sample.
const FEATURES: usize = 48;
/// Samples of an ordinary batch; fewer where C is so large that a batch would pass [`LARGEST_BATCH`] logits.
const ROWS: usize = 24;
const LARGEST_BATCH: usize = 2_000_000;

/// Inputs with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// What it is about.
    pub name: String,
    /// Inputs of the graph by name.
    pub inputs: Vec<(String, Tensor)>,
}

impl Case {
    fn input(&self, name: &str) -> Option<&Tensor> {
        self.inputs.iter().find(|(n, _)| n == name).map(|(_, tensor)| tensor)
    }

    /// The inputs in float64, for the reference.
    pub fn batch(&self, loss: &Loss) -> Batch {
        let floats = |name: &str| self.input(name).map(Tensor::to_f64_vec);
        let parameters = loss.interface().runtime_parameters.iter();
        Batch {
            logits: floats("logits").unwrap_or_default(),
            labels: self.input("labels").and_then(Tensor::as_i64).unwrap_or_default().to_vec(),
            features: floats("features").unwrap_or_default(),
            loss_grad: floats("loss_grad").unwrap_or_default(),
            class_weights: floats("class_weights"),
            parameters: parameters.filter_map(|n| Some((n.clone(), *floats(n)?.first()?))).collect(),
            enabled: floats("enabled").map(|v| v.first() != Some(&0.0)),
        }
    }
}

/// A batch in the making: what each row's logits, label and features are.
#[derive(Clone)]
struct Plan {
    name: String,
    rows: Vec<(LogitKind, FeatureKind)>,
    label: LabelKind,
    enabled: bool,
}

#[derive(Clone, Copy)]
enum LabelKind {
    Random,
    Fixed(i64),
    /// Every second row.
    Ignored(i64),
    /// Every row.
    AllIgnored(i64),
    /// Every third row is a class that there is not.
    OutOfRange,
}

/// The cases for a loss.
pub fn generate(loss: &Loss) -> Vec<Case> {
    let mut rng = Rng::with_seed(0x1b_610f);
    plans(loss).iter().map(|plan| plan.build(loss, &mut rng)).collect()
}

fn plans(loss: &Loss) -> Vec<Plan> {
    let interface = loss.interface();
    let n = (LARGEST_BATCH / interface.classes).clamp(1, ROWS);
    let mut plans = logit_plans(n);
    if loss.has_features() {
        plans.extend(feature_plans(n));
    }
    plans.extend(label_plans(interface, n));
    if interface.enabled_input {
        let off = plans.clone().into_iter();
        plans.extend(off.map(|plan| Plan { name: format!("{}, off", plan.name), enabled: false, ..plan }));
        if loss.has_features() {
            let broken = Plan::uniform("broken features, off", n, LogitKind::Random, FeatureKind::NotANumber);
            plans.push(Plan { enabled: false, ..broken });
        }
    }
    plans
}

fn logit_plans(n: usize) -> Vec<Plan> {
    let plan = |name: &str, kind: LogitKind| Plan::uniform(name, n, kind, FeatureKind::Positive);
    let mut plans = vec![plan("random", LogitKind::Random)];
    for margin in [5.0, 10.0, 20.0, 40.0, 80.0, 200.0, 600.0] {
        plans.push(plan(&format!("margin {margin} right"), LogitKind::Margin(-margin)));
        plans.push(plan(&format!("margin {margin} wrong"), LogitKind::Margin(margin)));
    }
    plans.push(plan("saturated right", LogitKind::Margin(-1e4)));
    plans.push(plan("saturated wrong", LogitKind::Margin(1e4)));
    plans.push(plan("equal logits", LogitKind::Equal));
    plans.push(plan("large offset", LogitKind::Offset));
    plans.push(plan("other logits -inf", LogitKind::OthersImpossible));
    plans
}

fn feature_plans(n: usize) -> Vec<Plan> {
    let kinds = [
        ("zero features", FeatureKind::Zero),
        ("tiny features", FeatureKind::Tiny),
        ("huge features", FeatureKind::Huge),
        ("signed features", FeatureKind::Signed),
    ];
    kinds.map(|(name, kind)| Plan::uniform(name, n, LogitKind::Random, kind)).into()
}

fn label_plans(interface: &Interface, n: usize) -> Vec<Plan> {
    let ordinary = Plan::uniform("", n, LogitKind::Random, FeatureKind::Positive);
    let mixed = Plan { rows: mixed_rows(n), ..ordinary.clone() };
    let plan = |name: &str, label: LabelKind, of: &Plan| Plan { name: name.to_owned(), label, ..of.clone() };
    let one = Plan { rows: mixed.rows[..1].to_vec(), ..mixed.clone() };
    let mut plans = vec![
        plan("first class", LabelKind::Fixed(0), &ordinary),
        plan("last class", LabelKind::Fixed(interface.classes as i64 - 1), &ordinary),
        plan("one sample", LabelKind::Random, &one),
        plan("mixed", LabelKind::Random, &mixed),
    ];
    if let Some(index) = interface.ignore_index {
        plans.push(plan("ignored rows", LabelKind::Ignored(index), &mixed));
        plans.push(plan("all ignored", LabelKind::AllIgnored(index), &mixed));
    }
    if interface.check_labels {
        plans.push(plan("labels out of range", LabelKind::OutOfRange, &ordinary));
    }
    plans
}

/// Many kinds beside each other, since a norm over a batch hides a wrong row.
fn mixed_rows(n: usize) -> Vec<(LogitKind, FeatureKind)> {
    let logits = [
        LogitKind::Margin(-22.0),
        LogitKind::Random,
        LogitKind::Margin(80.0),
        LogitKind::Margin(-80.0),
        LogitKind::Equal,
        LogitKind::Margin(-5.0),
        LogitKind::Margin(1e4),
        LogitKind::Margin(-40.0),
        LogitKind::Offset,
        LogitKind::OthersImpossible,
        LogitKind::Margin(20.0),
    ];
    let features =
        [FeatureKind::Positive, FeatureKind::Signed, FeatureKind::Zero, FeatureKind::Huge, FeatureKind::Tiny];
    // The step of 3 a round brings kinds together that would otherwise never meet, such as a sure sample and huge
    // features.
    let feature = |i: usize| features[(i + 3 * (i / logits.len())) % features.len()];
    (0..n).map(|i| (logits[i % logits.len()], feature(i))).collect()
}

impl Plan {
    /// `n` rows of one kind.
    fn uniform(name: &str, n: usize, logits: LogitKind, features: FeatureKind) -> Self {
        let rows = vec![(logits, features); n];
        Self { name: name.to_owned(), rows, label: LabelKind::Random, enabled: true }
    }

    fn build(&self, loss: &Loss, rng: &mut Rng) -> Case {
        let interface = loss.interface();
        let (n, classes) = (self.rows.len(), interface.classes);
        let labels: Vec<i64> = (0..n).map(|i| self.label.of_row(i, classes, rng)).collect();
        let ignored = |label: i64| interface.ignore_index == Some(label);
        let mut logits = Vec::with_capacity(n * classes);
        let mut features = Vec::new();
        for ((logit_kind, feature_kind), label) in self.rows.iter().zip(&labels) {
            // Where a row does not count, nothing in it may matter.
            let (logit_kind, feature_kind) = if ignored(*label) {
                (LogitKind::NotANumber, FeatureKind::NotANumber)
            } else {
                (*logit_kind, *feature_kind)
            };
            let class = usize::try_from(*label).unwrap_or(0).min(classes - 1);
            logit_kind.push(&mut logits, classes, class, interface.dtype, rng);
            let width = if interface.feature_input == FeatureInput::Raw { FEATURES } else { 1 };
            feature_kind.push(&mut features, width, interface, rng);
        }
        let mut inputs = vec![
            ("logits".to_owned(), floats(vec![n, classes], logits, interface.dtype)),
            ("labels".to_owned(), tensor(vec![n], TensorData::I64(labels))),
        ];
        if loss.has_features() {
            let shape = match interface.feature_input {
                FeatureInput::Raw => vec![n, FEATURES],
                FeatureInput::Norm => vec![n],
                FeatureInput::NormColumn => vec![n, 1],
            };
            inputs.push(("features".to_owned(), floats(shape, features, interface.dtype)));
        }
        self.push_runtime_inputs(loss, n, rng, &mut inputs);
        Case { name: self.name.clone(), inputs }
    }

    fn push_runtime_inputs(&self, loss: &Loss, n: usize, rng: &mut Rng, inputs: &mut Vec<(String, Tensor)>) {
        let interface = loss.interface();
        let scalar = interface.scalar_dtype();
        let mut push = |name: &str, shape: Vec<usize>, values: Vec<f64>| {
            inputs.push((name.to_owned(), floats(shape, values, scalar)));
        };
        if interface.reduction == Reduction::None && interface.has_backward() {
            push("loss_grad", vec![n], (0..n).map(|_| rng.f64() * 2.0 - 0.5).collect());
        }
        if interface.class_weighting == ClassWeighting::Runtime {
            let classes = interface.classes;
            push("class_weights", vec![classes], (0..classes).map(|_| 0.1 + 2.0 * rng.f64()).collect());
        }
        for name in &interface.runtime_parameters {
            let value = loss.spec().parameters.get(name).map_or(1.0, |p| p.value);
            push(name, vec![], vec![value]);
        }
        if interface.enabled_input {
            inputs.push(("enabled".to_owned(), Tensor::scalar_bool(self.enabled)));
        }
    }
}

impl LabelKind {
    fn of_row(self, row: usize, classes: usize, rng: &mut Rng) -> i64 {
        let random = rng.usize(..classes) as i64;
        match self {
            LabelKind::Fixed(label) | LabelKind::AllIgnored(label) => label,
            LabelKind::Ignored(label) if row % 2 == 1 => label,
            LabelKind::OutOfRange if row % 6 == 2 => classes as i64,
            LabelKind::OutOfRange if row % 6 == 5 => -1,
            LabelKind::Random | LabelKind::Ignored(_) | LabelKind::OutOfRange => random,
        }
    }
}

fn floats(shape: Vec<usize>, values: Vec<f64>, dtype: DType) -> Tensor {
    tensor(shape, TensorData::F64(values)).cast(dtype)
}

fn tensor(shape: Vec<usize>, data: TensorData) -> Tensor {
    Tensor::new(shape, data).expect("a case makes as many values as its shape holds")
}
