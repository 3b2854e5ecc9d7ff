use std::sync::Arc;

use amps_core::frame::MAX_FRAME_LEN;
use amps_core::header::FrameWriter;
use amps_ha::publish_log::{Cursors, SharedLog};

use crate::error::PublishError;

/// A published message on its way.
///
/// Dropping a receipt changes nothing about the message.
#[derive(Debug, Clone)]
pub struct Receipt {
    pub(crate) log: Arc<SharedLog>,
    pub(crate) ordinal: u64,
}

impl Receipt {
    /// Waits until the message survives what the store's durability level
    /// names. From `Ok` on it is promised: it reaches the server group's log
    /// exactly once.
    ///
    /// # Errors
    /// [`PublishError::StoreFailed`], [`PublishError::Closed`].
    ///
    /// # Cancel safety
    /// Safe; ask again any time.
    pub async fn durable(&self) -> Result<(), PublishError> {
        wait(&self.log, |cursors| cursors.durable > self.ordinal).await
    }

    /// Waits until the server group has acknowledged the message as persisted,
    /// across any number of reconnects. Without a publish store there are no
    /// such acknowledgements: until it is written to a connection.
    ///
    /// # Errors
    /// [`PublishError::Refused`] when a server refused it (the newest 1,024
    /// refusals are remembered), [`PublishError::Disconnected`] when it was
    /// dropped with a connection for want of a store, [`PublishError::StoreFailed`] when it can no
    /// longer be sent, [`PublishError::Closed`] when the client was closed
    /// first: the store, if there is one, still holds it.
    ///
    /// # Cancel safety
    /// Safe; ask again any time.
    pub async fn persisted(&self) -> Result<(), PublishError> {
        let settled = wait(&self.log, |cursors| cursors.settled > self.ordinal).await;
        match self.log.peek(|log| (log.refusal(self.ordinal).cloned(), log.was_dropped(self.ordinal))) {
            (Some(reason), _) => Err(PublishError::Refused(reason)),
            (None, true) => Err(PublishError::Disconnected { cause: None }),
            (None, false) => settled,
        }
    }

    /// The place of this message among all that were published by this client
    /// in this process, from 0.
    pub fn ordinal(&self) -> u64 {
        self.ordinal
    }
}

/// Waits for a cursor. What fails does so only if the wish is not fulfilled
/// already.
pub(crate) async fn wait(log: &SharedLog, fulfilled: impl Fn(&Cursors) -> bool) -> Result<(), PublishError> {
    let mut changes = log.watch();
    loop {
        // Asks the log itself: what is watched does not follow appends.
        let cursors = log.peek(|log| log.cursors());
        match cursors.failed {
            _ if fulfilled(&cursors) => return Ok(()),
            Some(error) => return Err(PublishError::StoreFailed(error)),
            None if cursors.closed => return Err(PublishError::Closed),
            None => changes.changed().await.map_err(|_| PublishError::Closed)?,
        }
    }
}

/// Appends one message to the log.
pub(crate) fn append(log: &SharedLog, topic: &str, body: &[u8]) -> Result<u64, PublishError> {
    if topic.is_empty() {
        return Err(PublishError::NoTopic);
    }
    // Every byte of a topic may need an escape of six.
    let len = 80 + topic.len() * 6 + body.len();
    if len > MAX_FRAME_LEN {
        return Err(PublishError::TooLarge { len, bound: MAX_FRAME_LEN });
    }
    let ordinal = log.append(len, |sequence, out| FrameWriter::publish(out, topic, sequence).finish(body))?;
    Ok(ordinal)
}
