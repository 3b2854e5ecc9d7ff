//! What a client says of itself, and asks for, when it logs on.

use std::sync::Arc;
use std::time::Duration;

use amps_ha::authenticator::Authenticator;

use super::ClientBuilder;

impl ClientBuilder {
    /// How to authenticate at servers without an authenticator of their own;
    /// with user and password of the connection string by default.
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// Gives up when a server refuses the credentials, instead of trying the
    /// next one.
    pub fn stop_on_auth_failure(mut self) -> Self {
        self.session.stop_on_auth_failure = true;
        self
    }

    /// Asks servers to acknowledge persisted messages at least so often,
    /// instead of once a second; in milliseconds, less than one counts as one (AMPS
    /// Command Reference, "logon").
    pub fn ack_conflation(mut self, interval: Duration) -> Self {
        self.ack_conflation = Some(interval);
        self
    }

    /// Text that goes with each logon, and that the server shows in its log and its
    /// administration pages: the characters of base64 only (AMPS Command Reference,
    /// "logon").
    pub fn logon_correlation_id(mut self, id: impl Into<String>) -> Self {
        self.logon_correlation = Some(id.into());
        self
    }
}
