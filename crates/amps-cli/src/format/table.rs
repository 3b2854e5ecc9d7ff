//! A table for people: the fields of JSON objects in columns, any other body in
//! one.

use std::fmt;
use std::io::{self, Write};

use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Shown;

/// The widest column, in terminal cells; what is longer is cut.
const WIDEST: usize = 40;
/// The most columns; further fields are left out.
const COLUMNS: usize = 64;
/// Rows that wait for the widths of their columns to be known.
const WAITING: usize = 10_000;

/// Rows on their way.
#[derive(Debug)]
pub(super) struct Table {
    topic: String,
    follows: bool,
    columns: Vec<Column>,
    rows: Vec<Row>,
    /// The widths under which the last header stands.
    headed: Vec<usize>,
}

#[derive(Debug)]
struct Column {
    name: String,
    width: usize,
    numeric: bool,
}

/// Cells by their columns.
type Row = Vec<(usize, String)>;

impl Table {
    pub(super) fn new(topic: &str, follows: bool) -> Self {
        Self { topic: topic.to_owned(), follows, columns: Vec::new(), rows: Vec::new(), headed: Vec::new() }
    }

    /// Takes a message in.
    pub(super) fn add(&mut self, message: &Shown<'_>, out: &mut impl Write) -> io::Result<()> {
        let mut row = Row::new();
        if self.follows {
            self.cell(&mut row, "(what)", message.command, false);
        }
        if message.topic != self.topic {
            self.cell(&mut row, "(topic)", &message.topic, false);
        }
        match fields(message.body) {
            Some(fields) => {
                for (name, value) in &fields {
                    let (text, numeric) = cell_text(value);
                    self.cell(&mut row, name, &text, numeric);
                }
            }
            None => self.cell(&mut row, "(data)", &String::from_utf8_lossy(message.body), false),
        }
        self.rows.push(row);
        if self.rows.len() >= WAITING { self.print(out) } else { Ok(()) }
    }

    fn cell(&mut self, row: &mut Row, name: &str, text: &str, numeric: bool) {
        let text = fitted(text);
        let place = match self.columns.iter().position(|column| column.name == name) {
            Some(place) => place,
            None if self.columns.len() == COLUMNS => return,
            None => {
                let name = fitted(name);
                self.columns.push(Column { width: name.width(), name, numeric: true });
                self.columns.len() - 1
            }
        };
        let column = &mut self.columns[place];
        column.width = column.width.max(text.width());
        column.numeric &= numeric || text.is_empty();
        row.push((place, text));
    }

    /// Prints what there is, if rows are shown as they come.
    pub(super) fn flush(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.follows { self.print(out) } else { Ok(()) }
    }

    /// Prints the rest.
    pub(super) fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.print(out)
    }

    fn print(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let widths: Vec<usize> = self.columns.iter().map(|column| column.width).collect();
        if widths != self.headed {
            let names = self.columns.iter().map(|column| column.name.as_str());
            self.line(out, names)?;
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            self.line(out, rules.iter().map(String::as_str))?;
            self.headed = widths;
        }
        for row in std::mem::take(&mut self.rows) {
            let mut cells = vec![""; self.columns.len()];
            for (place, text) in &row {
                cells[*place] = text;
            }
            self.line(out, cells.into_iter())?;
        }
        Ok(())
    }

    fn line<'a>(&self, out: &mut impl Write, cells: impl Iterator<Item = &'a str>) -> io::Result<()> {
        let mut line = String::new();
        for (column, cell) in self.columns.iter().zip(cells) {
            let fill = " ".repeat(column.width - cell.width());
            let (before, behind) = if column.numeric { (fill.as_str(), "") } else { ("", fill.as_str()) };
            line.extend([before, cell, behind, "  "]);
        }
        writeln!(out, "{}", line.trim_end())
    }
}

/// The text as it stands in a cell: on one line, and no wider than [`WIDEST`].
fn fitted(text: &str) -> String {
    let text: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    if text.width() <= WIDEST {
        return text;
    }
    let mut width = 0;
    let fits = |char: &char| {
        width += char.width().unwrap_or(0);
        width < WIDEST
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

fn cell_text(value: &RawValue) -> (String, bool) {
    let raw = value.get();
    match raw.as_bytes().first() {
        Some(b'"') => (serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned()), false),
        Some(b'n') => (String::new(), false),
        first => (raw.to_owned(), first.is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-')),
    }
}

/// The fields of a JSON object in their order; `None` for anything else.
fn fields(body: &[u8]) -> Option<Vec<(String, Box<RawValue>)>> {
    struct Fields;

    impl<'de> Visitor<'de> for Fields {
        type Value = Vec<(String, Box<RawValue>)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Vec::new();
            while let Some(field) = map.next_entry()? {
                fields.push(field);
            }
            Ok(fields)
        }
    }

    let mut json = serde_json::Deserializer::from_slice(body);
    let fields = json.deserialize_map(Fields).ok()?;
    json.end().ok().map(|()| fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(follows: bool, batches: &[&[&str]]) -> Vec<String> {
        let (mut table, mut out) = (Table::new("t", follows), Vec::new());
        for batch in batches {
            for body in *batch {
                let message =
                    Shown { command: "publish", topic: "t".into(), body: body.as_bytes(), ..Shown::default() };
                table.add(&message, &mut out).unwrap();
            }
            table.flush(&mut out).unwrap();
        }
        table.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn fields_are_columns_in_the_order_they_come_and_numbers_stand_to_the_right() {
        let rows = printed(
            false,
            &[&[r#"{"symbol":"A","price":9.50}"#], &[r#"{"price":120,"symbol":"LONG","x":null,"y":{"z":1}}"#]],
        );
        assert_eq!(
            rows,
            ["symbol  price  x  y", "------  -----  -  -------", "A        9.50", "LONG      120     {\"z\":1}"]
        );
    }

    #[test]
    fn a_followed_topic_says_what_each_row_is_and_repeats_the_header_when_it_changes() {
        let rows = printed(true, &[&[r#"{"a":1}"#], &[r#"{"a":2}"#], &[r#"{"a":3,"b":4}"#]]);
        assert_eq!(
            rows,
            ["(what)   a", "-------  -", "publish  1", "publish  2", "(what)   a  b", "-------  -  -", "publish  3  4"]
        );
    }

    #[test]
    fn any_other_body_has_a_column_of_its_own_and_is_cut() {
        let rows = printed(false, &[&["35=D\x0149=me", "[1]", &"é".repeat(50)]]);
        assert_eq!(rows[0], "(data)");
        assert_eq!(rows[2..4], ["35=D 49=me", "[1]"]);
        assert_eq!(rows[4], format!("{}…", "é".repeat(39)));
    }
}
