//! What is measured, ours or a limit, and how much of it.

use serde::{Serialize, Serializer};

use super::part::{Header, Parser};

/// The bytes of a body.
pub(super) const SIZE: u64 = 128;
/// Messages a second when latency is measured.
pub(super) const RATE: u64 = 10_000;
/// Tasks that each wait for a message before the next.
pub(super) const TASKS: u64 = 64;
/// Records in a frame of a query's result.
pub(super) const BATCH: u64 = 100;
/// A server that makes round trips visible answers so many microseconds late.
pub(super) const DELAY_US: u64 = 2_000;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) rounds: u64,
    /// Messages published without a disk.
    pub(super) publish: u64,
    /// Messages published through a disk.
    pub(super) durable: u64,
    /// Messages published by tasks that wait.
    pub(super) tasks: u64,
    pub(super) receive: u64,
    pub(super) records: u64,
    pub(super) latency: u64,
    pub(super) outage: u64,
    pub(super) subscriptions: u64,
    pub(super) parse: u64,
}

impl Extent {
    pub(super) const QUICK: Self = Self {
        rounds: 3,
        publish: 300_000,
        durable: 50_000,
        tasks: 10_000,
        receive: 500_000,
        records: 200_000,
        latency: 10_000,
        // As many as the target is for: a process takes some megabytes by itself.
        outage: 500_000,
        subscriptions: 1_000,
        parse: 1_000_000,
    };
    pub(super) const FULL: Self = Self {
        rounds: 5,
        publish: 2_000_000,
        durable: 500_000,
        tasks: 50_000,
        receive: 3_000_000,
        records: 1_000_000,
        latency: 50_000,
        outage: 500_000,
        subscriptions: 1_000,
        parse: 5_000_000,
    };
}

/// What is measured, ours or a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Probe {
    /// `amps bench publish` with this store.
    Publish(Store),
    /// The loop that publishes, with or without sequences.
    RawPublish { sequenced: bool },
    /// The log file written by hand.
    LogFile,
    /// `amps bench publish` with tasks that wait, at level `PowerLoss`.
    Tasks,
    /// `amps bench subscribe`.
    Subscribe(Header),
    /// The same as a bookmark subscription that discards each message.
    Bookmarks(Bookmarks),
    /// The loop that receives.
    RawReceive(Header),
    /// `amps bench sow`.
    Sow,
    /// The loop that receives a query's result.
    RawSow,
    /// `amps bench latency`.
    Latency,
    /// Blocking writes and reads.
    RoundTrip,
    /// `amps bench outage`, and `amps bench replay` on what it left.
    Outage(Outage),
    /// `amps bench resubscribe`.
    Resubscribe,
    /// Blocking writes and reads with a server that answers late.
    LateRoundTrip,
    /// Headers; the peer stays idle.
    Parse(Parser),
}

/// A publish store of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Store {
    None,
    Memory,
    ProcessCrash,
    PowerLoss,
}

/// A bookmark store of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bookmarks {
    Memory,
    Sled,
}

/// The store that fills during an outage, and how its client ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outage {
    /// There is nothing to be reopened.
    Memory,
    SledClosed,
    SledKilled,
}

impl Probe {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Publish(Store::None) => "publish, no store",
            Self::Publish(Store::Memory) => "publish, memory",
            Self::Publish(Store::ProcessCrash) => "publish, sled, ProcessCrash",
            Self::Publish(Store::PowerLoss) => "publish, sled, PowerLoss",
            Self::RawPublish { sequenced: false } => "raw publish",
            Self::RawPublish { sequenced: true } => "raw publish with sequences",
            Self::LogFile => "raw log file",
            Self::Tasks => "publish, 64 tasks that wait",
            Self::Subscribe(Header::Short) => "subscribe, short header",
            Self::Subscribe(Header::Long) => "subscribe, long header",
            Self::Bookmarks(Bookmarks::Memory) => "subscribe, long header, memory bookmark store",
            Self::Bookmarks(Bookmarks::Sled) => "subscribe, long header, sled bookmark store",
            Self::RawReceive(Header::Short) => "raw receive, short header",
            Self::RawReceive(Header::Long) => "raw receive, long header",
            Self::Sow => "SOW query",
            Self::RawSow => "raw receive, SOW records",
            Self::Latency => "latency",
            Self::RoundTrip => "raw round trip",
            Self::Outage(Outage::Memory) => "outage, memory",
            Self::Outage(Outage::SledClosed) => "outage, sled, closed",
            Self::Outage(Outage::SledKilled) => "outage, sled, kill -9",
            Self::Resubscribe => "resubscribe",
            Self::LateRoundTrip => "raw round trip, late answers",
            Self::Parse(Parser::Ours) => "header",
            Self::Parse(Parser::Serde) => "serde_json into borrowed fields",
        }
    }

    /// Messages, records, subscriptions or headers.
    pub(super) fn count(self, extent: &Extent) -> u64 {
        match self {
            Self::Publish(Store::None | Store::Memory) | Self::RawPublish { .. } => extent.publish,
            Self::Publish(Store::ProcessCrash | Store::PowerLoss) | Self::LogFile => extent.durable,
            Self::Tasks => extent.tasks,
            Self::Subscribe(_) | Self::Bookmarks(_) | Self::RawReceive(_) => extent.receive,
            Self::Sow | Self::RawSow => extent.records,
            Self::Latency | Self::RoundTrip => extent.latency,
            Self::Outage(_) => extent.outage,
            Self::Resubscribe => extent.subscriptions,
            Self::LateRoundTrip => 100,
            Self::Parse(_) => extent.parse,
        }
    }
}

impl Serialize for Probe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
