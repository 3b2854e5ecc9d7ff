use std::time::{Duration, Instant};

use amps_core::Uri;

use crate::server_chooser::{Report, Server, Times};

/// One attempt to connect, and the connection it led to.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) server: Server,
    /// Since the last healthy connection, from 1.
    pub(super) number: u64,
    pub(super) began: Instant,
    pub(super) waited: Duration,
    pub(super) connected: Option<Instant>,
    pub(super) logged_on: Option<Instant>,
    pub(super) live: Option<Instant>,
    /// It proved healthy.
    pub(super) healthy: bool,
}

impl Attempt {
    pub(super) fn new(server: Server, number: u64, began: Instant, waited: Duration) -> Self {
        Self { server, number, began, waited, connected: None, logged_on: None, live: None, healthy: false }
    }

    pub(super) fn uri(&self) -> &Uri {
        self.server.uri()
    }

    pub(super) fn report(&self, now: Instant) -> Report {
        let since = |begin: Instant, end: Option<Instant>| end.map(|end| end.saturating_duration_since(begin));
        let times = Times {
            waited: self.waited,
            connect: since(self.began, self.connected),
            logon: self.connected.and_then(|begin| since(begin, self.logged_on)),
            recovery: self.logged_on.and_then(|begin| since(begin, self.live)),
            live: self.live.map(|begin| now.saturating_duration_since(begin)),
        };
        Report { uri: self.uri().clone(), attempt: self.number, times }
    }
}
