//! What a server would not take (AMPS Command Reference, the page of each
//! command).

use super::{Command, CommandKind, CommandOptions};
use crate::ack::{AckType, AckTypes};
use crate::bookmark::{BookmarkList, StartAt};
use crate::header::Field;

/// The most records in one frame that may be asked for (AMPS User Guide, "Batching
/// Query Results").
pub const BATCH_MAX: u64 = 10_000;

/// Why no server would take a command as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {command} cannot {}: {rule}", field.map_or("be".to_owned(), |field| format!("have the field '{}'", field.key())))]
#[non_exhaustive]
pub struct InvalidCommand {
    /// The command.
    pub command: &'static str,
    /// The field, if it is one that is wrong.
    pub field: Option<Field>,
    /// The rule that is broken.
    pub rule: &'static str,
}

impl CommandKind {
    /// Whether it begins with records.
    pub const fn queries(self) -> bool {
        matches!(self, Self::Sow | Self::SowAndSubscribe | Self::SowAndDeltaSubscribe)
    }

    /// Whether it asks for messages as they come.
    pub const fn subscribes(self) -> bool {
        matches!(self, Self::Subscribe | Self::DeltaSubscribe | Self::SowAndSubscribe | Self::SowAndDeltaSubscribe)
    }

    /// Whether its updates are only what changed.
    pub const fn is_delta(self) -> bool {
        matches!(self, Self::DeltaSubscribe | Self::SowAndDeltaSubscribe)
    }

    const fn writes(self) -> bool {
        matches!(self, Self::Publish | Self::DeltaPublish | Self::SowDelete)
    }

    const fn needs_topic(self) -> bool {
        self.queries() || self.subscribes() || self.writes()
    }

    /// The fields it takes beside its id and its acknowledgements.
    fn fields(self) -> &'static [Field] {
        use Field::{
            BatchSize, Bookmark, ClientName, CorrelationId, Expiration, Filter, MessageType, Options, OrderBy,
            Password, QueryId, Sequence, SowKey, SowKeys, SubscriptionId, TopN, Topic, UserId, Version,
        };
        match self {
            Self::Logon => &[ClientName, MessageType, UserId, Password, CorrelationId, Version, Options],
            Self::Publish | Self::DeltaPublish => &[Topic, Sequence, SowKey, CorrelationId, Expiration],
            Self::SowDelete => &[Topic, Sequence, Filter, SowKeys, Bookmark, Options],
            Self::Subscribe | Self::DeltaSubscribe => &[Topic, Filter, Bookmark, Options, SubscriptionId, TopN],
            Self::Sow => &[Topic, Filter, Bookmark, Options, QueryId, TopN, BatchSize, OrderBy, SowKeys],
            Self::SowAndSubscribe | Self::SowAndDeltaSubscribe => {
                &[Topic, Filter, Bookmark, Options, SubscriptionId, QueryId, TopN, BatchSize, OrderBy, SowKeys]
            }
            Self::Unsubscribe => &[SubscriptionId, QueryId],
            Self::Flush => &[ClientName],
            Self::Heartbeat => &[Options],
        }
    }

    /// The acknowledgements it knows beside `received` and `processed`. Of a
    /// subscription those of `replay` with a bookmark only (AMPS Command Reference,
    /// "ack").
    fn acks(self, replay: bool) -> AckTypes {
        use AckType::{Completed, Persisted, Received, Stats};
        let more = match self {
            Self::Publish | Self::DeltaPublish | Self::Flush => Completed | Persisted,
            Self::SowDelete => Completed | Persisted | Stats,
            Self::Subscribe if replay => Completed | Persisted,
            Self::DeltaSubscribe => Stats.into(),
            Self::Sow | Self::SowAndSubscribe | Self::SowAndDeltaSubscribe => Completed | Stats,
            _ => AckTypes::NONE,
        };
        more | Received | AckType::Processed
    }
}

