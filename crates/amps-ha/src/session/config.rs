use std::time::Duration;

/// Settings of a session.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// For opening the transport: 5 s.
    pub connect_timeout: Duration,
    /// For each answer of the authenticator, for the logon's answer, and again
    /// for the heartbeat's: 5 s.
    pub logon_timeout: Duration,
    /// For all subscriptions together to be confirmed: 10 s.
    pub resubscribe_timeout: Duration,
    /// For a planned move to drain the connection it leaves: 10 s.
    pub drain_timeout: Duration,
    /// Live for so long, a connection proved healthy: 5 s.
    pub healthy_after: Duration,
    /// Whether heartbeats are started.
    pub heartbeats: bool,
    /// Whether a server that refuses the credentials ends all attempts.
    pub stop_on_auth_failure: bool,
    /// Whether the loss of a connection is recovered from. If not, the session
    /// stays disconnected until it is started again.
    pub recovers: bool,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            logon_timeout: Duration::from_secs(5),
            resubscribe_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            healthy_after: Duration::from_secs(5),
            heartbeats: true,
            stop_on_auth_failure: false,
            recovers: true,
        }
    }
}
