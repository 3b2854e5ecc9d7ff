//! The options of subscriptions and queries (AMPS Command Reference,
//! "subscribe", "sow" and the others).

use std::sync::Arc;

use amps_core::message::MessageKind;
use amps_core::{CommandOptions, Field, Message};

use super::conflation::{self, Conflation};
use super::delta::Deltas;
use super::legacy;
use super::pace::Pace;
use super::view::View;
use super::wants::Wants;
use crate::filter::{Filter, Projection, Surroundings};
use crate::interval::parse_interval;
use crate::select::Select;

/// Fields of a conflation key at most.
const KEY_MAX: usize = 64;

/// The options of subscriptions and queries this server knows.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) replace: bool,
    pub(super) bookmark: bool,
    pub(super) no_sowkey: bool,
    pub(super) timestamp: bool,
    pub(super) select: Option<Arc<Select>>,
    pub(super) literal: bool,
    pub(super) fully_durable: bool,
    pub(super) live: bool,
    pub(super) pause: bool,
    pub(super) resume: bool,
    pub(super) oof: bool,
    pub(super) send_keys: bool,
    pub(super) no_empties: bool,
    pub(super) filter: Option<Filter>,
    /// Behind a query that is not bounded.
    pub(super) queried: bool,
    pub(super) not_found: NotFound,
    /// It says what becomes of an unknown bookmark.
    pub(super) asks_not_found: bool,
    pub(super) top_n: Option<u64>,
    pub(super) skip_n: Option<u64>,
    pub(super) max_backlog: Option<u64>,
    pub(super) conflation: Option<Conflation>,
    /// It conflates by fields of the messages.
    pub(super) conflation_key: bool,
    pub(super) pace: Option<Pace>,
    pub(super) projection: Option<Arc<Projection>>,
    /// Of one to a page of records, or to aggregates, once it is known.
    pub(super) view: Option<View>,
}

/// Where a subscription starts whose bookmark is not in the log.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotFound {
    #[default]
    Now,
    Epoch,
    Fail,
}

impl Options {
    /// Reads the options of a command; `None` when one is unknown or not
    /// supported.
    pub(super) fn parse(message: &Message) -> Option<Self> {
        if [Field::TopN, Field::BatchSize].into_iter().any(|field| is_no_number(message, field)) {
            return None;
        }
        let mut options = Self { top_n: message.number(Field::TopN), ..Self::default() };
        let given = CommandOptions::from(message.text(Field::Options).unwrap_or_default().as_ref());
        given.check().ok()?;
        let given = legacy::options(message).ok()?.into_iter().fold(given, CommandOptions::flag);
        for (name, value) in given.iter() {
            match (name, value) {
                ("none", None) => {}
                ("send_keys", None) => options.send_keys = true,
                ("no_empties", None) => options.no_empties = true,
                ("oof", None) => options.oof = true,
                // Beyond that nothing: delivery follows local logging anyway.
                ("live", None) => options.live = true,
                ("pause", None) => options.pause = true,
                ("resume", None) => options.resume = true,
                ("replace", None) => options.replace = true,
                ("bookmark", None) => options.bookmark = true,
                ("no_sowkey", None) => options.no_sowkey = true,
                ("timestamp", None) => options.timestamp = true,
                ("non_regex_topic", None) => options.literal = true,
                ("fully_durable", None) => options.fully_durable = true,
                ("bookmark_not_found", Some("now")) => options.not_found = NotFound::Now,
                ("bookmark_not_found", Some("epoch")) => options.not_found = NotFound::Epoch,
                ("bookmark_not_found", Some("fail")) => options.not_found = NotFound::Fail,
                ("top_n", Some(count)) => options.top_n = Some(count.parse().ok()?),
                ("skip_n", Some(count)) => options.skip_n = Some(count.parse().ok()?),
                ("max_backlog", Some(messages)) => options.max_backlog = Some(messages.parse().ok()?),
                ("select", Some(list)) => options.select = Some(Arc::new(Select::parse(list)?)),
                // Read below, with what they go together with.
                ("conflation" | "conflation_key" | "rate" | "rate_max_gap" | "projection" | "grouping", Some(_)) => {}
                _ => return None,
            }
        }
        if given.iter().any(|(name, _)| !takes(message.kind(), name)) {
            return None;
        }
        options.asks_not_found = given.has("bookmark_not_found");
        options.conflation = conflation(&given)?;
        options.conflation_key = options.conflation.is_some() && given.has("conflation_key");
        let max_gap = match given.get("rate_max_gap") {
            Some(gap) => Some(parse_interval(gap)?),
            None => None,
        };
        options.pace = match given.get("rate") {
            Some(rate) => Some(Pace::parse(rate, max_gap)?),
            None if max_gap.is_some() => return None,
            None => None,
        };
        options.projection = match (given.get("projection"), given.get("grouping")) {
            (Some(projection), Some(grouping)) => Some(Arc::new(Projection::parse(projection, grouping).ok()?)),
            (None, None) => None,
            _ => return None,
        };
        Some(options)
    }

