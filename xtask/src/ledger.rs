//! The publishers' ledgers: `amps publish --ledger` appends the number of an
//! input line, counted from 1, once that line is durable. That is a promise.

use std::path::PathBuf;

use crate::Failure;
use crate::tail::Tail;

/// A ledger, read while it is being written.
#[derive(Debug)]
pub(crate) struct Ledger {
    tail: Tail,
    last: usize,
}

impl Ledger {
    /// A file that is not there yet is an empty ledger.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { tail: Tail::new(path), last: 0 }
    }

    /// Takes in what was written since the last look.
    ///
    /// # Errors
    /// When the file cannot be read or holds something other than line numbers.
    pub(crate) fn poll(&mut self) -> Result<(), Failure> {
        let Self { tail, last } = self;
        tail.poll(|line| {
            *last = parse(line)?.max(*last);
            Ok::<_, String>(())
        })
    }

    /// The highest number in it; lines are stored in order, so that each below is
    /// promised too. 0 if there is none.
    pub(crate) fn last(&self) -> usize {
        self.last
    }
}

fn parse(line: &[u8]) -> Result<usize, String> {
    let number = std::str::from_utf8(line).ok().and_then(|text| text.trim_end_matches('\n').parse().ok());
    number.filter(|&number| number > 0).ok_or_else(|| format!("{:?} is no line number", String::from_utf8_lossy(line)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn whole_lines_count_and_a_torn_one_does_not() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut ledger = Ledger::new(file.path().to_owned());
        file.write_all(b"1\n2\n13").unwrap();
        ledger.poll().unwrap();
        assert_eq!(ledger.last(), 2);
        file.write_all(b"4\n").unwrap();
        ledger.poll().unwrap();
        assert_eq!(ledger.last(), 134);
    }

    #[test]
    fn anything_else_is_an_error() {
        for bad in ["two\n", "0\n", "\n", "-1\n"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_ledger_not_begun_is_empty() {
        let mut ledger = Ledger::new(PathBuf::from("no such ledger"));
        ledger.poll().unwrap();
        assert_eq!(ledger.last(), 0);
    }
}
