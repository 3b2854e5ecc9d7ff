//! Subscriptions of a [`Pair`]'s clients, and what came through them.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use amps_core::StartAt;
use amps_ha::bookmarks::{Bookmarks, DEFAULT_OVERLAP};
use amps_ha::client_core::{Flow, Request};
use amps_ha::error::CommandError;
use amps_ha::subscriptions::{
    AckBatching, Item, QueueLimits, QueueReader, Replacement, SubscriptionKind, SubscriptionQueue, SubscriptionSpec,
};
use tokio::sync::oneshot;

use super::Pair;

/// What a command will be answered with.
pub type Answer = oneshot::Receiver<Result<(), CommandError>>;

/// A subscription or query, from the side of who asked for it.
#[derive(Debug)]
pub struct Entered {
    /// Its topic.
    pub topic: String,
    /// Its queue.
    pub queue: Arc<SubscriptionQueue>,
    /// Everything taken from it so far.
    pub items: Vec<Item>,
    /// The error it ended with.
    pub error: Option<CommandError>,
    reader: QueueReader,
    answer: oneshot::Receiver<Result<(), CommandError>>,
    answered: Option<Result<(), CommandError>>,
}

impl Entered {
    /// What the server answered, once it did.
    pub fn answer(&mut self) -> Option<&Result<(), CommandError>> {
        if let Ok(answer) = self.answer.try_recv() {
            self.answered = Some(answer);
        }
        self.answered.as_ref()
    }

    /// Takes what waits, at most `count` items. Answers how many there were.
    pub fn take(&mut self, count: usize) -> usize {
        let mut context = Context::from_waker(Waker::noop());
        for taken in 0..count {
            match self.reader.poll_next(&mut context) {
                Poll::Ready(Some(Ok(item))) => self.items.push(item),
                Poll::Ready(Some(Err(error))) => self.error = Some(error),
                Poll::Ready(None) | Poll::Pending => return taken,
            }
        }
        count
    }

    /// Whether everything was taken, and nothing more will come.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.reader.poll_next(&mut Context::from_waker(Waker::noop())), Poll::Ready(None))
    }

    /// The bodies of the messages taken so far.
    pub fn bodies(&self) -> Vec<String> {
        let bodies = self.items.iter().filter_map(|item| match item {
            Item::Message(message) => Some(String::from_utf8_lossy(message.data()).into_owned()),
            _ => None,
        });
        bodies.collect()
    }
}

impl Pair {
    /// Enters a subscription or query; with a start it is a bookmark
    /// subscription.
    pub fn enter(&mut self, client: usize, spec: SubscriptionSpec, limits: QueueLimits) -> Entered {
        self.enter_acking(client, spec, limits, AckBatching::default())
    }

    /// Gives a change two seconds to be confirmed.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn confirmed(&mut self, mut answer: Answer) {
        self.run_for(Duration::from_secs(2));
        assert!(matches!(answer.try_recv(), Ok(Ok(()))), "{}", self.describe());
    }

    /// Enters a subscription that acknowledges messages of queues in such
    /// batches.
    pub fn enter_acking(
        &mut self,
        client: usize,
        spec: SubscriptionSpec,
        limits: QueueLimits,
        batching: AckBatching,
    ) -> Entered {
        let start = spec.start.as_ref().map(|start| start.begin().clone());
        let bookmarks = start.map(|start| Bookmarks::new(start, DEFAULT_OVERLAP));
        self.enter_with(client, spec, limits, batching, bookmarks)
    }

    /// Enters a subscription with what is known of its bookmarks.
    pub fn enter_with(
        &mut self,
        client: usize,
        spec: SubscriptionSpec,
        limits: QueueLimits,
        batching: AckBatching,
        bookmarks: Option<Bookmarks>,
    ) -> Entered {
        let wake = Arc::clone(&self.running(client).wake);
        let queue = Arc::new(spec.queue(limits, bookmarks, wake).ack_batching(batching));
        let (topic, (reply, answer)) = (spec.topic.clone(), oneshot::channel());
        self.request(client, Request::Enter { spec, queue: Arc::clone(&queue), reply });
        let reader = QueueReader::new(Arc::clone(&queue));
        Entered { topic, queue, reader, items: Vec::new(), error: None, answer, answered: None }
    }

    /// Enters a plain subscription.
    pub fn subscribe(&mut self, client: usize, topic: &str) -> Entered {
        let spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, topic);
        self.enter(client, spec, QueueLimits::default())
    }

    /// Enters a bookmark subscription.
    pub fn subscribe_from(&mut self, client: usize, topic: &str, start: StartAt) -> Entered {
        let mut spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, topic);
        spec.start = Some(start);
        self.enter(client, spec, QueueLimits::default())
    }

    /// Replaces topic, filter or options of a subscription.
    pub fn replace(&mut self, client: usize, entered: &Entered, with: Replacement) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.request(client, Request::Replace { queue: Arc::clone(&entered.queue), with, reply });
        answer
    }

    /// Pauses or resumes subscriptions with one command.
    pub fn flow(&mut self, client: usize, flow: Flow, entered: &[&Entered]) -> Answer {
        let (reply, answer) = oneshot::channel();
        let queues = entered.iter().map(|entered| Arc::clone(&entered.queue)).collect();
        self.request(client, Request::Flow { flow, queues, reply });
        answer
    }

    /// Ends a subscription.
    pub fn leave(&mut self, client: usize, entered: &Entered) {
        entered.queue.abandon();
        self.request(client, Request::Leave(Arc::clone(&entered.queue)));
    }
}
