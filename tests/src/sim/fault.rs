//! What can go wrong.

use std::fmt;
use std::time::Duration;

use crate::Kill;
use crate::pair::Door;

/// What can go wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// A client's connection breaks; bytes on their way are lost.
    Cut(usize),
    /// The next connection to a server breaks behind so many bytes to the client,
    /// or to the server.
    CutAfter(usize, Option<u64>, Option<u64>),
    /// A client's connection swallows everything and stays open.
    BlackHole(usize),
    /// A client's connection swallows what goes to the server, or to the client.
    OneWay(usize, bool),
    /// A server's process dies, for so long.
    Crash(usize, Duration),
    /// A server's machine dies with its disk, for so long. It comes back empty,
    /// and takes clients when it has what its peers have.
    Wipe(usize, Duration),
    /// A server's disk takes so many more writes, keeps so much of the next, and
    /// fails; the server stops, and starts on what it has after so long.
    Full(usize, u64, usize, Duration),
    /// A server's process stands still, for so long.
    Freeze(usize, Duration),
    /// A client is asked to move to a server.
    Move(usize, usize),
    /// A server refuses connections, closes them at once or leaves them
    /// unanswered, for so long.
    Door(usize, Door, Duration),
    /// Two servers do not reach each other, for so long.
    Partition(usize, usize, Duration),
    /// What one server sends another is swallowed until they notice.
    Mute(usize, usize),
    /// A server disconnects its clients and allows nobody one of the topics, for
    /// so long.
    Refuse(usize, Duration),
    /// A client's process dies, or its machine; for so long.
    Kill(usize, Kill, Duration),
    /// A client's process stands still, for so long.
    Pause(usize, Duration),
    /// A publisher's disk does nothing, for so long.
    HoldDisk(usize, Duration),
    /// A publisher's disk fails at so many writes, or syncs, from now on. If it
    /// has after so long, the process is killed, and started on what it has.
    DiskFails(usize, DiskFault, Kill, Duration),
    /// A subscriber reads nothing, for so long.
    Lazy(usize, Duration),
    /// The network gets slow and narrow, for so long.
    Slow(Duration, usize, Duration),
    /// A client's wall clock is set back by so many seconds, or forth; its next
    /// life sees it.
    WallClock(usize, i64),
    /// The same of a server's.
    ServerClock(usize, i64),
}

/// Which operation of a disk is the first that fails.
#[derive(Debug, Clone, Copy)]
pub enum DiskFault {
    /// The so-manieth write, as on a full disk.
    Write(u64),
    /// The so-manieth sync.
    Sync(u64),
}

impl Fault {
    /// Its kind, for figures.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cut(_) => "cut",
            Self::CutAfter(..) => "cut at a byte",
            Self::BlackHole(_) => "black hole",
            Self::OneWay(..) => "one way",
            Self::Crash(..) => "server crash",
            Self::Wipe(..) => "server disk lost",
            Self::Full(..) => "full server disk",
            Self::Freeze(..) => "server pause",
            Self::Move(..) => "planned move",
            Self::Door(..) => "closed door",
            Self::Partition(..) => "partition",
            Self::Mute(..) => "one-way partition",
            Self::Refuse(..) => "topic refused",
            Self::Kill(_, Kill::Process, _) => "client kill",
            Self::Kill(..) => "client power loss",
            Self::Pause(..) => "client pause",
            Self::HoldDisk(..) => "slow disk",
            Self::DiskFails(..) => "failing disk",
            Self::Lazy(..) => "slow reader",
            Self::Slow(..) => "slow network",
            Self::WallClock(..) => "clock jump",
            Self::ServerClock(..) => "server clock jump",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut(client) => write!(f, "c{client}: the connection breaks"),
            Self::CutAfter(server, Some(bytes), _) => {
                write!(f, "s{server}: the next connection breaks behind {bytes} bytes to the client")
            }
            Self::CutAfter(server, _, bytes) => {
                write!(f, "s{server}: the next connection breaks behind {} bytes to the server", bytes.unwrap_or(0))
            }
            Self::BlackHole(client) => write!(f, "c{client}: the connection swallows everything"),
            Self::OneWay(client, true) => write!(f, "c{client}: the connection swallows what goes to the server"),
            Self::OneWay(client, false) => write!(f, "c{client}: the connection swallows what goes to the client"),
            Self::Crash(server, down) => write!(f, "s{server}: dies for {down:?}"),
            Self::Wipe(server, down) => write!(f, "s{server}: dies for {down:?} and loses its disk"),
            Self::Full(server, writes, kept, down) => {
                write!(
                    f,
                    "s{server}: the disk is full in {writes} writes, {kept} records of the next survive, down for {down:?}"
                )
            }
            Self::Freeze(server, time) => write!(f, "s{server}: stands still for {time:?}"),
            Self::Move(client, server) => write!(f, "c{client}: is asked to move to s{server}"),
            Self::Door(server, Door::Silent, time) => write!(f, "s{server}: accepts nobody, silently, for {time:?}"),
            Self::Door(server, Door::Slams, time) => write!(f, "s{server}: accepts and closes at once for {time:?}"),
            Self::Door(server, _, time) => write!(f, "s{server}: refuses connections for {time:?}"),
            Self::Partition(a, b, time) => write!(f, "s{a} and s{b}: do not reach each other for {time:?}"),
            Self::Mute(from, to) => write!(f, "s{from}: what it sends to s{to} is swallowed"),
            Self::Refuse(server, time) => write!(f, "s{server}: disconnects all and refuses a topic for {time:?}"),
            Self::Kill(client, Kill::Process, down) => write!(f, "c{client}: killed for {down:?}"),
            Self::Kill(client, Kill::Power(extra), down) => {
                write!(f, "c{client}: loses power for {down:?}, {extra} unsynced writes survive")
            }
            Self::Pause(client, time) => write!(f, "c{client}: stands still for {time:?}"),
            Self::HoldDisk(client, time) => write!(f, "c{client}: the disk does nothing for {time:?}"),
            Self::DiskFails(client, fault, _, time) => {
                write!(f, "c{client}: the disk fails at {fault:?}, for {time:?}")
            }
            Self::Lazy(client, time) => write!(f, "c{client}: reads nothing for {time:?}"),
            Self::Slow(latency, room, time) => {
                write!(f, "network: {latency:?} one way and {room} bytes of room for {time:?}")
            }
            Self::WallClock(client, seconds) => write!(f, "c{client}: the wall clock jumps by {seconds} s"),
            Self::ServerClock(server, seconds) => write!(f, "s{server}: the wall clock jumps by {seconds} s"),
        }
    }
}
