//! Connection strings.
//!
//! `scheme://[user[:password]@]host:port/protocol[/message_type][?option=value&...]`
//! (AMPS developer guides, "Connection Strings" and "Connection Parameters").

mod options;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use url::Url;

pub use options::{Compression, IpFamily, Options};

/// The longest connection string in bytes.
pub const LEN_MAX: usize = 16 * 1024;

/// A connection string, parsed and checked.
///
/// Cheap to clone. `Display` and `Debug` mask the password.
///
/// ```
/// use amps_core::Uri;
/// let uri: Uri = "tcp://me:p%40w@localhost:9007/amps/json?tcp_nodelay=true".parse().unwrap();
/// assert_eq!((uri.host(), uri.port()), ("localhost", 9007));
/// assert_eq!(uri.password(), Some("p@w"));
/// assert_eq!(uri.to_string(), "tcp://me:***@localhost:9007/amps/json?tcp_nodelay=true");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Uri(Arc<Parts>);

#[derive(PartialEq, Eq, Hash)]
struct Parts {
    scheme: Scheme,
    user: Option<String>,
    password: Option<String>,
    host: String,
    port: u16,
    protocol: String,
    message_type: Option<String>,
    options: Options,
    shown: String,
}

/// The transport part of a connection string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tcps,
    /// A Unix-domain socket.
    Unix,
    /// WebSocket, with the feature `websocket`. How AMPS frames its messages
    /// there is not documented; this was never tried against a real server.
    Ws,
    /// WebSocket over TLS, as unsure.
    Wss,
}

/// What is wrong with a connection string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// Not of the form `scheme://host:port/protocol[/message_type]`.
    #[error("invalid connection string '{uri}': {rule}")]
    Invalid {
        /// The string, with the password masked.
        uri: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A scheme this client does not speak.
    #[error("unknown transport '{scheme}' in '{uri}': expected tcp, tcps, unix, ws or wss")]
    UnknownTransport {
        /// The scheme.
        scheme: String,
        /// The string, with the password masked.
        uri: String,
    },
    /// An unknown option, or a value it does not take.
    #[error("invalid transport option '{name}={value}' in '{uri}': {rule}")]
    InvalidOption {
        /// The option's name.
        name: String,
        /// The value given.
        value: String,
        /// The rule it breaks.
        rule: &'static str,
        /// The string, with the password masked.
        uri: String,
    },
}

impl Uri {
    /// The transport.
    pub fn scheme(&self) -> Scheme {
        self.0.scheme
    }
    /// The user name, decoded.
    pub fn user(&self) -> Option<&str> {
        self.0.user.as_deref()
    }
    /// The password, decoded.
    pub fn password(&self) -> Option<&str> {
        self.0.password.as_deref()
    }
    /// Host name or address; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.0.host
    }
    /// The port.
    pub fn port(&self) -> u16 {
        self.0.port
    }
    /// The message type, such as `json`; `None` leaves it to the server.
    pub fn message_type(&self) -> Option<&str> {
        self.0.message_type.as_deref()
    }
    /// The protocol: `amps`.
    pub fn protocol(&self) -> &str {
        &self.0.protocol
    }
    /// Connection parameters.
    pub fn options(&self) -> &Options {
        &self.0.options
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let invalid = |uri: String, rule| UriError::Invalid { uri, rule };
        if text.len() > LEN_MAX {
            return Err(invalid(mask(text).chars().take(80).collect(), "longer than 16 KiB"));
        }
        if !text.contains("://") {
            return Err(invalid(mask(text), "not scheme://host:port/protocol/message_type"));
        }
        // For errors: whatever may belong to a password is masked.
        let shown = mask(text);
        let Ok(url) = Url::parse(text) else {
            return Err(invalid(shown, "not scheme://host:port/protocol/message_type"));
        };
        if url.fragment().is_some() || url.path().contains('@') || url.query().is_some_and(|q| q.contains('@')) {
            return Err(invalid(shown, "write @ / : # ? % in user and password as %40 %2F %3A %23 %3F %25"));
        }
        let scheme = match url.scheme() {
            "tcp" => Scheme::Tcp,
            "tcps" => Scheme::Tcps,
            "unix" => Scheme::Unix,
            "ws" => Scheme::Ws,
            "wss" => Scheme::Wss,
            other => return Err(UriError::UnknownTransport { scheme: other.to_owned(), uri: shown }),
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let Some(host) = host else { return Err(invalid(shown, "a host is missing")) };
        // Of ws and wss the usual ports are left out.
        let Some(port) = url.port_or_known_default() else { return Err(invalid(shown, "a port is missing")) };
        let mut path = url.path().split('/').filter(|part| !part.is_empty());
        let Some(protocol) = path.next() else {
            return Err(invalid(shown, "a protocol is missing, for example /amps/json"));
        };
        let message_type = path.next().map(decode);
        let message_type = match (protocol, message_type) {
            ("amps", message_type) => message_type,
            // Servers take it as another name of the protocol.
            ("json", None) => Some("json".to_owned()),
            _ => return Err(invalid(shown, "the only protocol spoken is amps, for example /amps/json")),
        };
        if path.next().is_some() {
            return Err(invalid(shown, "nothing may follow the message type"));
        }
        let mut options = Options::default();
        for (name, value) in url.query_pairs() {
            options.set(&name, &value).map_err(|rule| UriError::InvalidOption {
                name: name.into_owned(),
                value: value.into_owned(),
                rule,
                uri: shown.clone(),
            })?;
        }
        if let Some(rule) = misplaced(scheme, &options) {
            return Err(invalid(shown, rule));
        }
        Ok(Self(Arc::new(Parts {
            scheme,
            user: Some(url.username()).filter(|user| !user.is_empty()).map(decode),
            password: url.password().map(decode),
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            protocol: "amps".to_owned(),
            message_type,
            options,
            shown: show(&url),
        })))
    }
}

