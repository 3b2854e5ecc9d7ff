//! A byte stream in WebSocket messages.
//!
//! AMPS speaks WebSocket to its JavaScript client, and no public document says
//! how (AMPS User Guide, "Transports"). What is written here is taken for likely
//! and was never tried against a real server: the stream of a TCP connection,
//! frames with their lengths, in binary messages. A message may hold a part of a
//! frame or several; nothing is read into where one ends.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::frame::MAX_FRAME_LEN;
use crate::uri::Uri;

/// Bytes of one message that is sent, at most.
const MESSAGE_LEN: usize = 64 * 1024;

/// Reads and writes the bytes in WebSocket's binary messages, of at most 200 MB
/// each. A message of text is an error.
///
/// What is written may wait here until it is flushed.
pub struct WebSocket<T> {
    inner: WebSocketStream<T>,
    /// What is left of the message that came last.
    received: Bytes,
}

impl<T> fmt::Debug for WebSocket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("received", &self.received.len()).finish_non_exhaustive()
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(MAX_FRAME_LEN)).max_frame_size(Some(MAX_FRAME_LEN))
}

fn failed(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, format!("WebSocket: {other}")),
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> WebSocket<T> {
    /// The client's end: asks for an upgrade, at the path of the connection
    /// string and with these HTTP headers.
    ///
    /// # Errors
    /// When the server refuses, or a header is none.
    ///
    /// # Cancel safety
    /// A dropped call leaves the stream in the midst of it.
    pub async fn connect(uri: &Uri, headers: &[(String, String)], stream: T) -> io::Result<Self> {
        let host = if uri.host().contains(':') { format!("[{}]", uri.host()) } else { uri.host().to_owned() };
        let kind = uri.message_type().map_or_else(String::new, |kind| format!("/{kind}"));
        let url = format!("ws://{host}:{}/{}{kind}", uri.port(), uri.protocol());
        let mut request = url.into_client_request().map_err(failed)?;
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("'{what}' is no HTTP header"));
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|_| invalid(name))?;
            request.headers_mut().insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(name))?, value);
        }
        let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(config())).await;
        Ok(Self { inner: opened.map_err(failed)?.0, received: Bytes::new() })
    }

    /// The server's end: takes any path.
    ///
    /// # Errors
    /// When the client asks for no upgrade.
    ///
    /// # Cancel safety
    /// A dropped call leaves the stream in the midst of it.
    pub async fn accept(stream: T) -> io::Result<Self> {
        let opened = tokio_tungstenite::accept_async_with_config(stream, Some(config())).await;
        Ok(Self { inner: opened.map_err(failed)?, received: Bytes::new() })
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.received.is_empty() {
            match ready!(Pin::new(&mut this.inner).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => this.received = bytes,
                Some(Ok(Message::Text(_))) => {
                    let text = "WebSocket: a message of text, where binary ones are expected";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
                }
                // Pings are answered with the next read or write.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed)) | None => {
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => return Poll::Ready(Err(failed(error))),
            }
        }
        let len = this.received.len().min(to.remaining());
        to.put_slice(&this.received[..len]);
        this.received.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let inner = &mut self.get_mut().inner;
        ready!(Pin::new(&mut *inner).poll_ready(context)).map_err(failed)?;
        let part = &from[..from.len().min(MESSAGE_LEN)];
        if !part.is_empty() {
            Pin::new(inner).start_send(Message::Binary(Bytes::copy_from_slice(part))).map_err(failed)?;
        }
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context).map_err(failed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.get_mut().inner).poll_close(context)) {
            Err(Error::ConnectionClosed | Error::AlreadyClosed) | Ok(()) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(failed(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::SinkExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    async fn pair() -> (WebSocket<tokio::io::DuplexStream>, WebSocketStream<tokio::io::DuplexStream>) {
        let (near, far) = duplex(1 << 16);
        let uri: Uri = "ws://h:9008/amps/json".parse().unwrap();
        let headers = [("X-Route".to_owned(), "blue".to_owned())];
        let (client, server) = tokio::join!(WebSocket::connect(&uri, &headers, near), WebSocket::accept(far));
        (client.unwrap(), server.unwrap().inner)
    }

    #[tokio::test]
    async fn bytes_are_the_same_wherever_messages_end() {
        let (mut client, mut server) = pair().await;
        for part in [&b"\0\0"[..], b"\0\x03a", b"", b"bc\0\0\0\x01d\0\0\0\x01e"] {
            server.send(Message::Binary(Bytes::copy_from_slice(part))).await.unwrap();
            server.send(Message::Ping(Bytes::from_static(b"x"))).await.unwrap();
        }
        server.close(None).await.unwrap();
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"\0\0\0\x03abc\0\0\0\x01d\0\0\0\x01e");
    }

    #[tokio::test]
    async fn what_is_written_comes_in_messages_of_a_bounded_size() {
        let (mut client, server) = pair().await;
        let mut server = WebSocket { inner: server, received: Bytes::new() };
        let sent: Vec<u8> = (0..300_000u32).map(|at| at as u8).collect();
        let mut read = vec![0; sent.len()];
        let write = async {
            client.write_all(&sent).await.unwrap();
            client.flush().await.unwrap();
        };
        let ((), read_len) = tokio::join!(write, server.read_exact(&mut read));
        assert_eq!((read_len.unwrap(), read == sent), (sent.len(), true));
    }

    #[tokio::test]
    async fn text_is_an_error() {
        let (mut client, mut server) = pair().await;
        server.send(Message::Text("hello".into())).await.unwrap();
        let error = client.read_u8().await.unwrap_err();
        assert!(error.to_string().contains("text"), "{error}");
    }
}
