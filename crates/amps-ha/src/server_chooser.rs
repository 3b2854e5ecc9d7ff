//! Which server to connect to next.
//!
//! AMPS does not tell a client of other servers: the list is the application's.
//! All servers of one client must be instances that replicate to each other
//! synchronously, or messages may be missed or lost at a failover (AMPS User
//! Guide, "Replication Best Practices").

use std::fmt;

use amps_core::Uri;

/// Chooses the server for each connection attempt.
///
/// The session calls it from one task, never two calls at once, and holds no
/// lock while it does. It must not block.
pub trait ServerChooser: Send + 'static {
    /// The server to try now. The answer stays the same until a report. `None`
    /// ends all attempts, with the text of [`ServerChooser::error`].
    fn current(&mut self) -> Option<Uri>;

    /// An attempt to connect or log on failed, or a live connection was lost.
    fn report_failure(&mut self, uri: &Uri, cause: &dyn fmt::Display);

    /// A connection is logged on.
    fn report_success(&mut self, uri: &Uri);

    /// Why [`ServerChooser::current`] answered `None`.
    fn error(&self) -> String;
}

/// Walks a list of servers.
///
/// The current server stays until a failure is reported for it, then the next
/// one is current, and after the last the first again. The loss of a live
/// connection is a failure: the next server is tried first, not the lost one.
/// With a single server, that one is tried for ever.
#[derive(Debug, Default)]
pub struct ListChooser {
    servers: Vec<Uri>,
    current: usize,
    last_failure: Option<String>,
}

impl ListChooser {
    /// A chooser over `servers`, starting with the first.
    pub fn new(servers: impl IntoIterator<Item = Uri>) -> Self {
        Self { servers: servers.into_iter().collect(), ..Self::default() }
    }

    /// Adds a server at the end of the list.
    pub fn add(&mut self, server: Uri) {
        self.servers.push(server);
    }

    /// Removes a server; a connection to it stays until it is lost. `false` if
    /// it is not in the list.
    pub fn remove(&mut self, server: &Uri) -> bool {
        let Some(index) = self.servers.iter().position(|listed| listed == server) else { return false };
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
    pub fn servers(&self) -> &[Uri] {
        &self.servers
    }
}

impl ServerChooser for ListChooser {
    fn current(&mut self) -> Option<Uri> {
        self.servers.get(self.current).cloned()
    }

    fn report_failure(&mut self, uri: &Uri, cause: &dyn fmt::Display) {
        self.last_failure = Some(format!("{uri}: {cause}"));
        // A late report for another server does not skip one.
        if self.servers.get(self.current) == Some(uri) {
            self.current = (self.current + 1) % self.servers.len();
        }
    }

    fn report_success(&mut self, _: &Uri) {
        self.last_failure = None;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(host: &str) -> Uri {
        format!("tcp://{host}:9007/amps/json").parse().unwrap()
    }

    fn list(hosts: &[&str]) -> ListChooser {
        hosts.iter().map(|host| uri(host)).collect()
    }

    #[test]
    fn failures_walk_the_list_round_and_round() {
        let mut chooser = list(&["a", "b", "c"]);
        for expected in ["a", "b", "c", "a", "b"] {
            let current = chooser.current().unwrap();
            assert_eq!(current, uri(expected));
            assert_eq!(chooser.current().unwrap(), current, "it stays until a report");
            chooser.report_failure(&current, &"refused");
        }
        chooser.report_success(&uri("c"));
        assert_eq!(chooser.current().unwrap(), uri("c"));
        chooser.report_failure(&uri("b"), &"late");
        assert_eq!(chooser.current().unwrap(), uri("c"));
    }

    #[test]
    fn one_server_is_tried_for_ever() {
        let mut chooser = list(&["a"]);
        for _ in 0..3 {
            assert_eq!(chooser.current().unwrap(), uri("a"));
            chooser.report_failure(&uri("a"), &"refused");
        }
    }

    #[test]
    fn an_empty_list_is_an_error_that_says_what_came_before() {
        let mut chooser = ListChooser::default();
        assert_eq!(chooser.current(), None);
        assert!(chooser.error().contains("add a server"));
        chooser.add(uri("a"));
        chooser.report_failure(&uri("a"), &"refused");
        assert!(chooser.remove(&uri("a")));
        assert!(!chooser.remove(&uri("a")));
        assert_eq!(chooser.current(), None);
        let error = chooser.error();
        assert!(error.contains("refused") && error.contains("a:9007"), "{error}");
    }

    #[test]
    fn a_removed_server_is_not_tried_and_the_others_keep_their_turn() {
        let mut chooser = list(&["a", "b", "c"]);
        chooser.report_failure(&uri("a"), &"lost");
        assert_eq!(chooser.current().unwrap(), uri("b"));
        chooser.remove(&uri("a"));
        assert_eq!(chooser.current().unwrap(), uri("b"));
        chooser.remove(&uri("b"));
        assert_eq!(chooser.current().unwrap(), uri("c"));
        chooser.report_failure(&uri("b"), &"lost");
        assert_eq!(chooser.current().unwrap(), uri("c"), "the lost one is gone from the list");
        chooser.remove(&uri("c"));
        assert_eq!(chooser.servers(), []);
    }
}
