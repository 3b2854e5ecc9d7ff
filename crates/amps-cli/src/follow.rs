//! Following a topic: what `subscribe`, its kin and `queue consume` have in common.
//!
//! Messages are done with once they are written: at most [`BATCH`] of them are
//! written, then flushed to the operating system, then discarded or acknowledged,
//! and more are written only when the bookmark store has the discards on disk. So
//! of what a killed process wrote, all but the last [`BATCH`] lines is known not
//! to come again.

use std::time::Duration;

use amps_client::{
    Client, ClientBuilder, CommandError, ConnectError, Message, PublishStore, Subscribe, Subscription,
    SubscriptionEvent,
};
use clap::Args;
use futures_util::FutureExt;
use tokio::time::timeout;

use crate::connect;
use crate::exit::{End, Failure};
use crate::output::{Out, Output, Readers};
use crate::say::Tone;
use crate::servers::Servers;
use crate::signals::Signals;

/// The most messages written before they are done with.
const BATCH: usize = 64;
/// The same when they are copied: each batch waits for another server.
const COPY_BATCH: usize = 4_096;
/// What ending may take.
pub(crate) const CLOSE: Duration = Duration::from_secs(2);

/// Options of everything that follows a topic.
#[derive(Debug, Args)]
pub(crate) struct Follow {
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// The topic, or a regular expression for topics.
    #[arg(long)]
    pub(crate) topic: String,
    /// Only messages that match.
    #[arg(long)]
    pub(crate) filter: Option<String>,
    /// Further options as AMPS writes them, such as oof or conflation=250ms.
    #[arg(long, alias = "opts", value_name = "OPTION,...")]
    pub(crate) options: Option<String>,
    /// The client name, the same each time for a bookmark store.
    #[arg(long, value_name = "NAME")]
    pub(crate) client_name: Option<String>,
    /// Ends after that many messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Ends when no message came for that long.
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    pub(crate) idle_exit: Option<Duration>,
    /// Gives up when no server is reached for that long at the start; waits for
    /// ever unless given.
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// When a message is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// Never: it is only looked at.
    Never,
    /// Once it is written, in a bookmark subscription.
    Discard,
    /// Once it is written, in a queue.
    Acknowledge,
}

