//! Opening a byte stream to a server.

mod connector;
mod headers;
mod preflight;
mod tap;
mod tcp;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "websocket")]
mod websocket;
mod zlib;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::uri::Uri;

pub use connector::SocketConnector;
pub use headers::{LastHeaders, SeenHeader};
pub use preflight::HeaderError;
pub use tap::{Direction, Tap};
#[cfg(feature = "websocket")]
pub use websocket::WebSocket;
pub use zlib::Zlib;

/// A connected byte stream.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// The future a [`Connector`] answers with.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Transport>>> + Send + 'a>>;

/// Opens byte streams. The seam for other transports, and for simulations.
pub trait Connector: Send + Sync + fmt::Debug {
    /// Connects to `uri`. Dropping the future gives the attempt up. Time limits
    /// are the caller's.
    fn connect<'a>(&'a self, uri: &'a Uri) -> Connecting<'a>;

    /// Where the last headers of its connections are kept, if they are: for
    /// reports on a client.
    fn last_headers(&self) -> Option<LastHeaders> {
        None
    }
}

/// A stage of opening a byte stream took too long. The source of an
/// [`io::Error`] of kind `TimedOut`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{stage} took longer than {limit:?}")]
#[non_exhaustive]
pub struct StageTimeout {
    /// What took long, such as `resolving the host name`.
    pub stage: &'static str,
    /// Its limit.
    pub limit: Duration,
}

async fn limited<T>(stage: &'static str, limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, StageTimeout { stage, limit })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stage_that_takes_too_long_is_named() {
        let limit = Duration::from_secs(3);
        let began = tokio::time::Instant::now();
        let error =
            limited("resolving the host name", limit, std::future::pending::<io::Result<()>>()).await.unwrap_err();
        assert_eq!(began.elapsed(), limit);
        assert_eq!(error.to_string(), "resolving the host name took longer than 3s");
        let source = error.get_ref().and_then(|source| source.downcast_ref::<StageTimeout>());
        assert_eq!(source.map(|stage| stage.limit), Some(limit));
    }
}