impl Command {
    /// Whether a server would take it: its fields and acknowledgements are those of
    /// its kind, records are named in one way, bookmarks, numbers and options can be
    /// read, and what excludes each other is not there together. Ids are not asked
    /// for: whoever sends the command gives them.
    ///
    /// # Errors
    /// [`InvalidCommand`] with the first rule that is broken.
    pub fn check(&self) -> Result<(), InvalidCommand> {
        let kind = self.kind();
        let wrong = |field: Option<Field>, rule| Err(InvalidCommand { command: kind.as_str(), field, rule });
        let taken = |field: &Field| *field == Field::CommandId || kind.fields().contains(field);
        if let Some(field) = self.fields().find(|field| !taken(field)) {
            let rule = match field {
                Field::BatchSize => "only a query has batches",
                Field::OrderBy => "only a query has an order",
                Field::SowKeys => "only a query and a deletion take SOW keys",
                _ => "it does not take it (AMPS Command Reference)",
            };
            return wrong(Some(field), rule);
        }
        if !self.data().is_empty() && !kind.writes() {
            return wrong(None, "it takes no body");
        }
        if kind.needs_topic() && self.get(Field::Topic).is_none_or(str::is_empty) {
            return wrong(None, "a topic is missing");
        }
        for field in [Field::BatchSize, Field::TopN, Field::Expiration, Field::Sequence] {
            if self.get(field).is_some() && self.get_number(field).is_none() {
                return wrong(Some(field), "it is not a number");
            }
        }
        if self.get_number(Field::BatchSize).is_some_and(|size| size == 0 || size > BATCH_MAX) {
            return wrong(Some(Field::BatchSize), "the batch size is 1 to 10,000");
        }
        let start = match self.start() {
            Ok(start) => start,
            Err(rule) => return wrong(Some(Field::Bookmark), rule),
        };
        if !(self.requested_acks() - kind.acks(start.is_some())).is_empty() {
            return wrong(Some(Field::AckType), "it has no such acknowledgement (AMPS Command Reference, \"ack\")");
        }
        let options = self.get(Field::Options).map(CommandOptions::from).unwrap_or_default();
        let broken = options.check().err().or_else(|| self.broken_by_fields(start.as_ref()));
        match broken.or_else(|| self.broken_by_options(start.as_ref(), &options)) {
            Some(rule) => wrong(None, rule),
            None => Ok(()),
        }
    }

