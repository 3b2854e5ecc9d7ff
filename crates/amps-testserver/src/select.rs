//! Select lists: which fields of a message somebody wants (AMPS User Guide,
//! "Retrieving Part of a Message").

use serde_json::{Map, Value};

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

    /// A JSON body with the fields that are wanted. What is no JSON has no
    /// fields to leave out.
    pub(crate) fn cut(&self, body: &[u8]) -> Vec<u8> {
        match serde_json::from_slice(body) {
            Ok(value) => self.apply(&value).unwrap_or_else(|| Value::Object(Map::new())).to_string().into(),
            Err(_) => body.to_vec(),
        }
    }

    /// What is wanted of a document; `None` when it is nothing.
    pub(crate) fn apply(&self, document: &Value) -> Option<Value> {
        let below: Vec<_> = self.entries.iter().map(|(steps, wanted)| (steps.as_slice(), *wanted)).collect();
        part(document, &below, true)
    }
}

/// What is wanted of a value. The entries name what is in it, from here on;
/// `wanted` is what the longest path above says.
fn part(value: &Value, entries: &[(&[String], bool)], wanted: bool) -> Option<Value> {
    let wanted = entries.iter().find(|(steps, _)| steps.is_empty()).map_or(wanted, |(_, wanted)| *wanted);
    if entries.iter().all(|(steps, _)| steps.is_empty()) {
        return wanted.then(|| value.clone());
    }
    match value {
        Value::Object(fields) => {
            let kept: Map<_, _> = fields
                .iter()
                .filter_map(|(name, field)| {
                    let inside = entries.iter().filter_map(|(steps, wanted)| {
                        let (first, rest) = steps.split_first()?;
                        (first == name).then_some((rest, *wanted))
                    });
                    let inside: Vec<_> = inside.collect();
                    part(field, &inside, wanted).map(|part| (name.clone(), part))
                })
                .collect();
            (wanted || !kept.is_empty()).then_some(Value::Object(kept))
        }
        // Paths go through arrays.
        Value::Array(items) => {
            let kept: Vec<_> = items.iter().filter_map(|item| part(item, entries, wanted)).collect();
            (wanted || !kept.is_empty()).then_some(Value::Array(kept))
        }
        other => wanted.then(|| other.clone()),
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
            let cut = Select::parse(list).unwrap().cut(body);
            assert_eq!(String::from_utf8(cut).unwrap(), kept, "{list}");
        }
        let list = Select::parse("[-/]").unwrap();
        assert_eq!(list.cut(b"no json"), b"no json");
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
