//! A server's configuration from a TOML file.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::builder::TestServerBuilder;
use crate::config::{Link, PeerConfig};
use crate::filter::Filter;
use crate::interval::parse_interval;
use crate::message_type::MessageType;
use crate::queue_config::{Delivery, Fairness, Leasing, QueueConfig};
use crate::readings::Readings;
use crate::sow_config::SowConfig;

/// The longest file in bytes; and that of a file which it names.
const LEN_MAX: u64 = 1 << 20;

/// A configuration file that cannot be used. It says which file, and where in
/// it: line, column and what was expected there.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigFileError {
    /// The file, or one that it names, cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// What is in it is no configuration.
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and why, over several lines.
        reason: String,
    },
}

impl std::fmt::Display for ConfigFileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read { path, cause } => write!(f, "cannot read {}: {cause}", path.display()),
            Self::Invalid { path, reason } => write!(f, "{}: {reason}", path.display()),
        }
    }
}

impl std::error::Error for ConfigFileError {}

/// The file. Everything has the default of the builder's method of that name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<String>,
    listen: Option<String>,
    unix: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    #[serde(default)]
    sync: bool,
    version: Option<String>,
    #[serde(default, deserialize_with = "patterns")]
    topic_log: Option<Vec<String>>,
    #[serde(default, deserialize_with = "interval")]
    ack_conflation: Option<Duration>,
    tls: Option<Tls>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    readings: Readings,
    #[serde(default)]
    topic: Vec<Topic>,
    #[serde(default)]
    sow: Vec<Sow>,
    #[serde(default)]
    queue: Vec<Queue>,
    #[serde(default)]
    peer: Vec<Peer>,
}

/// Files with PEM texts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    chain: PathBuf,
    key: PathBuf,
    client_roots: Option<PathBuf>,
}

/// What the messages of a topic are written in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Topic {
    topic: String,
    #[serde(deserialize_with = "message_type")]
    message_type: MessageType,
}

/// In bytes, but for the history: commands.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    outbox: Option<usize>,
    log: Option<usize>,
    frame: Option<usize>,
    history: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sow {
    topic: String,
    #[serde(default, deserialize_with = "key")]
    key: Option<String>,
    #[serde(default, deserialize_with = "interval_or_zero")]
    expiration: Option<Duration>,
    history: Option<History>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    #[serde(deserialize_with = "some_interval")]
    window: Duration,
    #[serde(default, deserialize_with = "interval_or_zero")]
    granularity: Option<Duration>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Queue {
    topic: String,
    underlying: Option<String>,
    delivery: Option<DeliveryName>,
    leasing: Option<LeasingName>,
    fairness: Option<FairnessName>,
    #[serde(default, deserialize_with = "interval")]
    lease: Option<Duration>,
    max_backlog: Option<u64>,
    max_per_subscription_backlog: Option<u64>,
    max_deliveries: Option<u32>,
    max_cancels: Option<u32>,
    #[serde(default, deserialize_with = "interval")]
    expiration: Option<Duration>,
    priority: Option<String>,
    #[serde(default, deserialize_with = "filter")]
    barrier: Option<Filter>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DeliveryName {
    AtLeastOnce,
    AtMostOnce,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LeasingName {
    Sublet,
    Strict,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FairnessName {
    Proportional,
    RoundRobin,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Peer {
    #[serde(deserialize_with = "uri")]
    uri: String,
    #[serde(default)]
    link: LinkName,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LinkName {
    #[default]
    Sync,
    Async,
}

/// A value that is text for something else. Where it is none, the error names
/// its place in the file.
fn read<'de, D: Deserializer<'de>, T, E: std::fmt::Display>(
    deserializer: D,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    read(&text).map_err(|error| D::Error::custom(format!("{text:?}: {error}")))
}

const INTERVAL: &str = "expected an interval up to a year, such as \"50ms\", \"2s\" or \"1h\"";

fn some_interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    read(deserializer, |text| parse_interval(text).ok_or(INTERVAL))
}

fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    some_interval(deserializer).map(Some)
}

fn interval_or_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let zero = |text: &str| matches!(text, "0" | "0s").then_some(Duration::ZERO);
    read(deserializer, |text| zero(text).or_else(|| parse_interval(text)).ok_or(INTERVAL)).map(Some)
}

fn key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let proper = |text: &str| text.split(',').all(|path| path.len() > 1 && path.starts_with('/'));
    read(deserializer, |text| {
        proper(text).then(|| text.to_owned()).ok_or("expected paths such as \"/id\" or \"/a,/b\"")
    })
    .map(Some)
}

fn filter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Filter>, D::Error> {
    read(deserializer, str::parse::<Filter>).map(Some)
}

/// A name, or the names of a composite message's parts: a list is that of
/// `composite-local`.
fn message_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MessageType, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "expected a message type, a list of those of a composite message's parts, \
                                   or { composite-global = [...] }"
    )]
    enum Names {
        One(String),
        Parts(Vec<String>),
        Composite(Composite),
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Composite {
        CompositeLocal(Vec<String>),
        CompositeGlobal(Vec<String>),
    }
    let named = |name: &String| name.parse::<MessageType>().map_err(D::Error::custom);
    let all = |names: Vec<String>| names.iter().map(named).collect::<Result<_, _>>();
    Ok(match Names::deserialize(deserializer)? {
        Names::One(name) => named(&name)?,
        Names::Parts(names) | Names::Composite(Composite::CompositeLocal(names)) => {
            MessageType::CompositeLocal(all(names)?)
        }
        Names::Composite(Composite::CompositeGlobal(names)) => MessageType::CompositeGlobal(all(names)?),
    })
}

