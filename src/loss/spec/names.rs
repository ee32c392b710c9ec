//! Whether the names of a source resolve.

use super::{Formula, FormulaError, LossSpec, Quantity};
use crate::loss::expr::suggest;

/// What a formula of the adjusted logits can use of a class.
pub(crate) const CLASS_QUANTITIES: [&str; 3] = ["class_count", "class_prior", "rarest_count"];

/// Where a formula stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    Row(&'a str),
    Loss,
    Scale,
    Margin,
    Bias,
}

/// A formula that cannot be used, and which.
pub(super) type Located<'a> = (Entry<'a>, FormulaError);

impl LossSpec {
    /// Checks that every name resolves.
    pub(super) fn check_names(&self) -> Result<(), Located<'_>> {
        for (entry, formula) in self.formulas() {
            for (name, span) in formula.expr.names() {
                self.check_name(entry, name).map_err(|m| (entry, FormulaError::new(span.clone(), m)))?;
            }
        }
        Ok(())
    }

    /// Every formula of the source, and where it stands.
    pub(super) fn formulas(&self) -> impl Iterator<Item = (Entry<'_>, &Formula)> {
        let row = self.row.iter().map(|(name, f)| (Entry::Row(name), f));
        let logits = [
            (Entry::Scale, &self.logits.scale),
            (Entry::Margin, &self.logits.margin),
            (Entry::Bias, &self.logits.bias),
        ];
        let logits = logits.into_iter().filter_map(|(entry, f)| Some((entry, f.as_ref()?)));
        row.chain([(Entry::Loss, &self.loss)]).chain(logits)
    }

    fn check_name(&self, entry: Entry, name: &str) -> Result<(), String> {
        let mut names: Vec<&str> = self.parameters.keys().map(String::as_str).collect();
        match entry {
            Entry::Row(_) | Entry::Loss => {
                names.extend(Quantity::ALL.iter().map(|(n, _)| *n));
                names.extend(self.row.keys().map(String::as_str));
            }
            Entry::Margin | Entry::Bias => names.extend(CLASS_QUANTITIES),
            Entry::Scale => {}
        }
        if names.contains(&name) {
            return Ok(());
        }
        Err(format!("unknown name `{name}`{}", suggest(name, &names)))
    }
}
