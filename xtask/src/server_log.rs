//! What a server logged, read from its journal, and what it was sent that breaks
//! the protocol.

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

/// What breaks the protocol, of what servers said on their standard error: the
/// first of each life. A network that cuts and stalls changes no byte.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn protocol_violations(dir: &Path) -> Result<Vec<String>, Failure> {
    let failed = |error| Failure::new(format!("cannot read what servers said in {}: {error}", dir.display()));
    let mut files: Vec<_> = std::fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
    files.sort_by_key(std::fs::DirEntry::path);
    let mut found = Vec::new();
    for file in files {
        let name = file.file_name().to_string_lossy().into_owned();
        if name.starts_with("server-") && name.ends_with(".err") {
            let said = std::fs::read(file.path()).map_err(failed)?;
            let said = String::from_utf8_lossy(&said);
            let line = said.lines().find(|line| line.contains("protocol violation"));
            found.extend(line.map(|line| format!("{name}: {line}")));
        }
    }
    Ok(found)
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
    fn what_breaks_the_protocol_is_found_in_what_servers_said() {
        let dir = tempfile::tempdir().unwrap();
        for (name, said) in [
            ("server-A.1.err", "WARN protocol violation what=\"frame\"\nWARN protocol violation what=\"other\"\n"),
            ("server-A.2.err", "WARN the disk is full\n"),
            ("publisher-1.1.err", "protocol violation\n"),
        ] {
            std::fs::write(dir.path().join(name), said).unwrap();
        }
        let found = protocol_violations(dir.path()).unwrap();
        assert_eq!(found, ["server-A.1.err: WARN protocol violation what=\"frame\""]);
    }

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
