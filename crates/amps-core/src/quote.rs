//! Values in content filters.

use std::fmt::Write;

/// A text as a value in a content filter, whatever characters it has: what a
/// user typed cannot end the value and go on as a filter of its own (AMPS User
/// Guide, "String Literals").
///
/// An empty text is NULL to a server, and nothing equals NULL: ask `IS NULL`.
///
/// Not for the pattern behind `LIKE`, which is a regular expression. A text as
/// it is stands in a field with `INSTR(/field, ...) > 0`, and at its beginning
/// or end with `BEGINS WITH (...)` and `ENDS WITH (...)`.
///
/// ```
/// use amps_core::quote;
/// let typed = r"it's \ OR 1=1";
/// assert_eq!(format!("/name = {}", quote(typed)), r"/name = 'it\'s \\ OR 1=1'");
/// ```
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    push(&mut quoted, text);
    quoted
}

/// Several texts as the values behind `IN`, `BEGINS WITH` or `ENDS WITH`, each as
/// [`quote`] has it. Of no text at all it is a value that nothing equals.
///
/// ```
/// use amps_core::quote_list;
/// let filter = format!("/symbol IN {}", quote_list(["ACME", "O'Hara"]));
/// assert_eq!(filter, r"/symbol IN ('ACME','O\'Hara')");
/// ```
pub fn quote_list<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let mut list = String::from("(");
    for text in texts {
        if list.len() > 1 {
            list.push(',');
        }
        push(&mut list, text.as_ref());
    }
    if list.len() == 1 {
        list.push_str("NULL");
    }
    list.push(')');
    list
}

fn push(to: &mut String, text: &str) {
    to.push('\'');
    for letter in text.chars() {
        match letter {
            '\'' | '\\' => to.extend(['\\', letter]),
            '\n' => to.push_str("\\n"),
            '\r' => to.push_str("\\r"),
            '\t' => to.push_str("\\t"),
            '\0'..='\x1f' | '\x7f' => {
                // Writing to a string does not fail.
                let _ = write!(to, "\\x{:02x}", u32::from(letter));
            }
            _ => to.push(letter),
        }
    }
    to.push('\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_character_is_escaped_and_no_other() {
        assert_eq!(quote(""), "''");
        assert_eq!(quote("größe 日本 {}[],\"/%"), "'größe 日本 {}[],\"/%'");
        assert_eq!(quote("a'b\\c\nd\re\tf\0g\x1bh\x7f"), r"'a\'b\\c\nd\re\tf\x00g\x1bh\x7f'");
        assert_eq!(quote_list([""; 0]), "(NULL)");
        assert_eq!(quote_list(["a", "", "b'"]), r"('a','','b\'')");
    }
}
