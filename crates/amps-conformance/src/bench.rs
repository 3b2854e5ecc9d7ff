//! Where a check is carried out: connections, topics and names of its own.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amps_core::command::CommandKind;
use amps_core::{AckType, Command, Connector, Field, Message, SocketConnector};
use serde_json::{Map, Value};

use crate::check::{Check, Verdict};
use crate::exchange::Exchange;
use crate::judge::{Judged, Stop, fail, success};
use crate::wire::Wire;
use crate::{Need, Options};

/// A check may take so many waits,
const WAITS: u32 = 12;
/// and so long besides, since heartbeats have intervals of a second at least.
const SLOW: Duration = Duration::from_secs(15);

/// The server that is checked.
#[derive(Debug)]
pub(crate) struct Server<'a> {
    pub(crate) options: &'a Options,
    connector: SocketConnector,
    /// Different in every run.
    run: String,
    /// The version in the first logon ack.
    version: std::sync::OnceLock<String>,
}

impl<'a> Server<'a> {
    pub(crate) fn new(options: &'a Options) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let run = format!("{:x}-{:x}", now.as_micros(), std::process::id());
        Self { options, connector: SocketConnector::new(), run, version: std::sync::OnceLock::new() }
    }

    pub(crate) fn set_version(&self, version: &str) {
        let _ = self.version.set(version.to_owned());
    }
}

