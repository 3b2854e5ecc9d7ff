//! Writes that servers refused, until they are told: in order, each with its
//! message, which may have to be read from the disk first.

use std::collections::VecDeque;

use amps_core::frame::PREFIX_LEN;
use amps_core::{Message, Reason};
use bytes::Bytes;

use super::log::PublishLog;
use super::segment::frames;

/// How many wait to be told. With one more the oldest is told without its
/// message.
const WAITING: usize = 16_384;

/// Bytes of messages that wait behind one that is read. What would be more is
/// read as well, if the disk has it.
const HELD: usize = 1 << 20;

/// A message a server refused.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FailedWrite {
    /// Its sequence.
    pub sequence: u64,
    /// The server's reason.
    pub reason: Reason,
    /// The message, or whatever was written, as it was sent. What left memory
    /// is read back from the disk first. `None` when that failed or is damaged,
    /// when the client was closed before, and of the oldest when more than
    /// 16,384 wait.
    pub message: Option<Message>,
}

/// Those not told yet.
#[derive(Debug, Default)]
pub(super) struct FailedWrites {
    queue: VecDeque<Waiting>,
    /// Bytes of the messages in it.
    held: usize,
}

#[derive(Debug)]
struct Waiting {
    failed: FailedWrite,
    /// Key of the value that has the message; it is not read yet.
    value: Option<u64>,
}

impl FailedWrites {
    fn push(&mut self, waiting: Waiting) {
        // Whoever tells them does so after each one.
        let over = self.queue.len().checked_sub(WAITING);
        if let Some(oldest) = over.and_then(|over| self.queue.get_mut(over)) {
            oldest.value = None;
        }
        self.held += waiting.len();
        self.queue.push_back(waiting);
    }

    fn pop(&mut self) -> Option<FailedWrite> {
        if self.queue.front()?.value.is_some() {
            return None;
        }
        let told = self.queue.pop_front()?;
        self.held -= told.len();
        Some(told.failed)
    }

    /// What is to be read now: a value, and the sequences of it. Nothing while
    /// something can be told, so that little is in memory.
    pub(super) fn wanted(&self) -> Option<(u64, Vec<u64>)> {
        let value = self.queue.front()?.value?;
        let together = self.queue.iter().take_while(|waiting| waiting.value == Some(value));
        Some((value, together.map(|waiting| waiting.failed.sequence).collect()))
    }

    /// Values from this key on are still to be read.
    pub(super) fn first_value(&self) -> Option<u64> {
        self.queue.iter().filter_map(|waiting| waiting.value).min()
    }

    /// What a read found, in the order it was wanted.
    pub(super) fn found(&mut self, messages: Vec<(u64, Option<Message>)>) {
        for (sequence, message) in messages {
            let wanted = |waiting: &&mut Waiting| waiting.failed.sequence == sequence && waiting.value.is_some();
            // None when it was told without.
            if let Some(waiting) = self.queue.iter_mut().find(wanted) {
                (waiting.value, waiting.failed.message) = (None, message);
                self.held += waiting.len();
            }
        }
    }

    /// Nothing is read any more.
    pub(super) fn give_up(&mut self) {
        self.queue.iter_mut().for_each(|waiting| waiting.value = None);
    }
}

impl Waiting {
    fn len(&self) -> usize {
        self.failed.message.as_ref().map_or(0, |message| message.data().len())
    }
}

impl PublishLog {
    /// A server refused a message that is not settled yet: puts it with those
    /// to be told.
    pub(super) fn note_failed_write(&mut self, ordinal: u64, sequence: u64, reason: Reason) {
        let Some(segment) = self.segment_at(ordinal) else { return };
        let on_disk = self.disk.as_ref().is_some_and(|disk| {
            // New numbers are new keys.
            disk.failed.is_none() && disk.renumber.is_none() && segment.taken && segment.end() <= disk.stored
        });
        let waits = !self.failed_writes.queue.is_empty();
        let frame = segment.bytes().and_then(|bytes| frames(bytes).nth((ordinal - segment.first) as usize));
        let frame = frame.filter(|frame| !waits || self.failed_writes.held + frame.len() <= HELD);
        let message = frame.and_then(decode);
        let value = (message.is_none() && on_disk).then_some(segment.first_sequence);
        self.failed_writes.push(Waiting { failed: FailedWrite { sequence, reason, message }, value });
    }

    /// The oldest refused message that is not told yet, and is to be told now.
    pub fn next_failed_write(&mut self) -> Option<FailedWrite> {
        self.failed_writes.pop()
    }

    /// Whether there is a [`next_failed_write`](Self::next_failed_write).
    pub fn has_failed_write(&self) -> bool {
        self.failed_writes.queue.front().is_some_and(|oldest| oldest.value.is_none())
    }

    /// How many refused messages are not told yet.
    pub fn untold_failed_writes(&self) -> usize {
        self.failed_writes.queue.len()
    }

    /// Tells the rest without the messages that would have to be read.
    pub fn give_up_failed_writes(&mut self) {
        self.failed_writes.give_up();
    }
}

/// The messages of these sequences out of a value's frames, which begin with
/// the sequence `first`.
pub(super) fn messages(first: u64, bytes: &[u8], sequences: &[u64]) -> Vec<(u64, Option<Message>)> {
    let message = |sequence: u64| decode(frames(bytes).nth(sequence.checked_sub(first)? as usize)?);
    sequences.iter().map(|sequence| (*sequence, message(*sequence))).collect()
}

fn decode(frame: &[u8]) -> Option<Message> {
    Message::decode(Bytes::copy_from_slice(&frame[PREFIX_LEN..])).ok()
}
