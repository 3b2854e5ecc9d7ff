use std::sync::Arc;

use amps_core::Message;
use amps_core::message::MessageKind;

use crate::user_code::UserError;

/// What changed in a view.
#[derive(Debug)]
#[non_exhaustive]
pub enum Change<K, V> {
    /// A record is new in the view.
    Inserted {
        /// Its key.
        key: K,
        /// What it is.
        new: Arc<V>,
    },
    /// A record is another than it was.
    Updated {
        /// Its key.
        key: K,
        /// What it was.
        old: Arc<V>,
        /// What it is now.
        new: Arc<V>,
    },
    /// A record is not in the view any more.
    Removed {
        /// Its key.
        key: K,
        /// What it was.
        old: Arc<V>,
        /// Why.
        why: Removal,
    },
    /// The server has a record that the view cannot show. If it was in the view,
    /// its [removal](Removal::Unreadable) comes before this.
    Unreadable {
        /// Its topic.
        topic: String,
        /// Its SOW key; `None` when the message has none.
        sow_key: Option<String>,
        /// Why.
        error: UserError,
    },
}

impl<K: Clone, V> Clone for Change<K, V> {
    fn clone(&self) -> Self {
        match self {
            Self::Inserted { key, new } => Self::Inserted { key: key.clone(), new: Arc::clone(new) },
            Self::Updated { key, old, new } => {
                Self::Updated { key: key.clone(), old: Arc::clone(old), new: Arc::clone(new) }
            }
            Self::Removed { key, old, why } => Self::Removed { key: key.clone(), old: Arc::clone(old), why: *why },
            Self::Unreadable { topic, sow_key, error } => {
                Self::Unreadable { topic: topic.clone(), sow_key: sow_key.clone(), error: error.clone() }
            }
        }
    }
}

/// Why a record left a view. What the server tells is AMPS's reason of an
/// out-of-focus message (AMPS Command Reference, "oof").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Removal {
    /// It was deleted.
    Deleted,
    /// Its lifetime was over.
    Expired,
    /// It changed, and no longer matches the filter, or is on another page.
    NoMatch,
    /// The client may no longer see it.
    NotEntitled,
    /// The server said that it left, for a reason that has no name here.
    OutOfFocus,
    /// It was not among the records when they came again on another connection:
    /// it was deleted meanwhile, or no longer matched.
    Absent,
    /// Its record has another key now, under which it is inserted.
    Moved,
    /// Its record changed, and cannot be read any more.
    Unreadable,
}

impl Removal {
    /// What an out-of-focus message says; `None` for any other.
    pub fn told_by(message: &Message) -> Option<Self> {
        if message.kind() != MessageKind::Oof {
            return None;
        }
        let reason = message.reason();
        Some(match reason.as_ref().map(|reason| reason.as_str()) {
            Some("deleted") => Self::Deleted,
            Some("expired") => Self::Expired,
            Some("match") => Self::NoMatch,
            Some("entitlement") => Self::NotEntitled,
            _ => Self::OutOfFocus,
        })
    }
}
