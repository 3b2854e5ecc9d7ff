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
    /// What everyone publishes and subscribes to.
    pub(crate) topic: &'static str,
    /// Messages a second of each publisher.
    pub(crate) rate: u32,
    /// The clients' heartbeat interval, in seconds.
    pub(crate) heartbeat: u32,
    /// Whether clients begin with different servers.
    pub(crate) spread: bool,
}

impl Setup {
    /// The program with a subcommand.
    pub(crate) fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.amps);
        command.arg(subcommand);
        command
    }

    /// The connection string of a server.
    pub(crate) fn uri(&self, server: usize) -> String {
        format!("tcp://127.0.0.1:{}/amps/json", self.ports[server])
    }

    /// All servers, as the client with this number tries them.
    pub(crate) fn uris(&self, client: usize) -> String {
        let first = if self.spread { client } else { 0 };
        let count = self.ports.len();
        let uris: Vec<String> = (0..count).map(|index| self.uri((first + index) % count)).collect();
        uris.join(",")
    }

    /// Which server a connection string belongs to.
    pub(crate) fn server_of(&self, uri: &str) -> Option<usize> {
        (0..self.ports.len()).find(|&server| self.uri(server) == uri)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_may_begin_with_different_servers() {
        let mut setup = Setup {
            amps: PathBuf::new(),
            dir: PathBuf::new(),
            ports: vec![1, 2, 3],
            topic: "t",
            rate: 1,
            heartbeat: 1,
            spread: false,
        };
        let port_order = |uris: &str| uris.split(',').map(port_of).collect::<Vec<_>>();
        assert_eq!(port_order(&setup.uris(1)), [1, 2, 3]);
        setup.spread = true;
        assert_eq!(port_order(&setup.uris(1)), [2, 3, 1]);
        assert_eq!(port_order(&setup.uris(5)), [3, 1, 2]);
        assert_eq!(setup.server_of(&setup.uri(2)), Some(2));
    }

    fn port_of(uri: &str) -> u16 {
        uri.split([':', '/']).find_map(|part| part.parse().ok()).unwrap()
    }
}
