use std::sync::Arc;
use std::sync::atomic::Ordering;

use amps_core::header::FrameWriter;
use amps_ha::client_core::{Deleted, Deletions, Request};
use amps_ha::error::CommandError;
use amps_ha::publish_log::{AppendError, Cursors, Full, SharedLog};
use bytes::BytesMut;
use tokio::sync::oneshot;

use crate::client::Client;
use crate::error::PublishError;
use crate::write::{Publish, SowDelete, Write, frame_len};

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

impl Client {
    /// Publishes a message. Returns once the publish store's durability level
    /// is reached; from then on the message is promised. While the store is
    /// full this waits for room, unless
    /// [`on_store_full`](crate::ClientBuilder::on_store_full) says otherwise. Being
    /// disconnected is no reason to wait.
    ///
    /// # Errors
    /// [`PublishError`]. On [`PublishError::StoreFailed`] whether the message
    /// survives is unknown; on any other nothing was published.
    ///
    /// # Cancel safety
    /// A dropped call has published nothing, or published the message without
    /// telling: publishing again may then double it. It never leaves half a
    /// message, and never holds up others.
    pub async fn publish(&self, topic: &str, body: impl AsRef<[u8]>) -> Result<(), PublishError> {
        self.enqueue_wait(topic, body).await?.durable().await
    }

    /// Publishes a part of a message, which the server merges into the record
    /// with the same key of a SOW topic (AMPS Command Reference,
    /// "delta_publish"). Otherwise as [`publish`](Self::publish).
    ///
    /// Sent again after a failover, it is merged into the record of the new
    /// server.
    ///
    /// # Errors
    /// [`PublishError`], as for [`publish`](Self::publish).
    ///
    /// # Cancel safety
    /// As for [`publish`](Self::publish).
    pub async fn delta_publish(&self, topic: &str, body: impl AsRef<[u8]>) -> Result<(), PublishError> {
        self.write(Publish::delta(topic, body.as_ref())).await
    }

    /// Deletes records of a SOW topic (AMPS Command Reference, "sow_delete").
    /// Stored and sent in order with what is published; returns when a
    /// [`publish`](Self::publish) would. How many records that were
    /// [`sow_delete_counted`](Self::sow_delete_counted) tells.
    ///
    /// ```no_run
    /// # async fn example(client: amps_client::Client) -> Result<(), amps_client::PublishError> {
    /// # use amps_client::SowDelete;
    /// client.sow_delete(SowDelete::by_keys("orders", ["11281137042168291047"])).await?;
    /// client.sow_delete(SowDelete::by_filter("orders", "/qty = 0")).await?;
    /// client.sow_delete(SowDelete::by_data("orders", r#"{"id":1}"#)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`PublishError`], as for [`publish`](Self::publish).
    ///
    /// # Cancel safety
    /// As for [`publish`](Self::publish).
    pub async fn sow_delete(&self, delete: SowDelete<'_>) -> Result<(), PublishError> {
        self.write(delete).await
    }

    /// As [`sow_delete`](Self::sow_delete), and waits until the server has
    /// deleted the records and tells how many there were.
    ///
    /// `None`: they are deleted, but nobody knows how many. The connection was
    /// lost while the deletion was on its way; it was sent again on the next,
    /// where the server may have carried it out already, so what it counted then
    /// says nothing. Or the server does not count.
    ///
    /// # Errors
    /// [`PublishError`], as for [`publish`](Self::publish), and
    /// [`PublishError::Refused`] when the server refused it. Without a publish
    /// store also [`PublishError::Disconnected`]: the connection was lost, and
    /// whether they are deleted is unknown.
    ///
    /// # Cancel safety
    /// As for [`publish`](Self::publish).
    pub async fn sow_delete_counted(&self, delete: SowDelete<'_>) -> Result<Option<Deleted>, PublishError> {
        let len = Write::from(delete.clone()).checked_len()?;
        let append = || {
            let mut answer = None;
            let receipt = self.append(len, |sequence, out| {
                let number = sequence.unwrap_or_else(|| self.inner.counted.fetch_add(1, Ordering::Relaxed));
                // Before anybody can send it.
                answer = Some(self.inner.deletions.expect(number));
                delete.encode_counted(sequence, &Deletions::command_id(number), out);
            })?;
            Ok((receipt, answer))
        };
        let (receipt, answer) = self.with_room(append).await?;
        receipt.durable().await?;
        let Some(mut answer) = answer else { return Ok(None) };
        let counted = tokio::select! {
            biased;
            counted = &mut answer => counted,
            settled = receipt.persisted() => {
                settled?;
                // The counts come before that, or close behind, if the server counts.
                match tokio::time::timeout(self.inner.command_timeout, answer).await {
                    Ok(counted) => counted,
                    Err(_) => return Ok(None),
                }
            }
        };
        if let Ok(counted) = counted
            && let Some(counted) = counted.map_err(PublishError::Refused)?
        {
            return Ok(Some(counted));
        }
        // The connection was lost, or the client closed.
        receipt.persisted().await?;
        match self.inner.log.peek(|log| log.is_sequenced()) {
            true => Ok(None),
            false => Err(self.disconnected()),
        }
    }

