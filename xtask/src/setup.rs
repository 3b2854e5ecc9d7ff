//! What all processes of a run have in common.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;

/// The place and the settings of a run.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The `amps` program.
    pub(crate) amps: PathBuf,
    /// Every file of the run is below here.
    pub(crate) dir: PathBuf,
    /// One for each server.
    pub(crate) ports: Vec<u16>,
    /// The ports under which each client (publishers first) reaches the servers.
    /// Empty: their own.
    pub(crate) client_ports: Vec<Vec<u16>>,
    /// The ports under which each server reaches the servers. Empty: their own.
    pub(crate) peer_ports: Vec<Vec<u16>>,
    /// What everyone publishes and subscribes to.
    pub(crate) topic: &'static str,
    /// What is in a queue as well, if anything.
    pub(crate) queued: Option<&'static str>,
    /// Messages a second of each publisher.
    pub(crate) rate: u32,
    /// The clients' heartbeat interval, in seconds.
    pub(crate) heartbeat: u32,
    /// Whether clients begin with different servers.
    pub(crate) spread: bool,
    /// Whether disks can be made slow.
    pub(crate) slow_disks: bool,
    /// The planted bug that is at work in all processes, if one is; it may be called
    /// nothing.
    pub(crate) planted: Option<&'static str>,
}

/// The variable that names a planted bug to a program that has them.
const PLANTED: &str = "AMPS_PLANTED";

impl Setup {
    /// All that is published, as a topic to subscribe to.
    pub(crate) fn every_topic(&self) -> String {
        match self.queued {
            None => self.topic.to_owned(),
            Some(queued) => format!("^({}|{queued})$", self.topic.replace('.', r"\.")),
        }
    }

    /// The program with a subcommand.
    pub(crate) fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.amps);
        command.arg(subcommand);
        self.plant(&mut command);
        command
    }

    /// Puts the planted bug to work in a process, or none.
    pub(crate) fn plant(&self, command: &mut Command) {
        match self.planted {
            Some(bug) if !bug.is_empty() => command.env(PLANTED, bug),
            _ => command.env_remove(PLANTED),
        };
    }

    /// The same, with a full disk an error as any other, and not the end of the
    /// process (setrlimit(2), `SIGXFSZ`).
    pub(crate) fn command_on_a_disk(&self, subcommand: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#]).arg(&self.amps).arg(subcommand);
        self.plant(&mut command);
        command
    }

    /// Lets the disk of a process become slow, where that is wanted.
    pub(crate) fn may_be_slow(&self, command: &mut Command, who: &str) {
        if self.slow_disks {
            command.arg("--slow-disk").arg(self.disk(who));
        }
    }

    /// The file that says how slow the disk of a process is.
    pub(crate) fn disk(&self, who: &str) -> PathBuf {
        self.path(format!("{who}.disk"))
    }

    /// The connection string of a server.
    pub(crate) fn uri(&self, server: usize) -> String {
        uri(self.ports[server])
    }

    /// The other servers, as a server reaches them.
    pub(crate) fn peers(&self, server: usize) -> impl Iterator<Item = String> {
        (0..self.ports.len()).filter(move |peer| *peer != server).map(move |peer| self.peer(server, peer))
    }

    /// A server, as another one reaches it.
    pub(crate) fn peer(&self, from: usize, towards: usize) -> String {
        uri(self.peer_ports.get(from).unwrap_or(&self.ports)[towards])
    }

    /// All servers, as the client with this number tries them.
    pub(crate) fn uris(&self, client: usize) -> String {
        let first = if self.spread { client } else { 0 };
        let ports = self.client_ports.get(client).unwrap_or(&self.ports);
        let uris: Vec<String> = (0..ports.len()).map(|index| uri(ports[(first + index) % ports.len()])).collect();
        uris.join(",")
    }

    /// Which server a client's connection string belongs to.
    pub(crate) fn server_of(&self, connected: &str) -> Option<usize> {
        let rows = self.client_ports.iter().chain([&self.ports]);
        rows.flat_map(|row| row.iter().enumerate()).find(|(_, port)| uri(**port) == connected).map(|(server, _)| server)
    }

    /// A path below the run's directory.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes a file below the run's directory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.path(name);
        std::fs::write(&path, text)
            .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))?;
        Ok(path)
    }
}

fn uri(port: u16) -> String {
    format!("tcp://127.0.0.1:{port}/amps/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_may_begin_with_different_servers() {
        let mut setup = Setup {
            amps: PathBuf::new(),
            dir: PathBuf::new(),
            ports: vec![1, 2, 3],
            client_ports: Vec::new(),
            peer_ports: Vec::new(),
            topic: "t",
            queued: None,
            rate: 1,
            heartbeat: 1,
            spread: false,
            slow_disks: false,
            planted: None,
        };
        let port_order = |uris: &str| uris.split(',').map(port_of).collect::<Vec<_>>();
        assert_eq!(port_order(&setup.uris(1)), [1, 2, 3]);
        setup.spread = true;
        assert_eq!(port_order(&setup.uris(1)), [2, 3, 1]);
        assert_eq!(port_order(&setup.uris(5)), [3, 1, 2]);
        assert_eq!(setup.server_of(&setup.uri(2)), Some(2));
    }

    #[test]
    fn each_client_and_server_has_ways_of_its_own() {
        let setup = Setup {
            amps: PathBuf::new(),
            dir: PathBuf::new(),
            ports: vec![1, 2, 3],
            client_ports: vec![vec![11, 12, 13], vec![21, 22, 23]],
            peer_ports: vec![vec![31, 32, 33], vec![41, 42, 43], vec![51, 52, 53]],
            topic: "t",
            queued: None,
            rate: 1,
            heartbeat: 1,
            spread: true,
            slow_disks: false,
            planted: None,
        };
        assert_eq!(setup.uris(1).split(',').map(port_of).collect::<Vec<_>>(), [22, 23, 21]);
        assert_eq!(setup.server_of(&uri(23)), Some(2));
        assert_eq!(setup.peers(1).map(|uri| port_of(&uri)).collect::<Vec<_>>(), [41, 43]);
    }

    fn port_of(uri: &str) -> u16 {
        uri.split([':', '/']).find_map(|part| part.parse().ok()).unwrap()
    }
}
