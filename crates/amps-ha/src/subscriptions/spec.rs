use amps_core::{AckType, Command, CommandKind, Field, StartAt};

use crate::error::CommandError;

/// What to do when a server does not know any of a subscription's bookmarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    options: Option<String>,
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

    /// From now on these command options, comma-separated, instead of those
    /// before.
    pub fn options(mut self, options: impl Into<String>) -> Self {
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
        if self.options.is_some() {
            new.options.clone_from(&self.options);
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
    /// The current records of a SOW topic, then updates.
    SowAndSubscribe,
    /// The current records of a SOW topic. Not entered again.
    Sow,
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
    /// Options, comma-separated.
    pub options: Option<String>,
    /// For a bookmark subscription: where it starts at first.
    pub start: Option<StartAt>,
    /// For a bookmark subscription.
    pub on_unknown_bookmark: OnUnknownBookmark,
    /// For a bookmark subscription: it gets nothing until it is resumed.
    pub paused: bool,
    /// For queries: records in one frame.
    pub batch_size: Option<u64>,
    /// For queries: at most so many records.
    pub top_n: Option<u64>,
}

impl SubscriptionSpec {
    /// A plain subscription to `topic`.
    pub fn new(kind: SubscriptionKind, topic: impl Into<String>) -> Self {
        Self {
            kind,
            topic: topic.into(),
            filter: None,
            options: None,
            start: None,
            on_unknown_bookmark: OnUnknownBookmark::default(),
            paused: false,
            batch_size: None,
            top_n: None,
        }
    }

    /// What makes it impossible. Options that change what a subscription is
    /// would be lost or repeated with the next connection.
    pub(crate) fn error(&self) -> Option<CommandError> {
        if self.paused && !self.can_pause() {
            return Some(self.cannot_pause("pause"));
        }
        let mut options = self.options.as_deref().unwrap_or_default().split(',').map(str::trim);
        let misplaced = options.find(|option| matches!(*option, "replace" | "pause" | "resume"))?;
        Some(CommandError::MisplacedOption { option: misplaced.to_owned() })
    }

    /// Whether messages can stop and go on without a gap.
    pub(crate) fn can_pause(&self) -> bool {
        self.kind != SubscriptionKind::Sow && self.start.is_some()
    }

    pub(crate) fn cannot_pause(&self, command: &'static str) -> CommandError {
        let (topic, why) = (self.topic.clone(), "only a bookmark subscription has a place to go on from");
        CommandError::NotApplicable { command, topic, why }
    }

    /// The command's name, for errors.
    pub fn command_name(&self) -> &'static str {
        self.command_kind().as_str()
    }

    fn command_kind(&self) -> CommandKind {
        match self.kind {
            SubscriptionKind::Subscribe => CommandKind::Subscribe,
            SubscriptionKind::SowAndSubscribe => CommandKind::SowAndSubscribe,
            SubscriptionKind::Sow => CommandKind::Sow,
        }
    }

    /// The command that enters it. `start` is where to start now; `extra` are
    /// options on top of its own.
    pub(crate) fn command(&self, id: u64, start: Option<&StartAt>, extra: &[&str]) -> Command {
        let id = id.to_string();
        let own = self.options.as_deref().filter(|own| !own.is_empty());
        let options: Vec<&str> = own.into_iter().chain(extra.iter().copied()).collect();
        let options = (!options.is_empty()).then(|| options.join(","));
        let acks = match (self.kind, start) {
            (SubscriptionKind::Subscribe, Some(_)) => AckType::Processed | AckType::Completed | AckType::Persisted,
            (SubscriptionKind::Subscribe, None) => AckType::Processed.into(),
            _ => AckType::Processed | AckType::Completed,
        };
        let mut command = Command::new(self.command_kind()).id(&id).topic(&self.topic);
        if self.kind != SubscriptionKind::Sow {
            command = command.text(Field::SubscriptionId, &id);
        }
        if self.kind != SubscriptionKind::Subscribe {
            command = command.text(Field::QueryId, &id).number(Field::BatchSize, self.batch_size.unwrap_or(10));
            if let Some(top_n) = self.top_n {
                command = command.number(Field::TopN, top_n);
            }
        }
        command
            .maybe(Field::Filter, self.filter.as_deref())
            .maybe(Field::Bookmark, start.map(StartAt::to_wire))
            .maybe(Field::Options, options)
            .acks(acks)
    }
}
