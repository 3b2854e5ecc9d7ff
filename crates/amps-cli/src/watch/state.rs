//! Everything the screen shows.

use std::time::Instant;

use amps_client::{Event, ViewChange, ViewEvent, ViewState};

use super::columns::Columns;
use super::connection::Connection;
use super::keys::Key;
use super::record::Record;
use super::rows::{Rows, Sort};

/// What happened to records since it began.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) removed: u64,
    /// Changes that were not shown one by one.
    pub(super) missed: u64,
}

/// The state of the screen: what came of the view and of the client, and what
/// the keys made of it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) topic: String,
    pub(super) filter: Option<String>,
    pub(super) columns: Columns,
    pub(super) rows: Rows,
    pub(super) counts: Counts,
    pub(super) connection: Connection,
    pub(super) view: ViewState,
    /// Records that cannot be read, and that are hidden by others.
    pub(super) unread: (usize, usize),
    /// Whether there may be colours.
    pub(super) colours: bool,
    /// The order that was asked for.
    sort: Option<Sort>,
    /// The first row that is shown.
    pub(super) first_row: usize,
    /// How many columns behind the first are left out.
    pub(super) left_out: usize,
    /// Rows on the screen, as of the last drawing.
    pub(super) height: usize,
}

impl State {
    pub(super) fn new(topic: &str, filter: Option<&str>, columns: Columns, sort: Option<Sort>, now: Instant) -> Self {
        Self {
            topic: topic.to_owned(),
            filter: filter.map(str::to_owned),
            columns,
            rows: Rows::default(),
            counts: Counts::default(),
            connection: Connection::new(now),
            view: ViewState::Loading,
            unread: (0, 0),
            colours: true,
            sort,
            first_row: 0,
            left_out: 0,
            height: 0,
        }
    }

    /// The order of the rows: as asked for, or by the first column.
    pub(super) fn sort(&self) -> Option<Sort> {
        let first = || self.columns.fields().first().filter(|_| !self.columns.sow_key);
        let by_first = || first().map(|column| Sort { column: column.clone(), descending: false });
        self.sort.clone().or_else(by_first)
    }

    /// Puts in what happened to the view.
    pub(super) fn view(&mut self, event: ViewEvent<String, Record>, now: Instant) {
        match event {
            ViewEvent::Start { records, state, missed } => {
                self.counts.missed += missed;
                let now = self.is_new(now);
                records.values().for_each(|record| self.columns.see(record));
                self.rows.start(&records, now);
                self.stands(state);
            }
            ViewEvent::State(state) => self.stands(state),
            ViewEvent::Change(change) => self.change(change, now),
            _ => {}
        }
    }

    fn change(&mut self, change: ViewChange<String, Record>, now: Instant) {
        let now = self.is_new(now);
        match change {
            ViewChange::Inserted { key, new } => {
                self.counts.inserted += u64::from(now.is_some());
                self.columns.see(&new);
                self.rows.insert(key, None, new, now);
            }
            ViewChange::Updated { key, old, new } => {
                self.counts.updated += 1;
                self.columns.see(&new);
                self.rows.insert(key, Some(old), new, now);
            }
            ViewChange::Removed { key, .. } => {
                self.counts.removed += 1;
                self.rows.remove(&key);
            }
            _ => {}
        }
    }

    /// What comes while the records come for the first time is not new.
    fn is_new(&self, now: Instant) -> Option<Instant> {
        (!matches!(self.view, ViewState::Loading)).then_some(now)
    }

    fn stands(&mut self, state: ViewState) {
        if state.is_current() {
            self.columns.settle(self.rows.records());
        }
        self.view = state;
    }

    /// Puts in what happened to the client.
    pub(super) fn client(&mut self, event: &Event, now: Instant) {
        self.connection.apply(event, now);
    }

    /// Does what a key says. Answers whether it says to end.
    pub(super) fn key(&mut self, key: Key) -> bool {
        let page = self.height.max(1);
        let last = self.rows.len().saturating_sub(page);
        self.first_row = match key {
            Key::Quit => return true,
            Key::Up => self.first_row.saturating_sub(1),
            Key::Down => (self.first_row + 1).min(last),
            Key::PageUp => self.first_row.saturating_sub(page),
            Key::PageDown => (self.first_row + page).min(last),
            Key::Home => 0,
            Key::End => last,
            _ => self.first_row,
        };
        match key {
            Key::Left => self.left_out = self.left_out.saturating_sub(1),
            Key::Right => self.left_out = (self.left_out + 1).min(self.columns.fields().len().saturating_sub(1)),
            Key::Sort => self.sort_by_next(),
            Key::Reverse => {
                let reversed = |sort: Sort| Sort { descending: !sort.descending, ..sort };
                self.sort = self.sort().map(reversed);
            }
            _ => {}
        }
        false
    }

    fn sort_by_next(&mut self) {
        let fields = self.columns.fields();
        let now = self.sort().and_then(|sort| fields.iter().position(|column| *column == sort.column));
        let next = now.map_or(0, |place| (place + 1) % fields.len().max(1));
        self.sort = fields.get(next).map(|column| Sort { column: column.clone(), descending: false });
    }
}
