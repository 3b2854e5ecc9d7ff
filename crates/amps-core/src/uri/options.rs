//! Connection parameters, the part of a connection string behind the `?`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Connection parameters (AMPS developer guides, "Connection Parameters").
///
/// Those of a connection string win over the defaults given to a
/// [`SocketConnector`](crate::SocketConnector).
///
/// ```
/// use amps_core::Uri;
/// let uri: Uri = "tcps://h:9443/amps/json?tcp_keepalive=true&compression=zlib".parse().unwrap();
/// assert_eq!(uri.options().tcp_keepalive, Some(true));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Options {
    /// `tcp_nodelay`: send small segments at once. On unless switched off,
    /// since the writer already coalesces.
    pub tcp_nodelay: Option<bool>,
    /// `tcp_sndbuf` in bytes; the system's default when absent.
    pub tcp_sndbuf: Option<u32>,
    /// `tcp_rcvbuf` in bytes; the system's default when absent.
    pub tcp_rcvbuf: Option<u32>,
    /// `tcp_keepalive`: the system probes a silent peer, at its own pace. Off
    /// by default; heartbeats notice sooner.
    pub tcp_keepalive: Option<bool>,
    /// `tcp_linger` in whole seconds: how long the system goes on sending what
    /// is left when the connection is closed. The system's default when absent.
    pub tcp_linger: Option<Duration>,
    /// `bind`: the local address to connect from.
    pub bind: Option<IpAddr>,
    /// `ip_protocol_prefer`: which of a name's addresses are tried first, `ipv4`
    /// or `ipv6`; `ipv4` by default.
    pub ip_protocol_prefer: Option<IpFamily>,
    /// `path`: the file of a Unix-domain socket; only for `unix`, and needed
    /// there.
    pub path: Option<PathBuf>,
    /// `compression`: of everything, in both directions; only for `tcp` and
    /// `tcps`.
    pub compression: Option<Compression>,
    /// `http_preflight`: begins with an HTTP upgrade, so that a proxy can route
    /// the connection; only for `tcp` and `tcps`.
    pub http_preflight: Option<bool>,
    /// `pretty`: asks the server in the logon to lay its headers out for
    /// reading. Only in a connection string.
    pub pretty: Option<bool>,
}

/// A family of internet addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpFamily {
    /// Version 4.
    V4,
    /// Version 6.
    V6,
}

/// How a connection is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// One zlib stream in each direction.
    Zlib,
}

impl Options {
    /// These, and where they say nothing, `defaults`.
    #[must_use]
    pub fn or(&self, defaults: &Self) -> Self {
        Self {
            tcp_nodelay: self.tcp_nodelay.or(defaults.tcp_nodelay),
            tcp_sndbuf: self.tcp_sndbuf.or(defaults.tcp_sndbuf),
            tcp_rcvbuf: self.tcp_rcvbuf.or(defaults.tcp_rcvbuf),
            tcp_keepalive: self.tcp_keepalive.or(defaults.tcp_keepalive),
            tcp_linger: self.tcp_linger.or(defaults.tcp_linger),
            bind: self.bind.or(defaults.bind),
            ip_protocol_prefer: self.ip_protocol_prefer.or(defaults.ip_protocol_prefer),
            path: self.path.clone().or_else(|| defaults.path.clone()),
            compression: self.compression.or(defaults.compression),
            http_preflight: self.http_preflight.or(defaults.http_preflight),
            pretty: self.pretty.or(defaults.pretty),
        }
    }

