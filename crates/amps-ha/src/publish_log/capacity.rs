use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use amps_core::planted;

use super::log::{AppendError, Cursors, PublishLog};
use crate::user_code::{Panicked, contain};

/// Bounds of a log.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of unacknowledged frames.
    pub bytes: usize,
    /// Messages unacknowledged.
    pub messages: u64,
    /// With a disk store: bytes of frames kept in memory, apart from those the
    /// disk does not have yet. Of these there may be half as many: who can wait
    /// for room waits until the disk has taken some. Who cannot goes on up to
    /// the bound on bytes.
    pub resident_bytes: usize,
}

impl Default for Limits {
    /// 256 MiB, any number of messages, 8 MiB resident.
    fn default() -> Self {
        Self { bytes: 256 << 20, messages: u64::MAX, resident_bytes: 8 << 20 }
    }
}

/// How full a log was when a message found no room in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Full {
    /// Bytes of unacknowledged frames.
    pub bytes: usize,
    /// The bound on them.
    pub bytes_bound: usize,
    /// Messages unacknowledged.
    pub messages: u64,
    /// The bound on them; `u64::MAX` is none.
    pub messages_bound: u64,
    /// Bytes the message would have taken.
    pub needed: usize,
    /// Of a hybrid store: bytes in memory that the disk has yet to take.
    pub in_memory: usize,
    /// The bound on them; `usize::MAX` is none.
    pub in_memory_bound: usize,
}

impl Full {
    /// Whether only the disk is behind, and room comes without growing.
    pub fn waits_for_disk(&self) -> bool {
        self.in_memory > self.in_memory_bound
    }

    /// Whether the message has room now.
    pub fn is_over(&self, now: &Cursors) -> bool {
        fits(now.bytes, self.needed, self.bytes_bound)
            && now.end - now.settled < self.messages_bound
            && now.in_memory <= self.in_memory_bound
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, bytes_bound, messages, messages_bound, needed, in_memory, in_memory_bound } = self;
        if self.waits_for_disk() {
            return write!(f, "{in_memory} bytes in memory wait for the disk, the bound is {in_memory_bound}");
        }
        write!(f, "{bytes} bytes in {messages} messages are unacknowledged and {needed} bytes come; ")?;
        write!(f, "the bound is {bytes_bound} bytes")?;
        if *messages_bound < u64::MAX { write!(f, " and {messages_bound} messages") } else { Ok(()) }
    }
}

/// What a store that is full would need to go on: asked of a resize handler.
///
/// Proposals grow by the size the store began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resize {
    /// How full it is.
    pub full: Full,
    /// The proposed bound on bytes.
    pub bytes: usize,
    /// The proposed bound on messages.
    pub messages: u64,
}

/// What happens when a message finds the store full.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum OnStoreFull {
    /// Whoever can wait does, until acknowledgements make room.
    #[default]
    Block,
    /// Publishing fails at once.
    Reject,
    /// The handler is asked whether the store may grow. `false` vetoes: the
    /// message fails at once and nothing is changed.
    ///
    /// It is called from the publishing thread, by several at a time if several
    /// publish, with no lock held; it must not block an async task for long. A
    /// panic in it is reported and counts as a veto. What it publishes itself
    /// to the full store fails.
    Resize(ResizeHandler),
}

/// See [`OnStoreFull::Resize`].
pub type ResizeHandler = Arc<dyn Fn(&Resize) -> bool + Send + Sync>;

impl OnStoreFull {
    /// Asks `handler` whether the store may grow.
    pub fn resize(handler: impl Fn(&Resize) -> bool + Send + Sync + 'static) -> Self {
        Self::Resize(Arc::new(handler))
    }
}

impl fmt::Debug for OnStoreFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Block => "Block",
            Self::Reject => "Reject",
            Self::Resize(_) => "Resize",
        })
    }
}

impl PublishLog {
    /// Whether a message of `len` bytes would be accepted now.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn admit(&self, len: usize) -> Result<(), AppendError> {
        self.accepts()?;
        if planted::is("publish-bound-ignored") {
            return Ok(());
        }
        let bound = self.limits.bytes;
        if len > bound {
            return Err(AppendError::TooLarge { len, bound });
        }
        let (in_memory, in_memory_bound) = self.in_memory_bound();
        let room = fits(self.bytes, len, bound) && self.end - self.acked < self.limits.messages;
        match room && in_memory <= in_memory_bound {
            true => Ok(()),
            false => Err(AppendError::StoreFull(self.fullness(len))),
        }
    }

    fn fullness(&self, needed: usize) -> Full {
        let (in_memory, in_memory_bound) = self.in_memory_bound();
        Full {
            in_memory,
            in_memory_bound,
            bytes: self.bytes,
            bytes_bound: self.limits.bytes,
            messages: self.end - self.acked,
            messages_bound: self.limits.messages,
            needed,
        }
    }

    /// What a message of `len` bytes would need, in steps of `step`; `None`
    /// when it has room.
    pub(super) fn growth(&self, len: usize, step: &Limits) -> Option<Resize> {
        match self.admit(len) {
            Err(AppendError::StoreFull(_) | AppendError::TooLarge { .. }) => {}
            _ => return None,
        }
        let full = self.fullness(len);
        if full.waits_for_disk() {
            return None;
        }
        let lacking = (full.bytes.saturating_add(len)).saturating_sub(full.bytes_bound);
        let step_bytes = step.bytes.max(1);
        let bytes = full.bytes_bound.saturating_add(lacking.div_ceil(step_bytes).saturating_mul(step_bytes));
        let messages = match full.messages < full.messages_bound {
            true => full.messages_bound,
            false => full.messages_bound.saturating_add(step.messages.max(1)),
        };
        Some(Resize { full, bytes, messages })
    }

    /// Takes as much as was allowed. Never shrinks.
    pub(super) fn grow(&mut self, to: &Resize) {
        self.limits.bytes = self.limits.bytes.max(to.bytes);
        self.limits.messages = self.limits.messages.max(to.messages);
    }
}

fn fits(held: usize, len: usize, bound: usize) -> bool {
    held.checked_add(len).is_some_and(|sum| sum <= bound)
}

/// Asks the user's code. Call it without a lock.
pub(super) fn allows(handler: &ResizeHandler, resize: &Resize) -> Result<bool, Panicked> {
    thread_local! {
        static ASKING: Cell<bool> = const { Cell::new(false) };
    }
    // A handler that publishes to the full store would ask itself for ever.
    if ASKING.replace(true) {
        return Ok(false);
    }
    let answer = contain("publish store's resize handler", || handler(resize));
    ASKING.set(false);
    answer
}
