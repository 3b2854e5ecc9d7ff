//! The events `amps publish` and `amps subscribe` write to standard error. For
//! information and for choosing a victim only: no verdict rests on them.

use std::path::PathBuf;

/// What begins the line of a connection that is ready; its URI follows.
const CONNECTED: &str = "connected ";

/// The URIs one process was connected to, in order. A file that cannot be read
/// tells of none.
pub(crate) fn connections(path: &PathBuf) -> Vec<String> {
    parse(&std::fs::read_to_string(path).unwrap_or_default())
}

/// How often processes connected again after their first connection.
pub(crate) fn failovers(files: &[PathBuf]) -> usize {
    files.iter().map(|file| connections(file).len().saturating_sub(1)).sum()
}

fn parse(text: &str) -> Vec<String> {
    let uri = |line: &str| line.strip_prefix(CONNECTED)?.split_whitespace().next().map(str::to_owned);
    text.lines().filter_map(uri).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_read_in_order_and_other_lines_are_not() {
        let text = "connected tcp://a:1/amps/json\nlost tcp://a:1/amps/json: closed\nconnected tcp://b:2/amps/json\n";
        assert_eq!(parse(text), ["tcp://a:1/amps/json", "tcp://b:2/amps/json"]);
        assert_eq!(failovers(&[PathBuf::from("no such file")]), 0);
    }
}
