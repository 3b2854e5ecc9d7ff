use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use amps_core::{Message, Messages};

use super::item::{Item, Waiting};
use super::queue::SubscriptionQueue;
use crate::error::CommandError;

/// The consuming end of a [`SubscriptionQueue`]. There is one: it takes the
/// messages of a read at a time, so that a flood does not cost a lock a
/// message. They count as waiting until it comes back for more.
#[derive(Debug)]
pub struct QueueReader {
    queue: Arc<SubscriptionQueue>,
    taken: VecDeque<Waiting>,
    messages: Option<(Messages, Range<usize>)>,
}

impl QueueReader {
    /// The reader of `queue`.
    pub fn new(queue: Arc<SubscriptionQueue>) -> Self {
        Self { queue, taken: VecDeque::new(), messages: None }
    }

    /// The queue.
    pub fn queue(&self) -> &Arc<SubscriptionQueue> {
        &self.queue
    }

    /// Items waiting.
    pub fn depth(&self) -> usize {
        let taken: usize = self.taken.iter().map(Waiting::len).sum();
        let begun = self.messages.as_ref().map_or(0, |(_, range)| range.len());
        begun + taken + self.queue.len()
    }

    /// The next item if it is a message that was taken already.
    #[inline]
    pub fn next_message(&mut self) -> Option<Message> {
        let (messages, range) = self.messages.as_mut()?;
        range.next().map(|index| messages.get(index))
    }

    /// The next item, in order; `None` behind the last. An error is the last
    /// but one answer.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Item, CommandError>>> {
        loop {
            if let Some(message) = self.next_message() {
                return Poll::Ready(Some(Ok(Item::Message(message))));
            }
            match self.taken.pop_front() {
                Some(Waiting::Messages(messages, range)) => self.messages = Some((messages, range)),
                Some(Waiting::Control(item)) => return Poll::Ready(Some(Ok(item))),
                None => {
                    // Given back first, so that their memory is used again.
                    self.messages = None;
                    match ready!(self.queue.poll_take(context, &mut self.taken)) {
                        Some(Ok(())) => {}
                        Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                        None => return Poll::Ready(None),
                    }
                }
            }
        }
    }
}