/// The option that does not go with the transport.
fn misplaced(scheme: Scheme, options: &Options) -> Option<&'static str> {
    let is_unix = scheme == Scheme::Unix;
    let is_web = matches!(scheme, Scheme::Ws | Scheme::Wss);
    match options {
        Options { path: None, .. } if is_unix => Some("a unix socket needs ?path=FILE"),
        Options { path: Some(_), .. } if !is_unix => Some("path is for unix sockets only"),
        Options { compression: Some(_), .. } if is_unix => Some("a unix socket cannot be compressed"),
        Options { compression: Some(_), .. } if is_web => Some("WebSocket is not compressed here"),
        Options { http_preflight: Some(true), .. } if is_web => {
            Some("WebSocket begins with an HTTP upgrade of its own")
        }
        Options { http_preflight: Some(true), .. } if is_unix => Some("a unix socket has no HTTP preflight"),
        _ => None,
    }
}

fn decode(part: &str) -> String {
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}

fn show(url: &Url) -> String {
    let mut shown = url.clone();
    if url.password().is_some() && shown.set_password(Some("***")).is_err() {
        return format!("{}://...", url.scheme());
    }
    shown.to_string()
}

/// A text that may or may not be a connection string, fit to be shown:
/// everything between the scheme and the last `@` is masked.
///
/// ```
/// assert_eq!(amps_core::uri::mask("tcp://me:secret@h:9007"), "tcp://***@h:9007");
/// ```
pub fn mask(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}***{}", &text[..scheme + 3], &text[at..]),
        (_, Some(at)) => format!("***{}", &text[at..]),
        _ => text.to_owned(),
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.shown)
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uri({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Covers 3.2#1, 3.2#2.
    #[test]
    fn the_usual_forms_parse() {
        let uri: Uri = "tcp://h:9007/amps/json".parse().unwrap();
        assert_eq!((uri.host(), uri.port(), uri.message_type(), uri.user()), ("h", 9007, Some("json"), None));
        let uri: Uri = "tcp://h:9007/amps".parse().unwrap();
        assert_eq!(uri.message_type(), None);
        let uri: Uri = "tcp://h:9007/json".parse().unwrap();
        assert_eq!((uri.protocol(), uri.message_type()), ("amps", Some("json")));
        let uri: Uri = "unix://localhost:0/amps/json?path=/run/amps.sock".parse().unwrap();
        assert_eq!((uri.scheme(), uri.options().path.as_deref()), (Scheme::Unix, Some("/run/amps.sock".as_ref())));
        let uri: Uri = "wss://h:443/amps/json".parse().unwrap();
        assert_eq!((uri.scheme(), uri.port()), (Scheme::Wss, 443));
        let uri: Uri = "tcp://[::1]:9007/amps/json".parse().unwrap();
        assert_eq!(uri.host(), "::1");
        let uri: Uri = "tcp://u%2fx:p%2540w@h:1/amps/json?tcp_sndbuf=65536".parse().unwrap();
        assert_eq!((uri.user(), uri.password()), (Some("u/x"), Some("p%40w")), "decoded exactly once");
        assert_eq!(uri.options().tcp_sndbuf, Some(65536));
    }

    #[test]
    fn a_text_that_is_too_long_is_refused_and_not_repeated() {
        let uri = |len: usize| format!("unix://u:secret@h:1/amps?path=/{}", "p".repeat(len));
        let error = uri(LEN_MAX).parse::<Uri>().unwrap_err().to_string();
        assert!(error.contains("longer than 16 KiB") && error.len() < 200 && !error.contains("secret"), "{error}");
        assert!(uri(LEN_MAX - uri(0).len()).parse::<Uri>().is_ok());
    }

    /// Covers 3.2#3, 3.2#4, 3.3#1, 3.3#3.
    #[test]
    fn what_is_wrong_is_named_and_the_password_is_not() {
        for (text, part) in [
            ("http://u:secret@h:1/amps/json", "unknown transport 'http'"),
            ("tcp://u:secret@h/amps/json", "port is missing"),
            ("tcp://u:secret@h:1", "protocol is missing"),
            ("tcp://u:secret@h:1/fix", "only protocol"),
            ("tcp://u:secret@h:1/amps/json/x", "follow the message type"),
            ("tcp://u:secret@h:1/amps/json?tcp_nodelay=maybe", "'tcp_nodelay=maybe'"),
            ("tcp://u:secret@h:1/amps/json?nodelay=1", "'nodelay=1'"),
            ("tcp://u:secret@h:1/json/x", "only protocol"),
            ("unix://u:secret@h:0/amps/json", "needs ?path=FILE"),
            ("tcp://u:secret@h:1/amps/json?path=x", "unix sockets only"),
            ("unix://u:secret@h:0/amps/json?path=x&compression=zlib", "cannot be compressed"),
            ("unix://u:secret@h:0/amps/json?path=x&http_preflight=1", "no HTTP preflight"),
            ("ws://u:secret@h:1/amps/json?compression=zlib", "not compressed"),
            ("wss://u:secret@h:1/amps/json?http_preflight=1", "upgrade of its own"),
            ("u:secret@h:1", "not scheme"),
            ("//u:secret@h", "not scheme"),
        ] {
            let error = text.parse::<Uri>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let uri: Uri = "tcp://u:secret@h:1/amps".parse().unwrap();
        assert!(!format!("{uri} {uri:?}").contains("secret"));
    }
}