fn uri<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    read(deserializer, |text| text.parse::<PeerConfig>().map(|_| text.to_owned()))
}

fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let patterns = Vec::<String>::deserialize(deserializer)?;
    for pattern in &patterns {
        regex::Regex::new(pattern).map_err(D::Error::custom)?;
    }
    Ok(Some(patterns))
}

impl TestServerBuilder {
    /// Reads the description of a server from a TOML file. Names in it are those
    /// of the builder's methods; `[[sow]]`, `[[queue]]`, `[[topic]]` and `[[peer]]`
    /// may stand there many times, and an empty `topic_log` means no transaction log.
    /// Files that it names are looked for beside it.
    ///
    /// ```toml
    /// name = "A"
    /// listen = "127.0.0.1:9007"
    ///
    /// [[sow]]
    /// topic = "weather.hourly"
    /// key = "/station"
    /// ```
    ///
    /// # Errors
    /// [`ConfigFileError`], with line, column and what was expected.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigFileError> {
        let path = path.as_ref();
        let text = read_file(path)?;
        let file = parse(&text).map_err(|reason| ConfigFileError::Invalid { path: path.to_owned(), reason })?;
        let beside = |other: &Path| path.parent().map_or_else(|| other.to_owned(), |dir| dir.join(other));
        let tls = match &file.tls {
            Some(tls) => {
                let roots = tls.client_roots.as_deref().map(|roots| read_file(&beside(roots))).transpose()?;
                Some((read_file(&beside(&tls.chain))?, read_file(&beside(&tls.key))?, roots))
            }
            None => None,
        };
        let mut builder = file.build();
        if let Some((chain, key, roots)) = tls {
            builder = builder.tls(chain, key);
            if let Some(roots) = roots {
                builder = builder.tls_client_roots(roots);
            }
        }
        Ok(builder)
    }
}

impl TestServerBuilder {
    /// Whether a text is what [`from_file`](Self::from_file) would take, as far as it
    /// goes by itself: files that it names are not looked at.
    ///
    /// # Errors
    /// Line, column and what was expected.
    pub fn check_toml(text: &str) -> Result<(), String> {
        parse(text).map(|file| drop(file.build()))
    }
}

