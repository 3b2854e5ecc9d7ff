use amps_core::Uri;

use super::{Report, Server, ServerChooser};
use crate::error::Cause;

/// Walks a list of servers.
///
/// The current server stays until a failure is reported for it, then the next
/// one is current, and after the last the first again. The loss of a live
/// connection is a failure: the next server is tried first, not the lost one.
/// With a single server, that one is tried for ever.
#[derive(Debug, Default)]
pub struct ListChooser {
    servers: Vec<Server>,
    current: usize,
    last_failure: Option<String>,
}

impl ListChooser {
    /// A chooser over `servers`, starting with the first.
    pub fn new<S: Into<Server>>(servers: impl IntoIterator<Item = S>) -> Self {
        Self { servers: servers.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Adds a server at the end of the list.
    pub fn add(&mut self, server: impl Into<Server>) {
        self.servers.push(server.into());
    }

    /// Removes a server; a connection to it stays until it is lost. `false` if
    /// it is not in the list.
    pub fn remove(&mut self, server: &Uri) -> bool {
        let Some(index) = self.place(server) else { return false };
        self.servers.remove(index);
        if index < self.current {
            self.current -= 1;
        }
        if self.current >= self.servers.len() {
            self.current = 0;
        }
        true
    }

    /// The servers, in order.
    pub fn servers(&self) -> impl Iterator<Item = &Uri> {
        self.servers.iter().map(Server::uri)
    }

    fn place(&self, uri: &Uri) -> Option<usize> {
        self.servers.iter().position(|server| server.uri() == uri)
    }
}

impl ServerChooser for ListChooser {
    fn current(&mut self) -> Option<Server> {
        self.servers.get(self.current).cloned()
    }

    fn report_failure(&mut self, report: &Report, cause: &Cause) {
        self.last_failure = Some(format!("{}: {cause}", report.uri));
        // A late report for another server does not skip one.
        if self.servers.get(self.current).is_some_and(|server| *server.uri() == report.uri) {
            self.current = (self.current + 1) % self.servers.len();
        }
    }

    fn report_success(&mut self, report: &Report) {
        self.last_failure = None;
        // It may have been moved there.
        self.current = self.place(&report.uri).unwrap_or(self.current);
    }

    fn error(&self) -> String {
        match &self.last_failure {
            Some(failure) => format!("the list of servers is empty; the last failure was {failure}"),
            None => "the list of servers is empty: add a server".to_owned(),
        }
    }
}

impl FromIterator<Uri> for ListChooser {
    fn from_iter<I: IntoIterator<Item = Uri>>(servers: I) -> Self {
        Self::new(servers)
    }
}
