//! Patterns over cells, for exclusions and thresholds.

use super::Cell;

/// Which cells; an empty list fits every value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CellPattern {
    /// Names of losses.
    pub losses: Vec<String>,
    /// Names of classifiers.
    pub classifiers: Vec<String>,
    /// Names of optimizers.
    pub optimizers: Vec<String>,
    /// N
    pub rows: Vec<usize>,
    /// C
    pub classes: Vec<usize>,
    /// D
    pub features: Vec<usize>,
    /// Short names of element types.
    pub dtypes: Vec<String>,
    /// Names of providers.
    pub providers: Vec<String>,
    /// Names of lowerings, peers, or arms.
    pub arms: Vec<String>,
}

impl CellPattern {
    /// Whether the pattern fits an arm of a cell. The name of a lowering fits its CUDA graph too.
    pub fn matches(&self, cell: &Cell, arm: &str) -> bool {
        self.matches_cell(cell)
            && fits(&self.arms, |a| arm == a || arm.strip_suffix("+cuda-graph") == Some(a.as_str()))
    }

    /// Whether the pattern fits a cell, whatever the arm.
    pub fn matches_cell(&self, cell: &Cell) -> bool {
        let step = cell.step.as_ref();
        fits(&self.losses, |l| *l == cell.loss)
            && fits(&self.classifiers, |c| step.is_some_and(|step| *c == step.classifier))
            && fits(&self.optimizers, |o| step.is_some_and(|step| o == step.optimizer.name()))
            && fits(&self.rows, |n| *n == cell.rows)
            && fits(&self.classes, |c| *c == cell.classes)
            && fits(&self.features, |d| *d == cell.features)
            && fits(&self.dtypes, |t| t == cell.dtype_name())
            && fits(&self.providers, |p| p == cell.provider.name())
    }
}

fn fits<T>(allowed: &[T], is: impl Fn(&T) -> bool) -> bool {
    allowed.is_empty() || allowed.iter().any(is)
}

/// How much slower than a baseline an arm may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// Which cells and arms.
    pub pattern: CellPattern,
    /// As a share: 0.05 is 5 % slower.
    pub max_regression: f64,
}
