//! What is in the log, and reading it back.

use amps_core::message::MessageKind;
use amps_core::{AckType, Field};

use crate::bench::{Bench, publish, subscribe, unsubscribe};
use crate::judge::{Judged, Stop, equal, success};
use crate::wire::{Wire, need};

/// Messages of this check in the log.
pub(crate) struct Past {
    /// The connection that published them; it has no subscription left.
    pub(crate) wire: Wire,
    /// Their bookmarks.
    pub(crate) bookmarks: Vec<String>,
}

impl Past {
    /// Publishes one more, and waits until it is in the log.
    pub(crate) async fn publish(&mut self, bench: &Bench<'_>, n: u64) -> Judged {
        let command = publish(bench.log(), bench.body("x", &format!(r#""n":{n}"#)));
        self.wire.send(&command.number(Field::Sequence, n).acks(AckType::Persisted)).await?;
        self.wire.persisted(n).await.map(drop)
    }
}

/// Publishes messages with `n` from 1 to `count`, each under that sequence, and
/// waits until they are in the log.
pub(crate) async fn past(bench: &Bench<'_>, count: u64) -> Result<Past, Stop> {
    let mut wire = bench.client().await?;
    let command = subscribe(bench.log()).text(Field::SubscriptionId, "past").text(Field::Filter, bench.own());
    wire.done(command.text(Field::Bookmark, "0|1|")).await?;
    for n in 1..=count {
        let command = publish(bench.log(), bench.body("x", &format!(r#""n":{n}"#)));
        wire.send(&command.number(Field::Sequence, n).acks(AckType::Persisted)).await?;
    }
    wire.persisted(count).await?;
    let messages = wire.messages(count as usize).await?;
    equal("the messages of the publisher", bench.numbers(&messages)?, (1..=count as i64).collect())?;
    let bookmarks = messages.iter().map(|message| need(message, Field::Bookmark)).collect::<Result<_, _>>()?;
    wire.done(unsubscribe("past")).await?;
    Ok(Past { wire, bookmarks })
}

/// The messages of this check that come from there on until the completed ack, by
/// their numbers.
pub(crate) async fn replay(bench: &Bench<'_>, start: &str, options: &str) -> Result<Vec<i64>, Stop> {
    let mut wire = bench.client().await?;
    let command = subscribe(bench.log()).text(Field::Filter, bench.own()).text(Field::Bookmark, start);
    let command = command.maybe(Field::Options, Some(options).filter(|options| !options.is_empty()));
    let id = wire.start(command, AckType::Processed | AckType::Completed).await?;
    success(&wire.ack(&id, AckType::Processed).await?)?;
    success(&wire.ack(&id, AckType::Completed).await?)?;
    let heard = wire.heard();
    bench.numbers(heard.iter().filter(|message| message.kind() == MessageKind::Publish))
}
