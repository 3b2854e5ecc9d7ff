use amps_core::{AckType, Command, CommandKind, Field, StartAt};

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
            batch_size: None,
            top_n: None,
        }
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
    pub(crate) fn command(&self, id: u64, start: Option<&StartAt>, extra: Option<&str>) -> Command {
        let id = id.to_string();
        let options = match (&self.options, extra) {
            (Some(own), Some(extra)) => Some(format!("{own},{extra}")),
            (own, extra) => own.clone().or_else(|| extra.map(str::to_owned)),
        };
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
