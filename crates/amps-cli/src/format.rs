//! How messages are written to standard output.

mod json;
mod table;
mod template;

use std::borrow::Cow;
use std::io::{self, Write};
use std::str::FromStr;

use amps_client::{Field, Message, MessageKind};

use table::Table;
use template::Template;

/// The forms of `--format`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Format {
    /// The body alone, then a line feed.
    Body,
    /// One JSON object a line: the header fields and the body as `data`.
    Json,
    /// Columns for people.
    Table,
    /// A text with tags, then a line feed.
    Template(Template),
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "body" => Ok(Self::Body),
            "json" => Ok(Self::Json),
            "table" => Ok(Self::Table),
            template if template.contains('{') => template.parse().map(Self::Template),
            _ => {
                Err(format!("it is none of body, json and table, and no template: that has tags, {}", template::tags()))
            }
        }
    }
}

/// The parts of a message that are shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown<'a> {
    pub(crate) command: &'a str,
    pub(crate) topic: Cow<'a, str>,
    pub(crate) bookmark: Option<&'a str>,
    pub(crate) sow_key: Option<Cow<'a, str>>,
    pub(crate) timestamp: Option<&'a str>,
    pub(crate) correlation_id: Option<Cow<'a, str>>,
    pub(crate) user_id: Option<Cow<'a, str>>,
    pub(crate) expiration: Option<u64>,
    pub(crate) lease_period: Option<&'a str>,
    pub(crate) reason: Option<Cow<'a, str>>,
    pub(crate) body: &'a [u8],
}

impl<'a> From<&'a Message> for Shown<'a> {
    fn from(message: &'a Message) -> Self {
        let command = match message.kind() {
            MessageKind::Sow => "sow",
            MessageKind::Oof => "oof",
            _ => "publish",
        };
        Self {
            command,
            topic: message.topic().unwrap_or_default(),
            bookmark: message.raw(Field::Bookmark),
            sow_key: message.sow_key(),
            timestamp: message.timestamp(),
            correlation_id: message.correlation_id(),
            user_id: message.user_id(),
            expiration: message.number(Field::Expiration),
            lease_period: message.lease_period(),
            reason: message.text(Field::Reason),
            body: message.data(),
        }
    }
}

/// Writes messages in one form.
#[derive(Debug)]
pub(crate) struct Printer<W> {
    out: W,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Line(Format),
    Table(Table),
}

impl<W: Write> Printer<W> {
    /// Messages of `topic`. A table shows its rows as they come, and with what
    /// they are, if it `follows` the topic; else as one at the end.
    pub(crate) fn new(out: W, format: &Format, topic: &str, follows: bool) -> Self {
        let form = match format {
            Format::Table => Form::Table(Table::new(topic, follows)),
            line => Form::Line(line.clone()),
        };
        Self { out, form }
    }

    /// Writes one message.
    ///
    /// # Errors
    /// What the output reports.
    pub(crate) fn write(&mut self, message: &Shown<'_>) -> io::Result<()> {
        let out = &mut self.out;
        match &mut self.form {
            Form::Table(table) => return table.add(message, out),
            Form::Line(Format::Json) => json::write(out, message)?,
            Form::Line(Format::Template(template)) => template.write(out, message)?,
            Form::Line(Format::Body | Format::Table) => out.write_all(message.body)?,
        }
        out.write_all(b"\n")
    }

    /// Writes out what was written so far, as far as the form allows.
    ///
    /// # Errors
    /// What the output reports.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if let Form::Table(table) = &mut self.form {
            table.flush(&mut self.out)?;
        }
        self.out.flush()
    }

    /// There are no more messages.
    ///
    /// # Errors
    /// What the output reports.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if let Form::Table(table) = &mut self.form {
            table.finish(&mut self.out)?;
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_have_names_or_tags() {
        assert_eq!("body".parse(), Ok(Format::Body));
        assert!(matches!("{topic}: {data}".parse(), Ok(Format::Template(_))));
        let error = "xml".parse::<Format>().unwrap_err();
        assert!(error.contains("body, json and table") && error.contains("{bookmark}"), "{error}");
    }

    #[test]
    fn the_body_form_is_the_body() {
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, &Format::Body, "t", true);
        printer.write(&Shown { body: b"{\"a\": 1}", ..Shown::default() }).unwrap();
        printer.finish().unwrap();
        assert_eq!(out, b"{\"a\": 1}\n");
    }
}
