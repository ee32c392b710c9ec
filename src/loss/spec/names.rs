//! Whether the names of a source resolve, and how large its formulas are written out.

use std::collections::HashMap;
use std::ops::Range;

use super::{Formula, FormulaError, LossSpec, Quantity};
use crate::loss::expr::suggest;

/// Most names and operations that the loss may have once every `row` entry is written out in it.
const LARGEST: usize = 10_000;

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
    /// Checks that every name resolves, that no `row` entry needs itself, and that nothing grows out of bounds.
    pub(super) fn check_names(&self) -> Result<(), Located<'_>> {
        for (entry, formula) in self.formulas() {
            for (name, span) in formula.expr.names() {
                self.check_name(entry, name).map_err(|m| (entry, FormulaError::new(span.clone(), m)))?;
            }
        }
        let mut sizes = HashMap::new();
        for name in self.row.keys() {
            self.size(name, &mut Vec::new(), &mut sizes).map_err(|e| (Entry::Row(name), e))?;
        }
        let own = self.loss.expr.names().into_iter().map(|(name, _)| sizes.get(name).copied().unwrap_or(1));
        if own.fold(0usize, usize::saturating_add) > LARGEST {
            return Err((Entry::Loss, too_large(0..self.loss.text.len())));
        }
        Ok(())
    }

    fn formulas(&self) -> impl Iterator<Item = (Entry<'_>, &Formula)> {
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

    /// Number of names in a `row` entry once the entries it uses are written out in it.
    fn size<'a>(
        &'a self,
        entry: &'a str,
        path: &mut Vec<&'a str>,
        sizes: &mut HashMap<&'a str, usize>,
    ) -> Result<usize, FormulaError> {
        if let Some(size) = sizes.get(entry) {
            return Ok(*size);
        }
        path.push(entry);
        let mut total = 1usize;
        for (used, span) in self.row[entry].expr.names() {
            let Some((used, _)) = self.row.get_key_value(used) else {
                total = total.saturating_add(1);
                continue;
            };
            if path.contains(&used.as_str()) {
                let circle = format!("{} -> {used}", path.join(" -> "));
                let message = format!("`row` entries need each other in a circle: {circle}");
                return Err(FormulaError::new(span.clone(), message));
            }
            total = total.saturating_add(self.size(used, path, sizes)?);
            if total > LARGEST {
                return Err(too_large(span.clone()));
            }
        }
        path.pop();
        sizes.insert(entry, total);
        Ok(total)
    }
}

fn too_large(span: Range<usize>) -> FormulaError {
    FormulaError::new(
        span,
        format!("with its `row` entries written out, the formula has more than {LARGEST} names"),
    )
}
