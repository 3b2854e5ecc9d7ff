use std::sync::Arc;

use amps_core::{AckType, AckTypes, BookmarkRange, Command, CommandKind, CommandOptions, Field, StartAt, planted};
use tokio::sync::Notify;

use super::item::{OnFull, QueueLimits};
use super::queue::SubscriptionQueue;
use crate::bookmarks::Bookmarks;
use crate::error::CommandError;

/// What to do when a server does not know any of a subscription's bookmarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnUnknownBookmark {
    /// Replay its whole log; what was delivered before is filtered.
    #[default]
    Epoch,
    /// Go on with what is published from now on: messages in between are
    /// skipped.
    Now,
    /// End the subscription.
    End,
}

/// What is to change about a subscription that is entered; what is not named
/// stays (AMPS User Guide, "Replacing Subscriptions").
///
/// ```
/// use amps_ha::subscriptions::Replacement;
/// let large = Replacement::new().filter("/qty > 1000");
/// let all = Replacement::new().no_filter();
/// # let _ = (large, all);
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Replacement {
    topic: Option<String>,
    filter: Option<Option<String>>,
    options: Option<CommandOptions>,
}

impl Replacement {
    /// Nothing changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on messages of this topic, a name or a regular expression.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// From now on only messages that match this filter.
    pub fn filter(mut self, filter: impl Into<String>) -> Self {
        self.filter = Some(Some(filter.into()));
        self
    }

    /// From now on every message of the topic.
    pub fn no_filter(mut self) -> Self {
        self.filter = Some(None);
        self
    }

    /// From now on these command options instead of those before.
    pub fn options(mut self, options: impl Into<CommandOptions>) -> Self {
        self.options = Some(options.into());
        self
    }

    /// What the subscription then is.
    pub(crate) fn of(&self, spec: &SubscriptionSpec) -> SubscriptionSpec {
        let mut new = spec.clone();
        if let Some(topic) = &self.topic {
            new.topic.clone_from(topic);
        }
        if let Some(filter) = &self.filter {
            new.filter.clone_from(filter);
        }
        if let Some(options) = &self.options {
            new.options.clone_from(options);
        }
        new
    }
}

/// What kind of messages a subscription asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscriptionKind {
    /// Messages as they are published.
    Subscribe,
    /// Of messages of a SOW topic, the fields that change.
    DeltaSubscribe,
    /// The current records of a SOW topic, then updates.
    SowAndSubscribe,
    /// The current records of a SOW topic, then the fields that change.
    SowAndDeltaSubscribe,
    /// The current records of a SOW topic. Not entered again.
    Sow,
}

impl SubscriptionKind {
    /// Whether it begins with records.
    pub fn queries(self) -> bool {
        matches!(self, Self::Sow | Self::SowAndSubscribe | Self::SowAndDeltaSubscribe)
    }

    /// Whether it goes on after the records.
    pub fn subscribes(self) -> bool {
        self != Self::Sow
    }

    /// Whether its updates are only what changed.
    pub fn is_delta(self) -> bool {
        matches!(self, Self::DeltaSubscribe | Self::SowAndDeltaSubscribe)
    }

    fn command_kind(self) -> CommandKind {
        match self {
            Self::Subscribe => CommandKind::Subscribe,
            Self::DeltaSubscribe => CommandKind::DeltaSubscribe,
            Self::SowAndSubscribe => CommandKind::SowAndSubscribe,
            Self::SowAndDeltaSubscribe => CommandKind::SowAndDeltaSubscribe,
            Self::Sow => CommandKind::Sow,
        }
    }
}

/// One subscription or query as the application asked for it.
#[derive(Debug, Clone)]
pub struct SubscriptionSpec {
    /// The kind.
    pub kind: SubscriptionKind,
    /// The topic, literal or regular expression.
    pub topic: String,
    /// The content filter.
    pub filter: Option<String>,
    /// Options.
    pub options: CommandOptions,
    /// For a bookmark subscription: where it starts at first. For a query: the
    /// state of then.
    pub start: Option<StartAt>,
    /// For a bookmark subscription.
    pub on_unknown_bookmark: OnUnknownBookmark,
    /// For a bookmark subscription: it gets nothing until it is resumed.
    pub paused: bool,
    /// For queries: records in one frame.
    pub batch_size: Option<u64>,
    /// For queries: at most so many records. For a bookmark subscription: so
    /// many messages, then nothing more.
    pub top_n: Option<u64>,
    /// For queries: the order of the records.
    pub order_by: Option<String>,
    /// For queries: only the records with these keys, comma-separated.
    pub sow_keys: Option<String>,
    /// A message that is not read yet gives way to a newer one with its SOW key.
    pub conflates: bool,
    /// What becomes of messages for which there is no room.
    pub on_full: OnFull,
    /// Acknowledgements that are given to the application as items.
    pub acks: AckTypes,
}

