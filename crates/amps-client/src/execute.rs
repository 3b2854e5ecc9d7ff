//! Commands put together field by field, for those who know the protocol.

use std::time::Duration;

use amps_core::{AckType, AckTypes, BookmarkList, Command, CommandKind, Field, StartAt};
use amps_ha::client_core::Deleted;
use amps_ha::error::CommandError;
use amps_ha::subscriptions::{AckOption, SubscriptionSpec};

use crate::any_error::Error;
use crate::client::Client;
use crate::publish::Receipt;
use crate::subscribe::{Sow, Subscribe, Subscription};
use crate::write::{Publish, SowDelete, Write};

/// What became of a [`Client::execute`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Executed {
    /// A subscription, or the answer to a query: its stream.
    Stream(Subscription),
    /// A message or deletion, durable in the publish store.
    Written(Receipt),
    /// A flush: everything published before is settled.
    Flushed,
    /// An acknowledgement of a queue's messages, and how many the server
    /// acknowledged, if it counts.
    Acknowledged(Option<Deleted>),
}

impl Executed {
    /// The stream, if there is one.
    pub fn stream(self) -> Option<Subscription> {
        match self {
            Self::Stream(stream) => Some(stream),
            _ => None,
        }
    }
}

impl Client {
    /// Does what a command says that was put together field by field: the same
    /// as the method for its kind, with the same promises. Subscriptions come
    /// back after a failover, and what is published goes through the publish
    /// store.
    ///
    /// A `sow_delete` with bookmarks [acknowledges](Self::ack) messages of a queue,
    /// with the options `cancel`, `expire` and `lease_extension` too.
    ///
    /// Ids of commands and queries, and sequences, are the client's own. A
    /// subscription id is the [id](Subscribe::id) under which the bookmark store
    /// keeps the subscription. Acknowledgements asked for come as items of the
    /// stream.
    ///
    /// ```no_run
    /// # async fn example(client: amps_client::Client) -> Result<(), amps_client::Error> {
    /// use amps_client::{Command, CommandKind};
    /// let command = Command::new(CommandKind::SowAndSubscribe).topic("orders").filter("/qty > 100").options("oof");
    /// if let Some(mut orders) = client.execute(command).await?.stream() {
    ///     while let Some(message) = orders.next_message().await? {
    ///         println!("{message:?}");
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Field`] and [`CommandError::Invalid`] for what
    /// [`Command::check`] finds wrong, for values that are the client's own, and for
    /// `logon`, `heartbeat` and `unsubscribe`, which the client sends by itself;
    /// otherwise those of [`subscribe`](Self::subscribe), [`sow`](Self::sow),
    /// [`write`](Self::write), [`flush`](Self::flush) and [`ack`](Self::ack).
    ///
    /// # Cancel safety
    /// As for the method of its kind.
    pub async fn execute(&self, command: Command) -> Result<Executed, Error> {
        if let Some(field) = command.fields().find(|field| is_own(command.kind(), *field)) {
            return Err(self::field(&command, field, "the client gives it a value of its own"));
        }
        match command.kind() {
            CommandKind::Unsubscribe => return Err(invalid(&command, "dropping a stream unsubscribes it")),
            CommandKind::Logon | CommandKind::Heartbeat => {
                return Err(invalid(&command, "the client sends it by itself"));
            }
            _ => {}
        }
        command.check().map_err(|wrong| match wrong.field {
            Some(of) => field(&command, of, wrong.rule),
            None => invalid(&command, wrong.rule),
        })?;
        match command.kind() {
            CommandKind::Sow => Ok(Executed::Stream(self.sow(query(&command)?).await?)),
            CommandKind::Publish | CommandKind::DeltaPublish => self.execute_write(publish(&command)?).await,
            CommandKind::SowDelete if command.get(Field::Bookmark).is_some() => self.execute_ack(&command).await,
            CommandKind::SowDelete => self.execute_write(delete(&command)?).await,
            CommandKind::Flush => {
                self.flush().await?;
                Ok(Executed::Flushed)
            }
            _ => Ok(Executed::Stream(self.subscribe(subscription(&command)?).await?)),
        }
    }

    async fn execute_write<'a>(&self, write: impl Into<Write<'a>>) -> Result<Executed, Error> {
        let receipt = self.enqueue_write_wait(write).await?;
        receipt.durable().await?;
        Ok(Executed::Written(receipt))
    }

    async fn execute_ack(&self, command: &Command) -> Result<Executed, Error> {
        let get = |field| command.get(field).unwrap_or_default();
        let option = match get(Field::Options) {
            "" => None,
            text => Some(text.parse::<AckOption>().map_err(|rule| field(command, Field::Options, rule))?),
        };
        let bookmarks: BookmarkList = get(Field::Bookmark).parse()?;
        let found = self.acknowledge(get(Field::Topic), bookmarks.as_slice(), option).await?;
        Ok(Executed::Acknowledged(found))
    }
}

/// Whether a field is the client's own to set.
fn is_own(kind: CommandKind, field: Field) -> bool {
    match field {
        Field::CommandId | Field::QueryId | Field::Sequence => true,
        // Of subscriptions it is the name of what the bookmark store keeps.
        Field::SubscriptionId => !kind.subscribes(),
        // What is flushed is this client's.
        Field::ClientName => kind == CommandKind::Flush,
        _ => false,
    }
}

fn subscription(command: &Command) -> Result<Subscribe, Error> {
    let topic = command.get(Field::Topic).unwrap_or_default();
    let mut subscribe = match command.kind() {
        CommandKind::DeltaSubscribe => Subscribe::deltas_of(topic),
        CommandKind::SowAndSubscribe => Subscribe::sow_and(topic),
        CommandKind::SowAndDeltaSubscribe => Subscribe::sow_and_deltas_of(topic),
        _ => Subscribe::to(topic),
    };
    subscribe.id = command.get(Field::SubscriptionId).map(str::to_owned);
    subscribe.spec = filled(command, subscribe.spec)?;
    Ok(subscribe)
}

fn query(command: &Command) -> Result<Sow, Error> {
    let Sow { spec } = Sow::of(command.get(Field::Topic).unwrap_or_default());
    Ok(Sow { spec: filled(command, spec)? })
}

/// What subscriptions and queries have in common; which of it a kind takes is
/// checked when it is entered.
fn filled(command: &Command, mut spec: SubscriptionSpec) -> Result<SubscriptionSpec, Error> {
    let text = |field| command.get(field).map(str::to_owned);
    spec.filter = text(Field::Filter);
    spec.order_by = text(Field::OrderBy);
    spec.sow_keys = text(Field::SowKeys);
    spec.batch_size = number(command, Field::BatchSize)?;
    spec.top_n = number(command, Field::TopN)?;
    spec.acks = command.requested_acks();
    if let Some(options) = command.get(Field::Options) {
        spec.options = options.into();
    }
    if let Some(bookmark) = command.get(Field::Bookmark) {
        spec.start = Some(bookmark.parse::<StartAt>().map_err(CommandError::from)?);
    }
    Ok(spec)
}

fn publish(command: &Command) -> Result<Publish<'_>, Error> {
    check_acks(command)?;
    let topic = command.get(Field::Topic).unwrap_or_default();
    let mut publish = match command.kind() {
        CommandKind::DeltaPublish => Publish::delta(topic, command.data()),
        _ => Publish::new(topic, command.data()),
    };
    if let Some(id) = command.get(Field::CorrelationId) {
        publish = publish.correlation_id(id);
    }
    if let Some(key) = command.get(Field::SowKey) {
        publish = publish.sow_key(key);
    }
    if let Some(seconds) = number(command, Field::Expiration)? {
        publish = publish.expiration(Duration::from_secs(seconds));
    }
    Ok(publish)
}

fn delete(command: &Command) -> Result<SowDelete<'_>, Error> {
    check_acks(command)?;
    let topic = command.get(Field::Topic).unwrap_or_default();
    // One of them is there: that was checked.
    Ok(match (command.get(Field::Filter), command.get(Field::SowKeys)) {
        (Some(filter), _) => SowDelete::by_filter(topic, filter),
        (None, Some(keys)) => SowDelete::by_keys(topic, [keys]),
        (None, None) => SowDelete::by_data(topic, command.data()),
    })
}

/// A write is over when it is persisted, which its receipt tells.
fn check_acks(command: &Command) -> Result<(), Error> {
    match command.requested_acks() {
        acks if acks == AckTypes::NONE || acks == AckType::Persisted.into() => Ok(()),
        _ => {
            Err(field(command, Field::AckType, "what is written is acknowledged as persisted, which its receipt tells"))
        }
    }
}

fn number(command: &Command, of: Field) -> Result<Option<u64>, Error> {
    match command.get_number(of) {
        None if command.get(of).is_some() => Err(field(command, of, "it is not a number")),
        number => Ok(number),
    }
}

fn field(command: &Command, field: Field, rule: &'static str) -> Error {
    Error::Field { command: command.kind().as_str(), field, rule }
}

fn invalid(command: &Command, rule: &'static str) -> Error {
    let topic = command.get(Field::Topic).unwrap_or_default().to_owned();
    CommandError::Invalid { command: command.kind().as_str(), topic, rule }.into()
}
