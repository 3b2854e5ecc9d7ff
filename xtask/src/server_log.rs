//! What a server logged, read from its journal.

use std::path::Path;

use amps_testserver::journal::{JournalReader, LoggedMessage};

use crate::Failure;
use crate::input::Input;
use crate::output::shorten;
use crate::verdict::{Seen, ServerLog};

/// Takes in what came into a server's journal since the last look; it may be
/// running, then an entry may be missing at the end.
///
/// # Errors
/// When there is no journal or it is damaged.
pub(crate) fn read_on(
    journal: &mut JournalReader,
    log: &mut ServerLog,
    input: &Input,
    publishers: &[String],
) -> Result<(), Failure> {
    let ServerLog { name, entries } = log;
    journal
        .read_on(&mut |message| entries.push((message.sequence, seen(&message, input, publishers))))
        .map_err(|error| Failure::new(format!("cannot read the journal of {name}: {error}")))
}

/// The log of a server from its journal, from the beginning.
///
/// # Errors
/// As for [`read_on`].
pub(crate) fn read(name: &str, dir: &Path, input: &Input, publishers: &[String]) -> Result<ServerLog, Failure> {
    let mut log = ServerLog { name: name.to_owned(), entries: Vec::new() };
    read_on(&mut JournalReader::new(dir), &mut log, input, publishers)?;
    Ok(log)
}

/// A line counts only under the name of the publisher that sent it.
fn seen(message: &LoggedMessage, input: &Input, publishers: &[String]) -> Seen {
    match input.find(&message.body) {
        Some(line) if publishers.get(line.publisher) == Some(&message.client_name) => Seen::Line(line),
        _ => Seen::Unknown(format!("{}: {}", message.client_name, shorten(&String::from_utf8_lossy(&message.body)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Line;
    use bytes::Bytes;

    #[test]
    fn a_line_under_another_name_is_unknown() {
        let input = Input::deal("a\nb\n", 2).unwrap();
        let publishers = ["one".to_owned(), "two".to_owned()];
        let logged = |client_name: &str, body: &'static str| LoggedMessage {
            publisher: 1,
            sequence: 1,
            client_name: client_name.to_owned(),
            topic: "t".to_owned(),
            deletes: None,
            body: Bytes::from_static(body.as_bytes()),
        };
        assert_eq!(seen(&logged("two", "b"), &input, &publishers), Seen::Line(Line { publisher: 1, number: 0 }));
        assert_eq!(seen(&logged("one", "b"), &input, &publishers), Seen::Unknown("one: b".to_owned()));
    }
}
