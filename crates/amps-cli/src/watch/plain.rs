//! The table as plain text, once.

use ratatui::text::Span;
use serde_json::Value;

use super::record::{printable, text};
use super::state::State;

/// All records, one a line under their columns' titles. Nothing is cut off.
pub(super) fn table(state: &State) -> String {
    let key = state.columns.sow_key;
    let titles = key.then(|| "SOW key".to_owned()).into_iter();
    let titles = titles.chain(state.columns.fields().iter().map(|column| printable(&column.title)));
    let mut lines: Vec<Vec<(String, bool)>> = vec![titles.map(|title| (title, false)).collect()];
    for (sow_key, row) in state.rows.page(state.sort().as_ref(), 0, state.rows.len()) {
        let first = key.then(|| (printable(sow_key), false));
        let fields = state.columns.fields().iter().map(|column| {
            let value = row.record.get(&column.path);
            (text(value), matches!(value, Some(Value::Number(_))))
        });
        lines.push(first.into_iter().chain(fields).collect());
    }
    let width = |place: usize| lines.iter().map(|line| Span::raw(&line[place].0).width()).max().unwrap_or(0);
    let widths: Vec<_> = (0..lines[0].len()).map(width).collect();
    let mut out = String::new();
    for line in lines {
        let mut text = String::new();
        for ((cell, right), width) in line.into_iter().zip(&widths) {
            let padding = " ".repeat(width - Span::raw(&cell).width());
            let gap = if text.is_empty() { "" } else { "  " };
            text.push_str(&if right { format!("{gap}{padding}{cell}") } else { format!("{gap}{cell}{padding}") });
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

/// What the table is of, in one line.
pub(super) fn summary(state: &State, unreadable: usize) -> String {
    let records = if state.rows.len() == 1 { "record" } else { "records" };
    let unreadable = if unreadable > 0 { format!(", {unreadable} unreadable") } else { String::new() };
    format!("{} {records} of {}{unreadable}", state.rows.len(), printable(&state.topic))
}
