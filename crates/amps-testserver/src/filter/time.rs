//! Times as text, by a format (AMPS User Guide, "Date and Time Functions").
//!
//! All of it in UTC, by these of the directives of `strftime`: `%Y`, `%y`, `%m`,
//! `%d`, `%j`, `%H`, `%M`, `%S`, `%F`, `%T`, `%s` and `%%`.

use crate::timestamp::{date, days};

/// Years that are written with two digits begin here.
const CENTURY: u64 = 69;

/// A time in seconds since the beginning of 1970 by a format. `None` for a
/// directive there is not, and for a time that has no date.
pub(super) fn format(format: &str, seconds: f64) -> Option<String> {
    // To the end of the year 9999.
    if !(0.0..253_402_300_800.0).contains(&seconds) {
        return None;
    }
    let seconds = seconds as u64;
    let (year, month, day) = date(seconds / 86_400);
    let mut out = String::new();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        out += &match rest.next()? {
            'Y' => format!("{year:04}"),
            'y' => format!("{:02}", year % 100),
            'm' => format!("{month:02}"),
            'd' => format!("{day:02}"),
            'j' => format!("{:03}", seconds / 86_400 - days(year, 1, 1)? + 1),
            'H' => format!("{:02}", seconds / 3_600 % 24),
            'M' => format!("{:02}", seconds / 60 % 60),
            'S' => format!("{:02}", seconds % 60),
            'F' => format!("{year:04}-{month:02}-{day:02}"),
            'T' => format!("{:02}:{:02}:{:02}", seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60),
            's' => seconds.to_string(),
            '%' => "%".to_owned(),
            _ => return None,
        };
    }
    Some(out)
}

/// Reads a time by a format, as seconds since the beginning of 1970. What the
/// format does not name is the beginning of 1970. `None` when it does not fit.
pub(super) fn parse(text: &str, format: &str) -> Option<u64> {
    let format = format.replace("%F", "%Y-%m-%d").replace("%T", "%H:%M:%S");
    let (mut year, mut month, mut day) = (1970, 1, 1);
    let (mut hour, mut minute, mut second) = (0, 0, 0);
    let mut of_year = None;
    let mut since = None;
    let mut text = text;
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            text = text.strip_prefix(c)?;
            continue;
        }
        let mut number = |most: usize, range: std::ops::RangeInclusive<u64>| {
            let digits = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
            let value = text[..digits].parse().ok().filter(|value| range.contains(value))?;
            text = &text[digits..];
            Some(value)
        };
        match rest.next()? {
            'Y' => year = number(4, 1970..=9999)?,
            'y' => year = number(2, 0..=99).map(|year| if year < CENTURY { 2000 + year } else { 1900 + year })?,
            'm' => month = number(2, 1..=12)?,
            'd' => day = number(2, 1..=31)?,
            'j' => of_year = Some(number(3, 1..=366)?),
            'H' => hour = number(2, 0..=23)?,
            'M' => minute = number(2, 0..=59)?,
            'S' => second = number(2, 0..=60)?,
            's' => since = Some(number(12, 0..=253_402_300_799)?),
            '%' => text = text.strip_prefix('%')?,
            _ => return None,
        }
    }
    if !text.is_empty() {
        return None;
    }
    let days = match of_year {
        Some(of_year) => days(year, 1, 1)? + of_year - 1,
        None => days(year, month, day)?,
    };
    Some(since.unwrap_or(days * 86_400 + hour * 3_600 + minute * 60 + second))
}
