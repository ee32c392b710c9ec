//! Loss and slope of a row against the label's margin, from the float64 reference.

use super::Failure;
use crate::loss::Loss;
use crate::loss::reference::{Batch, evaluate};

/// Feature norms that are shown where a loss depends on them.
const FEATURE_NORMS: [f64; 3] = [0.0, 1.0, 32.0];

/// A loss at one feature norm.
pub(super) struct Curve {
    /// For a legend.
    pub name: String,
    /// Whether it is there to be compared with.
    pub is_baseline: bool,
    pub points: Vec<Point>,
}

/// One row.
#[derive(PartialEq)]
pub(super) struct Point {
    /// -u
    pub margin: f64,
    pub loss: f64,
    /// |∂L/∂u|
    pub slope: f64,
}

/// Cross entropy, unless the loss is just that, and the loss at its feature norms.
pub(super) fn curves(loss: &Loss, cross_entropy: &Loss, margins: &[f64]) -> Result<Vec<Curve>, Failure> {
    let curve = |loss: &Loss, name: String, norm: f64, is_baseline| {
        let points = margins.iter().map(|margin| point(loss, *margin, norm));
        Ok::<_, Failure>(Curve { name, is_baseline, points: points.collect::<Result<_, _>>()? })
    };
    let baseline = curve(cross_entropy, "cross entropy".to_owned(), 0.0, true)?;
    let mut found = Vec::new();
    if loss.has_features() {
        for norm in FEATURE_NORMS {
            found.push(curve(loss, format!("h = {norm}"), norm, false)?);
        }
    } else {
        found.push(curve(loss, loss.spec().name.clone(), 0.0, false)?);
    }
    if found.iter().any(|curve| curve.points != baseline.points) {
        found.insert(0, baseline);
    }
    Ok(found)
}

/// A row of label 0 and this margin, where all other classes have one logit: u = logit + ln(C - 1) - 0.
fn point(loss: &Loss, margin: f64, norm: f64) -> Result<Point, Failure> {
    let classes = loss.interface().classes;
    let mut logits = vec![-margin - ((classes - 1) as f64).ln(); classes];
    logits[0] = 0.0;
    let features = if loss.has_features() { vec![norm] } else { Vec::new() };
    let batch = Batch { logits, labels: vec![0], features, ..Batch::default() };
    let values = evaluate(loss, &batch).map_err(Failure::usage)?;
    // The other classes get ∂L/∂u in shares that sum to 1, and the label gets -∂L/∂u.
    let slope = values.logits_grad.iter().map(|g| g.abs()).sum::<f64>() / 2.0;
    Ok(Point { margin, loss: values.row_loss[0], slope })
}

/// Width of a column.
const COLUMN: usize = 10;

/// A line a margin, two columns a curve.
pub(super) fn table(curves: &[Curve]) -> String {
    let mut names = format!("{:>COLUMN$}", "");
    let mut heads = format!("{:>COLUMN$}", "margin");
    for curve in curves {
        names += &format!("   {:>width$}", curve.name, width = 2 * COLUMN);
        heads += &format!("   {:>COLUMN$}{:>COLUMN$}", "L", "slope");
    }
    let mut lines = vec![names, heads];
    for k in 0..curves.first().map_or(0, |c| c.points.len()) {
        let mut line = format!("{:>COLUMN$}", curves[0].points[k].margin);
        for point in curves.iter().map(|curve| &curve.points[k]) {
            line += &format!("   {:>COLUMN$}{:>COLUMN$}", short(point.loss), short(point.slope));
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// Three digits, or all before the point; with an exponent beyond 0.001 and 100000.
fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let rounded = format!("{value:.2e}");
    let (_, exponent) = rounded.split_once('e').unwrap_or(("", "99"));
    match exponent.parse::<i32>() {
        Ok(power @ -3..=4) => format!("{value:.digits$}", digits = usize::try_from(2 - power).unwrap_or(0)),
        _ => rounded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let cases = [
            (0.0, "0"),
            (1.0, "1.00"),
            (0.999_96, "1.00"),
            (-12.34, "-12.3"),
            (99_999.0, "1.00e5"),
            (54_321.0, "54321"),
            (0.001_234, "0.00123"),
            (0.000_123_4, "1.23e-4"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ];
        for (value, text) in cases {
            assert_eq!(short(value), text);
        }
    }
}
