//! Points in time as text.

use std::time::Duration;

/// A time since the beginning of 1970, UTC, as ISO 8601 in the basic format
/// with microseconds: `20260105T101530.250000Z`.
pub(crate) fn iso8601(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let micros = since_1970.subsec_micros();
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{micros:06}Z")
}

/// The same in the extended format: `2026-01-05T10:15:30.250000Z`.
pub(crate) fn iso8601_extended(since_1970: Duration) -> String {
    let basic = iso8601(since_1970);
    // Its parts are where they are up to the year 9999.
    match (basic.get(..4), basic.get(4..6), basic.get(6..11), basic.get(11..13), basic.get(13..)) {
        (Some(year), Some(month), Some(day_and_hour), Some(minute), Some(rest)) => {
            format!("{year}-{month}-{day_and_hour}:{minute}:{rest}")
        }
        _ => basic,
    }
}

/// The same for microseconds.
pub(crate) fn iso8601_micros(since_1970: u64) -> String {
    iso8601(Duration::from_micros(since_1970))
}

/// A time in seconds, `20260105T101530` with or without a `Z`, as microseconds
/// since the beginning of 1970. `None` when it is none, or before that.
pub(crate) fn parse_iso8601(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text.split_once('T')?;
    let is_digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(date, 8) || !is_digits(time, 6) {
        return None;
    }
    let number = |text: &str| text.parse::<u64>().ok();
    let days = days(number(&date[..4])?, number(&date[4..6])?, number(&date[6..])?)?;
    let (hour, minute, second) = (number(&time[..2])?, number(&time[2..4])?, number(&time[4..])?);
    // A second more for a leap second.
    let seconds = (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3_600 + minute * 60 + second)?;
    Some((days * 86_400 + seconds) * 1_000_000)
}

/// The same with a fraction of a second, of one to six digits.
pub(crate) fn parse_fractional(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (whole, fraction) = text.split_once('.')?;
    let is_fraction = (1..=6).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let micros = is_fraction.then(|| format!("{fraction:0<6}").parse::<u64>().ok())??;
    Some(parse_iso8601(whole)? + micros)
}

/// Days from the beginning of 1970 to a date; `None` when there is none such.
pub(crate) fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let from_march = (month + 9) % 12;
    let years = if month <= 2 { year.checked_sub(1)? } else { year };
    let days = years * 365 + years / 4 - years / 100 + years / 400 + (153 * from_march + 2) / 5 + day - 1;
    // Some months are shorter.
    days.checked_sub(719_468).filter(|days| date(*days) == (year, month, day))
}

/// The date so many days after the beginning of 1970. Counted from March of
/// the year 0, a leap day is the last of its year.
pub(crate) fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_every_kind_of_year() {
        for (seconds, micros, text) in [
            (0, 0, "19700101T000000.000000Z"),
            (951_782_399, 999_999, "20000228T235959.999999Z"),
            (951_782_400, 0, "20000229T000000.000000Z"),
            (1_709_251_200, 0, "20240301T000000.000000Z"),
            (1_767_608_130, 250_000, "20260105T101530.250000Z"),
            (4_107_542_399, 0, "21000228T235959.000000Z"),
            (4_107_542_400, 0, "21000301T000000.000000Z"),
        ] {
            assert_eq!(iso8601(Duration::from_secs(seconds) + Duration::from_micros(micros)), text);
            let whole = text.split('.').next().unwrap();
            assert_eq!(parse_iso8601(whole), Some(seconds * 1_000_000));
            assert_eq!(parse_iso8601(&format!("{whole}Z")), Some(seconds * 1_000_000));
        }
    }

    #[test]
    fn other_forms_of_a_time() {
        let micros = 1_767_608_130_250_000;
        assert_eq!(iso8601_extended(Duration::from_micros(micros)), "2026-01-05T10:15:30.250000Z");
        for (text, expected) in [
            ("20260105T101530.25Z", Some(micros)),
            ("20260105T101530.250000", Some(micros)),
            ("20260105T101530.000001", Some(micros - 249_999)),
            ("20260105T101530", None),
            ("20260105T101530.", None),
            ("20260105T101530.1234567", None),
            ("20260105T101530.-1", None),
            ("20261305T101530.5", None),
        ] {
            assert_eq!(parse_fractional(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "20260105",
            "20260105T1015",
            "20260105T101530+01",
            "20261305T101530",
            "20260100T000000",
            "20260229T000000",
            "20260431T000000",
            "2026é105T101530",
            "19691231T235959",
            "20260105T240000",
        ] {
            assert_eq!(parse_iso8601(text), None, "{text}");
        }
    }
}
