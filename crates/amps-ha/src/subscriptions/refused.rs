use amps_core::{Reason, Uri};

/// A subscription that was active, and that a server refuses to enter again.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FailedResubscribe {
    /// The server.
    pub uri: Uri,
    /// The subscription's topic.
    pub topic: String,
    /// Its filter.
    pub filter: Option<String>,
    /// Why the server refused it.
    pub reason: Reason,
}

/// What becomes of a subscription that is refused when it is entered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailedResubscribe {
    /// It ends, its stream with the server's reason; the others go on.
    Drop,
    /// The attempt has failed: the next server is tried, after the wait the
    /// reconnect strategy says.
    Fail,
}

/// Decides about subscriptions that are refused when they are entered again
/// (AMPS developer guides, "Failed Resubscribe Handler").
///
/// Any `Fn(&FailedResubscribe) -> OnFailedResubscribe` is one. It runs on the
/// client's task: decide and return, without waiting for anything. One that
/// panics is told as [`Event::Panicked`](crate::event::Event::Panicked), and
/// counts as [`OnFailedResubscribe::Fail`].
///
/// Without a handler reasons that do not pass (not entitled, a bad filter or
/// option, an invalid topic) drop the subscription, and others fail the attempt.
pub trait FailedResubscribeHandler: Send + Sync + 'static {
    /// Decides about one subscription.
    fn decide(&self, failed: &FailedResubscribe) -> OnFailedResubscribe;
}

impl<F: Fn(&FailedResubscribe) -> OnFailedResubscribe + Send + Sync + 'static> FailedResubscribeHandler for F {
    fn decide(&self, failed: &FailedResubscribe) -> OnFailedResubscribe {
        self(failed)
    }
}
