//! TCP connections, with the options of a connection string.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use super::limited;
use crate::uri::{IpFamily, Options, Uri};

/// Limits of resolving a name, and of one address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) resolve: Duration,
    pub(super) address: Duration,
}

/// Connects to the first of a name's addresses that answers.
pub(super) async fn open(uri: &Uri, options: &Options, limits: Limits) -> io::Result<TcpStream> {
    let resolving = lookup_host((uri.host(), uri.port()));
    let addresses = limited("resolving the host name", limits.resolve, resolving).await?.collect();
    open_any(in_order(addresses, options), options, limits).await
}

/// The addresses to be tried, in order. From a local address of one family the
/// other is out of reach.
fn in_order(mut addresses: Vec<SocketAddr>, options: &Options) -> Vec<SocketAddr> {
    if let Some(bind) = options.bind {
        addresses.retain(|address| address.is_ipv4() == bind.is_ipv4());
    }
    let first_v6 = options.ip_protocol_prefer == Some(IpFamily::V6);
    addresses.sort_by_key(|address| address.is_ipv6() != first_v6);
    addresses
}

async fn open_any(addresses: Vec<SocketAddr>, options: &Options, limits: Limits) -> io::Result<TcpStream> {
    let none = match options.bind {
        Some(_) => "the host name resolves to no address of the family of the local one",
        None => "the host name resolves to no address",
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, none);
    for address in addresses {
        match limited("connecting to an address", limits.address, connect(options, address)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
        }
    }
    Err(last)
}

async fn connect(options: &Options, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(bytes) = options.tcp_sndbuf {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.tcp_rcvbuf {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(on) = options.tcp_keepalive {
        socket.set_keepalive(on)?;
    }
    if let Some(local) = options.bind {
        socket.bind((local, 0).into())?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(options.tcp_nodelay.unwrap_or(true))?;
    if options.tcp_linger.is_some() {
        // On a socket that does not block, closing does not block either.
        SockRef::from(&stream).set_linger(options.tcp_linger)?;
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const LIMITS: Limits = Limits { resolve: Duration::from_secs(3), address: Duration::from_secs(2) };

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|address| address.parse().unwrap()).collect()
    }

    /// Covers 3.3#1.
    #[tokio::test]
    async fn every_option_is_set_on_the_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let query = "tcp_nodelay=false&tcp_sndbuf=20000&tcp_rcvbuf=30000&tcp_keepalive=1&tcp_linger=7&bind=127.0.0.1";
        let uri: Uri = format!("tcp://{}/amps/json?{query}", listener.local_addr().unwrap()).parse().unwrap();
        let stream = open(&uri, uri.options(), LIMITS).await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(!socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.linger().unwrap(), Some(Duration::from_secs(7)));
        // Linux answers with twice of what was asked for.
        assert!((20_000..=40_000).contains(&socket.send_buffer_size().unwrap()));
        assert!((30_000..=60_000).contains(&socket.recv_buffer_size().unwrap()));
        assert_eq!(stream.local_addr().unwrap().ip().to_string(), "127.0.0.1");
        let plain: Uri = format!("tcp://{}/amps/json", listener.local_addr().unwrap()).parse().unwrap();
        let stream = open(&plain, plain.options(), LIMITS).await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap(), "the writer coalesces by itself");
        assert!(!socket.keepalive().unwrap());
    }

    /// Covers 3.3#2.
    #[test]
    fn the_preferred_family_is_tried_first() {
        let both = ["[::1]:1", "127.0.0.1:1", "[::2]:1", "127.0.0.2:1"];
        let order = |query: &str| {
            let uri: Uri = format!("tcp://h:1/amps{query}").parse().unwrap();
            in_order(addresses(&both), uri.options())
        };
        assert_eq!(order(""), addresses(&["127.0.0.1:1", "127.0.0.2:1", "[::1]:1", "[::2]:1"]));
        assert_eq!(order("?ip_protocol_prefer=ipv4"), order(""));
        assert_eq!(order("?ip_protocol_prefer=ipv6"), addresses(&["[::1]:1", "[::2]:1", "127.0.0.1:1", "127.0.0.2:1"]));
        assert_eq!(order("?bind=::1"), addresses(&["[::1]:1", "[::2]:1"]));
    }

    /// Over the family that is preferred, and over the other one where that is not
    /// there.
    ///
    /// Covers 3.3#2.
    #[tokio::test]
    async fn a_name_with_both_families_is_reached_over_the_preferred_one() {
        let v4 = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Not every machine has it.
        let v6 = TcpListener::bind("[::1]:0").await.ok();
        let v4 = v4.local_addr().unwrap();
        let v6_addr = v6.as_ref().map_or_else(|| "[::1]:1".parse().unwrap(), |v6| v6.local_addr().unwrap());
        for (query, expected) in [
            ("", v4),
            ("?ip_protocol_prefer=ipv4", v4),
            ("?ip_protocol_prefer=ipv6", if v6.is_some() { v6_addr } else { v4 }),
        ] {
            let uri: Uri = format!("tcp://h:1/amps{query}").parse().unwrap();
            for both in [vec![v6_addr, v4], vec![v4, v6_addr]] {
                let stream = open_any(in_order(both, uri.options()), uri.options(), LIMITS).await.unwrap();
                assert_eq!(stream.peer_addr().unwrap(), expected, "{query}");
            }
        }
    }

    #[tokio::test]
    async fn the_next_address_is_tried_and_the_last_error_names_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        // Nobody listens on a port of which only a connected socket holds the number.
        let taken = TcpSocket::new_v4().unwrap();
        taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let refused = taken.local_addr().unwrap();
        let stream = open_any(vec![refused, good], &Options::default(), LIMITS).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        let error = open_any(vec![refused], &Options::default(), LIMITS).await.unwrap_err();
        assert!(error.to_string().starts_with(&refused.to_string()), "{error}");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