    /// Where a subscription or query starts, if that can be read; of a deletion
    /// whether its bookmarks can.
    fn start(&self) -> Result<Option<StartAt>, &'static str> {
        const RULE: &str = "it is no bookmark, list of bookmarks, time or range";
        match (self.kind(), self.get(Field::Bookmark)) {
            (_, None) => Ok(None),
            (CommandKind::SowDelete, Some(list)) => match list.parse::<BookmarkList>() {
                Ok(_) => Ok(None),
                Err(_) => Err("it is no list of bookmarks"),
            },
            (_, Some(start)) => start.parse().map(Some).map_err(|_| RULE),
        }
    }

    fn broken_by_fields(&self, start: Option<&StartAt>) -> Option<&'static str> {
        let kind = self.kind();
        let has = |field| self.get(field).is_some();
        let live = matches!(start.map(StartAt::begin), None | Some(StartAt::Now));
        let is_range = matches!(start, Some(StartAt::Range(_)));
        let selectors = [has(Field::Filter), has(Field::SowKeys), has(Field::Bookmark), !self.data().is_empty()];
        Some(match () {
            () if kind.is_delta() && start.is_some() => "deltas are not replayed: give no bookmark",
            () if is_range && kind != CommandKind::Subscribe => "a range is for subscriptions to what was published",
            () if kind == CommandKind::Sow && matches!(start, Some(StartAt::Now)) => {
                "a query of the past needs a timestamp or a bookmark"
            }
            () if self.fields().any(|field| field == Field::TopN) && !kind.queries() && live => {
                "top_n bounds a query, or a replay from a bookmark"
            }
            () if kind.queries() && has(Field::SowKeys) && has(Field::Filter) => "give either SOW keys or a filter",
            () if kind == CommandKind::SowDelete && selectors.into_iter().filter(|given| *given).count() != 1 => {
                "it names records by one of filter, keys and data, or a queue's messages by bookmarks"
            }
            () if kind == CommandKind::SowDelete && has(Field::Options) && !has(Field::Bookmark) => {
                "only an acknowledgement of a queue's messages has options"
            }
            () if kind == CommandKind::Unsubscribe && !has(Field::SubscriptionId) && !has(Field::QueryId) => {
                "it names neither a subscription nor a query"
            }
            () => return None,
        })
    }

    fn broken_by_options(&self, start: Option<&StartAt>, options: &CommandOptions) -> Option<&'static str> {
        let kind = self.kind();
        let has = |name| options.has(name);
        let from_log = kind.subscribes() && start.is_some();
        let has_top_n = has("top_n") || self.fields().any(|field| field == Field::TopN);
        Some(match () {
            () if has("oof") && from_log => "a bookmark subscription is not told what is out of focus",
            () if (has("live") || has("fully_durable") || has("rate")) && !from_log => {
                "live, fully_durable and rate are for bookmark subscriptions"
            }
            () if has("live") && (has("rate") || has("pause") || has("resume")) => {
                "live goes with neither rate nor pause"
            }
            () if has("live") && matches!(start, Some(StartAt::Range(_))) => "a range has an end: it is not live",
            () if has("no_empties") && !kind.is_delta() => "no_empties is for deltas",
            () if has("skip_n") && !has_top_n => "skip_n needs top_n",
            () if has("skip_n") && !kind.queries() => "skip_n is for queries",
            () if has("top_n") && !kind.queries() => "a replay is bounded by the field top_n, not by the option",
            () if has("projection") != has("grouping") => "projection and grouping go together",
            () if has("projection") && from_log => "aggregates are not replayed: give no bookmark",
            () if has("conflation_key") && !has("conflation") => "conflation_key needs conflation",
            () if has("max_backlog") && kind.queries() => "max_backlog is for subscriptions to queues",
            () => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn of(kind: CommandKind) -> Command {
        Command::new(kind).topic("t")
    }

    /// Every field of every kind, as the documents have it, with all the
    /// acknowledgements it may ask for.
    #[test]
    fn what_the_documents_give_each_kind_is_taken() {
        use CommandKind::{
            DeltaPublish, DeltaSubscribe, Flush, Heartbeat, Logon, Publish, Sow, SowAndDeltaSubscribe, SowAndSubscribe,
            SowDelete, Subscribe, Unsubscribe,
        };
        let written = |kind| of(kind).sequence(7).correlation_id("YQ==").expiration(Duration::from_secs(5)).body("{}");
        let query = |kind| of(kind).filter("/a = 1").order_by("/a").batch_size(BATCH_MAX).top_n(0).query_id("q");
        for (command, acks) in [
            (
                Command::new(Logon)
                    .text(Field::ClientName, "me")
                    .text(Field::MessageType, "json")
                    .text(Field::UserId, "u")
                    .text(Field::Password, "p")
                    .text(Field::Version, "1")
                    .correlation_id("YQ==")
                    .options("ack_conflation=100ms,pretty"),
                "received,processed",
            ),
            (written(Publish).sow_key("k"), "received,processed,persisted,completed"),
            (written(DeltaPublish), "received,processed,persisted,completed"),
            (of(SowDelete).filter("1=1").sequence(1), "received,processed,persisted,completed,stats"),
            (of(SowDelete).sow_keys(["1", "2"]), "stats"),
            (of(SowDelete).body("{}"), "stats"),
            (of(SowDelete).text(Field::Bookmark, "1|2|,3|4|").options("cancel"), "processed"),
            (of(Subscribe).filter("/a = 1").subscription_id("s").options("timestamp"), "received,processed"),
            (of(Subscribe).bookmark(StartAt::Epoch).top_n(5), "received,processed,persisted,completed"),
            (of(DeltaSubscribe).options("no_empties,send_keys").filter("/a = 1"), "received,processed,stats"),
            (query(Sow), "received,processed,completed,stats"),
            (of(Sow).sow_keys(["1"]).text(Field::Bookmark, "20260101T000000"), "completed"),
            (query(SowAndSubscribe).subscription_id("s").options("oof"), "received,processed,completed,stats"),
            (query(SowAndDeltaSubscribe).subscription_id("s"), "received,processed,completed,stats"),
            (Command::new(Unsubscribe).subscription_id("all"), "received,processed"),
            (Command::new(Unsubscribe).query_id("1,2"), ""),
            (Command::new(Flush).text(Field::ClientName, "me"), "received,processed,persisted,completed"),
            (Command::new(Heartbeat).options("start,5"), "received,processed"),
        ] {
            let command = command.id("1").acks(AckTypes::from_wire(acks));
            assert_eq!(command.check(), Ok(()), "{command:?}");
        }
    }

    #[test]
    fn what_no_server_would_take_is_named() {
        use CommandKind::{DeltaSubscribe, Flush, Publish, Sow, SowAndSubscribe, SowDelete, Subscribe, Unsubscribe};
        let field = |field: Field| Some(field);
        for (command, at, rule) in [
            (Command::new(Sow), None, "a topic is missing"),
            (of(Publish).topic(""), None, "a topic is missing"),
            (of(Publish).filter("1=1"), field(Field::Filter), "does not take it"),
            (of(Subscribe).sequence(1), field(Field::Sequence), "does not take it"),
            (of(Subscribe).batch_size(5), field(Field::BatchSize), "only a query has batches"),
            (of(Subscribe).order_by("/a"), field(Field::OrderBy), "only a query has an order"),
            (of(Subscribe).sow_keys(["1"]), field(Field::SowKeys), "only a query"),
            (of(Subscribe).body("{}"), None, "it takes no body"),
            (Command::new(Flush).body("{}"), None, "it takes no body"),
            (of(Sow).batch_size(0), field(Field::BatchSize), "1 to 10,000"),
            (of(Sow).batch_size(BATCH_MAX + 1), field(Field::BatchSize), "1 to 10,000"),
            (of(Sow).text(Field::TopN, "many"), field(Field::TopN), "not a number"),
            (of(Publish).text(Field::Expiration, "-1"), field(Field::Expiration), "not a number"),
            (of(Subscribe).text(Field::Bookmark, "yesterday"), field(Field::Bookmark), "no bookmark"),
            (of(Subscribe).text(Field::Bookmark, "[1|5|:"), field(Field::Bookmark), "no bookmark"),
            (of(SowDelete).text(Field::Bookmark, "0"), field(Field::Bookmark), "no list of bookmarks"),
            (of(Sow).acks(AckType::Persisted), field(Field::AckType), "no such acknowledgement"),
            (of(Subscribe).acks(AckType::Completed), field(Field::AckType), "no such acknowledgement"),
            (of(DeltaSubscribe).bookmark(StartAt::Epoch), None, "not replayed"),
            (of(SowAndSubscribe).text(Field::Bookmark, "[0:1|9|]"), None, "what was published"),
            (of(Sow).bookmark(StartAt::Now), None, "of the past"),
            (of(Subscribe).top_n(5), None, "bounds a query"),
            (of(Subscribe).bookmark(StartAt::Now).top_n(5), None, "bounds a query"),
            (of(Sow).sow_keys(["1"]).filter("/a = 1"), None, "either SOW keys or a filter"),
            (of(SowDelete), None, "by one of"),
            (of(SowDelete).filter("1=1").body("{}"), None, "by one of"),
            (of(SowDelete).sow_keys(["1"]).text(Field::Bookmark, "1|2|"), None, "by one of"),
            (of(SowDelete).filter("1=1").options("cancel"), None, "has options"),
            (Command::new(Unsubscribe), None, "neither a subscription nor a query"),
            (of(Subscribe).options("live"), None, "for bookmark subscriptions"),
            (of(Sow).options("skip_n=5"), None, "skip_n needs top_n"),
            (of(Sow).options("select=[/a"), None, "brackets"),
        ] {
            let error = command.check().unwrap_err();
            assert!(error.rule.contains(rule) && error.field == at, "{command:?}: {error}");
        }
        let error = of(Publish).filter("1=1").check().unwrap_err();
        assert_eq!(error.to_string(), "the p cannot have the field 'f': it does not take it (AMPS Command Reference)");
        let error = Command::new(Unsubscribe).check().unwrap_err();
        assert_eq!(error.to_string(), "the unsubscribe cannot be: it names neither a subscription nor a query");
    }
}
