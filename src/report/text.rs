//! Figures for people.

/// A time with three digits and its unit.
pub fn seconds(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (s * 1e3, "ms"),
        s => (s * 1e6, "µs"),
    };
    format!("{} {unit}", digits(value))
}

/// A number with about three digits.
pub(super) fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A share as a percentage, without a sign.
pub(super) fn percent(share: f64) -> String {
    let value = share * 100.0;
    if value < 9.95 { format!("{value:.1} %") } else { format!("{value:.0} %") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        assert_eq!(seconds(1.23456e-5), "12.3 µs");
        assert_eq!(seconds(0.0999), "99.9 ms");
        assert_eq!(seconds(0.09999), "100 ms");
        assert_eq!(seconds(2.0), "2.00 s");
        assert_eq!(percent(0.0512), "5.1 %");
        assert_eq!(percent(0.512), "51 %");
    }
}