impl SubscriptionSpec {
    /// A plain subscription to `topic`.
    pub fn new(kind: SubscriptionKind, topic: impl Into<String>) -> Self {
        Self {
            kind,
            topic: topic.into(),
            filter: None,
            options: CommandOptions::new(),
            start: None,
            on_unknown_bookmark: OnUnknownBookmark::default(),
            paused: false,
            batch_size: None,
            top_n: None,
            order_by: None,
            sow_keys: None,
            conflates: false,
            on_full: OnFull::default(),
            acks: AckTypes::NONE,
        }
    }

    /// What makes it impossible.
    pub(crate) fn error(&self) -> Option<CommandError> {
        self.broken_rule().map(|rule| self.invalid(self.command_name(), rule))
    }

    pub(crate) fn invalid(&self, command: &'static str, rule: &'static str) -> CommandError {
        CommandError::Invalid { command, topic: self.topic.clone(), rule }
    }

    /// How many messages it is complete with; a query's end is told by the
    /// server.
    fn most(&self) -> Option<u64> {
        self.top_n.filter(|_| !self.kind.queries())
    }

    /// The queue its messages wait in; `wake` is told when a full one has room
    /// again.
    pub fn queue(&self, limits: QueueLimits, bookmarks: Option<Bookmarks>, wake: Arc<Notify>) -> SubscriptionQueue {
        SubscriptionQueue::new(limits, bookmarks, wake)
            .at_most(self.most())
            .conflating(self.conflates)
            .when_full(self.on_full, &self.topic)
    }

    /// Whether messages can stop and go on without a gap.
    pub(crate) fn can_pause(&self) -> bool {
        self.kind.subscribes() && self.start.is_some()
    }

    /// The part of the log it is for, if it has one.
    pub(crate) fn range(&self) -> Option<&BookmarkRange> {
        if let Some(StartAt::Range(range)) = &self.start { Some(range) } else { None }
    }

    /// Where it starts in the log of a server that knows none of its bookmarks.
    pub(crate) fn when_unknown(&self) -> StartAt {
        match self.range().map(|range| range.begin()) {
            Some(time @ StartAt::Timestamp(_)) => time.clone(),
            _ => StartAt::Epoch,
        }
    }

    /// From there on, and not past the end it has.
    fn within(&self, start: &StartAt) -> StartAt {
        match self.range() {
            Some(range) if start == range.begin() => range.clone().into(),
            Some(_) if planted::is("range-end-forgotten") => start.clone(),
            Some(range) => range.behind(start.clone()).into(),
            None => start.clone(),
        }
    }

    /// The command's name, for errors.
    pub fn command_name(&self) -> &'static str {
        self.kind.command_kind().as_str()
    }

    /// The command that enters it. `start` is where to start now; `extra` are
    /// options on top of its own.
    /// `delivered` are the messages of it there were before.
    pub(crate) fn command(&self, id: u64, start: Option<&StartAt>, extra: &[&str], delivered: u64) -> Command {
        let id = id.to_string();
        let options = extra.iter().fold(self.options.clone(), |options, option| match option.split_once('=') {
            Some((name, value)) => options.value(name, value),
            None => options.flag(*option),
        });
        let acks = match (self.kind, start) {
            (SubscriptionKind::Subscribe, Some(_)) => AckType::Processed | AckType::Completed | AckType::Persisted,
            (SubscriptionKind::Subscribe | SubscriptionKind::DeltaSubscribe, _) => AckType::Processed.into(),
            _ => AckType::Processed | AckType::Completed,
        };
        let mut command = Command::new(self.kind.command_kind()).id(&id).topic(&self.topic);
        if self.kind.subscribes() {
            command = command.text(Field::SubscriptionId, &id);
        }
        if self.kind.queries() {
            command = command.text(Field::QueryId, &id).number(Field::BatchSize, self.batch_size.unwrap_or(10));
        }
        // The server would count what comes twice, which is not delivered: a
        // replay that goes on is bounded by its queue alone.
        let begins = self.kind.queries() || delivered == 0 && start == self.start.as_ref().map(StartAt::begin);
        if let Some(top_n) = self.top_n.filter(|_| begins) {
            command = command.number(Field::TopN, top_n);
        }
        command
            .maybe(Field::Filter, self.filter.as_deref())
            .maybe(Field::OrderBy, self.order_by.as_deref())
            .maybe(Field::SowKeys, self.sow_keys.as_deref())
            .maybe(Field::Bookmark, start.map(|start| self.within(start).to_wire()))
            .maybe(Field::Options, (!options.is_empty()).then(|| options.to_string()))
            .acks(acks | self.acks)
    }
}
