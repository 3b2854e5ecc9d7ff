//! A text with tags, as `spark` has it (AMPS User Guide, "spark": `-format`).

use std::borrow::Cow;
use std::io::{self, Write};
use std::str::FromStr;

use super::Shown;

/// What a tag stands for.
type Value = for<'m> fn(&'m Shown<'_>) -> Cow<'m, [u8]>;

fn text<'m>(value: Option<&'m str>) -> Cow<'m, [u8]> {
    Cow::Borrowed(value.unwrap_or_default().as_bytes())
}

fn number<'m>(value: impl ToString) -> Cow<'m, [u8]> {
    Cow::Owned(value.to_string().into_bytes())
}

/// The tags. A field that a message does not have is empty.
const TAGS: [(&str, Value); 11] = [
    ("bookmark", |message| text(message.bookmark)),
    ("command", |message| text(Some(message.command))),
    ("correlation_id", |message| text(message.correlation_id.as_deref())),
    ("data", |message| Cow::Borrowed(message.body)),
    ("expiration", |message| message.expiration.map_or_else(|| text(None), number)),
    ("lease_period", |message| text(message.lease_period)),
    ("length", |message| number(message.body.len())),
    ("sowkey", |message| text(message.sow_key.as_deref())),
    ("timestamp", |message| text(message.timestamp)),
    ("topic", |message| text(Some(&message.topic))),
    ("user_id", |message| text(message.user_id.as_deref())),
];

/// The names of the tags.
pub(super) fn tags() -> String {
    TAGS.map(|(name, _)| format!("{{{name}}}")).join(" ")
}

/// Text, and tags by their places in [`TAGS`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Tag(usize),
}

impl FromStr for Template {
    type Err = String;

    /// Braces around a word are a tag; others stand for themselves.
    fn from_str(template: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), template);
        let mut text = String::new();
        while let Some(open) = rest.find('{') {
            text.push_str(&rest[..open]);
            rest = &rest[open + 1..];
            let word = rest.split('}').next().filter(|word| word.len() < rest.len()).unwrap_or_default();
            if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                text.push('{');
                continue;
            }
            let Some(place) = TAGS.iter().position(|(name, _)| *name == word) else {
                return Err(format!("there is no tag {{{word}}}; there are {}", tags()));
            };
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Tag(place));
            rest = &rest[word.len() + 1..];
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self(parts))
    }
}

impl Template {
    pub(super) fn write(&self, out: &mut impl Write, message: &Shown<'_>) -> io::Result<()> {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.write_all(text.as_bytes())?,
                Part::Tag(place) => out.write_all(&TAGS[*place].1(message))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(template: &str) -> String {
        let message = Shown {
            command: "sow",
            topic: "t".into(),
            bookmark: Some("1|2|"),
            expiration: Some(9),
            body: b"{\"a\":1}",
            ..Shown::default()
        };
        let mut out = Vec::new();
        template.parse::<Template>().unwrap().write(&mut out, &message).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tags_are_replaced_and_other_braces_stand_for_themselves() {
        assert_eq!(written("{topic} {bookmark} {length}: {data}"), "t 1|2| 7: {\"a\":1}");
        assert_eq!(written("{command},{expiration},{sowkey},{user_id}|"), "sow,9,,|");
        assert_eq!(written(r#"{"body":{data},"x":{}}"#), r#"{"body":{"a":1},"x":{}}"#);
        assert_eq!(written("{data"), "{data");
    }

    #[test]
    fn an_unknown_tag_is_refused_with_those_there_are() {
        let error = "{sow_key}".parse::<Template>().unwrap_err();
        assert!(error.contains("{sow_key}") && error.contains("{sowkey}"), "{error}");
    }
}
