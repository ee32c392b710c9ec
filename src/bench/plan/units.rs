//! Sizes, shares and type names as a plan writes them.

use crate::tensor::DType;

const UNITS: [(&str, f64); 7] = [
    ("KiB", 1024.0),
    ("MiB", 1048576.0),
    ("GiB", 1073741824.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("B", 1.0),
];

/// `2 GB`, `512 MiB`, `100 B` in bytes.
///
/// # Errors
/// What is no such size, with what is.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size; write a number and a unit, such as 2 GB or 512 MiB");
    let trimmed = text.trim();
    let (unit, factor) = UNITS.iter().find(|(unit, _)| trimmed.ends_with(unit)).ok_or_else(wrong)?;
    let number: f64 = trimmed[..trimmed.len() - unit.len()].trim().parse().map_err(|_| wrong())?;
    let bytes = number * factor;
    if bytes.is_finite() && bytes >= 1.0 { Ok(bytes as u64) } else { Err(wrong()) }
}

/// `5%` or `0.05` as 0.05. Greater than 0, and at most 10.
///
/// # Errors
/// What is no such share, with what is.
pub fn parse_share(text: &str) -> Result<f64, String> {
    let trimmed = text.trim();
    let number = match trimmed.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|p| p / 100.0),
        None => trimmed.parse::<f64>(),
    };
    match number {
        Ok(share) if share > 0.0 && share <= 10.0 => Ok(share),
        _ => Err(format!("`{text}` is no share; write a percentage above 0, such as 5%")),
    }
}

/// A size for people: three digits and a decimal unit.
pub fn format_bytes(bytes: u64) -> String {
    let scaled = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)].iter().find(|(_, size)| bytes as f64 >= *size);
    match scaled {
        Some((unit, size)) => {
            let value = bytes as f64 / size;
            let digits = if value >= 100.0 {
                0
            } else if value >= 10.0 {
                1
            } else {
                2
            };
            format!("{value:.digits$} {unit}")
        }
        None => format!("{bytes} B"),
    }
}

/// The float types by their short names.
pub(super) const DTYPES: [(&str, DType); 4] =
    [("f32", DType::F32), ("f16", DType::F16), ("bf16", DType::BF16), ("f64", DType::F64)];

pub(super) fn dtype_name(dtype: DType) -> &'static str {
    DTYPES.iter().find(|(_, known)| *known == dtype).map_or("?", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        assert_eq!(parse_bytes("2 GB"), Ok(2_000_000_000));
        assert_eq!(parse_bytes("1.5KiB"), Ok(1536));
        assert_eq!(parse_bytes("7 B"), Ok(7));
        for wrong in ["2", "GB", "-1 GB", "NaN GB", "1 TB", ""] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(format_bytes(1_536), "1.54 kB");
        assert_eq!(format_bytes(123_456_789), "123 MB");
    }

    #[test]
    fn shares_are_percentages_or_numbers() {
        assert_eq!(parse_share("5%"), Ok(0.05));
        assert_eq!(parse_share("0.02"), Ok(0.02));
        for wrong in ["0%", "-5%", "5 percent", "NaN", "2000%"] {
            assert!(parse_share(wrong).is_err(), "{wrong}");
        }
    }
}
