//! Text to [`Descriptor`], refusing what is not right.

use super::{Binary, Descriptor, FORMAT, FeatureInput, Input, Output, Read, Reduction, Roots, Step, Unary};

/// Longest text that is read. The longest that `ibgraph` writes, for a formula of 4096 bytes, is a few 100 kB.
const LONGEST: usize = 1 << 22;
/// Most classes: labels are held in 32 bits, with two values left for rows that are ignored or invalid.
const MOST_CLASSES: usize = i32::MAX as usize;

/// Why a text is no loss that this library can compute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescriptorError {
    /// Line of the text, from 1.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

impl std::fmt::Display for DescriptorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "attribute `loss`, line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for DescriptorError {}

/// Reads the text of the attribute `loss`.
///
/// # Errors
/// A newer format, and everything that breaks the invariant of [`Descriptor`].
pub fn parse(text: &str) -> Result<Descriptor, DescriptorError> {
    let fail = |line: usize, why: String| Err(DescriptorError { line, why });
    if text.len() > LONGEST {
        return fail(1, format!("{} bytes are too many", text.len()));
    }
    let mut reader = Reader::default();
    let mut lines = text.lines().enumerate();
    let (_, header) = lines.next().unwrap_or((0, ""));
    if let Err(why) = check_header(header) {
        return fail(1, why);
    }
    for (index, line) in lines {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        if let [key, rest @ ..] = words.as_slice()
            && let Err(why) = reader.line(key, rest)
        {
            return fail(index + 1, why);
        }
    }
    reader.finish().map_err(|why| DescriptorError { line: text.lines().count(), why })
}

fn check_header(line: &str) -> Result<(), String> {
    let version = line.strip_prefix("ibgraph-loss ").and_then(|v| v.trim().parse::<u32>().ok());
    match version {
        Some(FORMAT) => Ok(()),
        Some(newer) if newer > FORMAT => Err(format!(
            "the loss has format {newer}, and this library reads up to {FORMAT}; use the operator library that came \
             with the ibgraph that wrote the file, or run the file without one"
        )),
        _ => Err("this is no loss that ibgraph wrote".into()),
    }
}

/// Keys of lines that are no steps; each comes once.
const KEYS: [&str; 10] =
    ["classes", "inputs", "outputs", "reduction", "features", "ignore", "check_labels", "scale", "on", "off"];

#[derive(Default)]
struct Reader {
    /// Those of [`KEYS`] that have come.
    found: Vec<&'static str>,
    classes: Option<usize>,
    inputs: Vec<Input>,
    parameters: Vec<String>,
    outputs: Vec<Output>,
    reduction: Option<Reduction>,
    features: Option<FeatureInput>,
    ignore_index: Option<i64>,
    check_labels: bool,
    scale: Option<f64>,
    steps: Vec<Step>,
    on: Option<Roots>,
    off: Option<Roots>,
}

impl Reader {
    fn line(&mut self, key: &str, rest: &[&str]) -> Result<(), String> {
        if let Some(key) = KEYS.iter().find(|known| **known == key) {
            if self.found.contains(key) {
                return Err(format!("`{key}` comes twice"));
            }
            self.found.push(key);
        }
        match (key, rest) {
            ("classes", [n]) => self.classes = Some(number(n)?),
            ("inputs", names) => {
                self.inputs = names.iter().map(|n| self.input(n)).collect::<Result<_, _>>()?
            }
            ("outputs", names) => {
                self.outputs = names.iter().map(|n| output(n)).collect::<Result<_, _>>()?;
            }
            ("reduction", [name]) => self.reduction = Some(reduction(name)?),
            ("features", [name]) => self.features = Some(features(name)?),
            ("ignore", [label]) => self.ignore_index = Some(number(label)?),
            ("check_labels", []) => self.check_labels = true,
            ("scale", [value]) => self.scale = Some(number(value)?),
            ("on", roots) => self.on = Some(read_roots(roots)?),
            ("off", roots) => self.off = Some(read_roots(roots)?),
            (op, operands) => {
                let step = self.step(op, operands)?;
                self.steps.push(step);
            }
        }
        Ok(())
    }