    /// Whether a subscription, with a bookmark or without, cannot be entered
    /// with these: only one with a place in the log can stay there, go at a speed,
    /// or say how it follows the log, and one that has is not told what is out of
    /// focus.
    pub(super) fn contradict(&self, has_bookmark: bool) -> bool {
        let halts = self.pause || self.pace.is_some();
        let follows = halts || self.live || self.fully_durable || self.asks_not_found;
        self.resume || self.live && halts || follows && !has_bookmark || self.oof && has_bookmark
    }

    /// What is wanted of messages and records.
    pub(super) fn wants(&self, about: &Arc<Surroundings>) -> Wants {
        let (bookmark, timestamp, select) = (self.bookmark, self.timestamp, self.select.clone());
        Wants { bookmark, key: !self.no_sowkey, timestamp, select, about: Arc::clone(about) }
    }

    /// What a subscription by this command gets of updates, if it is for deltas.
    pub(super) fn deltas(&self, kind: MessageKind) -> Option<Deltas> {
        matches!(kind, MessageKind::DeltaSubscribe | MessageKind::SowAndDeltaSubscribe).then_some(Deltas {
            no_empties: self.no_empties,
            // Always there by default, but where empty deltas are left out.
            send_keys: self.send_keys || !self.no_empties,
        })
    }
}

/// Whether a field that is a number is there and is none.
pub(super) fn is_no_number(message: &Message, field: Field) -> bool {
    message.raw(field).is_some() && message.number(field).is_none()
}

/// Whether a command that takes no options is given some.
pub(super) fn has_options(message: &Message) -> bool {
    let options = message.text(Field::Options).unwrap_or_default();
    options.split(',').map(str::trim).any(|option| !matches!(option, "" | "none"))
}

/// Whether a command takes an option. What would have no meaning there is
/// refused, not passed over.
fn takes(kind: MessageKind, name: &str) -> bool {
    let command = match kind {
        MessageKind::Subscribe => SUBSCRIBE,
        MessageKind::DeltaSubscribe => DELTAS,
        MessageKind::Sow => SOW,
        MessageKind::SowAndSubscribe => BOTH,
        MessageKind::SowAndDeltaSubscribe => BOTH_DELTAS,
        MessageKind::SowDelete => DELETE,
        _ => return false,
    };
    TAKEN.iter().any(|(option, commands)| *option == name && commands & command != 0)
}

const SUBSCRIBE: u8 = 1;
const DELTAS: u8 = 2;
const SOW: u8 = 4;
const BOTH: u8 = 8;
const BOTH_DELTAS: u8 = 16;
const DELETE: u8 = 32;
const LIVE: u8 = SUBSCRIBE | DELTAS | BOTH | BOTH_DELTAS;
const QUERY: u8 = SOW | BOTH | BOTH_DELTAS;

/// Options, and the commands that take them (AMPS Command Reference). Those of
/// bookmark subscriptions are none of deltas, which take no bookmark.
const TAKEN: &[(&str, u8)] = &[
    ("none", LIVE | QUERY | DELETE),
    ("replace", LIVE | QUERY),
    ("oof", LIVE | QUERY),
    ("timestamp", LIVE | QUERY),
    ("no_sowkey", LIVE | QUERY),
    ("select", LIVE | QUERY),
    ("non_regex_topic", LIVE | DELETE),
    ("send_keys", DELTAS | QUERY),
    ("no_empties", DELTAS | BOTH_DELTAS),
    ("bookmark", LIVE),
    ("conflation", LIVE),
    ("conflation_key", LIVE),
    ("top_n", SUBSCRIBE | QUERY),
    ("skip_n", QUERY),
    ("projection", QUERY),
    ("grouping", QUERY),
    ("live", SUBSCRIBE | BOTH),
    ("rate", SUBSCRIBE | BOTH),
    ("rate_max_gap", SUBSCRIBE | BOTH),
    ("pause", SUBSCRIBE | BOTH),
    ("resume", SUBSCRIBE | BOTH),
    ("fully_durable", SUBSCRIBE),
    ("bookmark_not_found", SUBSCRIBE),
    ("max_backlog", SUBSCRIBE | DELTAS),
];

/// What is to be conflated; the outer `None` when that cannot be.
fn conflation(given: &CommandOptions) -> Option<Option<Conflation>> {
    let key = match given.get("conflation_key") {
        Some(list) => {
            let paths = list.strip_prefix('[')?.strip_suffix(']')?.split(',').map(str::trim);
            let paths: Vec<_> = paths.map(str::to_owned).collect();
            if paths.len() > KEY_MAX || paths.iter().any(|path| !path.starts_with('/') || path.len() < 2) {
                return None;
            }
            Some(paths)
        }
        None => None,
    };
    match given.get("conflation") {
        Some("none") => Some(None),
        Some("auto") => Some(Some(Conflation::new(conflation::AUTO, key))),
        Some(interval) => Some(Some(Conflation::new(parse_interval(interval)?, key))),
        None if key.is_some() => None,
        None => Some(None),
    }
}
