//! Commands put together field by field, for those who know the protocol.

use std::time::Duration;

use amps_core::{AckType, AckTypes, Command, CommandKind, Field, StartAt};
use amps_ha::error::CommandError;
use amps_ha::subscriptions::SubscriptionSpec;

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
    /// Ids of commands and queries, and sequences, are the client's own. A
    /// subscription id is the [id](Subscribe::id) under which the bookmark store
    /// keeps the subscription. Acknowledgements asked for come as items of the
    /// stream.
    ///
    /// ```no_run
    /// # async fn example(client: amps_client::Client) -> Result<(), amps_client::Error> {
    /// use amps_client::{Command, CommandKind, Field};
    /// let command = Command::new(CommandKind::SowAndSubscribe).topic("orders");
    /// let command = command.text(Field::Filter, "/qty > 100").text(Field::Options, "oof");
    /// if let Some(mut orders) = client.execute(command).await?.stream() {
    ///     while let Some(message) = orders.next_message().await? {
    ///         println!("{message:?}");
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Field`] when the command does not take one of its fields;
    /// [`CommandError::Invalid`] for `logon`, `heartbeat` and `unsubscribe`, which
    /// the client sends by itself; otherwise those of
    /// [`subscribe`](Self::subscribe), [`sow`](Self::sow), [`write`](Self::write)
    /// and [`flush`](Self::flush).
    ///
    /// # Cancel safety
    /// As for the method of its kind.
    pub async fn execute(&self, command: Command) -> Result<Executed, Error> {
        match command.kind() {
            CommandKind::Sow => Ok(Executed::Stream(self.sow(query(&command)?).await?)),
            CommandKind::Publish | CommandKind::DeltaPublish => self.execute_write(publish(&command)?).await,
            CommandKind::SowDelete => self.execute_write(delete(&command)?).await,
            CommandKind::Flush => {
                takes(&command, &[])?;
                has_no_body(&command)?;
                self.flush().await?;
                Ok(Executed::Flushed)
            }
            CommandKind::Unsubscribe => Err(invalid(&command, "dropping a stream unsubscribes it")),
            CommandKind::Subscribe
            | CommandKind::DeltaSubscribe
            | CommandKind::SowAndSubscribe
            | CommandKind::SowAndDeltaSubscribe => Ok(Executed::Stream(self.subscribe(subscription(&command)?).await?)),
            _ => Err(invalid(&command, "the client sends it by itself")),
        }
    }

    async fn execute_write<'a>(&self, write: impl Into<Write<'a>>) -> Result<Executed, Error> {
        let receipt = self.enqueue_write_wait(write).await?;
        receipt.durable().await?;
        Ok(Executed::Written(receipt))
    }
}

fn subscription(command: &Command) -> Result<Subscribe, Error> {
    takes_query(command, &[Field::SubscriptionId])?;
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
    takes_query(command, &[])?;
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
    takes(command, &[Field::Topic, Field::CorrelationId, Field::Expiration, Field::SowKey])?;
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
    if command.get(Field::Bookmark).is_some() {
        return Err(field(command, Field::Bookmark, "messages of a queue are acknowledged by their subscription"));
    }
    takes(command, &[Field::Topic, Field::Filter, Field::SowKeys])?;
    check_acks(command)?;
    let topic = command.get(Field::Topic).unwrap_or_default();
    match (command.get(Field::Filter), command.get(Field::SowKeys), command.data()) {
        (Some(filter), None, []) => Ok(SowDelete::by_filter(topic, filter)),
        (None, Some(keys), []) => Ok(SowDelete::by_keys(topic, [keys])),
        (None, None, data) => Ok(SowDelete::by_data(topic, data)),
        _ => Err(invalid(command, "it names records by one of filter, keys and data")),
    }
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

fn takes_query(command: &Command, more: &[Field]) -> Result<(), Error> {
    const COMMON: [Field; 8] = [
        Field::Topic,
        Field::Filter,
        Field::Options,
        Field::Bookmark,
        Field::BatchSize,
        Field::TopN,
        Field::OrderBy,
        Field::SowKeys,
    ];
    has_no_body(command)?;
    takes(command, &[&COMMON, more].concat())
}

fn has_no_body(command: &Command) -> Result<(), Error> {
    if command.data().is_empty() { Ok(()) } else { Err(invalid(command, "it takes no body")) }
}

fn takes(command: &Command, fields: &[Field]) -> Result<(), Error> {
    let Some(other) = command.fields().find(|field| !fields.contains(field)) else { return Ok(()) };
    let rule = match other {
        Field::CommandId | Field::QueryId | Field::Sequence | Field::SubscriptionId => {
            "the client gives it a value of its own"
        }
        _ => "it does not take it (AMPS Command Reference)",
    };
    Err(field(command, other, rule))
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
