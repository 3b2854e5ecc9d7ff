//! How a message is written to standard output.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use amps_client::{Field, Message};
use serde::Serialize;
use serde_json::value::RawValue;

/// The forms of `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// The body alone, then a line feed.
    Body,
    /// One JSON object a line: the header fields and the body as `data`.
    Json,
}

/// The parts of a message that are shown.
#[derive(Debug, Clone)]
pub(crate) struct Shown<'a> {
    topic: Cow<'a, str>,
    bookmark: Option<&'a str>,
    sow_key: Option<Cow<'a, str>>,
    body: &'a [u8],
}

impl<'a> From<&'a Message> for Shown<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            topic: message.topic().unwrap_or_default(),
            bookmark: message.raw(Field::Bookmark),
            sow_key: message.sow_key(),
            body: message.data(),
        }
    }
}

#[derive(Serialize)]
struct Object<'a> {
    topic: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bookmark: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sow_key: Option<Cow<'a, str>>,
    /// When this program got the message, in milliseconds of the Unix clock.
    timestamp_ms: u64,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    /// To the byte as it came.
    Json(&'a RawValue),
    Text(String),
}

impl Format {
    /// Writes one message.
    ///
    /// # Errors
    /// What the output reports.
    pub(crate) fn write(self, out: &mut impl Write, message: Shown<'_>) -> io::Result<()> {
        match self {
            Self::Body => out.write_all(message.body)?,
            Self::Json => {
                let Shown { topic, bookmark, sow_key, body } = message;
                let object = Object { topic, bookmark, sow_key, timestamp_ms: now_ms(), data: data(body) };
                serde_json::to_writer(&mut *out, &object)?;
            }
        }
        out.write_all(b"\n")
    }
}

/// A body that is JSON on one line stands there as it is; any other as a string,
/// with what is not UTF-8 replaced.
fn data(body: &[u8]) -> Data<'_> {
    match serde_json::from_slice(body) {
        Ok(raw) if !body.contains(&b'\n') && !body.contains(&b'\r') => Data::Json(raw),
        _ => Data::Text(String::from_utf8_lossy(body).into_owned()),
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, body: &[u8]) -> String {
        let mut out = Vec::new();
        let message = Shown { topic: "t".into(), bookmark: Some("1|2|"), sow_key: None, body };
        format.write(&mut out, message).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn without_time(line: &str) -> String {
        let (before, rest) = line.split_once("\"timestamp_ms\":").unwrap();
        format!("{before}{}", rest.trim_start_matches(|digit: char| digit.is_ascii_digit()))
    }

    #[test]
    fn a_json_body_is_kept_to_the_byte() {
        let line = written(Format::Json, br#"{"b": 1.50,"a":"\u00e9"}"#);
        assert_eq!(
            without_time(&line),
            "{\"topic\":\"t\",\"bookmark\":\"1|2|\",,\"data\":{\"b\": 1.50,\"a\":\"\\u00e9\"}}\n"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
    }

    #[test]
    fn any_other_body_is_a_string_and_stays_on_one_line() {
        for body in [&b"35=D\x01"[..], b"{\"a\":\n1}", b"", b"\xff"] {
            let line = written(Format::Json, body);
            assert_eq!(line.matches('\n').count(), 1);
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(value["data"], String::from_utf8_lossy(body).as_ref());
        }
    }

    #[test]
    fn the_body_form_is_the_body() {
        assert_eq!(written(Format::Body, b"{\"a\": 1}"), "{\"a\": 1}\n");
    }
}
