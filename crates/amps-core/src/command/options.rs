//! The options of commands.

use std::fmt;
use std::time::Duration;

/// The most options of one command.
pub const OPTIONS_MAX: usize = 256;

/// Options of a command, in the order they were given (AMPS Command Reference,
/// "subscribe", "sow" and others).
///
/// Options without a method of their own can be given as text, which is split at
/// the commas outside of brackets.
///
/// ```
/// use amps_core::{CommandOptions, Conflation};
/// use std::time::Duration;
/// let options = CommandOptions::new()
///     .oof()
///     .select(["-/", "+/id", "+/price"])
///     .conflation(Conflation::Interval(Duration::from_millis(250)));
/// assert_eq!(options.to_string(), "oof,select=[-/,+/id,+/price],conflation=250ms");
/// assert_eq!(CommandOptions::from("oof, select=[-/,+/id,+/price],conflation=250ms"), options);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandOptions(Vec<(String, Option<String>)>);

/// How updates of one record are merged into fewer by the server (AMPS User
/// Guide, "Conflated Subscriptions").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Conflation {
    /// At most one update of a record in this time; rounded up to whole
    /// milliseconds.
    Interval(Duration),
    /// As the server chooses.
    Auto,
    /// Not at all, whatever the topic's default is.
    None,
}

/// The speed of a replay (AMPS User Guide, "Replaying Messages": rate control).
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Rate {
    /// Messages a second.
    Messages(u64),
    /// Kilobytes a second, of 1,000 bytes.
    Kilobytes(u64),
    /// A multiple of the speed at which the messages were published.
    Times(f64),
}

