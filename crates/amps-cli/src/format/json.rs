//! One JSON object a message.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::value::RawValue;

use super::Shown;

#[derive(Serialize)]
struct Object<'a> {
    command: &'a str,
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bookmark: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sow_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_period: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
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

pub(super) fn write(out: &mut impl Write, message: &Shown<'_>) -> io::Result<()> {
    let object = Object {
        command: message.command,
        topic: &message.topic,
        bookmark: message.bookmark,
        sow_key: message.sow_key.as_deref(),
        timestamp: message.timestamp,
        correlation_id: message.correlation_id.as_deref(),
        user_id: message.user_id.as_deref(),
        expiration: message.expiration,
        lease_period: message.lease_period,
        reason: message.reason.as_deref(),
        timestamp_ms: now_ms(),
        data: data(message.body),
    };
    Ok(serde_json::to_writer(out, &object)?)
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

    fn written(body: &[u8]) -> String {
        let mut out = Vec::new();
        let message = Shown { command: "publish", topic: "t".into(), bookmark: Some("1|2|"), body, ..Shown::default() };
        write(&mut out, &message).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn without_time(line: &str) -> String {
        let (before, rest) = line.split_once("\"timestamp_ms\":").unwrap();
        format!("{before}{}", rest.trim_start_matches(|digit: char| digit.is_ascii_digit()))
    }

    #[test]
    fn a_json_body_is_kept_to_the_byte() {
        let line = written(br#"{"b": 1.50,"a":"\u00e9"}"#);
        assert_eq!(
            without_time(&line),
            "{\"command\":\"publish\",\"topic\":\"t\",\"bookmark\":\"1|2|\",,\"data\":{\"b\": 1.50,\"a\":\"\\u00e9\"}}"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
    }

    #[test]
    fn any_other_body_is_a_string_and_stays_on_one_line() {
        for body in [&b"35=D\x01"[..], b"{\"a\":\n1}", b"", b"\xff"] {
            let line = written(body);
            assert!(!line.contains('\n'));
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(value["data"], String::from_utf8_lossy(body).as_ref());
        }
    }
}