fn parse(text: &str) -> Result<File, String> {
    if text.len() as u64 > LEN_MAX {
        return Err("it is longer than 1 MiB".to_owned());
    }
    toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
}

/// No more of a file than one byte beyond the limit, whatever it is.
fn read_file(path: &Path) -> Result<String, ConfigFileError> {
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LEN_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(len) if len as u64 > LEN_MAX => {
            let cause = io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 1 MiB");
            Err(ConfigFileError::Read { path: path.to_owned(), cause })
        }
        Ok(_) => Ok(text),
        Err(cause) => Err(ConfigFileError::Read { path: path.to_owned(), cause }),
    }
}

impl File {
    fn build(self) -> TestServerBuilder {
        let mut builder = TestServerBuilder::default().sync(self.sync);
        if let Some(name) = self.name {
            builder = builder.name(name);
        }
        if let Some(address) = self.listen {
            builder = builder.listen(address);
        }
        if let Some(path) = self.unix {
            builder = builder.unix(path);
        }
        if let Some(dir) = self.data_dir {
            builder = builder.data_dir(dir);
        }
        if let Some(version) = self.version {
            builder = builder.version(version);
        }
        if let Some(period) = self.ack_conflation {
            builder = builder.ack_conflation(period);
        }
        builder = match self.topic_log {
            Some(patterns) if patterns.is_empty() => builder.no_transaction_log(),
            patterns => patterns.into_iter().flatten().fold(builder, TestServerBuilder::topic_log),
        };
        builder = self.sow.into_iter().fold(builder, |builder, sow| builder.sow_topic(sow.into()));
        builder = self.queue.into_iter().fold(builder, |builder, queue| builder.queue(queue.into()));
        for peer in self.peer {
            let link = match peer.link {
                LinkName::Sync => Link::Sync,
                LinkName::Async => Link::Async,
            };
            builder = builder.peer(peer.uri, link);
        }
        let (readings, topics) = (self.readings, self.topic);
        let Limits { outbox, log, frame, history } = self.limits;
        builder.configure(|config| {
            config.outbox_limit = outbox.unwrap_or(config.outbox_limit);
            config.log_limit = log.unwrap_or(config.log_limit);
            config.frame_limit = frame.unwrap_or(config.frame_limit);
            config.history_limit = history.unwrap_or(config.history_limit);
            config.readings = readings;
            config.message_types.extend(topics.into_iter().map(|topic| (topic.topic, topic.message_type)));
        })
    }
}

impl From<Sow> for SowConfig {
    fn from(sow: Sow) -> Self {
        let mut config = Self::with_given_keys(sow.topic);
        config.key = sow.key;
        config.expiration = sow.expiration;
        match sow.history {
            Some(history) => config.history(history.window, history.granularity.unwrap_or_default()),
            None => config,
        }
    }
}

impl From<Queue> for QueueConfig {
    fn from(queue: Queue) -> Self {
        let mut config = Self::new(queue.topic);
        if let Some(underlying) = queue.underlying {
            config.underlying = underlying;
        }
        if let Some(DeliveryName::AtMostOnce) = queue.delivery {
            config.delivery = Delivery::AtMostOnce;
        }
        if let Some(LeasingName::Strict) = queue.leasing {
            config.leasing = Leasing::Strict;
        }
        config.fairness = queue.fairness.map(|fairness| match fairness {
            FairnessName::Proportional => Fairness::Proportional,
            FairnessName::RoundRobin => Fairness::RoundRobin,
        });
        config.lease = queue.lease;
        config.max_backlog = queue.max_backlog;
        config.max_per_subscription_backlog =
            queue.max_per_subscription_backlog.unwrap_or(config.max_per_subscription_backlog);
        config.max_deliveries = queue.max_deliveries;
        config.max_cancels = queue.max_cancels;
        config.expiration = queue.expiration;
        config.priority = queue.priority;
        config.barrier = queue.barrier;
        config
    }
}
