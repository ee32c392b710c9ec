//! One case: a function of tensors, its gradients by the autodiff, and by central differences.

use std::path::Path;

use ibgraph::autodiff::backward;
use ibgraph::graph::{Builder, Dim, Dropout, Op, TensorType, ValueId};
use ibgraph::onnx::{WriteOptions, write};
use ibgraph::runtime::{Engine, OrtEngine, OrtOptions, Provider, Session};
use ibgraph::tensor::{DType, Tensor, TensorData};

/// Central differences of a smooth function of order 1 at step h are off by h²/6 times its third derivative, and by the
/// rounding of the function over h: in float64 at 1e-5 by 1e-10 and 1e-11, here with room for derivatives of order 100.
const STEP_F64: f64 = 1e-5;
const TOLERANCE_F64: f64 = 1e-7;
/// In float32 at 2e-2 by 7e-5 and 3e-5 for each of the terms that add up, here with room for derivatives of order 10.
const STEP_F32: f64 = 2e-2;
const TOLERANCE_F32: f64 = 2e-3;
/// A slope in float32 is a sum of at most four rounded terms of at most 1, each off by 2^-24: 2.4e-7, here with room for
/// constants that are rounded as well.
const TOLERANCE_SLOPE: f64 = 1e-6;

type Function = Box<dyn Fn(&mut Builder, &[ValueId]) -> ValueId>;

/// A function of tensors.
pub struct Case {
    name: String,
    shapes: Vec<Vec<usize>>,
    dtype: DType,
    /// Values are drawn from here.
    range: (f64, f64),
    opset: i64,
    /// Whether it also takes a first extent that is not known.
    dynamic: bool,
    /// Whether it also takes extents from the third on that are not known.
    sliding: bool,
    function: Function,
}

impl Case {
    pub fn new(
        name: &str,
        shapes: &[&[usize]],
        function: impl Fn(&mut Builder, &[ValueId]) -> ValueId + 'static,
    ) -> Self {
        Self {
            name: name.to_owned(),
            shapes: shapes.iter().map(|shape| shape.to_vec()).collect(),
            dtype: DType::F64,
            range: (-2.0, 2.0),
            opset: 18,
            dynamic: true,
            sliding: false,
            function: Box::new(function),
        }
    }

    /// In float32, where ONNX Runtime has no float64.
    pub fn in_f32(mut self) -> Self {
        self.dtype = DType::F32;
        self
    }

    pub fn positive(self) -> Self {
        self.between(0.5, 2.0)
    }

    /// With values from this range.
    pub fn between(mut self, low: f64, high: f64) -> Self {
        self.range = (low, high);
        self
    }

    pub fn opset(mut self, opset: i64) -> Self {
        self.opset = opset;
        self
    }

    /// Also with unknown extents of what a window slides over.
    pub fn sliding(mut self) -> Self {
        self.sliding = true;
        self
    }

    /// Only with extents that are known: the rule needs them.
    pub fn fixed(mut self) -> Self {
        self.dynamic = false;
        self
    }
}

/// Which extents of the first input are not known before the graph runs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Open {
    None,
    First,
    /// The first, and those that a window slides over.
    Space,
}

pub fn engine() -> OrtEngine {
    let library = std::env::var_os("IBGRAPH_TEST_ORT").unwrap_or_else(|| {
        panic!("set IBGRAPH_TEST_ORT to an ONNX Runtime library; `ci/test` installs one and does")
    });
    OrtEngine::open(Path::new(&library), Provider::Cpu, OrtOptions::default()).unwrap()
}

/// Asserts that the gradients of Σ r·f(x), with random r, are those of central differences, element by element.
pub fn assert_rule(case: Case) {
    assert_at(&case, Open::None);
    if case.dynamic {
        assert_at(&case, Open::First);
    }
    if case.sliding {
        assert_at(&case, Open::Space);
    }
}

