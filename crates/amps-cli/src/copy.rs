//! `--copy`: what comes from one server goes to another as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use amps_client::{Client, Event, Message, MessageKind, Publish, PublishStore, Reason};

use crate::connect;
use crate::exit::Failure;
use crate::progress::Progress;
use crate::servers::{Reached, Servers};

/// Persisted acknowledgements are asked for this often: what is acknowledged to
/// the one server waits for those of the other.
const CONFLATION: Duration = Duration::from_millis(20);
/// What ending may take.
const CLOSE: Duration = Duration::from_secs(2);

/// Publishes messages to the topics they come from, at other servers.
#[derive(Debug)]
pub(crate) struct Copy {
    client: Client,
    /// Messages that were refused.
    failed: Arc<AtomicU64>,
    copied: u64,
    /// What comes is what changed, and is published as that.
    delta: bool,
}

impl Copy {
    /// Starts to connect there. `None` when there are no such servers.
    ///
    /// # Errors
    /// When the servers cannot be.
    pub(crate) fn start(
        to: &[String],
        servers: &Servers,
        reached: &Reached,
        delta: bool,
        progress: &Progress,
    ) -> Result<Option<Self>, Failure> {
        if to.is_empty() {
            return Ok(None);
        }
        let reached = servers.reach_others(to, reached)?;
        let builder = connect::reaching(&reached, servers.heartbeat, None, "copy");
        let client = builder.publish_store(PublishStore::Memory).ack_conflation(CONFLATION).start();
        let client = client.map_err(connect::not_started)?;
        let failed = Arc::new(AtomicU64::new(0));
        let (mut events, counter, progress) = (client.events(), Arc::clone(&failed), progress.clone());
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                match &event {
                    // The server had it already.
                    Event::FailedWrite(write) if write.reason == Reason::Duplicate => continue,
                    Event::FailedWrite(_) => counter.fetch_add(1, Ordering::Relaxed),
                    Event::Missed(events) => counter.fetch_add(*events, Ordering::Relaxed),
                    _ => 0,
                };
                if let Some((tone, text)) = connect::text(&event) {
                    progress.say(tone, &format!("copy: {text}"));
                }
            }
        });
        Ok(Some(Self { client, failed, copied: 0, delta }))
    }

    /// Publishes one message; waits while the store is full. What went out of focus
    /// is no message.
    ///
    /// # Errors
    /// When the client cannot go on.
    pub(crate) async fn publish(&mut self, message: &Message) -> Result<(), Failure> {
        if message.kind() == MessageKind::Oof {
            return Ok(());
        }
        let topic = message.topic().unwrap_or_default();
        let publish = match self.delta && message.kind() != MessageKind::Sow {
            false => Publish::new(&topic, message.data()),
            true => Publish::delta(&topic, message.data()),
        };
        let sent = self.client.enqueue_write_wait(publish).await;
        sent.map_err(|error| Failure::new(format!("cannot copy a message of {topic}"), error))?;
        self.copied += 1;
        Ok(())
    }

    /// Waits until everything so far is persisted there, across reconnects.
    ///
    /// # Errors
    /// When something was refused.
    pub(crate) async fn persisted(&self) -> Result<(), Failure> {
        let flushed = self.client.flush().await;
        flushed.map_err(|error| Failure::new("not everything was copied", error))?;
        match self.failed.load(Ordering::Relaxed) {
            0 => Ok(()),
            failed => Err(Failure::new("not everything was copied", format!("{failed} messages were refused"))),
        }
    }

    /// How many messages were copied.
    pub(crate) fn copied(&self) -> u64 {
        self.copied
    }

    pub(crate) async fn close(&self) {
        self.client.close(CLOSE).await;
    }
}
