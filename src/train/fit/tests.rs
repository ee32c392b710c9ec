use super::*;
use crate::graft::Names;
use crate::graph::{BinaryOp, Builder, Dim, Op, ReduceOp, TensorType};
use crate::onnx::{WriteOptions, write};
use crate::runtime::{EmbeddedEngine, Engine};
use crate::train::manifest::{FORMAT, Initial, Output, Port};
use crate::train::update::{Parameter, append};
use crate::train::{Optimizer, Recipe};

/// A line through points: prediction x·w, loss = mean (x·w - label)², whose gradient is 2/N xᵀ(x·w - label).
fn step(recipe: &Recipe) -> (Vec<u8>, Manifest) {
    let mut b = Builder::new("line");
    let mut names = Names::new(["x", "labels", "w"].map(str::to_owned));
    let types = [
        TensorType::new(DType::F32, &[Dim::symbol("batch"), Dim::Fixed(2)]),
        TensorType::new(DType::I64, &[Dim::symbol("batch")]),
        TensorType::new(DType::F32, &[Dim::Fixed(2), Dim::Fixed(1)]),
    ];
    let [x, labels, w] = [("x", &types[0]), ("labels", &types[1]), ("w", &types[2])]
        .map(|(name, ty)| b.input(name, ty.clone()));
    let prediction = b.node(Op::MatMul, &[x, w]);
    let target = b.cast(labels, DType::F32);
    let target = b.unsqueeze_last(target);
    let error = b.binary(BinaryOp::Sub, prediction, target);
    let square = b.binary(BinaryOp::Mul, error, error);
    let loss = b.reduce(ReduceOp::Mean, square, None);
    let one = b.scalar(DType::F32, 1.0);
    let zero = b.scalar(DType::F32, 0.0);
    let nothing = b.binary(BinaryOp::Mul, error, zero);
    let ones = b.binary(BinaryOp::Add, nothing, one);
    let count = b.reduce(ReduceOp::Sum, ones, None);
    let two = b.scalar(DType::F32, 2.0);
    let scaled = b.binary(BinaryOp::Mul, error, two);
    let scaled = b.binary(BinaryOp::Div, scaled, count);
    let transposed = b.node(Op::Transpose(vec![1, 0]), &[x]);
    let mut gradient = b.node(Op::MatMul, &[transposed, scaled]);
    let data = |name: &str, ty, role| Input { port: Port::new(name, ty), role, default: None };
    let mut inputs =
        vec![data("x", &types[0], InputRole::Data), data("labels", &types[1], InputRole::Labels)];
    let loss_scale = recipe.loss_scale.then(|| {
        let (input, value) = crate::train::loss_scale(&mut b, &mut names);
        inputs.push(input);
        gradient = b.binary(BinaryOp::Mul, gradient, value);
        value
    });
    let parameter = Parameter { name: "w".into(), value: w, gradient, decay: true, initial: Initial::Zeros };
    let update = append(&mut b, &[parameter], recipe, loss_scale, &mut names);
    inputs.extend(update.inputs);
    let port = Port::new("loss", b.ty(loss));
    let mut outputs = vec![Output { port, role: OutputRole::Loss, of: None }];
    outputs.extend(update.outputs);
    let mut values = vec![("loss".to_owned(), loss)];
    values.extend(update.values);
    let manifest = Manifest {
        format: FORMAT,
        kind: Kind::TrainStep,
        recipe: Some(recipe.clone()),
        loss: None,
        inputs,
        outputs,
        carried: update.carried,
    };
    (write(&b.finish(&values), &WriteOptions::default()).unwrap(), manifest)
}

/// label = 3·x₀ + x₁, for 23 points.
fn data(manifest: &Manifest) -> Dataset {
    let labels: Vec<i64> = (0..23).map(|k| 3 * (k % 5) + k % 3).collect();
    let x = (0..23).flat_map(|k| [(k % 5) as f32, (k % 3) as f32]).collect();
    let arrays = IndexMap::from([
        ("x".to_owned(), Tensor::new(vec![23, 2], TensorData::F32(x)).unwrap()),
        ("labels".to_owned(), Tensor::new(vec![23], TensorData::I64(labels)).unwrap()),
    ]);
    Dataset::new(&arrays, manifest).unwrap()
}

fn settings() -> Settings {
    Settings {
        epochs: 6,
        batch: 5,
        learning_rate: 0.05,
        schedule: Schedule::Constant,
        warmup: 3,
        seed: 7,
        first_phase: 0,
        class_weights: None,
        loss_parameters: IndexMap::new(),
        loss_scale: 4.0,
    }
}