/// Asserts the slopes of a function of one value, element by element.
pub fn assert_slopes(case: &Case, x: &[f64], expected: &[f64]) {
    let found = gradients(case, Open::None, &[x.to_vec()], &vec![1.0; x.len()]).remove(0);
    assert_eq!(found.len(), expected.len(), "{}", case.name);
    for ((x, found), expected) in x.iter().zip(&found).zip(expected) {
        assert!((found - expected).abs() <= TOLERANCE_SLOPE, "{} at {x}: {found}, not {expected}", case.name);
    }
}

fn assert_at(case: &Case, open: Open) {
    let mut rng = fastrand::Rng::with_seed(23);
    let (low, high) = case.range;
    let mut draw = |count: usize| (0..count).map(|_| low + (high - low) * rng.f64()).collect::<Vec<f64>>();
    let mut values: Vec<Vec<f64>> = case.shapes.iter().map(|shape| draw(shape.iter().product())).collect();
    let (mut forward, y_len) = forward(case, open, &values);
    let weights = draw(y_len);
    let gradients = gradients(case, open, &values, &weights);
    let (step, tolerance) = match case.dtype {
        DType::F64 => (STEP_F64, TOLERANCE_F64),
        _ => (STEP_F32, TOLERANCE_F32),
    };
    for k in 0..values.len() {
        let mut expected = Vec::new();
        for i in 0..values[k].len() {
            let mut side = |sign: f64| {
                let at = values[k][i];
                values[k][i] = at + sign * step;
                let y = run(forward.as_mut(), case, &values, &["y"]).remove(0).to_f64_vec();
                values[k][i] = at;
                y.iter().zip(&weights).map(|(a, b)| a * b).sum::<f64>()
            };
            expected.push((side(1.0) - side(-1.0)) / (2.0 * step));
        }
        let got = &gradients[k];
        assert_eq!(got.len(), expected.len(), "{} (open {open:?}): gradient of input {k}", case.name);
        let scale = 1.0 + expected.iter().fold(0.0f64, |a, v| a.max(v.abs()));
        for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
            assert!(
                (got - expected).abs() <= tolerance * scale,
                "{} (open {open:?}): gradient of input {k} at {i} is {got}, not {expected}",
                case.name
            );
        }
    }
}

fn inputs(b: &mut Builder, case: &Case, open: Open) -> Vec<ValueId> {
    let mut ids = Vec::new();
    for (k, shape) in case.shapes.iter().enumerate() {
        let mut dims: Vec<Dim> = shape.iter().map(|n| Dim::Fixed(*n)).collect();
        if open != Open::None && k == 0 && !dims.is_empty() {
            dims[0] = Dim::symbol("N");
        }
        if open == Open::Space && k == 0 {
            for (axis, dim) in dims.iter_mut().enumerate().skip(2) {
                // One with a name, one without.
                *dim = if axis == 2 { Dim::symbol("H") } else { Dim::Unknown };
            }
        }
        ids.push(b.input(&format!("x{k}"), TensorType::new(case.dtype, &dims)));
    }
    ids
}

fn load(graph: &ibgraph::graph::Graph, case: &Case) -> Box<dyn Session> {
    graph.verify().unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let versions = ibgraph::onnx::Versions::new(case.opset, None).unwrap();
    let bytes = write(graph, &WriteOptions { versions, ..WriteOptions::default() }).unwrap();
    engine().load(&bytes).unwrap_or_else(|e| panic!("{}: {e}\n{graph}", case.name))
}

/// The function alone, and the number of elements of what it makes.
fn forward(case: &Case, open: Open, values: &[Vec<f64>]) -> (Box<dyn Session>, usize) {
    let mut b = Builder::new("forward");
    let xs = inputs(&mut b, case, open);
    let y = (case.function)(&mut b, &xs);
    let graph = b.finish(&[("y".to_owned(), y)]);
    let mut session = load(&graph, case);
    let count = run(session.as_mut(), case, values, &["y"])[0].len();
    (session, count)
}