    fn input(&mut self, name: &str) -> Result<Input, String> {
        Ok(match name {
            "logits" => Input::Logits,
            "labels" => Input::Labels,
            "features" => Input::Features,
            "loss_grad" => Input::LossGrad,
            "class_weights" => Input::ClassWeights,
            "logit_bias" => Input::LogitBias,
            "label_margin" => Input::LabelMargin,
            "enabled" => Input::Enabled,
            other => {
                let parameter = other.strip_prefix(':').ok_or(format!("no input is named `{other}`"))?;
                if self.parameters.iter().any(|known| known == parameter) {
                    return Err(format!("two inputs are `{other}`"));
                }
                self.parameters.push(parameter.to_owned());
                Input::Parameter(self.parameters.len() - 1)
            }
        })
    }

    fn step(&self, op: &str, operands: &[&str]) -> Result<Step, String> {
        if let Some(name) = op.strip_prefix(':') {
            let found = self.parameters.iter().position(|p| p == name);
            return match (found, operands) {
                (Some(index), []) => Ok(Step::Read(Read::Parameter(index))),
                _ => Err(format!("no parameter `{name}` is among the inputs")),
            };
        }
        if let ("const", [value]) = (op, operands) {
            return number(value).map(Step::Const);
        }
        let steps: Vec<usize> = operands.iter().map(|o| self.earlier(o)).collect::<Result<_, _>>()?;
        match steps.as_slice() {
            [] => read(op).map(Step::Read),
            [a] => unary(op).map(|f| Step::Unary(f, *a)),
            [a, b] => binary(op).map(|f| Step::Binary(f, *a, *b)),
            [a, x, y] if op == "if_zero" => Some(Step::IfZero(*a, *x, *y)),
            _ => None,
        }
        .ok_or_else(|| format!("no step is named `{op}` with {} operands", operands.len()))
    }

    fn earlier(&self, word: &str) -> Result<usize, String> {
        let index: usize = number(word)?;
        if index < self.steps.len() {
            return Ok(index);
        }
        Err(format!("step {} uses step {index}, which does not come before it", self.steps.len()))
    }

    fn finish(self) -> Result<Descriptor, String> {
        let descriptor = Descriptor {
            classes: self.classes.ok_or("`classes` is missing")?,
            reduction: self.reduction.ok_or("`reduction` is missing")?,
            features: self.features.unwrap_or(FeatureInput::Raw),
            scale: self.scale.unwrap_or(1.0),
            on: self.on.ok_or("`on` is missing")?,
            off: self.off.unwrap_or_default(),
            inputs: self.inputs,
            outputs: self.outputs,
            ignore_index: self.ignore_index,
            check_labels: self.check_labels,
            steps: self.steps,
        };
        descriptor.check()?;
        Ok(descriptor)
    }
}

impl Descriptor {
    fn check(&self) -> Result<(), String> {
        if !(1..=MOST_CLASSES).contains(&self.classes) {
            return Err(format!("{} classes are none or too many", self.classes));
        }
        if !(self.scale.is_finite() && self.scale > 0.0) {
            return Err(format!("the scale is {}, not above 0", self.scale));
        }
        if self.outputs.is_empty() {
            return Err("there are no outputs".into());
        }
        self.check_inputs()?;
        self.check_outputs()?;
        self.check_roots(&self.on)?;
        if self.position(Input::Enabled).is_some() {
            self.check_roots(&self.off)?;
        }
        Ok(())
    }

    fn check_inputs(&self) -> Result<(), String> {
        for (k, input) in self.inputs.iter().enumerate() {
            if self.inputs[..k].contains(input) {
                return Err(format!("two inputs are {input:?}"));
            }
        }
        let needed = [
            (Input::Logits, true),
            (Input::Labels, true),
            (Input::Features, self.reads(Read::FeatureL1) || self.has(Output::FeaturesGrad)),
            (Input::LossGrad, self.reads(Read::Upstream)),
        ];
        match needed.iter().find(|(input, needed)| *needed && self.position(*input).is_none()) {
            Some((input, _)) => Err(format!("the input {input:?} is missing")),
            None => Ok(()),
        }
    }

