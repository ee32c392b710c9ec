//! A logarithmic axis: its range and its ticks.

/// Decades that an axis has at most; smaller values are cut off.
const MOST_DECADES: i32 = 20;
/// Decades left above the largest value at least, so that its line does not lie on the frame.
const HEADROOM: f64 = 0.1;
/// Labelled ticks that an axis has at most, beside its end.
const MOST_TICKS: i32 = 8;

/// Powers of ten from `low` to `high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct LogAxis {
    low: i32,
    high: i32,
    step: i32,
}

impl LogAxis {
    /// An axis that has all positive finite values, or the largest of them; two decades at least.
    pub fn over(values: impl Iterator<Item = f64>) -> Self {
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for power in values.filter(|v| *v > 0.0 && v.is_finite()).map(f64::log10) {
            least = least.min(power);
            most = most.max(power);
        }
        if least > most {
            (least, most) = (-1.0, 0.5);
        }
        // Powers of a float64 are from -324 to 308.
        let high = (most + HEADROOM).ceil() as i32;
        let low = (least.floor() as i32).clamp(high - MOST_DECADES, high - 2);
        let step = (high - low + MOST_TICKS - 1) / MOST_TICKS;
        Self { low, high, step }
    }

    /// Where a value is, 0 at the low end and 1 at the high end; `None` for what has no place on such an axis.
    pub fn place(self, value: f64) -> Option<f64> {
        let shown = value > 0.0 && value.is_finite();
        shown.then(|| (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low))
    }

    /// Value and text of the ticks.
    pub fn ticks(self) -> impl Iterator<Item = (f64, String)> {
        (self.low..=self.high)
            .filter(move |power| power.rem_euclid(self.step) == 0)
            .map(|power| (10f64.powi(power), power_of_ten(power)))
    }
}

fn power_of_ten(power: i32) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    match power {
        0 => "1".to_owned(),
        1 => "10".to_owned(),
        _ => {
            let raised = |c: char| c.to_digit(10).map_or('⁻', |d| DIGITS[d as usize]);
            format!("10{}", power.to_string().chars().map(raised).collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(values: &[f64]) -> Vec<String> {
        LogAxis::over(values.iter().copied()).ticks().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_powers_of_ten() {
        assert_eq!(texts(&[0.5, 30.0]), ["10⁻¹", "1", "10", "10²"]);
        assert_eq!(texts(&[1e-9, 1e7]), ["10⁻⁹", "10⁻⁶", "10⁻³", "1", "10³", "10⁶"]);
        assert_eq!(texts(&[]), ["10⁻¹", "1", "10"]);
    }

    #[test]
    fn what_has_no_logarithm_has_no_place() {
        let axis = LogAxis::over([1e-2, 50.0, -3.0, 0.0, f64::NAN, f64::INFINITY].into_iter());
        assert_eq!(axis.place(1.0), Some(0.5));
        assert_eq!(axis.place(-3.0), None);
        assert_eq!(axis.place(0.0), None);
        assert_eq!(axis.place(f64::INFINITY), None);
    }

    #[test]
    fn an_axis_is_bounded_whatever_the_values_are() {
        assert_eq!(LogAxis::over([1e-300, 1.0].into_iter()), LogAxis { low: -19, high: 1, step: 3 });
        assert_eq!(LogAxis::over([1.0, 1.0].into_iter()), LogAxis { low: -1, high: 1, step: 1 });
    }
}
