//! Select lists: which fields of a message somebody wants (AMPS User Guide,
//! "Retrieving Part of a Message").

use std::borrow::Cow;

use crate::fields::Fields;
use crate::message_type::MessageType;

/// Entries of one list at most.
const ENTRIES_MAX: usize = 1_000;

/// A select list such as `[-/,+/id,+/leg/px]`: what is not named stays, and the
/// longest path that fits decides. Never adds a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Select {
    /// Steps of paths, and whether what is there is wanted.
    entries: Vec<(Vec<String>, bool)>,
}

impl Select {
    /// Reads the value of the option; `None` when it is no list.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let inside = text.strip_prefix('[')?.strip_suffix(']')?;
        let mut entries: Vec<(Vec<String>, bool)> = Vec::new();
        for entry in inside.split(',').map(str::trim) {
            let (wanted, path) = match entry.split_at_checked(1)? {
                ("+", path) => (true, path),
                ("-", path) => (false, path),
                _ => return None,
            };
            let steps: Vec<_> = match path.strip_prefix('/')? {
                "" => Vec::new(),
                path => path.split('/').map(str::to_owned).collect(),
            };
            if entries.len() == ENTRIES_MAX || steps.iter().any(String::is_empty) {
                return None;
            }
            // Of the same path named twice the first counts.
            if entries.iter().all(|(named, _)| *named != steps) {
                entries.push((steps, wanted));
            }
        }
        Some(Self { entries })
    }

    /// A body with the fields that are wanted. One without fields has none to
    /// leave out.
    pub(crate) fn cut<'b>(&self, message_type: &MessageType, body: &'b [u8]) -> Cow<'b, [u8]> {
        match Fields::read(message_type, body) {
            Some(fields) => Cow::Owned(self.apply(&fields).unwrap_or_else(|| fields.emptied()).write().into()),
            None => Cow::Borrowed(body),
        }
    }

    /// What is wanted of a message; `None` when it is nothing.
    pub(crate) fn apply(&self, message: &Fields) -> Option<Fields> {
        let entries: Vec<_> = self.entries.iter().map(|(steps, wanted)| (steps.as_slice(), *wanted)).collect();
        message.part(&entries, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_path_decides_and_nothing_is_made() {
        let body = br#"{"e":{},"id":1,"leg":[{"px":1,"qty":2},{"px":3}],"n":{"x":{"y":1,"z":2}}}"#;
        for (list, kept) in [
            ("[-/]", "{}"),
            ("[+/]", r#"{"e":{},"id":1,"leg":[{"px":1,"qty":2},{"px":3}],"n":{"x":{"y":1,"z":2}}}"#),
            ("[-/,+/id,+/missing/x]", r#"{"id":1}"#),
            ("[-/, +/leg/px]", r#"{"leg":[{"px":1},{"px":3}]}"#),
            ("[-/,+/leg/qty]", r#"{"leg":[{"qty":2}]}"#),
            ("[-/leg,-/e]", r#"{"id":1,"n":{"x":{"y":1,"z":2}}}"#),
            ("[-/leg,-/n/x/y,-/id]", r#"{"e":{},"n":{"x":{"z":2}}}"#),
            ("[-/,+/n,-/n/x,+/n/x/y]", r#"{"n":{"x":{"y":1}}}"#),
            ("[-/,+/n/x,-/n/x/y,-/n/x/z]", r#"{"n":{"x":{}}}"#),
            ("[-/,+/id,-/id]", r#"{"id":1}"#),
            ("[+/id,-/id,-/]", r#"{"id":1}"#),
            ("[-/,+/id/below]", "{}"),
        ] {
            let list = Select::parse(list).unwrap();
            let cut = list.cut(&MessageType::Json, body);
            assert_eq!(std::str::from_utf8(&cut), Ok(kept), "{list:?}");
        }
        let list = Select::parse("[-/]").unwrap();
        assert_eq!(&*list.cut(&MessageType::Json, b"no json"), b"no json");
    }

    #[test]
    fn messages_of_every_type_with_fields_are_cut() {
        let nvfix = "id=1|leg=a|leg=b|px=2|";
        let composite = MessageType::CompositeLocal(vec![MessageType::Json, MessageType::Nvfix, MessageType::Binary]);
        let parts = |parts: [&str; 3]| {
            parts.iter().map(|part| format!("\0\0\0{}{part}", part.len() as u8 as char)).collect::<String>() + "behind"
        };
        let body = parts([r#"{"id":1,"v":2}"#, "id=2|v=3|", "raw"]);
        for (message_type, body, list, kept) in [
            (MessageType::Nvfix, nvfix, "[-/,+/id,+/leg]", "id=1|leg=a|leg=b|"),
            (MessageType::Nvfix, nvfix, "[-/leg]", "id=1|px=2|"),
            (MessageType::Nvfix, nvfix, "[-/leg/px]", nvfix),
            (MessageType::Nvfix, nvfix, "[-/]", ""),
            (MessageType::Fix, "35=D|38=100|", "[-/,+/38]", "38=100|"),
            (MessageType::Binary, "id=1|", "[-/]", "id=1|"),
            (composite.clone(), &body, "[-/,+/0/id,+/1/v]", &parts([r#"{"id":1}"#, "v=3|", ""])),
            (composite.clone(), &body, "[-/0/v,-/1]", &parts([r#"{"id":1}"#, "", "raw"])),
            (composite.clone(), &body, "[-/,+/2]", &parts(["", "", "raw"])),
            (composite, &body, "[-/]", &parts(["", "", ""])),
        ] {
            let body = body.replace('|', "\x01");
            let list = Select::parse(list).unwrap();
            let cut = list.cut(&message_type, body.as_bytes());
            assert_eq!(String::from_utf8_lossy(&cut).replace('\x01', "|"), kept, "{message_type:?} {list:?}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["", "[]", "[/id]", "[+id]", "+/id", "[+/id", "[+/a//b]", "[+/a/]", "[-/,]", "[é/a]"] {
            assert!(Select::parse(text).is_none(), "{text}");
        }
        let list =
            |entries: usize| format!("[{}]", (0..entries).map(|ix| format!("+/{ix}")).collect::<Vec<_>>().join(","));
        assert!(Select::parse(&list(ENTRIES_MAX)).is_some());
        assert!(Select::parse(&list(ENTRIES_MAX + 1)).is_none());
    }
}
