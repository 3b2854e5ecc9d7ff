//! What the screen shows, from what happened alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amps_client::{Cause, ConnectionState, Removal, ViewChange, ViewEvent, ViewState};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};

use super::columns::Columns;
use super::draw;
use super::keys::Key;
use super::plain;
use super::record::Record;
use super::rows::FRESH;
use super::state::State;

const A: &str = "tcp://a:9007/amps/json";

fn record(body: &str) -> Arc<Record> {
    Arc::new(serde_json::from_str(body).unwrap())
}

fn price(symbol: &str, bid: f64) -> Arc<Record> {
    record(&format!(r#"{{"bid":{bid:?},"symbol":"{symbol}","venue":"X"}}"#))
}

/// A screen, and the time it shows.
struct Shown {
    state: State,
    now: Instant,
    terminal: Terminal<TestBackend>,
}

impl Shown {
    fn new(width: u16, height: u16) -> Self {
        let now = Instant::now();
        let state = State::new("prices", None, Columns::new(Vec::new(), false), None, now);
        Self { state, now, terminal: Terminal::new(TestBackend::new(width, height)).unwrap() }
    }

    /// A view that is current, with these records under the keys 1, 2, ...
    fn current(width: u16, height: u16, records: &[Arc<Record>]) -> Self {
        let mut shown = Self::new(width, height);
        shown.connection(ConnectionState::Resubscribed, None);
        let records = records.iter().enumerate().map(|(place, record)| ((place + 1).to_string(), Arc::clone(record)));
        let records: Arc<BTreeMap<_, _>> = Arc::new(records.collect());
        shown.view(ViewEvent::Start { records, state: ViewState::Current, missed: 0 });
        shown
    }

    fn connection(&mut self, state: ConnectionState, cause: Option<Cause>) {
        self.state.connection.stands(state, A.parse().ok().as_ref(), cause.as_ref(), self.now);
    }

    fn view(&mut self, event: ViewEvent<String, Record>) {
        self.state.view(event, self.now);
    }

    fn change(&mut self, change: ViewChange<String, Record>) {
        self.view(ViewEvent::Change(change));
    }

    fn key(&mut self, key: Key) {
        assert!(!self.state.key(key));
    }

    /// The lines on the screen, without the space behind them.
    fn lines(&mut self) -> Vec<String> {
        let Self { state, now, terminal } = self;
        state.height = draw::height(terminal.size().unwrap());
        terminal.draw(|frame| draw::draw(state, *now, frame.area(), frame.buffer_mut())).unwrap();
        let buffer = terminal.backend().buffer();
        let lines = buffer.content().chunks(usize::from(buffer.area.width));
        let text = |cells: &[ratatui::buffer::Cell]| cells.iter().map(|cell| cell.symbol()).collect::<String>();
        lines.map(|cells| text(cells).trim_end().to_owned()).collect()
    }

    /// The lines of the table without its header.
    fn rows(&mut self) -> Vec<String> {
        let lines = self.lines();
        let end = lines.len() - 1;
        lines[3..end].iter().filter(|line| !line.is_empty()).cloned().collect()
    }

    /// Whether a word on the screen stands out, and in which colour.
    fn style(&self, word: &str) -> (Color, bool) {
        let buffer = self.terminal.backend().buffer();
        let text: String = buffer.content().iter().map(|cell| cell.symbol()).collect();
        let cell = &buffer.content()[text.find(word).unwrap()];
        (cell.fg, cell.modifier.contains(Modifier::BOLD))
    }
}

#[test]
fn the_records_are_a_table_whose_key_comes_first() {
    let mut shown = Shown::current(60, 8, &[price("INIT", 20.5), price("ACME", 10.0), price("LAST", 100.0)]);
    let expected = [
        "prices  3 records  by symbol",
        "current  at a:9007",
        "symbol  bid    venue",
        "ACME     10.0  X",
        "INIT     20.5  X",
        "LAST    100.0  X",
        "",
        "0 new, 0 changed, 0 gone   q quit  s sort  r reverse  arrow",
    ];
    assert_eq!(shown.lines().iter().map(String::as_str).collect::<Vec<_>>()[..7], expected[..7]);
    assert!(shown.lines()[7].starts_with("0 new, 0 changed, 0 gone   q quit"));
    assert_eq!(shown.style("ACME"), (Color::Reset, false));
}

#[test]
fn what_is_new_stands_out_for_a_while() {
    let mut shown = Shown::current(60, 9, &[price("ACME", 10.0), price("INIT", 20.0)]);
    let (old, new) = (price("ACME", 10.0), price("ACME", 11.5));
    shown.change(ViewChange::Updated { key: "1".to_owned(), old, new });
    shown.change(ViewChange::Inserted { key: "3".to_owned(), new: price("MORE", 30.0) });
    shown.change(ViewChange::Removed { key: "2".to_owned(), old: price("INIT", 20.0), why: Removal::Deleted });
    assert_eq!(shown.rows(), ["ACME    11.5  X", "MORE    30.0  X"]);
    assert_eq!(shown.style("11.5"), (Color::Yellow, true));
    assert_eq!(shown.style("ACME"), (Color::Reset, false), "only what changed");
    assert_eq!(shown.style("MORE"), (Color::Green, true));
    assert!(shown.lines()[8].starts_with("1 new, 1 changed, 1 gone "), "{:?}", shown.lines()[8]);
    shown.state.colours = false;
    shown.lines();
    assert_eq!((shown.style("11.5"), shown.style("MORE")), ((Color::Reset, true), (Color::Reset, true)));
    shown.now += FRESH;
    shown.lines();
    assert_eq!((shown.style("11.5"), shown.style("MORE")), ((Color::Reset, false), (Color::Reset, false)));
}

#[test]
fn the_second_line_says_how_current_it_is() {
    let mut shown = Shown::new(120, 6);
    shown.now += Duration::from_secs(2);
    assert_eq!(shown.lines()[1], "loading  no connection for 2 s");
    assert_eq!(shown.style("loading"), (Color::Yellow, true));
    let mut shown = Shown::current(120, 6, &[price("ACME", 10.0)]);
    shown.lines();
    assert_eq!(shown.style("current"), (Color::Green, true));
    shown.connection(ConnectionState::Disconnected, Some(Cause::Closed));
    shown.now += Duration::from_secs(1);
    let lost = "recovering  lost a:9007 1 s ago; last loss 1 s ago: the server closed the connection";
    assert_eq!(shown.lines()[1], lost, "before the view has noticed");
    assert_eq!(shown.rows(), ["ACME    10.0  X"], "the rows are there");
    shown.view(ViewEvent::State(ViewState::Recovering));
    shown.connection(ConnectionState::Resubscribed, None);
    shown.state.connection.recovered = 1;
    assert!(shown.lines()[1].starts_with("recovering  at a:9007, recovered once; last loss 1 s ago"));
    shown.view(ViewEvent::State(ViewState::Current));
    assert!(shown.lines()[1].starts_with("current  at "));
    shown.view(ViewEvent::State(ViewState::Ended(None)));
    assert!(shown.lines()[1].starts_with("ended  "));
}

#[test]
fn keys_sort_and_move_and_end() {
    let records: Vec<_> = (0..20).map(|id| record(&format!(r#"{{"id":{id},"v":{},"w":7}}"#, 100 - id))).collect();
    let mut shown = Shown::current(40, 9, &records);
    assert_eq!(shown.rows(), [" 0  100  7", " 1   99  7", " 2   98  7", " 3   97  7", " 4   96  7"]);
    shown.key(Key::Down);
    shown.key(Key::PageDown);
    assert_eq!(shown.rows()[0], " 6  94  7");
    shown.key(Key::End);
    assert_eq!(shown.rows().last().unwrap(), "19  81  7");
    shown.key(Key::Down);
    assert_eq!(shown.rows().len(), 5, "nothing is behind the last");
    shown.key(Key::Home);
    shown.key(Key::Sort);
    assert_eq!((shown.rows()[0].as_str(), shown.lines()[0].as_str()), ("19  81  7", "prices  20 records  by v"));
    shown.key(Key::Reverse);
    assert_eq!(shown.rows()[0], " 0  100  7");
    shown.key(Key::Right);
    assert_eq!(shown.lines()[2], "id  w", "the first column stays");
    shown.key(Key::Right);
    assert_eq!(shown.lines()[2], "id  w", "and one beside it");
    shown.key(Key::Left);
    shown.key(Key::Left);
    assert_eq!(shown.lines()[2], "id  v    w");
    assert!(shown.state.key(Key::Quit));
}

#[test]
fn a_page_that_gets_shorter_is_still_a_page() {
    let records: Vec<_> = (0..20).map(|id| record(&format!(r#"{{"id":{id}}}"#))).collect();
    let mut shown = Shown::current(60, 9, &records);
    shown.lines();
    shown.key(Key::End);
    let left: BTreeMap<_, _> = [("1".to_owned(), record(r#"{"id":0}"#))].into();
    shown.view(ViewEvent::Start { records: Arc::new(left), state: ViewState::Current, missed: 19 });
    assert_eq!(shown.rows(), [" 0"]);
    assert!(shown.lines()[8].contains("19 not shown one by one"));
    // However small it is.
    for (width, height) in [(1, 1), (3, 2), (10, 4), (200, 5)] {
        let mut small = Shown::current(width, height, &records);
        assert_eq!(small.lines().len(), usize::from(height));
    }
}

#[test]
fn what_cannot_be_shown_is_counted_and_nothing_moves_the_cursor() {
    let mut shown = Shown::current(80, 6, &[record(r#"{"id":1,"note":"a\u001b[2Jb"}"#), record("[1,2]")]);
    shown.state.unread = (3, 1);
    assert_eq!(shown.rows(), [" 1  a\\u{1b}[2Jb", "                 [1,2]"]);
    assert!(shown.lines()[5].contains(", 3 unreadable, 1 hidden"), "{:?}", shown.lines());
}

#[test]
fn the_plain_table_has_all_of_it() {
    let long = "x".repeat(100);
    let mut shown = Shown::current(20, 4, &[record(&format!(r#"{{"id":1,"note":"{long}"}}"#)), record(r#"{"id":22}"#)]);
    shown.state.columns.sow_key = true;
    let expected = format!("SOW key  id  note\n1         1  {long}\n2        22\n");
    assert_eq!(plain::table(&shown.state), expected);
    assert_eq!(plain::summary(&shown.state, 0), "2 records of prices");
    assert_eq!(plain::summary(&Shown::new(1, 1).state, 2), "0 records of prices, 2 unreadable");
    assert_eq!(plain::table(&Shown::new(1, 1).state), "\n");
}
