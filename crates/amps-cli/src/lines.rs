//! The lines of a file or of standard input, as message bodies.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::thread;

use tokio::sync::mpsc;

/// Lines read ahead.
const AHEAD: usize = 1024;
/// The longest line, in bytes: the longest command AMPS takes (AMPS User Guide,
/// "AMPS Messages").
const LONGEST: u64 = 200_000_000;

/// Where lines come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Stdin,
    File(PathBuf),
}

impl From<&str> for Source {
    fn from(text: &str) -> Self {
        if text == "-" { Self::Stdin } else { Self::File(text.into()) }
    }
}

/// One line without its line feed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Counted from 1.
    pub(crate) number: u64,
    pub(crate) body: Vec<u8>,
}

/// Starts to read. The channel ends with the input; at most [`AHEAD`] lines wait
/// in it. Reading is done by a thread of its own: standard input may block for
/// ever, and nothing else shall wait for it.
///
/// # Errors
/// When the file cannot be opened; later errors come through the channel.
pub(crate) fn read(source: &Source) -> io::Result<mpsc::Receiver<io::Result<Line>>> {
    let input: Box<dyn BufRead + Send> = match source {
        Source::Stdin => Box::new(BufReader::new(io::stdin())),
        Source::File(path) => Box::new(BufReader::new(File::open(path)?)),
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        for line in (Lines { input, number: 0 }) {
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                return;
            }
        }
    })?;
    Ok(receiver)
}

struct Lines<R> {
    input: R,
    number: u64,
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut body = Vec::new();
        match self.input.by_ref().take(LONGEST + 1).read_until(b'\n', &mut body) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => return Some(Err(error)),
        }
        self.number += 1;
        if body.last() == Some(&b'\n') {
            body.pop();
        } else if body.len() as u64 > LONGEST {
            let text = format!("line {} is longer than {LONGEST} bytes", self.number);
            return Some(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        Some(Ok(Line { number: self.number, body }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let lines = Lines { input: text, number: 0 };
        lines.map(|line| line.map(|line| (line.number, line.body)).unwrap()).collect()
    }

    #[test]
    fn bodies_are_exact_and_a_last_line_needs_no_line_feed() {
        assert_eq!(lines(b"a \r\n\nb"), [(1, b"a \r".to_vec()), (2, b"".to_vec()), (3, b"b".to_vec())]);
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"\n"), [(1, b"".to_vec())]);
    }

    #[test]
    fn a_line_without_end_is_an_error() {
        let endless = BufReader::new(io::repeat(b'x'));
        assert!(Lines { input: endless, number: 0 }.next().unwrap().is_err());
    }

    #[tokio::test]
    async fn a_file_is_read_to_its_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a\nb\n").unwrap();
        let mut lines = read(&Source::File(file.path().into())).unwrap();
        assert_eq!(lines.recv().await.unwrap().unwrap(), Line { number: 1, body: b"a".to_vec() });
        assert_eq!(lines.recv().await.unwrap().unwrap().number, 2);
        assert!(lines.recv().await.is_none());
        assert!(read(&Source::File("no such file".into())).is_err());
        assert_eq!(Source::from("-"), Source::Stdin);
    }
}