/// Gradients of Σ weights · y by the autodiff.
fn gradients(case: &Case, open: Open, values: &[Vec<f64>], weights: &[f64]) -> Vec<Vec<f64>> {
    let mut b = Builder::new("backward");
    let xs = inputs(&mut b, case, open);
    let y = (case.function)(&mut b, &xs);
    let flat = Tensor::new(vec![weights.len()], TensorData::F64(weights.to_vec())).unwrap();
    let flat = b.constant(flat.cast(case.dtype));
    let shape = b.node(Op::Shape(0, b.ty(y).rank()), &[y]);
    let reshaped = b.node(Op::Reshape, &[flat, shape]);
    let found = backward(&mut b, &[(y, reshaped)], &xs, &[]).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let names: Vec<String> = (0..xs.len()).map(|k| format!("g{k}")).collect();
    let mut outputs = Vec::new();
    for ((name, gradient), x) in names.iter().zip(found).zip(&xs) {
        let gradient = gradient.unwrap_or_else(|| panic!("{} has no {name}", case.name));
        assert_eq!(b.ty(gradient).dtype, b.ty(*x).dtype, "{} {name}", case.name);
        assert_eq!(b.ty(gradient).rank(), b.ty(*x).rank(), "{} {name}", case.name);
        outputs.push((name.clone(), gradient));
    }
    let graph = b.finish(&outputs);
    let mut session = load(&graph, case);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = run(session.as_mut(), case, values, &names);
    for (gradient, shape) in found.iter().zip(&case.shapes) {
        assert_eq!(gradient.shape(), shape.as_slice(), "{}", case.name);
    }
    found.iter().map(Tensor::to_f64_vec).collect()
}

fn run(session: &mut dyn Session, case: &Case, values: &[Vec<f64>], outputs: &[&str]) -> Vec<Tensor> {
    let tensors: Vec<(String, Tensor)> = values
        .iter()
        .zip(&case.shapes)
        .enumerate()
        .map(|(k, (values, shape))| {
            let tensor = Tensor::new(shape.clone(), TensorData::F64(values.clone())).unwrap();
            (format!("x{k}"), tensor.cast(case.dtype))
        })
        .collect();
    let inputs: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    session.run(&inputs, outputs).unwrap_or_else(|e| panic!("{}: {e}", case.name))
}

/// y = x · mask/(1 - ratio): with x and the gradient of y all ones, the gradient of x is y itself.
pub fn assert_dropout() {
    let mut b = Builder::new("dropout");
    let x = b.input("x", TensorType::new(DType::F32, &[Dim::symbol("N"), Dim::Fixed(50)]));
    let ratio = b.scalar(DType::F32, 0.4);
    let training = b.constant(Tensor::scalar_bool(true));
    let op = Op::Dropout(Dropout { seed: Some(3), number: 0 });
    let y = b.nodes(op, &[x, ratio, training], 2)[0];
    let ones = b.binary(ibgraph::graph::BinaryOp::Div, x, x);
    let gradient = backward(&mut b, &[(y, ones)], &[x], &[]).unwrap()[0].unwrap();
    let graph = b.finish(&[("y".to_owned(), y), ("g".to_owned(), gradient)]);
    let bytes = write(&graph, &WriteOptions::default()).unwrap();
    let x = Tensor::new(vec![20, 50], TensorData::F32(vec![1.0; 1000])).unwrap();
    let found = engine().load(&bytes).unwrap().run(&[("x", &x)], &["y", "g"]).unwrap();
    let (y, g) = (found[0].as_f32().unwrap(), found[1].as_f32().unwrap());
    let kept = y.iter().filter(|v| **v != 0.0).count();
    assert!((500..700).contains(&kept), "{kept} of 1000 are kept at a ratio of 0.4");
    for (y, g) in y.iter().zip(g) {
        assert!((y - g).abs() <= 1e-6, "{y} {g}");
    }
}