fn initial(manifest: &Manifest) -> State {
    let values = manifest.carried.iter().map(|carried| {
        let shape = carried.port.fixed_shape().unwrap();
        (carried.port.name.clone(), Tensor::zeros(carried.port.dtype, shape).unwrap())
    });
    State { values: values.collect(), classifier: Some(vec!["w".into()]), run: None, losses: Vec::new() }
}

/// Runs from `state` until `batches` are done in all, or to the end.
fn run(recipe: &Recipe, settings: &Settings, state: Option<State>, batches: u64) -> Result<State, FitError> {
    let (bytes, manifest) = step(recipe);
    let data = data(&manifest);
    let mut session = EmbeddedEngine::new(Some(1)).load(&bytes).unwrap();
    let state = state.unwrap_or_else(|| initial(&manifest));
    let mut fit = Fit::new(session.as_mut(), &manifest, &data, settings, state)?;
    while !fit.is_done() && fit.position().runs < batches {
        fit.step()?;
    }
    fit.state()
}

fn momentum() -> Recipe {
    Recipe::new(Optimizer::Momentum { momentum: 0.5, nesterov: false })
}

#[test]
fn the_loop_finds_the_line() {
    let settings = Settings { epochs: 60, ..settings() };
    let state = run(&momentum(), &settings, None, u64::MAX).unwrap();
    let w = state.values["w"].to_f64_vec();
    assert!((w[0] - 3.0).abs() < 1e-3 && (w[1] - 1.0).abs() < 1e-3, "{w:?}");
    assert_eq!(state.losses.len(), 60 * 5);
    assert!(state.losses[299] < 1e-5 && state.losses[0] > 1.0);
}

#[test]
fn a_resumed_run_ends_as_one_that_was_never_interrupted() {
    for recipe in [momentum(), Recipe { accumulate: Some(3), loss_scale: true, ..momentum() }] {
        let whole = run(&recipe, &settings(), None, u64::MAX).unwrap();
        for cut in [1, 5, 12, 29] {
            let part = run(&recipe, &settings(), None, cut).unwrap();
            let archive = part.to_npz().to_bytes().unwrap();
            let read = crate::npz::Npz::read(std::io::Cursor::new(archive)).unwrap();
            let resumed = run(&recipe, &settings(), Some(State::from_npz(read).unwrap()), u64::MAX).unwrap();
            assert_eq!(resumed, whole, "cut after {cut} batches");
        }
    }
}

#[test]
fn a_run_does_not_go_on_as_another() {
    let part = run(&momentum(), &settings(), None, 7).unwrap();
    let other = Settings { batch: 4, ..settings() };
    let error = run(&momentum(), &other, Some(part.clone()), u64::MAX).unwrap_err().to_string();
    assert!(error.contains("--batch") && error.contains("--from"), "{error}");
    let longer = Settings { epochs: 8, ..settings() };
    assert_eq!(run(&momentum(), &longer, Some(part), u64::MAX).unwrap().losses.len(), 8 * 5);
}

#[test]
fn the_order_depends_on_the_seed_and_on_nothing_else() {
    let (_, manifest) = step(&momentum());
    let data = data(&manifest);
    assert_eq!(data.order(1, 2), data.order(1, 2));
    assert_ne!(data.order(1, 2), data.order(1, 3));
    assert_ne!(data.order(1, 2), data.order(2, 2));
    let mut order = data.order(1, 2);
    order.sort_unstable();
    assert_eq!(order, (0..23).collect::<Vec<_>>());
}

#[test]
fn a_run_that_diverges_says_where() {
    let settings = Settings { learning_rate: 1e30, warmup: 0, ..settings() };
    let error = run(&momentum(), &settings, None, u64::MAX).unwrap_err();
    assert!(matches!(error, FitError::Diverged { epoch: 1, .. }), "{error}");
}

#[test]
fn an_infinite_gradient_halves_the_loss_scale_and_moves_nothing() {
    let recipe = Recipe { loss_scale: true, ..momentum() };
    let settings = Settings { loss_scale: f64::from(f32::MAX), ..settings() };
    let state = run(&recipe, &settings, None, 1).unwrap();
    assert_eq!(state.values["w"].to_f64_vec(), [0.0, 0.0]);
    let run: Run = serde_json::from_value(state.run.unwrap()).unwrap();
    assert_eq!(run.position.loss_scale, f64::from(f32::MAX) / 2.0);
    assert_eq!((run.position.updates, run.position.runs), (0, 1));
}