    fn check_outputs(&self) -> Result<(), String> {
        for (k, output) in self.outputs.iter().enumerate() {
            match output {
                Output::Entry(step) if *step >= self.steps.len() => {
                    return Err(format!("an output is step {step}, which there is not"));
                }
                Output::Entry(_) => {}
                other if self.outputs[..k].contains(other) => {
                    return Err(format!("two outputs are {other:?}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_roots(&self, roots: &Roots) -> Result<(), String> {
        let all = [roots.row_loss, roots.share, roots.others, roots.label, roots.shift, roots.by_norm];
        if let Some(step) = all.iter().flatten().find(|step| **step >= self.steps.len()) {
            return Err(format!("a root is step {step}, which there is not"));
        }
        let row_loss =
            self.has(Output::RowLoss) || self.has(Output::Loss) && self.reduction == Reduction::None;
        let needed = [
            ("row_loss", row_loss, roots.row_loss),
            ("share", self.has(Output::Loss) && self.reduction != Reduction::None, roots.share),
            ("others", self.has(Output::LogitsGrad), roots.others),
            ("by_norm", self.has(Output::FeaturesGrad), roots.by_norm),
        ];
        match needed.iter().find(|(_, needed, root)| *needed && root.is_none()) {
            Some((name, _, _)) => Err(format!("the root `{name}` is missing")),
            None => Ok(()),
        }
    }
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("`{word}` is not a number that fits here"))
}

fn output(name: &str) -> Result<Output, String> {
    Ok(match name {
        "loss" => Output::Loss,
        "logits_grad" => Output::LogitsGrad,
        "features_grad" => Output::FeaturesGrad,
        "row_loss" => Output::RowLoss,
        step => Output::Entry(number(step)?),
    })
}

fn reduction(name: &str) -> Result<Reduction, String> {
    match name {
        "none" => Ok(Reduction::None),
        "sum" => Ok(Reduction::Sum),
        "mean" => Ok(Reduction::Mean),
        other => Err(format!("no reduction is named `{other}`")),
    }
}

fn features(name: &str) -> Result<FeatureInput, String> {
    match name {
        "raw" => Ok(FeatureInput::Raw),
        "norm" => Ok(FeatureInput::Norm),
        "norm-column" => Ok(FeatureInput::NormColumn),
        other => Err(format!("features cannot be `{other}`")),
    }
}

fn read_roots(words: &[&str]) -> Result<Roots, String> {
    let mut roots = Roots::default();
    for word in words {
        let (name, step) = word.split_once('=').ok_or(format!("`{word}` is not name=step"))?;
        let slot = match name {
            "row_loss" => &mut roots.row_loss,
            "share" => &mut roots.share,
            "others" => &mut roots.others,
            "label" => &mut roots.label,
            "shift" => &mut roots.shift,
            "by_norm" => &mut roots.by_norm,
            other => return Err(format!("no root is named `{other}`")),
        };
        *slot = Some(number(step)?);
    }
    Ok(roots)
}

fn read(name: &str) -> Option<Read> {
    Some(match name {
        "nll" => Read::Nll,
        "p" => Read::P,
        "q" => Read::Q,
        "margin" => Read::Margin,
        "feature_l1" => Read::FeatureL1,
        "class_weight" => Read::ClassWeight,
        "mean_nll" => Read::MeanNll,
        "count" => Read::Count,
        "weight_sum" => Read::WeightSum,
        "loss_grad" => Read::Upstream,
        _ => return None,
    })
}

fn unary(name: &str) -> Option<Unary> {
    Some(match name {
        "neg" => Unary::Neg,
        "exp" => Unary::Exp,
        "log" => Unary::Log,
        "sqrt" => Unary::Sqrt,
        "abs" => Unary::Abs,
        "sign" => Unary::Sign,
        "one_minus_exp" => Unary::OneMinusExp,
        _ => return None,
    })
}

fn binary(name: &str) -> Option<Binary> {
    Some(match name {
        "add" => Binary::Add,
        "sub" => Binary::Sub,
        "mul" => Binary::Mul,
        "div" => Binary::Div,
        "pow" => Binary::Pow,
        "min" => Binary::Min,
        "max" => Binary::Max,
        _ => return None,
    })
}
