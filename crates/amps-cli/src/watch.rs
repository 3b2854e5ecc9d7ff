//! `amps watch`: the records of a SOW topic as a table that stays current.

mod columns;
mod connection;
mod draw;
mod keys;
mod log;
mod plain;
mod record;
mod rows;
mod screen;
mod state;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use amps_client::{Client, Event, PublishStore, SowView, SowViewBuilder, ViewState};
use clap::Args;
use futures_util::FutureExt;
use tokio::time::timeout;

use crate::connect;
use crate::exit::{End, Failure};
use crate::follow::seconds;
use crate::say::{self, Tone};
use crate::servers::Servers;
use crate::signals::Signals;
use columns::{Column, Columns};
use record::Record;
use rows::Sort;
use screen::Screen;
use state::State;

pub(crate) use log::stderr;

/// What ending may take.
const CLOSE: Duration = Duration::from_secs(1);
/// The pause between two drawings while things change.
const FRAME: Duration = Duration::from_millis(80);
/// And while they do not: times go by, and what was new gets old.
const QUIET: Duration = Duration::from_millis(500);
/// So many changes are put in between two looks at keys and signals.
const BURST: usize = 4_096;
/// So many changes wait for a screen that stands still; then it starts over.
const WAITING: usize = 16_384;

/// Options of `amps watch`.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    servers: Servers,
    /// The SOW topic, or a regular expression for topics.
    #[arg(value_name = "TOPIC", required_unless_present = "named")]
    topic: Option<String>,
    /// The same, as other commands have it.
    #[arg(long = "topic", value_name = "TOPIC")]
    named: Option<String>,
    /// Only records that match.
    #[arg(long)]
    filter: Option<String>,
    /// The fields that are shown, in this order: a name such as `bid`, or a path
    /// such as `/order/qty`. Without it, those that records have.
    #[arg(long, value_name = "FIELD[,FIELD...]", value_delimiter = ',')]
    columns: Vec<Column>,
    /// Shows the SOW keys as well.
    #[arg(long)]
    sow_key: bool,
    /// The order: a field, and DESC behind it for the other way round, such as
    /// '/price DESC'.
    #[arg(long, value_name = "FIELD")]
    sort: Option<Sort>,
    /// Prints the table once and ends, as it does without a terminal.
    #[arg(long)]
    once: bool,
    /// How long `--once` tries to get the records, in seconds.
    #[arg(long, value_name = "SECS", default_value = "30", value_parser = seconds)]
    timeout: Duration,
}

impl Watch {
    /// Shows the table until it is told to end, or prints it once.
    ///
    /// # Errors
    /// When the server refuses the query, there is nothing in time for `--once`,
    /// or the terminal fails.
    pub(crate) async fn run(self) -> Result<End, Failure> {
        match self.once || !io::stdout().is_terminal() {
            true => self.print().await,
            false => self.show().await,
        }
    }

    fn topic(&self) -> &str {
        self.topic.as_deref().or(self.named.as_deref()).unwrap_or_default()
    }

    fn state(&self) -> State {
        let columns = Columns::new(self.columns.clone(), self.sow_key);
        let mut state = State::new(self.topic(), self.filter.as_deref(), columns, self.sort.clone(), Instant::now());
        // As no-color.org has it.
        state.colours = std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        state
    }

    fn view(&self) -> SowViewBuilder<String, Record> {
        // A screen has no use for what is not the newest.
        let view = SowView::of(self.topic()).batch_size(100).listener_bound(WAITING).conflate();
        match &self.filter {
            Some(filter) => view.filter(filter),
            None => view,
        }
    }

    async fn print(&self) -> Result<End, Failure> {
        let what = format!("cannot read {}", self.topic());
        let builder = connect::builder(&self.servers, None, "watch")?.publish_store(PublishStore::None);
        let client = builder.connect_within(self.timeout).connect().await.map_err(connect::not_connected)?;
        let view = match timeout(self.timeout, self.view().open(&client)).await {
            Ok(view) => view.map_err(|error| connect::refused(what, error, self.filter.as_deref()))?,
            Err(_) => {
                let hint = "give it more time with --timeout, or fewer records with --filter".to_owned();
                return Err(Failure::new(what, format!("not all records came within {:?}", self.timeout)).hint(hint));
            }
        };
        let mut state = self.state();
        if let Some(Some(event)) = view.changes().next().now_or_never() {
            state.view(event, Instant::now());
        }
        say::print(&plain::table(&state))?;
        say::line(Tone::Good, plain::summary(&state, view.unreadable()));
        client.close(CLOSE).await;
        Ok(End::Done)
    }

    async fn show(&self) -> Result<End, Failure> {
        let signals = Signals::listen().map_err(|error| Failure::new("cannot listen for signals", error))?;
        let builder = connect::builder(&self.servers, None, "watch")?.publish_store(PublishStore::None);
        let client = builder.start().map_err(connect::not_started)?;
        let failed = |what, error| connect::refused(format!("{what} {}", self.topic()), error, self.filter.as_deref());
        let view = self.view().start(&client).map_err(|error| failed("cannot watch", error))?;
        let ended = self.follow(&client, &view, signals).await;
        client.close(CLOSE).await;
        match (ended, view.state()) {
            (Err(error), _) => Err(Failure::new("the terminal failed", error)),
            (Ok(false), ViewState::Ended(Some(error))) => Err(failed("cannot watch", error)),
            (Ok(_), _) => Ok(End::Done),
        }
    }

    /// Draws what happens. Answers whether somebody wanted it to end.
    async fn follow(&self, client: &Client, view: &SowView<String, Record>, mut signals: Signals) -> io::Result<bool> {
        let (mut changes, mut events) = (view.changes(), client.events());
        let mut state = self.state();
        // It may be connected already.
        let mut latest = client.state();
        let mut look = |state: &mut State| {
            let change = latest.latest().map(Event::State);
            change.into_iter().for_each(|change| state.client(&change, Instant::now()));
        };
        look(&mut state);
        let (mut screen, mut keys) = (Screen::open()?, keys::listen()?);
        let mut drawn: Option<Instant> = None;
        let mut changed = true;
        loop {
            let due = drawn.map_or_else(Instant::now, |drawn| drawn + if changed { FRAME } else { QUIET });
            tokio::select! {
                biased;
                _ = signals.next() => return Ok(true),
                () = tokio::time::sleep_until(due.into()) => {
                    state.connection.recovered = client.reconnects();
                    state.unread = (view.unreadable(), view.hidden());
                    screen.draw(&mut state, Instant::now())?;
                    (drawn, changed) = (Some(Instant::now()), false);
                    continue;
                }
                Some(key) = keys.next() => {
                    if state.key(key) {
                        return Ok(true);
                    }
                    // An answer to the hand is not to wait.
                    drawn = None;
                }
                Some(event) = events.next() => match event {
                    Event::Missed(_) => look(&mut state),
                    event => state.client(&event, Instant::now()),
                },
                event = changes.next() => {
                    let Some(event) = event else { return Ok(false) };
                    state.view(event, Instant::now());
                    for _ in 0..BURST {
                        let Some(Some(event)) = changes.next().now_or_never() else { break };
                        state.view(event, Instant::now());
                    }
                }
            }
            changed = true;
        }
    }
}
