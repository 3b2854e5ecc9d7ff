//! The publishers' ledgers: `amps publish --ledger` appends the number of an
//! input line, counted from 1, once that line is durable. That is a promise.

use std::path::Path;

use crate::Failure;

/// The line numbers of a ledger. A file that is not there yet is an empty one.
///
/// # Errors
/// When the file cannot be read or holds something other than line numbers.
pub(crate) fn read(path: &Path) -> Result<Vec<usize>, Failure> {
    match std::fs::read(path) {
        Ok(bytes) => parse(&bytes).map_err(|bad| Failure::new(format!("{}: {bad}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Failure::new(format!("cannot read the ledger {}: {error}", path.display()))),
    }
}

/// A last line without its newline was being written when the publisher died:
/// the promise was not made.
fn parse(bytes: &[u8]) -> Result<Vec<usize>, String> {
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let text = std::str::from_utf8(&bytes[..whole]).map_err(|_| "the ledger is not text".to_owned())?;
    let number = |line: &str| match line.parse::<usize>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{line:?} is no line number")),
    };
    text.lines().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_count_and_a_torn_one_does_not() {
        assert_eq!(parse(b"1\n2\n13").unwrap(), [1, 2]);
        assert!(parse(b"1").unwrap().is_empty());
        assert!(parse(b"").unwrap().is_empty());
    }

    #[test]
    fn anything_else_is_an_error() {
        assert!(parse(b"1\ntwo\n").is_err());
        assert!(parse(b"0\n").is_err());
        assert!(parse(b"\n").is_err());
    }

    #[test]
    fn a_ledger_not_begun_is_empty() {
        assert!(read(Path::new("no such ledger")).unwrap().is_empty());
    }
}
