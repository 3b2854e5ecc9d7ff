//! Which fault happens when. Chaos draws a schedule from a seed.

mod random;

use std::fmt;
use std::time::Duration;

pub(crate) use random::{Kinds, random};

/// One thing done to one process or link, or the end of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9` the server that most clients use now, and remember it.
    KillServerInUse,
    /// Start every dead server again, on its data and port.
    RestartDeadServers,
    /// `kill -9` a server.
    KillServer(usize),
    /// Start a dead server again, on its data and port.
    RestartServer(usize),
    /// SIGSTOP a server: its connections stay open and nothing answers.
    PauseServer(usize),
    /// SIGCONT it.
    ResumeServer(usize),
    /// `kill -9` a publisher.
    KillPublisher(usize),
    /// Start it again on its store.
    RestartPublisher(usize),
    /// SIGSTOP a publisher.
    PausePublisher(usize),
    /// SIGCONT it.
    ResumePublisher(usize),
    /// From now on no file of a publisher takes writes behind its middle.
    FillDisk(usize),
    /// There is room again; a publisher that ended for it starts again.
    FreeDisk(usize),
    /// From now on each sync of a process takes so many milliseconds longer.
    SlowDisk(Disk, u32),
    /// Its disk is quick again.
    QuickDisk(Disk),
    /// A server loses its network, to clients and servers; the other servers are
    /// told to wait for it no longer.
    CutOff(usize),
    /// It has its network to the servers again. Once it has all that they have they
    /// are told to wait for it again, and only then do clients reach it.
    TakeBack(usize),
    /// `kill -9` a subscriber.
    KillSubscriber(usize),
    /// Start it again on its bookmark store.
    RestartSubscriber(usize),
    /// SIGSTOP a subscriber.
    PauseSubscriber(usize),
    /// SIGCONT it.
    ResumeSubscriber(usize),
    /// `kill -9` a consumer: a view or a worker.
    KillConsumer(usize),
    /// Start it again.
    RestartConsumer(usize),
    /// SIGSTOP a consumer.
    PauseConsumer(usize),
    /// SIGCONT it.
    ResumeConsumer(usize),
    /// Somebody else logs on with the name of this client: a publisher, or behind
    /// them a subscriber, or behind those a consumer.
    TakeName(usize),
    /// Trouble on a link, or on several.
    Break(Path, Trouble),
    /// The end of the trouble.
    Mend(Path),
}

/// Whose disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    Server(usize),
    Publisher(usize),
    Subscriber(usize),
}

/// Links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// From a client (publishers first) to a server, or to every server.
    Client {
        /// Who.
        client: usize,
        /// Which; `None` for all.
        server: Option<usize>,
    },
    /// Between two servers, both ways.
    Peers(usize, usize),
}

/// What goes wrong on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Its connections are reset, wherever they are in a frame.
    Cut,
    /// They are reset behind so many more bytes.
    CutAfter(u32),
    /// They are reset, and new ones too.
    Refused,
    /// Nothing passes; it will when that ends.
    Stalled,
    /// Nothing passes towards the server.
    StalledThere,
    /// Nothing passes from the server.
    StalledBack,
    /// Nothing passes, and in the end its connections are reset.
    Swallowed,
    /// Bytes a second.
    Narrow(u32),
    /// Every byte comes by itself.
    Split,
}

/// A fault and its time after the first message was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timed {
    pub(crate) at: Duration,
    pub(crate) fault: Fault,
}

/// How many processes of each kind there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) servers: usize,
    pub(crate) publishers: usize,
    pub(crate) subscribers: usize,
    /// Views and workers.
    pub(crate) consumers: usize,
}

impl Fault {
    /// What kind of fault it is, as it is recorded.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::KillServerInUse | Self::KillServer(_) => "server killed",
            Self::PauseServer(_) => "server stopped in its tracks",
            Self::KillPublisher(_) => "publisher killed",
            Self::PausePublisher(_) => "publisher stopped in its tracks",
            Self::FillDisk(_) => "full disk",
            Self::SlowDisk(..) => "slow disk",
            Self::CutOff(_) => "server cut off and downgraded",
            Self::KillSubscriber(_) => "subscriber killed",
            Self::PauseSubscriber(_) => "subscriber stopped in its tracks",
            Self::KillConsumer(_) => "view or worker killed",
            Self::PauseConsumer(_) => "view or worker stopped in its tracks",
            Self::TakeName(_) => "client name taken",
            Self::Break(Path::Peers(..), _) => "link between servers broken",
            Self::Break(Path::Client { .. }, trouble) => trouble.kind(),
            Self::RestartDeadServers
            | Self::RestartServer(_)
            | Self::ResumeServer(_)
            | Self::RestartPublisher(_)
            | Self::ResumePublisher(_)
            | Self::FreeDisk(_)
            | Self::QuickDisk(_)
            | Self::TakeBack(_)
            | Self::RestartConsumer(_)
            | Self::ResumeConsumer(_)
            | Self::RestartSubscriber(_)
            | Self::ResumeSubscriber(_)
            | Self::Mend(_) => "end of a fault",
        }
    }

    /// Whether it ends what another one began.
    pub(crate) fn is_end(self) -> bool {
        matches!(
            self,
            Self::RestartDeadServers
                | Self::RestartServer(_)
                | Self::ResumeServer(_)
                | Self::RestartPublisher(_)
                | Self::ResumePublisher(_)
                | Self::FreeDisk(_)
                | Self::QuickDisk(_)
                | Self::TakeBack(_)
                | Self::RestartConsumer(_)
                | Self::ResumeConsumer(_)
                | Self::RestartSubscriber(_)
                | Self::ResumeSubscriber(_)
                | Self::Mend(_)
        )
    }
}

impl Trouble {
    /// What kind of trouble a client has, as it is recorded.
    fn kind(self) -> &'static str {
        match self {
            Self::Cut | Self::CutAfter(_) => "link of a client reset",
            Self::Refused => "link of a client refused",
            Self::Stalled => "link of a client stalled",
            Self::StalledThere | Self::StalledBack => "link of a client stalled one way",
            Self::Swallowed => "link of a client swallowed",
            Self::Narrow(_) => "link of a client narrowed",
            Self::Split => "link of a client split into bytes",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => f.write_str("reset"),
            Self::CutAfter(bytes) => write!(f, "reset behind {bytes} bytes"),
            Self::Refused => f.write_str("refused"),
            Self::Stalled => f.write_str("stalled"),
            Self::StalledThere => f.write_str("stalled to the server"),
            Self::StalledBack => f.write_str("stalled from the server"),
            Self::Swallowed => f.write_str("black hole"),
            Self::Narrow(rate) => write!(f, "{rate} bytes a second"),
            Self::Split => f.write_str("byte by byte"),
        }
    }
}