impl Follow {
    /// Enters the subscription and writes its messages until it is told to end.
    /// `kind` names it in the client's name, `wish` is what to subscribe to.
    ///
    /// # Errors
    /// When the settings are wrong, the server refuses the subscription, or
    /// standard output fails.
    pub(crate) async fn run(
        &self,
        kind: &str,
        wish: Subscribe,
        done: Done,
        delta: bool,
        settings: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<End, Failure> {
        let mut signals = Signals::listen().map_err(|error| Failure::new("cannot listen for signals", error))?;
        let reached = self.servers.reach()?;
        let builder = connect::reaching(&reached, self.servers.heartbeat, self.client_name.as_deref(), kind);
        let mut out = self.output.open(&self.topic, true, delta, &self.servers, &reached)?;
        let client = settings(builder.publish_store(PublishStore::None)).start().map_err(connect::not_started)?;
        let progress = out.progress().clone();
        tokio::spawn(connect::tell(client.events(), move |tone, text| progress.say(tone, text)));
        let (ended, stopped) = tokio::select! {
            ended = self.print(&client, wish, done, &mut out) => (ended, false),
            _ = signals.next() => (Ok(()), true),
        };
        client.close(CLOSE).await;
        let told = out.end(client.reconnects(), stopped || ended.is_err()).await;
        ended.and(told).map(|()| End::Done)
    }

    async fn print(&self, client: &Client, wish: Subscribe, done: Done, out: &mut Out) -> Result<(), Failure> {
        let mut messages = self.enter(client, wish).await?;
        let most = if out.copies() { COPY_BATCH } else { BATCH };
        let mut batch = Vec::with_capacity(most);
        let mut seen = Seen::default();
        let mut ended = None;
        while ended.is_none() && self.left(out) > 0 {
            let next = match self.idle_exit {
                Some(limit) => match timeout(limit, messages.next()).await {
                    Ok(next) => next,
                    Err(_) => break,
                },
                None => messages.next().await,
            };
            ended = self.take(next, &mut batch, &mut seen, out);
            // What has arrived by now goes with it, up to the batch's size.
            while ended.is_none()
                && (batch.len() as u64) < self.left(out).min(most as u64)
                && let Some(next) = messages.next().now_or_never()
            {
                ended = self.take(next, &mut batch, &mut seen, out);
            }
            if done == Done::Never && !seen.queue && batch.iter().any(|message| messages.is_leased(message)) {
                seen.queue = true;
                let text =
                    "these are messages of a queue, and stay in it: --ack takes them, as does `amps queue consume`";
                out.progress().say(Tone::Hint, text);
            }
            if out.write(&batch, done != Done::Never).await? == Readers::Gone {
                // What was not written is not done with.
                return Ok(());
            }
            self.done_with(&messages, done, &mut batch).await?;
        }
        ended.unwrap_or(Ok(()))?;
        if done == Done::Acknowledge && messages.flush_acks().await.is_err() {
            let text = "whether the last acknowledgements arrived is not known: their messages may come again";
            out.progress().say(Tone::Warning, text);
        }
        Ok(())
    }

    pub(crate) fn left(&self, out: &Out) -> u64 {
        self.count.map_or(u64::MAX, |count| count.saturating_sub(out.messages()))
    }

    /// Enters the subscription, however long that takes.
    pub(crate) async fn enter(&self, client: &Client, wish: Subscribe) -> Result<Subscription, Failure> {
        let entered = async {
            loop {
                client.connected().await.map_err(connect::not_connected)?;
                match client.subscribe(wish.clone()).await {
                    Ok(messages) => return Ok(messages),
                    Err(CommandError::TimedOut { .. } | CommandError::Disconnected) => {}
                    Err(error) => {
                        let what = format!("cannot subscribe to {}", self.topic);
                        return Err(connect::refused(what, error, self.filter.as_deref()));
                    }
                }
            }
        };
        match self.timeout {
            None => entered.await,
            Some(limit) => match timeout(limit, entered).await {
                Ok(entered) => entered,
                Err(_) => {
                    let error = ConnectError::TimedOut { after: limit, attempts: Vec::new() };
                    Err(connect::not_connected(error))
                }
            },
        }
    }

    /// Takes in what came; how it ended, if that was the end.
    fn take(
        &self,
        next: Option<Result<SubscriptionEvent, CommandError>>,
        batch: &mut Vec<Message>,
        seen: &mut Seen,
        out: &mut Out,
    ) -> Option<Result<(), Failure>> {
        match next {
            Some(Ok(SubscriptionEvent::Message(message))) => batch.push(message),
            Some(Ok(SubscriptionEvent::SnapshotBegin)) => {
                if std::mem::replace(&mut seen.snapshot, true) {
                    out.progress().say(Tone::Warning, "all records follow again, in the place of those before");
                }
            }
            Some(Ok(SubscriptionEvent::Gap { uri })) => {
                out.gap();
                let text = format!("gap: {uri} knows none of the bookmarks; messages may be missing");
                out.progress().say(Tone::Bad, &text);
            }
            Some(Ok(SubscriptionEvent::GapPossible { uri })) => {
                out.gap();
                let text = format!("gap possible: {uri} does not say whether it knows the bookmarks");
                out.progress().say(Tone::Warning, &text);
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                let what = format!("the subscription to {} ended", self.topic);
                return Some(Err(connect::refused(what, error, self.filter.as_deref())));
            }
            // Of a range of bookmarks, or as many as were asked for.
            None => return Some(Ok(())),
        }
        None
    }

    async fn done_with(&self, messages: &Subscription, done: Done, batch: &mut Vec<Message>) -> Result<(), Failure> {
        match done {
            Done::Never => {}
            Done::Discard => {
                batch.iter().for_each(|message| messages.discard(message));
                let kept = messages.discarded().await;
                kept.map_err(|error| connect::refused("cannot keep what was printed", error, None))?;
            }
            Done::Acknowledge => {
                messages.ack_all(batch.iter());
            }
        }
        batch.clear();
        Ok(())
    }
}

/// What was told once.
#[derive(Debug, Default)]
struct Seen {
    snapshot: bool,
    queue: bool,
}

/// A number of seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=1e9).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("{text:?} is no number of seconds")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_be_fractions() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", "-1", "NaN", "1s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
