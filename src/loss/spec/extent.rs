//! How large formulas are, as written and with their `row` entries written out.
//!
//! Later stages recurse over what is written out, and evaluate it without sharing; so both its depth and its size are
//! bounded here, and a `row` entry that needs itself is found.

use std::collections::HashMap;

use super::names::{Entry, Located};
use super::{Expr, ExprKind, FormulaError, LossSpec};

/// Most numbers, names and operations that the formulas of a source may have in all.
const MOST_PARTS: usize = 4_000;
/// Most of them that a formula may have once its `row` entries are written out in it.
const MOST_WRITTEN_OUT: usize = 10_000;
/// Deepest nesting of a formula once its `row` entries are written out in it.
const DEEPEST: usize = 256;

/// Size of a formula with its `row` entries written out.
#[derive(Debug, Clone, Copy)]
struct Extent {
    parts: usize,
    depth: usize,
}

impl LossSpec {
    /// Checks that no `row` entry needs itself, and that nothing is out of bounds.
    pub(super) fn check_extents(&self) -> Result<(), Located<'_>> {
        let mut written = 0;
        let mut measure = Measure { spec: self, known: HashMap::new(), path: Vec::new() };
        for (entry, formula) in self.formulas() {
            written += formula.expr.parts();
            if written > MOST_PARTS {
                let message =
                    format!("the formulas up to here have more than {MOST_PARTS} parts; shorten them");
                return Err((entry, FormulaError::new(0..formula.text.len(), message)));
            }
            match entry {
                Entry::Row(name) => measure.entry(name, 0)?,
                _ => measure.expr(entry, &formula.expr, 0)?,
            };
        }
        Ok(())
    }
}

struct Measure<'a> {
    spec: &'a LossSpec,
    known: HashMap<&'a str, Extent>,
    /// The entries that are being written out, each in the one before.
    path: Vec<&'a str>,
}

impl<'a> Measure<'a> {
    /// A `row` entry, written out `above` levels deep.
    fn entry(&mut self, name: &'a str, above: usize) -> Result<Extent, Located<'a>> {
        if let Some(extent) = self.known.get(name) {
            return Ok(*extent);
        }
        self.path.push(name);
        let extent = self.expr(Entry::Row(name), &self.spec.row[name].expr, above)?;
        self.path.pop();
        self.known.insert(name, extent);
        Ok(extent)
    }

    fn expr(&mut self, at: Entry<'a>, expr: &'a Expr, above: usize) -> Result<Extent, Located<'a>> {
        let parts: Vec<Extent> = match &expr.kind {
            ExprKind::Name(name) => match self.spec.row.get_key_value(name) {
                Some((name, _)) => vec![self.name(at, name, expr, above)?],
                None => Vec::new(),
            },
            ExprKind::Number(_) => Vec::new(),
            ExprKind::Neg(a) => vec![self.expr(at, a, above + 1)?],
            ExprKind::Binary(_, a, b) => vec![self.expr(at, a, above + 1)?, self.expr(at, b, above + 1)?],
            ExprKind::Call(_, args) => {
                args.iter().map(|a| self.expr(at, a, above + 1)).collect::<Result<_, _>>()?
            }
        };
        let extent = Extent {
            parts: parts.iter().fold(1, |sum: usize, part| sum.saturating_add(part.parts)),
            depth: 1 + parts.iter().map(|part| part.depth).max().unwrap_or(0),
        };
        let problem = if above + extent.depth > DEEPEST {
            format!("nests deeper than {DEEPEST} levels")
        } else if extent.parts > MOST_WRITTEN_OUT {
            format!("has more than {MOST_WRITTEN_OUT} parts")
        } else {
            return Ok(extent);
        };
        let message = format!("with its `row` entries written out, this {problem}");
        Err((at, FormulaError::new(expr.span.clone(), message)))
    }

    /// A `row` entry where a formula names it.
    fn name(
        &mut self,
        at: Entry<'a>,
        name: &'a str,
        expr: &'a Expr,
        above: usize,
    ) -> Result<Extent, Located<'a>> {
        let error = |message: String| Err((at, FormulaError::new(expr.span.clone(), message)));
        if let Some(start) = self.path.iter().position(|other| *other == name) {
            let circle = self.path[start..].join(" -> ");
            return error(format!("`row` entries need each other in a circle: {circle} -> {name}"));
        }
        if above >= DEEPEST {
            return error(format!(
                "with its `row` entries written out, this nests deeper than {DEEPEST} levels"
            ));
        }
        self.entry(name, above + 1)
    }
}
