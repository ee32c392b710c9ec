//! Runs a check.

use std::path::{Path, PathBuf};

use super::cases::{Case, generate};
use super::compare::compare;
use super::data::{DataError, DataSet, read_directory};
use super::placement;
use super::report::{CaseReport, EngineReport, OutputReport, Report};
use super::structure;
use super::tolerance::{Tolerance, tolerance};
use crate::artifact::{self, Artifact, ArtifactError};
use crate::loss::Loss;
use crate::loss::reference::{ReferenceError, evaluate};
use crate::runtime::{Engine, RuntimeError, Session};
use crate::tensor::{DType, Tensor};

/// Version of the JSON form of a report.
const FORMAT: u32 = 1;

/// Why a check could not be made; a check that was made and failed is a [`Report`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// Batches of so many classes are not generated.
    #[error(
        "{0} classes are more than a check makes batches for ({MOST_CLASSES}); check on data, with --data"
    )]
    TooManyClasses(usize),
    /// The file cannot be opened.
    #[error("{file}: {error}")]
    Artifact {
        /// The file.
        file: String,
        /// Why.
        error: ArtifactError,
    },
    /// The test data cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The reference cannot evaluate the test data.
    #[error("{case}: {error}")]
    Reference {
        /// The case.
        case: String,
        /// Why.
        error: ReferenceError,
    },
    /// The engine cannot load the file, or cannot be had.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The engine failed on a case.
    #[error("case `{case}`: {error}")]
    Run {
        /// The case.
        case: String,
        /// Why.
        error: RuntimeError,
    },
}

/// Most classes of generated cases: the batches of a check are held at once, some 30 numbers a class.
const MOST_CLASSES: usize = 10_000_000;