    /// Sets one by its name. The error says what is expected.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        match name {
            "tcp_nodelay" => self.tcp_nodelay = Some(boolean(value)?),
            "tcp_sndbuf" => self.tcp_sndbuf = Some(bytes(value)?),
            "tcp_rcvbuf" => self.tcp_rcvbuf = Some(bytes(value)?),
            "tcp_keepalive" => self.tcp_keepalive = Some(boolean(value)?),
            "tcp_linger" => self.tcp_linger = Some(seconds(value)?),
            "bind" => self.bind = Some(address(value)?),
            "ip_protocol_prefer" => self.ip_protocol_prefer = Some(family(value)?),
            "path" => self.path = Some(path(value)?),
            "compression" => self.compression = Some(compression(value)?),
            "http_preflight" => self.http_preflight = Some(boolean(value)?),
            "pretty" => self.pretty = Some(boolean(value)?),
            _ => {
                return Err("unknown option; known are bind, compression, http_preflight, ip_protocol_prefer, path, \
                            pretty, tcp_keepalive, tcp_linger, tcp_nodelay, tcp_rcvbuf, tcp_sndbuf");
            }
        }
        Ok(())
    }
}

fn boolean(value: &str) -> Result<bool, &'static str> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "y" | "yes" => Ok(true),
        "0" | "f" | "false" | "n" | "no" => Ok(false),
        _ => Err("expected true or false"),
    }
}

fn bytes(value: &str) -> Result<u32, &'static str> {
    value.parse().ok().filter(|bytes| *bytes > 0).ok_or("expected a positive number of bytes")
}

fn seconds(value: &str) -> Result<Duration, &'static str> {
    let seconds: u16 = value.parse().map_err(|_| "expected whole seconds, 0 to 65535")?;
    Ok(Duration::from_secs(seconds.into()))
}

fn address(value: &str) -> Result<IpAddr, &'static str> {
    let bare = value.strip_prefix('[').and_then(|value| value.strip_suffix(']')).unwrap_or(value);
    bare.parse().map_err(|_| "expected an IP address of this machine")
}

fn family(value: &str) -> Result<IpFamily, &'static str> {
    match value.to_ascii_lowercase().as_str() {
        "ipv4" => Ok(IpFamily::V4),
        "ipv6" => Ok(IpFamily::V6),
        _ => Err("expected ipv4 or ipv6"),
    }
}

fn path(value: &str) -> Result<PathBuf, &'static str> {
    if value.is_empty() { Err("expected the file of a socket") } else { Ok(value.into()) }
}

fn compression(value: &str) -> Result<Compression, &'static str> {
    if value.eq_ignore_ascii_case("zlib") { Ok(Compression::Zlib) } else { Err("expected zlib") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Options, String> {
        let mut options = Options::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            options.set(&name, &value).map_err(|rule| format!("{name}={value}: {rule}"))?;
        }
        Ok(options)
    }

    #[test]
    fn every_option_has_its_forms() {
        let all = "tcp_nodelay=N&tcp_sndbuf=1&tcp_rcvbuf=2&tcp_keepalive=1&tcp_linger=3&bind=[::1]&\
                   ip_protocol_prefer=IPv6&path=%2Frun%2Famps.sock&compression=zlib&http_preflight=yes&pretty=t";
        let options = Options {
            tcp_nodelay: Some(false),
            tcp_sndbuf: Some(1),
            tcp_rcvbuf: Some(2),
            tcp_keepalive: Some(true),
            tcp_linger: Some(Duration::from_secs(3)),
            bind: Some("::1".parse().unwrap()),
            ip_protocol_prefer: Some(IpFamily::V6),
            path: Some("/run/amps.sock".into()),
            compression: Some(Compression::Zlib),
            http_preflight: Some(true),
            pretty: Some(true),
        };
        assert_eq!(parse(all), Ok(options));
        for bad in [
            "tcp_nodelay=2",
            "tcp_sndbuf=0",
            "tcp_rcvbuf=x",
            "tcp_linger=-1",
            "bind=localhost",
            "ip_protocol_prefer=4",
            "path=",
            "compression=gzip",
            "TCP_NODELAY=1",
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.starts_with(bad), "{error}");
        }
    }

    /// Covers 3.3#4.
    #[test]
    fn what_is_said_wins_over_the_defaults() {
        let (own, defaults) = (parse("tcp_nodelay=0&bind=::1").unwrap(), parse("tcp_nodelay=1&tcp_linger=2").unwrap());
        assert_eq!(own.or(&defaults), parse("tcp_nodelay=0&bind=::1&tcp_linger=2").unwrap());
    }
}
