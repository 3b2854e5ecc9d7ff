//! Intervals as options write them: `100ms`, `5s`, `1m`.

use std::time::Duration;

/// Reads a number with an optional unit (AMPS User Guide, "Units"); without a
/// unit the number counts seconds. `None` when it is not one, is not positive
/// or is longer than a year.
pub(crate) fn parse_interval(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].to_ascii_lowercase().as_str() {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        "w" => 604_800.0,
        _ => return None,
    };
    let seconds = number * unit;
    (seconds > 0.0 && seconds <= 365.0 * 86_400.0).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_refusals() {
        for (text, millis) in
            [("100ms", 100), ("2", 2_000), ("1s", 1_000), ("0.5s", 500), ("3M", 180_000), ("1h", 3_600_000)]
        {
            assert_eq!(parse_interval(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "ms", "-1s", "0", "1x", "1.2.3s", "99999999w"] {
            assert_eq!(parse_interval(text), None, "{text}");
        }
    }
}
