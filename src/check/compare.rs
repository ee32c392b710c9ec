//! How far an output is off.

use super::tolerance::{Tolerance, largest, smallest_normal};
use crate::tensor::DType;

/// How far an output is off, relative to the reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deviation {
    /// ‖got - want‖ / ‖want‖ over the whole output. Infinite where one is finite and the other is not.
    pub whole: f64,
    /// The same over the worst row; the whole again for a scalar.
    pub row: f64,
    /// Index of the worst row.
    pub worst_row: usize,
}

impl Deviation {
    /// Whether both errors are within the tolerance.
    pub fn within(&self, tolerance: Tolerance) -> bool {
        self.whole <= tolerance.whole && self.row <= tolerance.row
    }
}

/// Compares an output with its reference. `width` is the number of values a row (1 for `[N]` and []).
///
/// Magnitudes below the smallest normal number of `dtype` count as zero on both sides. Norms have that number as a
/// floor, times sqrt(width): below it a type has no relative precision left. A reference beyond the largest number of
/// a half type is that number, as gradients saturate; NaN must meet NaN.
///
/// With `row_floors` `[N]` a row's norm is at least that.
pub fn compare(
    got: &[f64],
    want: &[f64],
    width: usize,
    row_floors: Option<&[f64]>,
    dtype: DType,
) -> Deviation {
    let scale = Scale::new(dtype);
    let width = width.max(1);
    let mut worst = Deviation { whole: 0.0, row: 0.0, worst_row: 0 };
    let (mut difference, mut size) = (Norm::default(), Norm::default());
    for (index, (got, want)) in got.chunks(width).zip(want.chunks(width)).enumerate() {
        let (mut row_difference, mut row_size) = (Norm::default(), Norm::default());
        for (got, want) in got.iter().zip(want) {
            let want = scale.saturated(*want);
            row_difference.add(scale.difference(*got, want));
            row_size.add(if want.is_finite() { want } else { 0.0 });
        }
        if let Some(floor) =
            row_floors.and_then(|floors| floors.get(index)).filter(|floor| **floor > row_size.value())
        {
            row_size = Norm { largest: *floor, squares: 1.0 };
        }
        let error = scale.relative(row_difference, row_size, width);
        if error > worst.row {
            worst = Deviation { row: error, worst_row: index, ..worst };
        }
        difference.merge(row_difference);
        size.merge(row_size);
    }
    worst.whole =
        if got.len() == want.len() { scale.relative(difference, size, got.len()) } else { f64::INFINITY };
    worst
}

/// What a type can tell apart.
struct Scale {
    smallest: f64,
    largest: Option<f64>,
}

impl Scale {
    fn new(dtype: DType) -> Self {
        let half = matches!(dtype, DType::F16 | DType::BF16);
        Self { smallest: smallest_normal(dtype), largest: half.then(|| largest(dtype)) }
    }

    fn saturated(&self, want: f64) -> f64 {
        match self.largest {
            Some(largest) if !want.is_nan() => want.clamp(-largest, largest),
            _ => want,
        }
    }

    fn difference(&self, got: f64, want: f64) -> f64 {
        if got.is_nan() && want.is_nan() || got == want {
            return 0.0;
        }
        if !got.is_finite() || !want.is_finite() {
            return f64::INFINITY;
        }
        // A neighbour of the smallest normal number may round to either side of it.
        let tiny = |x: f64| x.abs() <= self.smallest * 1.001;
        if tiny(got) && tiny(want) { 0.0 } else { got - want }
    }

    fn relative(&self, difference: Norm, size: Norm, count: usize) -> f64 {
        let floor = self.smallest * (count.max(1) as f64).sqrt();
        let (difference, size) = (difference.value(), size.value());
        if difference == 0.0 { 0.0 } else { difference / size.max(floor) }
    }
}

/// A Euclidean norm that neither overflows nor underflows: largest · sqrt(Σ (x/largest)²).
#[derive(Debug, Clone, Copy, Default)]
struct Norm {
    largest: f64,
    squares: f64,
}

impl Norm {
    fn add(&mut self, x: f64) {
        self.merge(Norm { largest: x.abs(), squares: 1.0 });
    }

    fn merge(&mut self, other: Norm) {
        if other.largest == 0.0 {
            return;
        }
        if other.largest == f64::INFINITY || self.largest == f64::INFINITY {
            *self = Norm { largest: f64::INFINITY, squares: 1.0 };
        } else if other.largest > self.largest {
            let ratio = self.largest / other.largest;
            *self = Norm { largest: other.largest, squares: other.squares + self.squares * ratio * ratio };
        } else {
            let ratio = other.largest / self.largest;
            self.squares += other.squares * ratio * ratio;
        }
    }

    fn value(self) -> f64 {
        if self.largest == f64::INFINITY { f64::INFINITY } else { self.largest * self.squares.sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_row_shows_however_small_it_is() {
        let want = [3e5, 4e5, 3e-7, 4e-7];
        let got = [3e5, 4e5, 3e-7, 0.0];
        let d = compare(&got, &want, 2, None, DType::F32);
        assert!(d.whole < 1e-12);
        assert!((d.row - 0.8).abs() < 1e-12);
        assert_eq!(d.worst_row, 1);
    }

    #[test]
    fn what_is_not_finite_must_agree() {
        let error = |got, want| compare(&[got], &[want], 1, None, DType::F32).row;
        assert_eq!(error(f64::NAN, f64::NAN), 0.0);
        assert_eq!(error(f64::INFINITY, f64::INFINITY), 0.0);
        assert_eq!(error(f64::NAN, 1.0), f64::INFINITY);
        assert_eq!(error(1.0, f64::NAN), f64::INFINITY);
        assert_eq!(error(f64::INFINITY, 1.0), f64::INFINITY);
        assert_eq!(error(f64::INFINITY, f64::NEG_INFINITY), f64::INFINITY);
    }

    #[test]
    fn a_reference_of_zero_still_asks_for_zero() {
        assert_eq!(compare(&[0.0], &[0.0], 1, None, DType::F32).row, 0.0);
        assert!(compare(&[1e-30], &[0.0], 1, None, DType::F32).row > 1e6);
        assert_eq!(compare(&[1e-40], &[0.0], 1, None, DType::F32).row, 0.0);
    }

    #[test]
    fn half_types_saturate_and_outputs_must_have_the_right_size() {
        assert_eq!(compare(&[65504.0], &[1e9], 1, None, DType::F16).row, 0.0);
        assert!(compare(&[60000.0], &[1e9], 1, None, DType::F16).row > 0.05);
        assert_eq!(compare(&[1.0], &[1.0, 2.0], 1, None, DType::F32).whole, f64::INFINITY);
    }

    #[test]
    fn large_values_do_not_overflow_the_norm() {
        let d = compare(&[1e300, 2e300], &[1e300, 2e300 * (1.0 + 1e-9)], 2, None, DType::F64);
        assert!(d.row > 1e-10 && d.row < 1e-9);
    }
}