/// Checks the model in `bytes`. `file` is its name for the report. With `data` the cases are those of that directory,
/// else they are generated. `progress` is told the number of cases done and of all.
///
/// # Errors
/// What keeps the check from being made.
pub fn check(
    file: &str,
    bytes: &[u8],
    engine: &dyn Engine,
    data: Option<&Path>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Report, CheckError> {
    let opened = artifact::open(bytes);
    let artifact = opened.map_err(|error| CheckError::Artifact { file: file.to_owned(), error })?;
    let structure = structure::problems(&artifact);
    let mut cases = Vec::new();
    let mut placement = None;
    // Numbers of a graph with other ports than its loss would be compared with nothing.
    if structure.is_empty() {
        let mut session = engine.load(bytes)?;
        cases = Runner { artifact: &artifact, engine, session: session.as_mut() }.run(data, progress)?;
        let nodes = session.placements()?;
        placement = nodes.map(|n| placement::judge(artifact.graph(), engine.info().provider, &n));
    }
    let placed = placement.as_ref().is_none_or(|p| p.problems.is_empty());
    let passed = structure.is_empty() && placed && !cases.is_empty() && cases.iter().all(|c| c.passed);
    let info = engine.info();
    Ok(Report {
        format: FORMAT,
        file: file.to_owned(),
        loss: artifact.loss.spec().name.clone(),
        classes: artifact.loss.interface().classes,
        dtype: artifact.loss.interface().dtype.to_string(),
        opset: structure::opset(&artifact),
        engine: EngineReport {
            name: info.name.to_owned(),
            version: info.version.clone(),
            provider: info.provider.to_string(),
            library: info.location.map(|p: PathBuf| p.display().to_string()),
        },
        structure,
        cases,
        placement,
        passed,
    })
}

/// What an output should be.
struct Expected {
    name: String,
    values: Vec<f64>,
    /// See [`compare`].
    row_floors: Option<Vec<f64>>,
}

/// Outputs that a case should have, and where they come from.
type Source = (&'static str, Vec<Expected>);

struct Runner<'a> {
    artifact: &'a Artifact,
    engine: &'a dyn Engine,
    session: &'a mut dyn Session,
}

impl Runner<'_> {
    fn loss(&self) -> &Loss {
        &self.artifact.loss
    }

    fn run(
        &mut self,
        data: Option<&Path>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<CaseReport>, CheckError> {
        let mut reports = Vec::new();
        match data {
            Some(dir) => {
                let sets = read_directory(dir, self.loss())?;
                for (done, set) in sets.iter().enumerate() {
                    progress(done, sets.len());
                    self.data_set(set, &mut reports)?;
                }
            }
            None => {
                let classes = self.loss().interface().classes;
                if classes > MOST_CLASSES {
                    return Err(CheckError::TooManyClasses(classes));
                }
                let cases = generate(self.loss());
                for (done, case) in cases.iter().enumerate() {
                    progress(done, cases.len());
                    let expected = self.reference(case)?;
                    reports.push(self.case(case, &[("the reference", expected)])?.remove(0));
                }
            }
        }
        Ok(reports)
    }

    /// Compares with the stored outputs, where they fit the graph's types, and with the reference.
    fn data_set(&mut self, set: &DataSet, reports: &mut Vec<CaseReport>) -> Result<(), CheckError> {
        let ports = self.loss().inputs();
        let dtype = |name: &str| ports.iter().find(|p| p.name == name).map_or(DType::F32, |p| p.dtype);
        let as_stored = set.inputs.iter().all(|(name, tensor)| tensor.dtype() == dtype(name));
        let inputs = set.inputs.iter().map(|(name, tensor)| (name.clone(), tensor.cast(dtype(name))));
        let case = Case { name: set.name.clone(), inputs: inputs.collect() };
        let reference = self.reference(&case)?;
        let mut expected = Vec::new();
        if as_stored && !set.outputs.is_empty() {
            let stored = set.outputs.iter().map(|(name, tensor)| Expected {
                name: name.clone(),
                values: tensor.to_f64_vec(),
                row_floors: reference.iter().find(|e| e.name == *name).and_then(|e| e.row_floors.clone()),
            });
            expected.push(("the stored outputs", stored.collect()));
        }
        expected.push(("the reference", reference));
        reports.extend(self.case(&case, &expected)?);
        Ok(())
    }

    fn reference(&self, case: &Case) -> Result<Vec<Expected>, CheckError> {
        let evaluated = evaluate(self.loss(), &case.batch(self.loss()));
        let evaluation =
            evaluated.map_err(|error| CheckError::Reference { case: case.name.clone(), error })?;
        let outputs = self.loss().interface().outputs.iter();
        let expected = outputs.filter_map(|name| {
            Some(Expected {
                name: name.clone(),
                values: evaluation.output(name)?.to_vec(),
                row_floors: evaluation.row_floors(name, self.tolerance(DType::F32).cancelled),
            })
        });
        Ok(expected.collect())
    }

    fn case(&mut self, case: &Case, expected: &[Source]) -> Result<Vec<CaseReport>, CheckError> {
        let inputs: Vec<(&str, &Tensor)> = case.inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
        let names = self.artifact.loss.interface().outputs.clone();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let run = self.session.run(&inputs, &names);
        let got = run.map_err(|error| CheckError::Run { case: case.name.clone(), error })?;
        let rows = case.inputs.first().and_then(|(_, t)| t.shape().first()).copied().unwrap_or(0);
        let report = |(against, expected): &Source| {
            let outputs = names.iter().zip(&got).filter_map(|(name, got)| {
                let want = expected.iter().find(|e| e.name == *name)?;
                Some(self.output(got, want, rows))
            });
            let outputs: Vec<OutputReport> = outputs.collect();
            let passed = !outputs.is_empty() && outputs.iter().all(|o| o.passed);
            CaseReport { name: case.name.clone(), rows, against, outputs, passed }
        };
        Ok(expected.iter().map(report).collect())
    }

    /// For an output of this type.
    fn tolerance(&self, dtype: DType) -> Tolerance {
        tolerance(&self.engine.info(), self.loss().interface().scalar_dtype(), dtype)
    }

    fn output(&self, got: &Tensor, want: &Expected, rows: usize) -> OutputReport {
        let allowed = self.tolerance(got.dtype());
        let width = want.values.len() / rows.max(1);
        let floors = want.row_floors.as_deref();
        let deviation = compare(&got.to_f64_vec(), &want.values, width, floors, got.dtype());
        let gradient = want.name.ends_with("_grad");
        OutputReport {
            name: want.name.clone(),
            error: deviation.whole,
            worst_row_error: gradient.then_some(deviation.row),
            worst_row: gradient.then_some(deviation.worst_row),
            tolerance: allowed.whole,
            row_tolerance: gradient.then_some(allowed.row),
            passed: deviation.whole <= allowed.whole && (!gradient || deviation.within(allowed)),
        }
    }
}
