use std::time::Duration;

use amps_core::Uri;

use super::{Report, Server, ServerChooser};
use crate::error::Cause;

/// Prefers one server: the others stand in while it is away.
///
/// After each loss the servers are tried in their order, the primary first; and
/// with [`fail_back_after`](Self::fail_back_after) the client also leaves a
/// healthy stand-in once the primary takes connections again.
#[derive(Debug)]
pub struct PrimaryChooser {
    /// The primary first.
    servers: Vec<Server>,
    next: usize,
    fail_back_after: Option<Duration>,
}

impl PrimaryChooser {
    /// Tries `primary`, then the stand-ins in their order, then from the front.
    pub fn new<S: Into<Server>>(primary: impl Into<Server>, stand_ins: impl IntoIterator<Item = S>) -> Self {
        let servers = std::iter::once(primary.into()).chain(stand_ins.into_iter().map(Into::into)).collect();
        Self { servers, next: 0, fail_back_after: None }
    }

    /// Tries the primary again this long after the client has recovered on a
    /// stand-in, and then at this interval; never without it. At least a
    /// second.
    #[must_use]
    pub fn fail_back_after(mut self, time: Duration) -> Self {
        self.fail_back_after = Some(time.max(Duration::from_secs(1)));
        self
    }
}

impl ServerChooser for PrimaryChooser {
    fn current(&mut self) -> Option<Server> {
        self.servers.get(self.next).cloned()
    }

    fn report_failure(&mut self, report: &Report, _: &Cause) {
        if report.times.live.is_some() && *self.servers[0].uri() != report.uri {
            // A stand-in was lost: from the front.
            self.next = 0;
        } else if *self.servers[self.next].uri() == report.uri {
            self.next = (self.next + 1) % self.servers.len();
        }
    }

    fn report_success(&mut self, report: &Report) {
        self.next = self.servers.iter().position(|server| *server.uri() == report.uri).unwrap_or(0);
    }

    fn error(&self) -> String {
        "there is no server".to_owned()
    }

    fn better(&mut self, connected: &Uri) -> Option<(Server, Duration)> {
        let primary = &self.servers[0];
        self.fail_back_after.filter(|_| primary.uri() != connected).map(|after| (primary.clone(), after))
    }
}
