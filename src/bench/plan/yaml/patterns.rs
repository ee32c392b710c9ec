//! What a plan lists by name: exclusions, thresholds, arms, classifiers.

use std::path::Path;

use serde_saphyr::{Location, Spanned};

use super::super::step::Classifier;
use super::super::threshold::{CellPattern, Threshold};
use super::super::units::{DTYPES, parse_share};
use super::super::{ArmKind, Graft, LOWERINGS, Peer, StepOptimizer};
use super::{Entry, Reader, Source};
use crate::loss::expr::suggest;
use crate::loss::{SpecError, builtin};
use crate::runtime::Provider;

impl Reader<'_> {
    pub(super) fn exclude(
        &self,
        source: &Source,
        classifiers: &[Classifier],
    ) -> Result<Vec<CellPattern>, SpecError> {
        let pattern = |entry: &Spanned<Entry>| match &entry.value.max_regression {
            Some(text) => {
                Err(self.wrong(text, "`max_regression` is of `thresholds`, not of `exclude`".into()))
            }
            None => self.pattern(entry.value.pattern(), &entry.referenced, classifiers),
        };
        source.exclude.iter().map(pattern).collect()
    }

    pub(super) fn thresholds(
        &self,
        source: &Source,
        classifiers: &[Classifier],
    ) -> Result<Vec<Threshold>, SpecError> {
        let share = |text: &Spanned<String>| parse_share(&text.value).map_err(|m| self.wrong(text, m));
        let mut thresholds = Vec::new();
        for entry in &source.thresholds {
            let pattern = self.pattern(entry.value.pattern(), &entry.referenced, classifiers)?;
            let missing = || self.at(&entry.referenced, 1, "a threshold needs `max_regression`".to_owned());
            let max_regression = share(entry.value.max_regression.as_ref().ok_or_else(missing)?)?;
            thresholds.push(Threshold { pattern, max_regression });
        }
        if let Some(text) = &source.max_regression {
            thresholds.push(Threshold { pattern: CellPattern::default(), max_regression: share(text)? });
        }
        Ok(thresholds)
    }

    fn pattern(
        &self,
        pattern: CellPattern,
        place: &Location,
        classifiers: &[Classifier],
    ) -> Result<CellPattern, SpecError> {
        let names = arm_names();
        let arms = names.iter().map(String::as_str).collect();
        let checks: [(&str, &[String], Vec<&str>); 6] = [
            ("loss", &pattern.losses, builtin::names()),
            ("classifier", &pattern.classifiers, classifiers.iter().map(|c| c.name.as_str()).collect()),
            ("optimizer", &pattern.optimizers, StepOptimizer::ALL.map(|(n, _)| n).into()),
            ("element type", &pattern.dtypes, DTYPES.map(|(n, _)| n).into()),
            ("provider", &pattern.providers, Provider::ALL.map(Provider::name).into()),
            ("arm", &pattern.arms, arms),
        ];
        for (what, given, known) in checks {
            if let Some(name) = given.iter().find(|name| !known.contains(&name.as_str())) {
                return Err(self.at(place, 1, format!("no {what} `{name}`{}", suggest(name, &known))));
            }
        }
        Ok(pattern)
    }

    /// The classifiers of a plan, by their paths from the plan's directory.
    pub(super) fn classifiers(&self, source: &Source) -> Result<Vec<Classifier>, SpecError> {
        let directory = Path::new(self.file).parent().unwrap_or(Path::new(""));
        let mut found: Vec<Classifier> = Vec::new();
        for path in &source.classifiers {
            let classifier = Classifier::open(&directory.join(&path.value))
                .map_err(|message| self.wrong(path, message))?;
            if found.iter().any(|known| known.name == classifier.name) {
                let message = format!("two classifiers are named `{}`; rename one's file", classifier.name);
                return Err(self.wrong(path, message));
            }
            found.push(classifier);
        }
        Ok(found)
    }

    /// The arms of every cell, before exclusions.
    pub(in crate::bench::plan) fn arms(&self, source: &Source) -> Result<Vec<ArmKind>, SpecError> {
        let graphs = if source.cuda_graphs.is_empty() { vec![false] } else { source.cuda_graphs.clone() };
        let mut arms = Vec::new();
        for name in &source.lowerings {
            let lowering = self.named("lowering", name, &LOWERINGS)?;
            arms.extend(graphs.iter().map(|&cuda_graph| ArmKind::Lowering { lowering, cuda_graph }));
        }
        for name in &source.emit {
            arms.push(ArmKind::Graft(self.named("graft", name, &Graft::ALL)?));
        }
        for name in &source.peers {
            let peers = Peer::ALL.map(|p| (p.name(), p));
            arms.push(ArmKind::Peer(self.named("peer", name, &peers)?));
        }
        if arms.is_empty() {
            let key = if source.classifiers.is_empty() { "lowerings" } else { "emit" };
            return Err(self.whole(format!("nothing to measure: `{key}` and `peers` are both empty")));
        }
        Ok(arms)
    }
}

/// The names of every arm that there could be.
fn arm_names() -> Vec<String> {
    let lowerings = LOWERINGS.map(|(name, _)| name);
    let plain =
        lowerings.into_iter().chain(Graft::ALL.map(|(name, _)| name)).chain(Peer::ALL.map(Peer::name));
    let graphs = lowerings.map(|name| format!("{name}+cuda-graph"));
    plain.chain(["copy"]).map(str::to_owned).chain(graphs).collect()
}
