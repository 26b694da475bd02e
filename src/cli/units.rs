//! Lengths of time and sizes as people type them: `90d`, `20GB`. Knows no flag.
//!
//! Invariant: a number without a unit is refused where more than one could be meant.

use std::time::Duration;

/// Reads `45s`, `30m`, `12h`, `90d` or `8w`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("w", 7 * 86_400)];
    let expected = || format!("`{text}` is no length of time, expected one like `90d`, `12h`, `30m` or `8w`");
    let (number, unit) = split(text).ok_or_else(expected)?;
    let (_, seconds) = units.iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
    number.checked_mul(*seconds).map(Duration::from_secs).ok_or_else(expected)
}

/// Reads `500MB`, `20GB`, `1TB` (powers of 1,000), `20GiB` (of 1,024), or `0`; in bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let units: [(&str, u64); 9] = [
        ("b", 1),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("tb", 1_000_000_000_000),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
    ];
    let expected = || format!("`{text}` is no size, expected one like `20GB`, `500MB` or `1TB`");
    let (number, unit) = split(text).ok_or_else(expected)?;
    if number == 0 && unit.is_empty() {
        return Ok(0);
    }
    let unit = unit.to_ascii_lowercase();
    let (_, bytes) = units.iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
    number.checked_mul(*bytes).ok_or_else(expected)
}

/// The number at the beginning and what stands behind it.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..digits].parse().ok()?, text[digits..].trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_with_their_unit_only() {
        assert_eq!(parse_duration("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(parse_duration(" 2 w "), Ok(Duration::from_secs(14 * 86_400)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        for bad in ["", "90", "d", "-1d", "1.5h", "90 days", "18446744073709551615w"] {
            let error = parse_duration(bad).unwrap_err();
            assert_eq!(error, format!("`{bad}` is no length of time, expected one like `90d`, `12h`, `30m` or `8w`"));
        }
        assert_eq!(parse_size("20GB"), Ok(20_000_000_000));
        assert_eq!(parse_size("20 gib"), Ok(20 << 30));
        assert_eq!(parse_size("0"), Ok(0));
        for bad in ["", "20", "GB", "-1GB", "20G", "1.5GB", "99999999999TB"] {
            assert_eq!(
                parse_size(bad).unwrap_err(),
                format!("`{bad}` is no size, expected one like `20GB`, `500MB` or `1TB`")
            );
        }
    }
}
