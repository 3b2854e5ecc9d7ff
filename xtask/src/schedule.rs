//! Which fault happens when. Chaos draws a schedule from a seed.

mod random;

use std::fmt;
use std::time::Duration;

pub(crate) use random::random;

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
    /// `kill -9` a subscriber.
    KillSubscriber(usize),
    /// Start it again on its bookmark store.
    RestartSubscriber(usize),
    /// SIGSTOP a subscriber.
    PauseSubscriber(usize),
    /// SIGCONT it.
    ResumeSubscriber(usize),
    /// Somebody else logs on with the name of this client: a publisher, or behind
    /// them a subscriber.
    TakeName(usize),
    /// Trouble on a link, or on several.
    Break(Path, Trouble),
    /// The end of the trouble.
    Mend(Path),
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
}

impl Fault {
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
                | Self::RestartSubscriber(_)
                | Self::ResumeSubscriber(_)
                | Self::Mend(_)
        )
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