    /// Publishes a [`Publish`] with its header fields, or deletes records:
    /// [`publish`](Self::publish), [`delta_publish`](Self::delta_publish) and
    /// [`sow_delete`](Self::sow_delete) in one.
    ///
    /// # Errors
    /// [`PublishError`], as for [`publish`](Self::publish).
    ///
    /// # Cancel safety
    /// As for [`publish`](Self::publish).
    pub async fn write<'a>(&self, write: impl Into<Write<'a>>) -> Result<(), PublishError> {
        self.enqueue_write_wait(write).await?.durable().await
    }

    /// As [`enqueue`](Self::enqueue), but waits for room while the publish
    /// store is full, unless [`on_store_full`](crate::ClientBuilder::on_store_full)
    /// says otherwise, and while more than half of
    /// [`resident_bytes`](crate::ClientBuilder::resident_bytes) waits for the disk of a
    /// sled store: a pipeline with back-pressure.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was published.
    ///
    /// # Cancel safety
    /// A dropped call has published nothing.
    pub async fn enqueue_wait(&self, topic: &str, body: impl AsRef<[u8]>) -> Result<Receipt, PublishError> {
        let body = body.as_ref();
        self.with_room(|| self.enqueue(topic, body)).await
    }

    /// [`enqueue_wait`](Self::enqueue_wait) for everything that can be
    /// [written](Self::write).
    ///
    /// # Errors
    /// [`PublishError`]; nothing was published.
    ///
    /// # Cancel safety
    /// A dropped call has published nothing.
    pub async fn enqueue_write_wait<'a>(&self, write: impl Into<Write<'a>>) -> Result<Receipt, PublishError> {
        let write = write.into();
        self.with_room(|| self.append_write(&write)).await
    }

    async fn with_room<T>(&self, append: impl Fn() -> Result<T, PublishError>) -> Result<T, PublishError> {
        loop {
            if let Some(bound) = self.inner.log.waits_for_disk() {
                wait(&self.inner.log, |cursors| cursors.unstored <= bound).await?;
            }
            match append() {
                Err(PublishError::StoreFull(full)) if self.inner.log.waits(&full) => self.room(&full).await?,
                done => return done,
            }
        }
    }

    /// Publishes a message without waiting for anything: for pipelines, which
    /// await the receipts later. What the store's disk has not taken yet stays
    /// in memory, up to the bound of the store;
    /// [`enqueue_wait`](Self::enqueue_wait) keeps that small.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was published.
    pub fn enqueue(&self, topic: &str, body: impl AsRef<[u8]>) -> Result<Receipt, PublishError> {
        let body = body.as_ref();
        let len = frame_len(topic, body.len())?;
        self.append(len, |sequence, out| FrameWriter::publish(out, topic, sequence).finish(body))
    }

    /// [`enqueue`](Self::enqueue) for everything that can be
    /// [written](Self::write).
    ///
    /// # Errors
    /// [`PublishError`]; nothing was published.
    pub fn enqueue_write<'a>(&self, write: impl Into<Write<'a>>) -> Result<Receipt, PublishError> {
        self.append_write(&write.into())
    }

    fn append_write(&self, write: &Write<'_>) -> Result<Receipt, PublishError> {
        self.append(write.checked_len()?, |sequence, out| write.encode(sequence, out))
    }

    fn append(&self, len: usize, encode: impl FnOnce(Option<u64>, &mut BytesMut)) -> Result<Receipt, PublishError> {
        match self.inner.log.append(len, encode) {
            Ok(ordinal) => Ok(Receipt { log: Arc::clone(&self.inner.log), ordinal }),
            Err(AppendError::Disconnected) => Err(self.disconnected()),
            Err(error) => Err(error.into()),
        }
    }

    fn disconnected(&self) -> PublishError {
        PublishError::Disconnected { cause: self.inner.state.borrow().down.clone() }
    }

    /// Waits until a full publish store has room.
    ///
    /// # Errors
    /// [`PublishError::WouldDeadlock`] when the acknowledgements that make room
    /// wait behind a stream nobody reads; [`PublishError::StoreFailed`],
    /// [`PublishError::Closed`].
    ///
    /// # Cancel safety
    /// Safe.
    async fn room(&self, full: &Full) -> Result<(), PublishError> {
        let mut stalled = self.inner.stalled.clone();
        let room = async {
            tokio::select! {
                room = wait(&self.inner.log, |cursors| full.is_over(cursors)) => room,
                Ok(topic) = stalled.wait_for(Option::is_some) => {
                    let topic = topic.as_deref().unwrap_or_default().to_owned();
                    Err(PublishError::WouldDeadlock { topic })
                }
            }
        };
        self.inner.waits.on("publish", "", room).await
    }

    /// Waits until everything published so far is settled: acknowledged as
    /// persisted by the server group, or refused. Waits across reconnects.
    /// Without a publish store: until the server has processed it.
    ///
    /// # Errors
    /// [`PublishError::StoreFailed`] and [`PublishError::Closed`]; without a
    /// store also [`PublishError::Disconnected`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn flush(&self) -> Result<(), PublishError> {
        let (end, sequenced) = self.inner.log.peek(|log| (log.end(), log.is_sequenced()));
        if sequenced {
            let settled = wait(&self.inner.log, |cursors| cursors.settled >= end);
            return self.inner.waits.on("flush", "", settled).await;
        }
        let (reply, answer) = oneshot::channel();
        self.inner.inbox.push(Request::Flush { after: end, reply: reply.into() });
        match self.inner.waits.on("flush", "", answer).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(CommandError::WouldDeadlock { topic })) => Err(PublishError::WouldDeadlock { topic }),
            Ok(Err(CommandError::Closed)) | Err(_) => Err(PublishError::Closed),
            Ok(Err(_)) => Err(self.disconnected()),
        }
    }

    /// Published messages no server has acknowledged yet.
    pub fn unacknowledged(&self) -> u64 {
        let cursors = self.inner.log.peek(|log| log.cursors());
        cursors.end - cursors.settled
    }
}
