//! Messages from files and standard input: by lines, by another delimiter, or as
//! the files in a zip archive; or from the command line.

mod records;
mod zipped;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread;

use tokio::sync::mpsc;

use records::Records;

/// Messages read ahead.
const AHEAD: usize = 1024;
/// The longest message, in bytes: the longest command AMPS takes (AMPS User Guide,
/// "AMPS Messages").
const LONGEST: u64 = 200_000_000;

/// Where messages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Stdin,
    File(PathBuf),
    /// A zip archive: each file in it is a message.
    Zip(PathBuf),
    /// One message.
    Text(String),
}

impl From<&str> for Source {
    fn from(text: &str) -> Self {
        let is_zip = Path::new(text).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("zip"));
        match text {
            "-" => Self::Stdin,
            _ if is_zip => Self::Zip(text.into()),
            _ => Self::File(text.into()),
        }
    }
}

/// What stands between two messages, and may stand behind the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delimiter {
    Byte(u8),
    /// Nothing: all of it is one message.
    None,
}

impl Delimiter {
    /// A line feed.
    pub(crate) const LINE: Self = Self::Byte(b'\n');
}

impl FromStr for Delimiter {
    type Err = String;

    /// A byte's decimal value as in `spark`, a single character, an escape such as
    /// `\t` or `\x1e`, or `none`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(byte) = text.parse::<u8>() {
            return Ok(Self::Byte(byte));
        }
        match (text, text.as_bytes()) {
            ("none", _) => Ok(Self::None),
            (r"\n", _) => Ok(Self::LINE),
            (r"\r", _) => Ok(Self::Byte(b'\r')),
            (r"\t", _) => Ok(Self::Byte(b'\t')),
            (r"\0", _) => Ok(Self::Byte(0)),
            (_, [byte]) if !byte.is_ascii_digit() => Ok(Self::Byte(*byte)),
            _ => text.strip_prefix(r"\x").and_then(|hex| u8::from_str_radix(hex, 16).ok()).map(Self::Byte).ok_or_else(
                || format!(r"{text:?} is no byte: expected its decimal value as in 10, a character, \n, \x0a, or none"),
            ),
        }
    }
}

/// One message without its delimiter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Counted from 1, over all sources.
    pub(crate) number: u64,
    pub(crate) body: Vec<u8>,
    /// Bytes of the input that have been read with it.
    pub(crate) input_bytes: u64,
}

/// Messages as they are read.
#[derive(Debug)]
pub(crate) struct Input {
    records: mpsc::Receiver<io::Result<Record>>,
    /// Of all sources together, if that is known.
    pub(crate) bytes: Option<u64>,
}

impl Input {
    /// The next message; `None` at the end. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Option<io::Result<Record>> {
        self.records.recv().await
    }
}

/// Starts to read the sources one after another. At most [`AHEAD`] messages wait.
/// Reading is done by a thread of its own: standard input may block for ever, and
/// nothing else shall wait for it.
///
/// # Errors
/// When a file is not there; later errors come in place of a message.
pub(crate) fn read(sources: &[Source], delimiter: Delimiter) -> io::Result<Input> {
    let bytes = sources.iter().map(Source::len).sum::<io::Result<Option<u64>>>()?;
    let (sender, records) = mpsc::channel(AHEAD);
    let sources = sources.to_vec();
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        let (mut number, mut input_bytes) = (0, 0);
        // Opened one by one: there may be more of them than a process may have open.
        for body in sources.iter().flat_map(|source| source.open(delimiter)) {
            let record = body.map(|(body, bytes)| {
                (number, input_bytes) = (number + 1, input_bytes + bytes);
                Record { number, body, input_bytes }
            });
            let failed = record.is_err();
            if sender.blocking_send(record).is_err() || failed {
                return;
            }
        }
    })?;
    Ok(Input { records, bytes })
}

/// Bodies, each with how many bytes of the input it took.
type Bodies = Box<dyn Iterator<Item = io::Result<(Vec<u8>, u64)>>>;

impl Source {
    /// How many bytes there are, if that is known.
    fn len(&self) -> io::Result<Option<u64>> {
        match self {
            Self::Stdin => Ok(None),
            Self::Text(text) => Ok(Some(text.len() as u64)),
            Self::File(path) | Self::Zip(path) => {
                let metadata = std::fs::metadata(path).map_err(|error| at(path, &error))?;
                match metadata.is_dir() {
                    true => Err(at(path, &io::ErrorKind::IsADirectory.into())),
                    false => Ok(metadata.is_file().then_some(metadata.len())),
                }
            }
        }
    }

    fn open(&self, delimiter: Delimiter) -> Bodies {
        let failed = |error| -> Bodies { Box::new(std::iter::once(Err(error))) };
        match self {
            Self::Stdin => Box::new(Records::new(BufReader::new(io::stdin()), "standard input".to_owned(), delimiter)),
            Self::File(path) => match File::open(path) {
                Ok(file) => Box::new(Records::new(BufReader::new(file), path.display().to_string(), delimiter)),
                Err(error) => failed(at(path, &error)),
            },
            Self::Text(text) => {
                let body = text.clone().into_bytes();
                let bytes = body.len() as u64;
                Box::new(std::iter::once(Ok((body, bytes))))
            }
            Self::Zip(path) => match zipped::Entries::open(path) {
                Ok(entries) => Box::new(entries),
                Err(error) => failed(error),
            },
        }
    }
}

/// The error with the file's name.
fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sources_are_read_one_after_another_to_their_ends() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
        std::fs::write(&one, "a\nb").unwrap();
        std::fs::write(&two, "c\n").unwrap();
        let mut input = read(&[Source::File(one), Source::File(two)], Delimiter::LINE).unwrap();
        assert_eq!(input.bytes, Some(5));
        for (number, body, input_bytes) in [(1, b"a", 2), (2, b"b", 3), (3, b"c", 5)] {
            assert_eq!(input.next().await.unwrap().unwrap(), Record { number, body: body.to_vec(), input_bytes });
        }
        assert!(input.next().await.is_none());
        let error = read(&[Source::File("no such file".into())], Delimiter::LINE).unwrap_err().to_string();
        assert!(error.contains("no such file"), "{error}");
    }

    #[test]
    fn sources_are_told_by_their_names() {
        assert_eq!(Source::from("-"), Source::Stdin);
        assert_eq!(Source::from("a.ZIP"), Source::Zip("a.ZIP".into()));
        assert_eq!(Source::from("a.json"), Source::File("a.json".into()));
    }

    #[test]
    fn a_delimiter_is_a_byte_or_none() {
        for (text, expected) in [
            ("10", Delimiter::LINE),
            (r"\n", Delimiter::LINE),
            ("1", Delimiter::Byte(1)),
            (";", Delimiter::Byte(b';')),
            (r"\x1e", Delimiter::Byte(0x1e)),
            ("none", Delimiter::None),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for bad in ["", "256", "ab", "é", r"\xzz"] {
            assert!(bad.parse::<Delimiter>().is_err(), "{bad}");
        }
    }
}