/// The place of one check.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    server: &'a Server<'a>,
    tag: String,
    exchange: Exchange,
    connections: AtomicU64,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(server: &'a Server<'a>, number: usize) -> Self {
        let tag = format!("{}-{number}", server.run);
        Self { server, tag, exchange: Exchange::default(), connections: AtomicU64::new(0) }
    }

    /// Carries a check out, and takes away what it left.
    pub(crate) async fn judge(&self, check: &Check) -> Verdict {
        let limit = WAITS * self.timeout() + SLOW;
        let ended = match tokio::time::timeout(limit, (check.run)(self)).await {
            Ok(ended) => ended,
            Err(_) => Err(fail(format!("the check ends within {limit:?}"), "it does not")),
        };
        let exchange = self.exchange.lines();
        // The verdict is what the check found; what cannot be taken away stays.
        let _ = self.clean(check.needs).await;
        match ended {
            Ok(verdict) => verdict,
            Err(Stop::NotConfigured(what)) => Verdict::NotConfigured(what),
            Err(Stop::Fail { expected, came }) => Verdict::Fail { expected, came, exchange },
        }
    }

    async fn clean(&self, needs: &[Need]) -> Judged {
        let topics: BTreeSet<&str> = needs
            .iter()
            .filter_map(|need| match need {
                Need::Sow | Need::LoggedSow => Some(self.sow()),
                Need::Queue => Some(self.queue()),
                Need::Log => None,
            })
            .collect();
        if topics.is_empty() {
            return Ok(());
        }
        let mut wire = self.client().await?;
        for topic in topics {
            wire.ask(sow_delete(topic).text(Field::Filter, self.own()), AckType::Processed).await?;
        }
        Ok(())
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.server.options.timeout
    }

    /// How long it is listened for what shall not come, where nothing that comes
    /// behind it can show that it does not.
    pub(crate) fn moment(&self) -> Duration {
        self.timeout().min(Duration::from_millis(300))
    }

    /// What only this check has: in names, topics and bodies.
    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }

    /// A topic that only this check uses, without SOW.
    pub(crate) fn plain(&self, part: &str) -> String {
        format!("{}-{}-{part}", self.server.options.topics.plain, self.tag)
    }

    pub(crate) fn sow(&self) -> &str {
        &self.server.options.topics.sow
    }

    pub(crate) fn sow_key(&self) -> &str {
        &self.server.options.topics.sow_key
    }

    pub(crate) fn log(&self) -> &str {
        &self.server.options.topics.log
    }

    pub(crate) fn queue(&self) -> &str {
        &self.server.options.topics.queue
    }

    /// A filter that only messages of this check match.
    pub(crate) fn own(&self) -> String {
        format!("/run = '{}'", self.tag)
    }

    /// The same, and this.
    pub(crate) fn own_and(&self, filter: &str) -> String {
        format!("/run = '{}' AND ({filter})", self.tag)
    }

    /// The value of a SOW key of this check.
    pub(crate) fn key(&self, key: &str) -> String {
        format!("{}-{key}", self.tag)
    }

    /// A message of this check: its key, its mark, and these fields, written as
    /// JSON without braces.
    pub(crate) fn body(&self, key: &str, fields: &str) -> String {
        let comma = if fields.is_empty() { "" } else { "," };
        format!(r#"{{"{}":"{}","run":"{}"{comma}{fields}}}"#, self.sow_key(), self.key(key), self.tag)
    }

    /// What a body says, without key and mark.
    pub(crate) fn fields(&self, message: &Message) -> Result<Map<String, Value>, Stop> {
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(message.data()) else {
            return Err(fail("a JSON object as body", String::from_utf8_lossy(message.data())));
        };
        fields.remove(self.sow_key());
        fields.remove("run");
        Ok(fields)
    }

    /// The number `n` of a body.
    pub(crate) fn number(&self, message: &Message) -> Result<i64, Stop> {
        let fields = self.fields(message)?;
        let number = fields.get("n").and_then(Value::as_i64);
        number.ok_or_else(|| fail("a number n in the body", Value::from(fields).to_string()))
    }

    /// The numbers `n` of bodies.
    pub(crate) fn numbers<'m>(&self, messages: impl IntoIterator<Item = &'m Message>) -> Result<Vec<i64>, Stop> {
        messages.into_iter().map(|message| self.number(message)).collect()
    }

    /// A connection on which nothing was sent.
    pub(crate) async fn open(&self) -> Result<Wire, Stop> {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let label = char::from(b'a' + (number % 26) as u8).to_string();
        let uri = &self.server.options.uri;
        let stream = match tokio::time::timeout(self.timeout(), self.server.connector.connect(uri)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(fail("the server accepts a connection", error.to_string())),
            Err(_) => {
                return Err(fail("the server accepts a connection", format!("no answer in {:?}", self.timeout())));
            }
        };
        Ok(Wire::new(stream, self.exchange.clone(), &label, self.timeout()))
    }

    /// A client name of this check.
    pub(crate) fn name(&self, part: &str) -> String {
        format!("conformance-{}-{part}", self.tag)
    }

    /// A logon under this name, with the credentials of the connection string.
    pub(crate) fn logon(&self, name: &str) -> Command {
        let uri = &self.server.options.uri;
        Command::new(CommandKind::Logon)
            .text(Field::ClientName, name)
            .maybe(Field::MessageType, uri.message_type())
            .maybe(Field::UserId, uri.user())
            .maybe(Field::Password, uri.password())
            .text(Field::Version, concat!(env!("CARGO_PKG_VERSION"), ":conformance"))
    }

    /// A logged-on connection, with the logon's ack.
    pub(crate) async fn logged_on(&self, name: &str) -> Result<(Wire, Message), Stop> {
        let mut wire = self.open().await?;
        let ack = wire.ask(self.logon(name), AckType::Processed).await?;
        success(&ack)?;
        Ok((wire, ack))
    }

    /// A logged-on connection under a name of its own.
    pub(crate) async fn client(&self) -> Result<Wire, Stop> {
        let name = self.name(&self.connections.load(Ordering::Relaxed).to_string());
        Ok(self.logged_on(&name).await?.0)
    }

    /// The same, with more patience than usual: for what takes the server so long.
    pub(crate) async fn patient_client(&self, more: Duration) -> Result<Wire, Stop> {
        let mut wire = self.client().await?;
        wire.patience += more;
        Ok(wire)
    }

    /// Ends the check here unless the server says that it is of this version or a
    /// later one.
    pub(crate) fn since(&self, version: [u64; 3]) -> Judged {
        let said = self.server.version.get().map_or("", String::as_str);
        let parts: Vec<u64> = said.split('.').map_while(|part| part.parse().ok()).take(3).collect();
        if parts.as_slice() >= version.as_slice() {
            return Ok(());
        }
        let [major, minor, patch] = version;
        Err(Stop::NotConfigured(format!("a server of version {major}.{minor}.{patch} or later; this is {said}")))
    }
}

/// A command on a topic.
fn command(kind: CommandKind, topic: &str) -> Command {
    Command::new(kind).topic(topic)
}

pub(crate) fn publish(topic: &str, body: impl Into<Vec<u8>>) -> Command {
    command(CommandKind::Publish, topic).body(body)
}

pub(crate) fn delta_publish(topic: &str, body: impl Into<Vec<u8>>) -> Command {
    command(CommandKind::DeltaPublish, topic).body(body)
}

pub(crate) fn subscribe(topic: &str) -> Command {
    command(CommandKind::Subscribe, topic)
}

pub(crate) fn delta_subscribe(topic: &str) -> Command {
    command(CommandKind::DeltaSubscribe, topic)
}

pub(crate) fn sow(topic: &str) -> Command {
    command(CommandKind::Sow, topic)
}

pub(crate) fn sow_and_subscribe(topic: &str) -> Command {
    command(CommandKind::SowAndSubscribe, topic)
}

pub(crate) fn sow_delete(topic: &str) -> Command {
    command(CommandKind::SowDelete, topic)
}

pub(crate) fn unsubscribe(id: &str) -> Command {
    Command::new(CommandKind::Unsubscribe).text(Field::SubscriptionId, id)
}
