//! The network between the processes of a run: every client reaches every
//! server over a link of its own, and so do the servers each other. A link can
//! be broken in every way a network breaks ([`Trouble`]).

mod link;

use std::net::Ipv4Addr;

use tokio::runtime::Runtime;

use crate::Failure;
use crate::schedule::{Path, Trouble};
use link::Link;

/// All links, and the threads that carry their bytes.
#[derive(Debug)]
pub(crate) struct Network {
    /// From each client to each server.
    clients: Vec<Vec<Link>>,
    /// From each server to each; the one to itself is never used.
    peers: Vec<Vec<Link>>,
    runtime: Runtime,
}

/// Whom a server is out of reach for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Clients,
    Peers,
}

impl Network {
    /// Links from `clients` clients to the servers on these ports of loopback,
    /// and between the servers.
    ///
    /// # Errors
    /// When a link cannot listen.
    pub(crate) fn start(servers: &[u16], clients: usize) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("cannot make the network: {error}"));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(failed)?;
        let row = || servers.iter().map(|&server| Link::start(runtime.handle(), (Ipv4Addr::LOCALHOST, server).into()));
        let rows = |count| (0..count).map(|_| row().collect()).collect::<Result<_, _>>().map_err(failed);
        Ok(Self { clients: rows(clients)?, peers: rows(servers.len())?, runtime })
    }

    /// The ports under which each client reaches the servers.
    pub(crate) fn client_ports(&self) -> Vec<Vec<u16>> {
        ports(&self.clients)
    }

    /// The ports under which each server reaches the servers.
    pub(crate) fn peer_ports(&self) -> Vec<Vec<u16>> {
        ports(&self.peers)
    }

    /// Makes trouble on a path.
    pub(crate) fn trouble(&self, path: Path, trouble: Trouble) {
        self.each(path, |link| link.trouble(trouble));
    }

    /// Ends the trouble on a path. What waited goes on; what was swallowed does
    /// not: those connections are reset.
    pub(crate) fn mend(&self, path: Path) {
        self.each(path, Link::mend);
    }

    /// Ends all trouble.
    pub(crate) fn mend_all(&self) {
        self.clients.iter().chain(&self.peers).flatten().for_each(Link::mend);
    }

    /// Takes a server off the network or puts it back: for its clients, or for the
    /// other servers. Trouble on its links is another matter.
    pub(crate) fn unplug(&self, server: usize, from: From, unplugged: bool) {
        let unplug = |link: &Link| link.unplug(unplugged);
        match from {
            From::Clients => self.clients.iter().for_each(|row| unplug(&row[server])),
            From::Peers => {
                self.peers[server].iter().for_each(unplug);
                self.peers.iter().for_each(|row| unplug(&row[server]));
            }
        }
    }

    fn each(&self, path: Path, to: impl Fn(&Link)) {
        match path {
            Path::Client { client, server: Some(server) } => to(&self.clients[client][server]),
            Path::Client { client, server: None } => self.clients[client].iter().for_each(to),
            Path::Peers(a, b) => [(a, b), (b, a)].iter().for_each(|&(from, towards)| to(&self.peers[from][towards])),
        }
    }

    /// Where something else may run beside the links.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }
}

fn ports(links: &[Vec<Link>]) -> Vec<Vec<u16>> {
    links.iter().map(|row| row.iter().map(Link::port).collect()).collect()
}