impl CommandOptions {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this one is given, with a value or without.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(own, _)| own == name)
    }

    /// The value of one that has a value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).and_then(|(_, value)| value.as_deref())
    }

    /// Names, and values of those that have one, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// Gives one without a value.
    #[must_use]
    pub fn flag(self, name: impl Into<String>) -> Self {
        self.with(name.into(), None)
    }

    /// Gives one with a value. A second call replaces the first.
    #[must_use]
    pub fn value(self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        self.with(name.into(), Some(value.to_string()))
    }

    /// `oof`: told when a record no longer matches, or is gone.
    #[must_use]
    pub fn oof(self) -> Self {
        self.flag("oof")
    }

    /// `timestamp`: with the time the server processed each message.
    #[must_use]
    pub fn timestamp(self) -> Self {
        self.flag("timestamp")
    }

    /// `bookmark`: live messages with their bookmark.
    #[must_use]
    pub fn bookmark(self) -> Self {
        self.flag("bookmark")
    }

    /// `no_sowkey`: without SOW keys.
    #[must_use]
    pub fn no_sowkey(self) -> Self {
        self.flag("no_sowkey")
    }

    /// `send_keys`: deltas with the fields of the key.
    #[must_use]
    pub fn send_keys(self) -> Self {
        self.flag("send_keys")
    }

    /// `no_empties`: no deltas that change nothing.
    #[must_use]
    pub fn no_empties(self) -> Self {
        self.flag("no_empties")
    }

    /// `non_regex_topic`: the topic is a name, whatever characters it has.
    #[must_use]
    pub fn non_regex_topic(self) -> Self {
        self.flag("non_regex_topic")
    }

    /// `live`: after its replay a bookmark subscription gets messages before
    /// they are persisted.
    #[must_use]
    pub fn live(self) -> Self {
        self.flag("live")
    }

    /// `fully_durable`: a bookmark subscription gets only what every
    /// synchronous replica has.
    #[must_use]
    pub fn fully_durable(self) -> Self {
        self.flag("fully_durable")
    }

    /// `conflation`: fewer updates of each record.
    #[must_use]
    pub fn conflation(self, conflation: Conflation) -> Self {
        match conflation {
            Conflation::Interval(time) => self.value("conflation", interval(time)),
            Conflation::Auto => self.value("conflation", "auto"),
            Conflation::None => self.value("conflation", "none"),
        }
    }

    /// `conflation_key`: the fields that say which messages are of one record;
    /// needed where the topic has no SOW.
    #[must_use]
    pub fn conflation_key<T: AsRef<str>>(self, fields: impl IntoIterator<Item = T>) -> Self {
        self.list("conflation_key", fields)
    }

    /// `select`: only some fields, each with `+` to have it or `-` to leave it
    /// out; `-/` leaves out all others.
    #[must_use]
    pub fn select<T: AsRef<str>>(self, fields: impl IntoIterator<Item = T>) -> Self {
        self.list("select", fields)
    }

    /// `top_n`: at most so many records, or messages of a replay.
    #[must_use]
    pub fn top_n(self, count: u64) -> Self {
        self.value("top_n", count)
    }

    /// `skip_n`: without the first so many records. With `top_n` a page.
    #[must_use]
    pub fn skip_n(self, count: u64) -> Self {
        self.value("skip_n", count)
    }

    /// `projection`: the fields of an aggregate, such as `SUM(/qty) AS /total`;
    /// with [`grouping`](Self::grouping).
    #[must_use]
    pub fn projection<T: AsRef<str>>(self, fields: impl IntoIterator<Item = T>) -> Self {
        self.list("projection", fields)
    }

    /// `grouping`: the fields by which an aggregate is made; with
    /// [`projection`](Self::projection).
    #[must_use]
    pub fn grouping<T: AsRef<str>>(self, fields: impl IntoIterator<Item = T>) -> Self {
        self.list("grouping", fields)
    }

    /// `rate`: the speed of a replay.
    #[must_use]
    pub fn rate(self, rate: Rate) -> Self {
        match rate {
            Rate::Messages(count) => self.value("rate", count),
            Rate::Kilobytes(count) => self.value("rate", format_args!("{count}KB")),
            Rate::Times(factor) => self.value("rate", format_args!("{factor}X")),
        }
    }

    /// `rate_max_gap`: the longest pause of a replay at a multiple of the
    /// original speed; rounded up to whole milliseconds.
    #[must_use]
    pub fn rate_max_gap(self, gap: Duration) -> Self {
        self.value("rate_max_gap", interval(gap))
    }

    /// `max_backlog`: how many messages of a queue this subscription may hold
    /// unacknowledged.
    #[must_use]
    pub fn max_backlog(self, messages: u64) -> Self {
        self.value("max_backlog", messages)
    }

    fn list<T: AsRef<str>>(self, name: &str, items: impl IntoIterator<Item = T>) -> Self {
        let items: Vec<_> = items.into_iter().map(|item| item.as_ref().to_owned()).collect();
        self.value(name, format_args!("[{}]", items.join(",")))
    }

    fn with(mut self, name: String, value: Option<String>) -> Self {
        match self.0.iter_mut().find(|(own, _)| *own == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
        self
    }

    /// What makes them unreadable as a list.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.0.len() > OPTIONS_MAX {
            return Err("more than 256 options");
        }
        for (name, value) in &self.0 {
            if name.is_empty() || name.contains(['[', ']', '=', ',', ' ']) {
                return Err("an option has no proper name");
            }
            let value = value.as_deref().unwrap_or_default();
            if split(value).1 != 0 {
                return Err("the brackets of an option do not match");
            }
            if split(value).0.len() > 1 {
                return Err("a list of several values needs brackets");
            }
            if LISTS_OF_FIELDS.contains(&name.as_str()) && !is_list_of_fields(value) {
                return Err("select, conflation_key and grouping are lists of fields in brackets, such as [/a,/b]");
            }
        }
        Ok(())
    }
}

/// Options whose items begin with `/`, or with `[/` for names with odd characters
/// in them; those of `select` with a sign in front.
const LISTS_OF_FIELDS: [&str; 3] = ["select", "conflation_key", "grouping"];

/// Whether everything that a server will split the list into is a field: an item
/// with a comma of its own is not.
fn is_list_of_fields(value: &str) -> bool {
    let Some(items) = value.strip_prefix('[').and_then(|value| value.strip_suffix(']')) else { return false };
    split(items).0.into_iter().all(|item| {
        let item = item.trim();
        let field = item.strip_prefix(['+', '-']).unwrap_or(item);
        field.starts_with('/') || field.starts_with("[/")
    })
}

/// An interval in the notation of AMPS.
fn interval(time: Duration) -> String {
    format!("{}ms", time.as_nanos().div_ceil(1_000_000))
}

/// Splits at the commas outside of brackets. Answers also how many brackets are
/// left open; negative, if one was closed that was not open.
fn split(text: &str) -> (Vec<&str>, i32) {
    let (mut parts, mut start, mut depth, mut least) = (Vec::new(), 0, 0, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        least = least.min(depth);
    }
    parts.push(&text[start..]);
    (parts, if least < 0 { least } else { depth })
}

