//! What is around the messages of an instance.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::message_type::MessageType;

/// What a filter can ask about beside the message.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    instance: String,
    /// Of topics whose messages are no JSON.
    types: HashMap<String, MessageType>,
    /// In microseconds since the beginning of 1970.
    now: AtomicU64,
}

impl Surroundings {
    pub(crate) fn new(instance: &str, types: impl IntoIterator<Item = (String, MessageType)>) -> Self {
        Self { instance: instance.to_owned(), types: types.into_iter().collect(), now: AtomicU64::new(0) }
    }

    pub(crate) fn set_now(&self, micros: u64) {
        self.now.store(micros, Ordering::Relaxed);
    }
}

/// The surroundings of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'s> {
    pub(super) instance: &'s str,
    types: Option<&'s HashMap<String, MessageType>>,
    /// In microseconds since the beginning of 1970.
    pub(super) now: u64,
}

impl<'s> About<'s> {
    pub(super) fn message_type(&self, topic: &str) -> &'s MessageType {
        self.types.and_then(|types| types.get(topic)).unwrap_or(&MessageType::Json)
    }
}

impl<'s> From<&'s Arc<Surroundings>> for About<'s> {
    fn from(surroundings: &'s Arc<Surroundings>) -> Self {
        let Surroundings { instance, types, now } = &**surroundings;
        Self { instance, types: Some(types), now: now.load(Ordering::Relaxed) }
    }
}

impl<'s> From<&'s str> for About<'s> {
    fn from(instance: &'s str) -> Self {
        Self { instance, types: None, now: 0 }
    }
}
