//! What is around the messages of an instance.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::Config;
use crate::message_type::MessageType;
use crate::readings::Readings;

/// What a filter can ask about beside the message.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    instance: String,
    /// Of topics whose messages are no JSON.
    types: HashMap<String, MessageType>,
    pub(crate) readings: Readings,
    /// In microseconds since the beginning of 1970.
    now: AtomicU64,
}

impl Surroundings {
    /// Those of an instance. A queue's messages are of the type of the topic it is
    /// made of, unless something else is said of it.
    pub(crate) fn new(config: &Config) -> Self {
        let queues = config.queues.iter().map(|queue| (&queue.topic, config.type_of(&queue.underlying)));
        let topics = config.message_types.iter().map(|(topic, message_type)| (topic, message_type));
        let types = queues.chain(topics).map(|(topic, message_type)| (topic.clone(), message_type.clone()));
        let (instance, types) = (config.name.clone(), types.collect());
        Self { instance, types, readings: config.readings, now: AtomicU64::new(0) }
    }

    /// What the messages of a topic are written in.
    pub(crate) fn message_type(&self, topic: &str) -> &MessageType {
        self.types.get(topic).unwrap_or(&MessageType::Json)
    }

    /// Whether a connection of that message type, empty where it has none, sees a
    /// topic (AMPS User Guide, "Topics"): topics of which nothing is said are of
    /// every type.
    pub(crate) fn sees(&self, message_type: &str, topic: &str) -> bool {
        message_type.is_empty() || self.types.get(topic).is_none_or(|own| own.is_called(message_type))
    }

    pub(crate) fn set_now(&self, micros: u64) {
        self.now.store(micros, Ordering::Relaxed);
    }
}

/// The surroundings of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'s> {
    pub(super) instance: &'s str,
    surroundings: Option<&'s Surroundings>,
    /// In microseconds since the beginning of 1970.
    pub(super) now: u64,
}

impl<'s> About<'s> {
    pub(super) fn message_type(&self, topic: &str) -> &'s MessageType {
        self.surroundings.map_or(&MessageType::Json, |surroundings| surroundings.message_type(topic))
    }
}

impl<'s> From<&'s Arc<Surroundings>> for About<'s> {
    fn from(surroundings: &'s Arc<Surroundings>) -> Self {
        let now = surroundings.now.load(Ordering::Relaxed);
        Self { instance: &surroundings.instance, surroundings: Some(surroundings), now }
    }
}

impl<'s> From<&'s str> for About<'s> {
    fn from(instance: &'s str) -> Self {
        Self { instance, surroundings: None, now: 0 }
    }
}
