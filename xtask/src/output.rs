//! A subscriber's standard output, read while it is being written.
//!
//! `amps subscribe --format json` writes one JSON object a line. Bodies are kept
//! to the byte: a body that is JSON stands there as it came.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Failure;
use crate::input::Input;
use crate::tail::Tail;
use crate::verdict::Seen;

/// One delivery, as the subscriber wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) seen: Seen,
    /// When, in milliseconds of the Unix clock.
    pub(crate) at_ms: u64,
}

/// Reads what was appended since the last look.
#[derive(Debug)]
pub(crate) struct Output {
    tail: Tail,
    pub(crate) deliveries: Vec<Delivery>,
}

impl Output {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { tail: Tail::new(path), deliveries: Vec::new() }
    }

    /// Takes in all whole lines there are by now. A torn last line stays out: if
    /// its writer was killed, the message was not delivered.
    ///
    /// # Errors
    /// When the file cannot be read or a whole line is not what the command writes.
    pub(crate) fn poll(&mut self, input: &Input) -> Result<(), Failure> {
        let Self { tail, deliveries } = self;
        tail.poll(|line| {
            deliveries.push(parse(line, input).map_err(|error| format!("not a delivery: {error}"))?);
            Ok::<_, String>(())
        })
    }
}

#[derive(Deserialize)]
struct Written<'a> {
    timestamp_ms: u64,
    #[serde(borrow)]
    data: &'a RawValue,
}

fn parse(line: &[u8], input: &Input) -> Result<Delivery, serde_json::Error> {
    let written: Written<'_> = serde_json::from_slice(line)?;
    let body = written.data.get();
    let seen = input.find(body.as_bytes()).map_or_else(|| Seen::Unknown(shorten(body)), Seen::Line);
    Ok(Delivery { seen, at_ms: written.timestamp_ms })
}

/// Enough of a body to recognise it by.
pub(crate) fn shorten(body: &str) -> String {
    body.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::input::Line;

    #[test]
    fn whole_lines_are_taken_in_as_they_appear_and_a_torn_one_never() {
        let input = Input::deal("{\"a\": 1.50}\n{\"a\":2}\n", 1).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut output = Output::new(file.path().to_owned());
        output.poll(&input).unwrap();
        assert_eq!(output.deliveries, []);

        file.write_all(b"{\"topic\":\"t\",\"timestamp_ms\":5,\"data\":{\"a\": 1.50}}\n{\"timest").unwrap();
        output.poll(&input).unwrap();
        let first = Delivery { seen: Seen::Line(Line { publisher: 0, number: 0 }), at_ms: 5 };
        assert_eq!(output.deliveries, std::slice::from_ref(&first));

        file.write_all(b"amp_ms\":6,\"data\":{\"a\":3}}\n{\"torn").unwrap();
        output.poll(&input).unwrap();
        output.poll(&input).unwrap();
        assert_eq!(output.deliveries, [first, Delivery { seen: Seen::Unknown("{\"a\":3}".to_owned()), at_ms: 6 }]);
    }

    #[test]
    fn a_line_that_is_no_delivery_is_an_error() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"hello\n").unwrap();
        assert!(Output::new(file.path().to_owned()).poll(&Input::deal("a\n", 1).unwrap()).is_err());
    }
}