impl From<&str> for CommandOptions {
    fn from(text: &str) -> Self {
        let parts = split(text).0.into_iter().map(str::trim).filter(|part| !part.is_empty());
        parts.fold(Self::default(), |options, part| match part.split_once('=') {
            // One more than the check lets pass; what follows is not looked at.
            _ if options.0.len() > OPTIONS_MAX => options,
            Some((name, value)) => options.with(name.trim().to_owned(), Some(value.trim().to_owned())),
            None => options.with(part.to_owned(), None),
        })
    }
}

impl From<String> for CommandOptions {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl fmt::Display for CommandOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(name)?;
            if let Some(value) = value {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Covers 4#2.
    #[test]
    fn every_option_is_written_as_the_documents_say() {
        let ms = Duration::from_millis;
        for (options, text) in [
            (CommandOptions::new(), ""),
            (CommandOptions::new().max_backlog(0), "max_backlog=0"),
            (CommandOptions::new().oof().timestamp().no_sowkey(), "oof,timestamp,no_sowkey"),
            (CommandOptions::new().send_keys().no_empties().non_regex_topic(), "send_keys,no_empties,non_regex_topic"),
            (CommandOptions::new().bookmark().live().fully_durable(), "bookmark,live,fully_durable"),
            (CommandOptions::new().conflation(Conflation::Interval(ms(1_500))), "conflation=1500ms"),
            (CommandOptions::new().conflation(Conflation::Interval(Duration::from_nanos(1))), "conflation=1ms"),
            (CommandOptions::new().conflation(Conflation::Auto), "conflation=auto"),
            (
                CommandOptions::new().conflation(Conflation::None).conflation_key(["/a", "/b"]),
                "conflation=none,conflation_key=[/a,/b]",
            ),
            (CommandOptions::new().top_n(5).skip_n(10), "top_n=5,skip_n=10"),
            (
                CommandOptions::new().projection(["SUM(/q) AS /t", "/a"]).grouping(["/a"]),
                "projection=[SUM(/q) AS /t,/a],grouping=[/a]",
            ),
            (CommandOptions::new().rate(Rate::Messages(100)), "rate=100"),
            (CommandOptions::new().rate(Rate::Kilobytes(5)), "rate=5KB"),
            (CommandOptions::new().rate(Rate::Times(1.5)).rate_max_gap(ms(20)), "rate=1.5X,rate_max_gap=20ms"),
            (CommandOptions::new().top_n(1).oof().top_n(2), "top_n=2,oof"),
        ] {
            assert_eq!(options.to_string(), text);
            assert_eq!(CommandOptions::from(text), options);
            assert_eq!(options.check(), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_would_be_read_as_something_else_is_found() {
        for text in ["select=[/a", "select=/a]", "select=]/a[", "=5", "a b=5", "[x]"] {
            assert!(CommandOptions::from(text).check().is_err(), "{text}");
        }
        assert!(CommandOptions::new().value("top_n", "1,oof").check().is_err());
        for odd in ["/a,oof", "/a],oof,select=[/b", "a", "", "/a,"] {
            for options in [
                CommandOptions::new().select([odd]),
                CommandOptions::new().conflation_key(["/x", odd]),
                CommandOptions::new().grouping([odd, "/x"]),
            ] {
                assert!(options.check().is_err(), "{options}");
            }
        }
        assert_eq!(CommandOptions::new().select(["-/", "+[/odd, name]", "/a/b"]).check(), Ok(()));
        assert!(CommandOptions::new().flag("oof,live").check().is_err());
    }

    #[test]
    fn there_are_not_too_many() {
        let some = |count: usize| (0..count).map(|n| format!("o{n}")).collect::<Vec<_>>().join(",");
        assert_eq!(CommandOptions::from(some(OPTIONS_MAX)).check(), Ok(()));
        let many = CommandOptions::from(some(1_000_000));
        assert_eq!((many.check(), many.iter().count()), (Err("more than 256 options"), OPTIONS_MAX + 1));
    }

    proptest! {
        #[test]
        fn any_text_is_split_and_what_was_split_stays(text in "[a-c=,\\[\\] ]{0,40}") {
            let options = CommandOptions::from(text.as_str());
            if options.check().is_ok() {
                prop_assert_eq!(CommandOptions::from(options.to_string()), options);
            }
        }
    }
}
