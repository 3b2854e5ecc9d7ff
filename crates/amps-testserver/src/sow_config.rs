//! What a SOW topic is told at its start.

use std::io;
use std::time::Duration;

use crate::message_type::MessageType;

/// A topic whose last message per key is kept (AMPS User Guide, "State of the
/// World").
///
/// ```
/// use std::time::Duration;
/// use amps_testserver::{Config, SowConfig};
/// let config = Config::new("A")
///     .sow_topic(SowConfig::new("weather", "/station").history(Duration::from_secs(86_400), Duration::from_secs(60)))
///     .sow_topic(SowConfig::with_given_keys("sessions").expiration(Duration::from_secs(300)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SowConfig {
    /// The topic, literal.
    pub topic: String,
    /// The key: a path into the body such as `/station`, of a part of a composite
    /// message `/0/station`, or several, separated by commas. Without one every message brings its own key
    /// (AMPS User Guide, "SOW Keys").
    pub key: Option<String>,
    /// How long a record stays that is not updated, where its message does not
    /// say it; zero is for ever. `None`: records never expire, whatever their
    /// messages say (AMPS User Guide, "Message Expiration").
    pub expiration: Option<Duration>,
    /// What of the past can be queried. Default: nothing.
    pub history: Option<History>,
}

/// What of a SOW topic's past can be queried (AMPS User Guide, "Historical SOW
/// Queries").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// So far back. What was before has no records.
    pub window: Duration,
    /// At every multiple of this since the beginning of 1970 the state is kept;
    /// a query sees the last one kept before its time. Zero keeps every state. A
    /// query of several topics goes by the longest.
    pub granularity: Duration,
}

impl SowConfig {
    /// A topic with the keys in the messages.
    pub fn new(topic: impl Into<String>, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..Self::with_given_keys(topic) }
    }

    /// A topic whose publishers give the key of each message in its header.
    pub fn with_given_keys(topic: impl Into<String>) -> Self {
        Self { topic: topic.into(), key: None, expiration: None, history: None }
    }

    /// Lets records expire; see the field.
    #[must_use]
    pub fn expiration(mut self, lifetime: Duration) -> Self {
        self.expiration = Some(lifetime);
        self
    }

    /// Sets what of the past can be queried.
    #[must_use]
    pub fn history(mut self, window: Duration, granularity: Duration) -> Self {
        self.history = Some(History { window, granularity });
        self
    }

    /// Whether it can be.
    ///
    /// # Errors
    /// What is wrong with it. `logged`: it is in the transaction log.
    pub(crate) fn check(&self, logged: bool, message_type: &MessageType) -> io::Result<()> {
        let has_fields = *message_type != MessageType::Binary;
        let proper = |key: &str| key.split(',').all(|path| path.starts_with('/'));
        let rule = match self {
            Self { key: Some(key), .. } if !proper(key) => format!("has a key '{key}' that does not start with '/'"),
            Self { key: Some(_), .. } if !has_fields => {
                "has keys in messages without fields of their own: let publishers give them".to_owned()
            }
            Self { history: Some(_), expiration: Some(_), .. } => "has a history, so it cannot expire".to_owned(),
            Self { history: Some(_), .. } if !logged => "has a history, so it has to be logged".to_owned(),
            _ => return Ok(()),
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("the SOW topic '{}' {rule}", self.topic)))
    }
}
