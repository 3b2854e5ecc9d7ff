//! The state, drawn. Nothing else is looked at.

use std::time::Instant;

use amps_client::ViewState;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect, Size};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row, Table, Widget};
use serde_json::Value;

use super::columns::Column;
use super::record::{printable, text};
use super::rows::{self, Age, Sort};
use super::state::State;

/// Lines that are no rows: title, connection, header, foot.
const FRAME_LINES: u16 = 4;
/// A column is no wider than this, unless it is the only one.
const WIDTH_MAX: u16 = 40;
/// Between two columns.
const SPACING: u16 = 2;

/// Rows on a screen of this size.
pub(super) fn height(size: Size) -> usize {
    size.height.saturating_sub(FRAME_LINES).into()
}

/// Draws everything.
pub(super) fn draw(state: &State, now: Instant, area: Rect, buffer: &mut Buffer) {
    let [title, connection, table, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
            .areas(area);
    title_line(state).render(title, buffer);
    connection_line(state, now).render(connection, buffer);
    rows_table(state, now, table).render(table, buffer);
    foot_line(state).render(foot, buffer);
}

fn title_line(state: &State) -> Line<'_> {
    let mut spans = vec![Span::styled(printable(&state.topic), Modifier::BOLD)];
    let records = if state.rows.len() == 1 { "record" } else { "records" };
    spans.push(Span::raw(format!("  {} {records}", state.rows.len())));
    if let Some(filter) = &state.filter {
        spans.push(Span::raw(format!("  where {}", printable(filter))));
    }
    if let Some(Sort { column, descending }) = state.sort() {
        let way = if descending { ", descending" } else { "" };
        spans.push(Span::raw(format!("  by {}{way}", printable(&column.title))));
    }
    Line::from(spans)
}

/// How current the table is, and where it comes from.
fn connection_line(state: &State, now: Instant) -> Line<'_> {
    let (word, color) = match &state.view {
        ViewState::Current if state.connection.is_live() => ("current", Color::Green),
        ViewState::Loading => ("loading", Color::Yellow),
        ViewState::Ended(_) => ("ended", Color::Red),
        _ => ("recovering", Color::Yellow),
    };
    Line::from(vec![
        Span::styled(word, outstanding(state, color)),
        Span::raw("  "),
        Span::raw(printable(&state.connection.line(now))),
    ])
}

fn foot_line(state: &State) -> Line<'_> {
    let counts = &state.counts;
    let mut line = format!("{} new, {} changed, {} gone", counts.inserted, counts.updated, counts.removed);
    let (unreadable, hidden) = state.unread;
    for (count, what) in
        [(counts.missed, "not shown one by one"), (unreadable as u64, "unreadable"), (hidden as u64, "hidden")]
    {
        if count > 0 {
            line.push_str(&format!(", {count} {what}"));
        }
    }
    let help = "   q quit  s sort  r reverse  arrows move";
    Line::from(vec![Span::raw(line), Span::styled(help, Modifier::DIM)])
}

/// What stands in a column.
enum Shown<'a> {
    SowKey,
    Field(&'a Column),
}

impl Shown<'_> {
    fn title(&self) -> String {
        match self {
            Self::SowKey => "SOW key".to_owned(),
            Self::Field(column) => printable(&column.title),
        }
    }

    fn text(&self, key: &str, row: &rows::Row) -> String {
        match self {
            Self::SowKey => printable(key),
            Self::Field(column) => text(row.record.get(&column.path)),
        }
    }

    fn is_number(&self, row: &rows::Row) -> bool {
        match self {
            Self::SowKey => false,
            Self::Field(column) => matches!(row.record.get(&column.path), Some(Value::Number(_))),
        }
    }

    fn age(&self, row: &rows::Row, now: Instant) -> Age {
        match self {
            Self::SowKey => Age::Settled,
            Self::Field(column) => row.age(column, now),
        }
    }
}

/// The columns from left to right; those behind the first may be left out.
fn shown(state: &State) -> Vec<Shown<'_>> {
    let fields = state.columns.fields().iter().map(Shown::Field);
    let key = state.columns.sow_key.then_some(Shown::SowKey);
    let mut all: Vec<_> = key.into_iter().chain(fields).collect();
    let most = all.len().saturating_sub(2);
    if !all.is_empty() {
        all.drain(1..1 + state.left_out.min(most));
    }
    all
}

fn rows_table<'a>(state: &'a State, now: Instant, area: Rect) -> Table<'a> {
    let columns = shown(state);
    let sort = state.sort();
    // Without a row that was shown and is gone, there is nothing behind the last.
    let lines = usize::from(area.height.saturating_sub(1));
    let first = state.first_row.min(state.rows.len().saturating_sub(lines));
    let page = state.rows.page(sort.as_ref(), first, lines);
    let cells: Vec<Vec<String>> =
        page.iter().map(|(key, row)| columns.iter().map(|column| column.text(key, row)).collect()).collect();
    let width = |place: usize| {
        let widest = cells.iter().map(|row| Span::raw(&row[place]).width()).max().unwrap_or(0);
        let width = widest.max(Span::raw(columns[place].title()).width());
        let most = if columns.len() == 1 { area.width } else { WIDTH_MAX };
        u16::try_from(width).unwrap_or(most).min(most)
    };
    let widths: Vec<u16> = (0..columns.len()).map(width).collect();
    let header = columns.iter().map(|column| Cell::from(column.title()));
    let header = Row::new(header).style(Style::new().add_modifier(Modifier::UNDERLINED));
    let rows = page.iter().zip(cells).map(|((_, row), cells)| {
        let cells = columns.iter().zip(cells).map(|(column, text)| {
            let line = if column.is_number(row) { Line::from(text).right_aligned() } else { Line::from(text) };
            Cell::from(line).style(style(state, column.age(row, now)))
        });
        Row::new(cells.collect::<Vec<_>>())
    });
    let rows: Vec<_> = rows.collect();
    Table::new(rows, widths.into_iter().map(Constraint::Length)).header(header).column_spacing(SPACING)
}

fn style(state: &State, age: Age) -> Style {
    match age {
        Age::Settled => Style::new(),
        Age::Changed => outstanding(state, Color::Yellow),
        Age::Inserted => outstanding(state, Color::Green),
    }
}

/// Told by more than colour, for those who have none.
fn outstanding(state: &State, color: Color) -> Style {
    let style = Style::new().add_modifier(Modifier::BOLD);
    if state.colours { style.fg(color) } else { style }
}
