//! The HTTP exchange in front of a connection through a proxy (AMPS User
//! Guide, "HTTP Preflight").
//!
//! The documents name no exact request and no exact answer. This is a `GET` that
//! asks for an upgrade; an answer of class 1 or 2 is taken for a yes.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Transport;
use crate::uri::Uri;

/// The longest answer.
const ANSWER_MAX: usize = 16 * 1024;

/// A header that cannot be sent with the HTTP preflight (RFC 9110, "Fields").
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The name is no token.
    #[error("'{name}' is not the name of an HTTP header")]
    Name {
        /// The name.
        name: String,
    },
    /// The value would end the header, or worse. It is not shown: it may be a
    /// credential.
    #[error("the value of the HTTP header '{name}' has control characters")]
    Value {
        /// The name.
        name: String,
    },
}

/// An HTTP header: a token, and a text without line ends.
pub(super) fn check(name: &str, value: &str) -> Result<(), HeaderError> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(HeaderError::Name { name: name.to_owned() });
    }
    if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(HeaderError::Value { name: name.to_owned() });
    }
    Ok(())
}

/// Asks, and reads the answer and not one byte more.
pub(super) async fn ask(transport: &mut dyn Transport, uri: &Uri, headers: &[(String, String)]) -> io::Result<()> {
    transport.write_all(request(uri, headers).as_bytes()).await?;
    transport.flush().await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == ANSWER_MAX {
            return Err(invalid("is longer than 16 KiB"));
        }
        let byte = transport.read_u8().await;
        answer.push(
            byte.map_err(|error| io::Error::new(error.kind(), format!("no answer to the HTTP preflight: {error}")))?,
        );
        if !b"HTTP/1.".starts_with(&answer[..answer.len().min(7)]) {
            return Err(invalid("is not HTTP: does this server want http_preflight?"));
        }
    }
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    match line.split(' ').nth(1).and_then(|status| status.bytes().next()) {
        Some(b'1' | b'2') => Ok(()),
        _ => Err(invalid(&format!("refuses it: {line}"))),
    }
}

fn request(uri: &Uri, headers: &[(String, String)]) -> String {
    let host = if uri.host().contains(':') { format!("[{}]", uri.host()) } else { uri.host().to_owned() };
    let mut text = format!("GET /amps HTTP/1.1\r\nHost: {host}:{}\r\n", uri.port());
    for (name, value) in [("Connection", "Upgrade"), ("Upgrade", "amps")] {
        if !headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)) {
            text += &format!("{name}: {value}\r\n");
        }
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text + "\r\n"
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the answer to the HTTP preflight {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    async fn answered(answer: &[u8]) -> (Result<(), String>, Vec<u8>) {
        let (mut ours, mut theirs) = duplex(64 * 1024);
        theirs.write_all(answer).await.unwrap();
        theirs.shutdown().await.unwrap();
        let uri: Uri = "tcp://[::1]:9007/amps/json".parse().unwrap();
        let result = ask(&mut ours, &uri, &[]).await.map_err(|error| error.to_string());
        let mut left = Vec::new();
        ours.read_to_end(&mut left).await.unwrap();
        (result, left)
    }

    #[tokio::test]
    async fn nothing_behind_the_answer_is_taken() {
        let (result, left) = answered(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: amps\r\n\r\n\0\0\0\x02{}").await;
        assert_eq!((result, left.as_slice()), (Ok(()), &b"\0\0\0\x02{}"[..]));
        assert_eq!(answered(b"HTTP/1.0 200 OK\r\n\r\n").await.0, Ok(()));
    }

    #[tokio::test]
    async fn every_other_answer_says_what_it_is() {
        for (answer, part) in [
            (&b"HTTP/1.1 403 Forbidden\r\n\r\n"[..], "refuses it: HTTP/1.1 403 Forbidden"),
            (b"HTTP/1.1\r\n\r\n", "refuses it"),
            (b"\0\0\0\x40{", "is not HTTP"),
            (b"HTTP/1.1 101", "no answer to the HTTP preflight"),
            (&[&b"HTTP/1.1 "[..], &[b'x'; 20_000]].concat(), "longer than"),
        ] {
            let error = answered(answer).await.0.unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn own_headers_come_with_it_and_cannot_break_out() {
        let uri: Uri = "tcp://h:9007/amps/json".parse().unwrap();
        let headers = [("X-Route".to_owned(), "blue".to_owned()), ("upgrade".to_owned(), "tcp".to_owned())];
        assert_eq!(
            request(&uri, &headers),
            "GET /amps HTTP/1.1\r\nHost: h:9007\r\nConnection: Upgrade\r\nX-Route: blue\r\nupgrade: tcp\r\n\r\n"
        );
        assert!(check("X-Route", "a b\tc").is_ok());
        for (name, value) in [("", "x"), ("a b", "x"), ("a:", "x"), ("a", "x\r\nEvil: 1"), ("a\n", "x")] {
            assert!(check(name, value).is_err(), "{name:?} {value:?}");
        }
    }
}
