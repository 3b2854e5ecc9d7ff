//! What went over the wire in one check, for the report of a failure.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use amps_core::{Field, Message};

/// Lines kept: the last ones.
const LINES: usize = 24;
/// Bytes of a body that are shown.
const BODY: usize = 120;
/// Characters of a header that are shown.
const HEADER: usize = 400;

/// A record that all connections of a check write to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exchange(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<String>,
    left_out: usize,
}

impl Exchange {
    pub(crate) fn note(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.kept.len() == LINES {
            lines.kept.pop_front();
            lines.left_out += 1;
        }
        lines.kept.push_back(line);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = (lines.left_out > 0).then(|| format!("({} earlier lines)", lines.left_out));
        first.into_iter().chain(lines.kept.iter().cloned()).collect()
    }
}

/// A message as it stood on the wire, without passwords, and cut where it is long.
pub(crate) fn shown(message: &Message) -> String {
    let header = match message.raw(Field::Password) {
        Some(password) if !password.is_empty() => message.header().replace(password, "***"),
        _ => message.header().to_owned(),
    };
    let header = cut(&header, HEADER);
    format!("{header}{}", cut(&String::from_utf8_lossy(message.data()), BODY))
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}... ({} bytes)", &text[..at], text.len()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn passwords_are_masked_and_long_things_cut() {
        let frame = format!("{{\"c\":\"logon\",\"pw\":\"hunter2\"}}{}", "x".repeat(200));
        let text = shown(&Message::decode(Bytes::from(frame)).unwrap());
        assert!(text.starts_with(r#"{"c":"logon","pw":"***"}xxx"#) && text.ends_with("... (200 bytes)"), "{text}");
    }

    #[test]
    fn the_last_lines_are_kept() {
        let exchange = Exchange::default();
        (0..LINES + 3).for_each(|line| exchange.note(line.to_string()));
        let lines = exchange.lines();
        assert_eq!((lines.len(), lines[0].as_str(), lines[1].as_str()), (LINES + 1, "(3 earlier lines)", "3"));
    }
}
