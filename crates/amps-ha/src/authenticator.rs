//! Credentials for a logon (AMPS developer guides, "Providing Credentials").

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use amps_core::Uri;

use crate::error::Cause;
use crate::user_code::{Panicked, UserError, contain, contain_future};

/// The future of an [`Authenticator`].
pub type Authenticating<'a> =
    Pin<Box<dyn Future<Output = Result<Credentials, Box<dyn Error + Send + Sync>>> + Send + 'a>>;

/// Finds the credentials of a logon.
///
/// Asked anew for every attempt, so a token is as fresh as the answer is.
/// Each answer has to come within the logon timeout; the attempt fails
/// otherwise, and also on an error or a panic, and the next server is tried.
/// The futures run in tasks of their own: they may take their time, and may
/// use the client. A future is dropped when its attempt is given up.
///
/// Without one, user and password are those of the connection string, and what
/// a server asks for with `retry` is what it named itself (AMPS Command
/// Reference, "ack").
///
/// ```
/// use amps_ha::authenticator::{Authenticating, Authenticator, Challenge, Credentials, LogonRequest};
///
/// struct Token;
///
/// impl Authenticator for Token {
///     fn authenticate<'a>(&'a self, logon: &'a LogonRequest) -> Authenticating<'a> {
///         Box::pin(async move { Ok(Credentials::new(logon.uri.user().unwrap_or("me"), fetch_token().await?)) })
///     }
///     fn retry<'a>(&'a self, logon: &'a LogonRequest, _: &'a Challenge) -> Authenticating<'a> {
///         self.authenticate(logon)
///     }
/// }
/// # async fn fetch_token() -> Result<String, std::io::Error> { Ok(String::new()) }
/// ```
pub trait Authenticator: Send + Sync + 'static {
    /// The credentials to log on with. Called once per attempt, when the
    /// connection is open.
    fn authenticate<'a>(&'a self, logon: &'a LogonRequest) -> Authenticating<'a>;

    /// The credentials to answer a challenge with: the server has asked to log
    /// on again. It may do so three times in one attempt.
    fn retry<'a>(&'a self, logon: &'a LogonRequest, challenge: &'a Challenge) -> Authenticating<'a>;

    /// The server has accepted the logon, and may have said why. Must not block.
    fn completed(&self, logon: &LogonRequest, reason: Option<&str>) {
        let _ = (logon, reason);
    }
}

/// The logon that credentials are for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LogonRequest {
    /// The server.
    pub uri: Uri,
    /// The client's name.
    pub client_name: String,
}

/// What a server says when it asks to log on again.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Challenge {
    /// User and password it names.
    pub credentials: Credentials,
    /// The reason it gives.
    pub reason: Option<String>,
}

/// A user and a password or token. `Debug` shows no password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    user: Option<String>,
    password: Option<String>,
}

impl Credentials {
    /// A user with a password, or with a token in its place.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: Some(user.into()), password: Some(password.into()) }
    }

    /// What a server names, or a connection string has.
    pub(crate) fn maybe(user: Option<&str>, password: Option<&str>) -> Self {
        Self { user: user.map(str::to_owned), password: password.map(str::to_owned) }
    }

    /// The user.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password or token.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "***");
        f.debug_struct("Credentials").field("user", &self.user).field("password", &password).finish()
    }
}

/// The question to an authenticator, to be asked outside of the core.
pub struct Question {
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) logon: LogonRequest,
    /// `None`: to begin with.
    pub(crate) challenge: Option<Challenge>,
    /// The command the answer is for.
    pub(crate) number: u64,
}

/// The answer to a [`Question`].
#[derive(Debug)]
pub struct Answer {
    pub(crate) number: u64,
    pub(crate) credentials: Result<Credentials, Cause>,
}

impl Question {
    /// Asks. Panics are contained.
    ///
    /// # Cancel safety
    /// The authenticator's future is dropped.
    pub async fn ask(self) -> Answer {
        let asked = contain_future("authenticator", || match &self.challenge {
            None => self.authenticator.authenticate(&self.logon),
            Some(challenge) => self.authenticator.retry(&self.logon, challenge),
        });
        let credentials = match asked.await {
            Ok(Ok(credentials)) => Ok(credentials),
            Ok(Err(error)) => Err(Cause::Authenticator(UserError::new(error))),
            Err(panicked) => Err(Cause::Panicked(panicked)),
        };
        Answer { number: self.number, credentials }
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("logon", &self.logon)
            .field("challenge", &self.challenge)
            .finish_non_exhaustive()
    }
}

/// Tells an authenticator that it succeeded.
pub(crate) fn completed(
    authenticator: &dyn Authenticator,
    logon: &LogonRequest,
    reason: Option<&str>,
) -> Result<(), Panicked> {
    contain("authenticator", || authenticator.completed(logon, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let credentials = Credentials::new("me", "SECRET");
        let challenge = Challenge { credentials: credentials.clone(), reason: None };
        for shown in [format!("{credentials:?}"), format!("{challenge:?}")] {
            assert!(shown.contains("me") && !shown.contains("SECRET"), "{shown}");
        }
    }
}