#[test]
fn the_learning_rate_follows_its_schedule() {
    let at = |schedule: &Schedule, epoch, updates| {
        let settings = Settings { schedule: schedule.clone(), learning_rate: 1.0, warmup: 0, ..settings() };
        settings.rate(&Position { epoch, updates, ..Position::start(&settings) }, 100)
    };
    let drops = Schedule::Drops { epochs: vec![2, 4], factor: 0.1 };
    assert_eq!([1, 2, 3, 4].map(|epoch| at(&drops, epoch, 0)), [1.0, 0.1, 0.1, 0.1f64.powi(2)]);
    let cosine = [0, 50, 100].map(|updates| at(&Schedule::Cosine, 0, updates));
    assert!((cosine[0] - 1.0).abs() + (cosine[1] - 0.5).abs() + cosine[2].abs() < 1e-15, "{cosine:?}");
    let warm = Settings { learning_rate: 1.0, warmup: 4, ..settings() };
    let rates = [0, 1, 3, 9].map(|updates| warm.rate(&Position { updates, ..Position::start(&warm) }, 100));
    assert_eq!(rates, [0.25, 0.5, 1.0, 1.0]);
}

#[test]
fn wrong_settings_and_data_are_refused() {
    let fails = |change: &dyn Fn(&mut Settings), words: &str| {
        let mut settings = settings();
        change(&mut settings);
        let error = run(&momentum(), &settings, None, 1).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    fails(&|s| s.batch = 0, "batch of 0");
    fails(&|s| s.batch = 24, "batch of 24 from 23 samples");
    fails(&|s| s.learning_rate = f64::NAN, "learning rate");
    fails(&|s| s.schedule = Schedule::Drops { epochs: vec![1], factor: f64::NAN }, "--lr-drop-factor");
    fails(&|s| s.first_phase = 1, "--runtime-input enabled");
    fails(&|s| s.class_weights = Some(vec![1.0]), "--runtime-input class_weights");
    fails(&|s| _ = s.loss_parameters.insert("alpha".into(), 1.0), "--runtime-input alpha");
    let (_, manifest) = step(&momentum());
    let with = |name: &str, tensor: Tensor| {
        let mut arrays = IndexMap::from([
            ("x".to_owned(), Tensor::zeros(DType::F32, vec![3, 2]).unwrap()),
            ("labels".to_owned(), Tensor::zeros(DType::I64, vec![3]).unwrap()),
        ]);
        arrays.insert(name.to_owned(), tensor);
        Dataset::new(&arrays, &manifest)
    };
    let of = |dtype, shape: &[usize]| Tensor::zeros(dtype, shape.to_vec()).unwrap();
    assert!(with("labels", of(DType::I32, &[3])).is_ok());
    assert!(with("x", of(DType::F32, &[4, 2])).unwrap_err().to_string().contains("4 rows"));
    assert!(with("x", of(DType::F32, &[3, 3])).unwrap_err().to_string().contains("[batch, 2]"));
    assert!(with("labels", of(DType::F32, &[3])).unwrap_err().to_string().contains("integers"));
    let counted = with("labels", of(DType::I64, &[3])).unwrap();
    assert_eq!(counted.counts(2, None).unwrap(), [3, 0]);
    assert!(counted.counts(0, None).is_err());
}

#[test]
fn a_label_that_is_no_class_is_refused_unless_it_does_not_count() {
    let (_, mut manifest) = step(&momentum());
    manifest.loss = Some(serde_json::json!({"interface": {"classes": 2, "ignore_index": 255}}));
    let data = |labels: [i64; 3]| {
        let arrays = IndexMap::from([
            ("x".to_owned(), Tensor::zeros(DType::F32, vec![3, 2]).unwrap()),
            ("labels".to_owned(), Tensor::new(vec![3], TensorData::I64(labels.to_vec())).unwrap()),
        ]);
        Dataset::new(&arrays, &manifest).unwrap()
    };
    let good = data([0, 255, 1]);
    assert_eq!(good.check_labels(), Ok(()));
    assert_eq!([0, 1, 2, 3].map(|row| good.class(row)), [Some(0), None, Some(1), None]);
    // An engine would take -1 for the last class.
    for wrong in [-1, 2, i64::MAX] {
        let error = data([0, 1, wrong]).check_labels().unwrap_err().to_string();
        assert!(error.contains(&format!("row 2 has label {wrong}")), "{error}");
    }
    assert_eq!(data([0, -1, 255]).check_classes(), Ok(()), "a negative label is not measured");
    assert!(data([0, 2, 255]).check_classes().is_err());
}
