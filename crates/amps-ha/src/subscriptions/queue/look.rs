use std::sync::PoisonError;
use std::time::Instant;

use super::super::{Entered, QueueLimits, QueueStats, SubscriptionKind, SubscriptionSpec};
use super::SubscriptionQueue;

/// What a queue is for, as whoever looks at it sees it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct About {
    /// The kind; `None` before the client has taken the request.
    pub kind: Option<SubscriptionKind>,
    /// The topic, as the server follows it now.
    pub topic: String,
    /// The content filter.
    pub filter: Option<String>,
    /// How far entering it is; `None` as for the kind.
    pub entered: Option<Entered>,
    /// It gets nothing until it is resumed.
    pub paused: bool,
}

impl About {
    fn set(&mut self, spec: &SubscriptionSpec, entered: Entered) {
        self.kind = Some(spec.kind);
        self.topic.clone_from(&spec.topic);
        self.filter.clone_from(&spec.filter);
        self.entered = Some(entered);
        self.paused = spec.paused;
    }
}

/// How things stand with a queue.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct QueueLook {
    /// What it is for.
    pub about: About,
    /// Items that wait, with those the reader has taken and may still have.
    pub items: usize,
    /// Bytes of frames of these.
    pub bytes: usize,
    /// Its bounds.
    pub limits: QueueLimits,
    /// Since when it is full, and the connection is not read for it.
    pub full_since: Option<Instant>,
    /// For a bookmark subscription: how many messages were received and not
    /// discarded, and since when the oldest of them is there, at the earliest.
    pub undiscarded: Option<(usize, Option<Instant>)>,
    /// Nothing more comes.
    pub ended: bool,
    /// Counters.
    pub stats: QueueStats,
}

impl SubscriptionQueue {
    /// Tells those who look what it is for.
    pub(crate) fn show(&self, spec: &SubscriptionSpec, entered: Entered) {
        self.about.lock().unwrap_or_else(PoisonError::into_inner).set(spec, entered);
    }

    /// What it is for.
    pub fn about(&self) -> About {
        self.about.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How things stand with it.
    pub fn look(&self) -> QueueLook {
        let about = self.about();
        let mut state = self.lock();
        self.take_discards(&mut state);
        let (items, bytes) = state.size();
        let bookmarks = state.bookmarks.as_mut();
        let undiscarded = bookmarks.map(|bookmarks| (bookmarks.undiscarded(), bookmarks.undiscarded_since()));
        QueueLook {
            about,
            items,
            bytes,
            limits: self.limits,
            full_since: state.full_since.filter(|_| state.refused),
            undiscarded,
            ended: state.is_over(),
            stats: state.stats,
        }
    }
}
