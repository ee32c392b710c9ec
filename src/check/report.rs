//! What a check found, for people and for machines.

use std::fmt;

use serde::{Serialize, Serializer};

use super::placement::Placement;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Version of this form.
    pub format: u32,
    /// The file.
    pub file: String,
    /// Name of the loss.
    pub loss: String,
    /// C
    pub classes: usize,
    /// Element type of the logits.
    pub dtype: String,
    /// Operator set of the file.
    pub opset: Option<i64>,
    /// Engine, its version, provider and library.
    pub engine: EngineReport,
    /// What is wrong with the structure.
    pub structure: Vec<String>,
    /// Numbers, case by case.
    pub cases: Vec<CaseReport>,
    /// Which provider ran each node; `None` for an engine with one place.
    pub placement: Option<Placement>,
    /// Whether all held.
    pub passed: bool,
}

/// The engine that did the work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineReport {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it ran.
    pub provider: String,
    /// Its library, where it is one.
    pub library: Option<String>,
}

/// A case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// N
    pub rows: usize,
    /// What the outputs were compared with.
    pub against: &'static str,
    /// Its outputs.
    pub outputs: Vec<OutputReport>,
    /// Whether all held.
    pub passed: bool,
}

/// An output of a case. Errors are relative; see `docs/accuracy.md`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutputReport {
    /// Its name.
    pub name: String,
    /// Error of the whole output.
    #[serde(serialize_with = "number")]
    pub error: f64,
    /// Error of the worst row of a gradient.
    #[serde(serialize_with = "optional_number")]
    pub worst_row_error: Option<f64>,
    /// Which row that is.
    pub worst_row: Option<usize>,
    /// What the whole output is allowed.
    pub tolerance: f64,
    /// What a row is allowed.
    pub row_tolerance: Option<f64>,
    /// Whether it held.
    pub passed: bool,
}

/// JSON has no infinity, which stands for a value that is not finite where it should be; it is written as text.
fn number<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() { to.serialize_f64(*value) } else { to.serialize_str("inf") }
}

fn optional_number<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => number(value, to),
        None => to.serialize_none(),
    }
}

impl Report {
    /// Whether structure, numbers and placement all held.
    pub fn passed(&self) -> bool {
        self.passed
    }

    /// The largest error of an output over all cases: (name, of the whole, of a row).
    fn worst(&self) -> Vec<(&str, f64, f64)> {
        let mut worst: Vec<(&str, f64, f64)> = Vec::new();
        for output in self.cases.iter().flat_map(|case| &case.outputs) {
            let (whole, row) = (output.error, output.worst_row_error.unwrap_or(0.0));
            match worst.iter_mut().find(|(name, ..)| *name == output.name) {
                Some((_, w, r)) => (*w, *r) = (w.max(whole), r.max(row)),
                None => worst.push((&output.name, whole, row)),
            }
        }
        worst
    }
}

impl OutputReport {
    fn cell(&self) -> String {
        let mark = if self.passed { "" } else { " !" };
        match self.worst_row_error {
            Some(row) => format!("{} / {}{mark}", short(self.error), short(row)),
            None => format!("{}{mark}", short(self.error)),
        }
    }
}

fn short(error: f64) -> String {
    if error == 0.0 { "0".to_owned() } else { format!("{error:.1e}") }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opset = self.opset.map_or("?".to_owned(), |v| v.to_string());
        writeln!(f, "{}: {}, {} classes, {}, opset {opset}", self.file, self.loss, self.classes, self.dtype)?;
        write!(f, "engine: {} {}, {}", self.engine.name, self.engine.version, self.engine.provider)?;
        match &self.engine.library {
            Some(library) => writeln!(f, " ({library})")?,
            None => writeln!(f, " (embedded)")?,
        }
        for problem in &self.structure {
            writeln!(f, "structure: {problem}")?;
        }
        self.write_cases(f)?;
        self.write_placement(f)?;
        write!(f, "{}", if self.passed { "PASS" } else { "FAIL" })
    }
}

impl Report {
    fn write_cases(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.worst().iter().map(|(name, ..)| *name).collect();
        let mut table = vec![vec!["case".to_owned(), "rows".to_owned()]];
        table[0].extend(names.iter().map(|n| (*n).to_owned()));
        table[0].push(String::new());
        for case in &self.cases {
            let mut line = vec![case.name.clone(), case.rows.to_string()];
            line.extend(case.outputs.iter().map(OutputReport::cell));
            line.push(if case.passed { "ok" } else { "FAIL" }.to_owned());
            table.push(line);
        }
        write_table(f, &table)?;
        for (name, whole, row) in self.worst() {
            let row = if row > 0.0 { format!(", worst row {}", short(row)) } else { String::new() };
            writeln!(f, "worst {name}: {}{row}", short(whole))?;
        }
        let limits = self.cases.iter().flat_map(|c| &c.outputs).find(|o| o.row_tolerance.is_some());
        if let Some(output) = limits {
            let row = output.row_tolerance.unwrap_or(output.tolerance);
            writeln!(
                f,
                "allowed: {:.1e}, a row {row:.1e} (relative error / worst row of a gradient)",
                output.tolerance
            )?;
        }
        Ok(())
    }

    fn write_placement(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(placement) = &self.placement else {
            return Ok(());
        };
        let counts: Vec<String> = placement.nodes.iter().map(|(p, n)| format!("{n} on {p}")).collect();
        writeln!(f, "nodes: {}", counts.join(", "))?;
        if placement.nodes.len() > 1 {
            for (node, op, provider) in &placement.assignment {
                writeln!(f, "  {provider}  {op}  {node}")?;
            }
        }
        placement.problems.iter().try_for_each(|problem| writeln!(f, "placement: {problem}"))
    }
}

fn write_table(f: &mut fmt::Formatter<'_>, table: &[Vec<String>]) -> fmt::Result {
    let columns = table.iter().map(Vec::len).max().unwrap_or(0);
    let width = |k: usize| table.iter().filter_map(|line| line.get(k)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|k| width(k).unwrap_or(0)).collect();
    for line in table {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, w)| format!("{cell:<w$}")).collect();
        writeln!(f, "  {}", cells.join("  ").trim_end())?;
    }
    Ok(())
}
