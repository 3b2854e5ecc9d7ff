//! Every way to a server: TCP, TLS, Unix sockets, compressed, behind an HTTP
//! preflight; and a look at the bytes.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amps_client::tls::{Tls, TlsBuilder, TlsError, Version};
use amps_client::{
    Cause, Client, ConnectionState, Connector, Direction, Event, LastHeaders, SocketConnector, StartAt, Subscribe, Tap,
};
use amps_core::message::MessageKind;
use amps_testserver::{TestServer, TestServerBuilder};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const SOON: Duration = Duration::from_secs(20);

/// A file of `data/tls`.
macro_rules! pem {
    ($name:literal) => {
        include_str!(concat!("../data/tls/", $name))
    };
}

fn builder() -> TestServerBuilder {
    TestServer::builder().ack_conflation(Duration::from_millis(5))
}

fn trusting() -> TlsBuilder {
    Tls::builder().roots_pem(pem!("ca.pem"))
}

fn with(tls: TlsBuilder) -> SocketConnector {
    SocketConnector::new().tls(tls.build().unwrap())
}

/// Publishes and reads back, through one connection and the one after it.
async fn works(server: &TestServer, uri: &str, connector: SocketConnector) {
    let name = format!("me at {uri}");
    let client = Client::builder(&name).server(uri).connector(connector).connect().await.unwrap();
    let topic = format!("t{}", server.log().len());
    let mut messages = client.subscribe(Subscribe::to(&topic).bookmark(StartAt::Epoch)).await.unwrap();
    let mut published = Vec::new();
    for len in [0, 10, 100_000, 3_000_000, 20] {
        let body = format!("{len}:{}", "x".repeat(len));
        client.publish(&topic, &body).await.unwrap();
        published.push(body);
        if len == 100_000 {
            client.flush().await.unwrap();
            assert!(server.kick(&name), "{uri}");
        }
    }
    client.flush().await.unwrap();
    for body in published {
        let message = tokio::time::timeout(SOON, messages.next_message()).await.unwrap().unwrap().unwrap();
        assert!(message.data() == body.as_bytes(), "{uri}: {} bytes", message.data().len());
    }
    assert_eq!(client.reconnects(), 1, "{uri}");
    assert_eq!(client.close(SOON).await.unacknowledged, 0);
}

#[tokio::test]
async fn every_transport_carries_everything_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a socket&more");
    let server = builder().tls(pem!("server.pem"), pem!("server.key")).unix(&path).start().await.unwrap();
    let (tcp, tls, unix) = (server.uri(), server.tls_uri().unwrap(), server.unix_uri().unwrap());
    works(&server, &tcp, SocketConnector::new()).await;
    works(&server, &tls, with(trusting())).await;
    works(&server, &unix, SocketConnector::new()).await;
    for options in ["compression=zlib", "http_preflight=true", "compression=zlib&http_preflight=true&pretty=1"] {
        let connector = with(trusting()).http_header("X-Route", "blue").unwrap();
        works(&server, &format!("{tcp}?{options}"), connector.clone()).await;
        works(&server, &format!("{tls}?{options}"), connector).await;
    }
    server.stop().await;
    assert!(!path.exists());
}

/// The same of a server that a file describes.
#[tokio::test]
async fn a_described_server_has_every_transport() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    for (name, text) in [("chain.pem", pem!("server.pem")), ("key.pem", pem!("server.key")), ("ca.pem", pem!("ca.pem"))]
    {
        write(name, text);
    }
    let socket = dir.path().join("socket");
    let described = format!(
        "ack_conflation = \"5ms\"\nunix = {socket:?}\n[tls]\nchain = \"chain.pem\"\nkey = \"key.pem\"\nclient_roots = \"ca.pem\"\n"
    );
    write("server.toml", &described);
    let server = TestServerBuilder::from_file(dir.path().join("server.toml")).unwrap().start().await.unwrap();
    let (tls, unix) = (server.tls_uri().unwrap(), server.unix_uri().unwrap());
    assert!(
        Client::builder("stranger")
            .server(&*tls)
            .connector(with(trusting()))
            .connect_within(Duration::from_secs(1))
            .connect()
            .await
            .is_err()
    );
    let known = || with(trusting().client_certificate_pem(pem!("client.pem"), pem!("client.key")));
    works(&server, &tls, known()).await;
    works(&server, &format!("{tls}?compression=zlib"), known()).await;
    works(&server, &unix, SocketConnector::new()).await;
    works(&server, &format!("{}?compression=zlib", server.uri()), SocketConnector::new()).await;
}

#[tokio::test]
async fn a_socket_file_left_behind_is_replaced_and_one_in_use_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = builder().unix(&path).start().await.unwrap();
    let error = builder().unix(&path).start().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
    works(&server, &server.unix_uri().unwrap(), SocketConnector::new()).await;
}

/// The cause of the first failed attempt at the first server, with a client
/// that goes on to a second.
async fn fails(first: &str, connector: SocketConnector) -> String {
    let second = builder().start().await.unwrap();
    let client = Client::builder("me").server(first).server(second.uri()).connector(connector).start().unwrap();
    let mut events = client.events();
    let cause = loop {
        match tokio::time::timeout(SOON, events.next()).await.unwrap().unwrap() {
            Event::AttemptFailed { cause, .. } => break cause,
            Event::State(change) => assert_ne!(change.state, ConnectionState::Connected),
            _ => {}
        }
    };
    client.connected().await.unwrap();
    assert!(matches!(cause, Cause::Connect(_)), "{cause}");
    cause.to_string()
}

async fn shows(chain: &str, key: &str) -> (TestServer, String) {
    let server = builder().tls(chain, key).start().await.unwrap();
    let uri = server.tls_uri().unwrap();
    (server, uri)
}

/// Covers 11.2#6, 14#2.
#[tokio::test]
async fn each_thing_that_is_wrong_with_a_certificate_has_its_own_error_and_is_a_failed_attempt() {
    let (_good, good) = shows(pem!("server.pem"), pem!("server.key")).await;
    let (_elsewhere, elsewhere) = shows(pem!("elsewhere.pem"), pem!("elsewhere.key")).await;
    let (_expired, expired) = shows(pem!("expired.pem"), pem!("expired.key")).await;
    let others = || Tls::builder().roots_pem(pem!("other-ca.pem"));
    for (uri, tls, part) in [
        (&good, others(), "UnknownIssuer"),
        (&good, Tls::builder(), "UnknownIssuer"),
        (&elsewhere, trusting(), "not valid for name \"127.0.0.1\""),
        (&expired, trusting(), "expired"),
    ] {
        let cause = fails(uri, with(tls)).await;
        assert!(cause.contains(part) && cause.contains("127.0.0.1"), "{part}: {cause}");
    }
    // Named as it names itself, it is right.
    let server = builder().tls(pem!("elsewhere.pem"), pem!("elsewhere.key")).start().await.unwrap();
    works(&server, &server.tls_uri().unwrap(), with(trusting().server_name("elsewhere.test"))).await;
    // Without a look at it, anything is.
    let server = builder().tls(pem!("expired.pem"), pem!("expired.key")).start().await.unwrap();
    works(&server, &server.tls_uri().unwrap(), with(others().dangerously_do_not_verify())).await;
}

#[tokio::test]
async fn a_server_may_ask_for_a_certificate() {
    let builder = builder().tls(pem!("server.pem"), pem!("server.key")).tls_client_roots(pem!("ca.pem"));
    let server = builder.start().await.unwrap();
    let uri = server.tls_uri().unwrap();
    let known = trusting().client_certificate_pem(pem!("client.pem"), pem!("client.key"));
    works(&server, &uri, with(known.min_version(Version::V1_3))).await;
    let second = TestServer::builder().start().await.unwrap();
    let client = Client::builder("nobody").server(&uri).server(second.uri()).connector(with(trusting()));
    let client = client.connect().await.unwrap();
    assert_eq!(server.stats().logons, 2, "only those of whom the server knows");
    client.close(SOON).await;
}

#[test]
fn what_is_wrong_with_tls_settings_is_said_before_anything_is_tried() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.pem");
    for (builder, part) in [
        (Tls::builder().roots_file(&missing), "cannot read"),
        (Tls::builder().roots_pem("no pem at all"), "no certificate in the given text"),
        (trusting().client_certificate_pem(pem!("client.pem"), "rubbish"), "no private key"),
        (trusting().client_certificate_pem(pem!("client.pem"), pem!("server.key")), "cannot be set up"),
        (trusting().server_name("no name/"), "'no name/' is no server name"),
    ] {
        let error: TlsError = builder.build().unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    let shown = format!("{:?} {:?}", trusting(), trusting().build().unwrap());
    assert!(!shown.contains("BEGIN"), "{shown}");
}

/// The oldest version that may be spoken is the oldest that is.
#[tokio::test]
async fn an_older_version_of_tls_is_spoken_only_where_it_may_be() {
    let chain = CertificateDer::pem_slice_iter(pem!("server.pem").as_bytes()).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(pem!("server.key").as_bytes()).unwrap();
    let config = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS12]).with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("tcps://{}/amps/json", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // What the client makes of it is what counts.
            let _ = acceptor.accept(stream).await;
        }
    });
    for oldest in [None, Some(Version::V1_2)] {
        let tls = oldest.into_iter().fold(trusting(), TlsBuilder::min_version);
        with(tls).connect(&uri).await.map(drop).unwrap();
    }
    let error = with(trusting().min_version(Version::V1_3)).connect(&uri).await.map(drop).unwrap_err();
    assert!(error.to_string().starts_with("TLS with '127.0.0.1' failed: "), "{error}");
}

/// Nobody forgets that certificates are not looked at: each connection says so.
#[tokio::test]
async fn not_looking_at_certificates_is_loud() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(log.clone()).finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let (server, uri) = shows(pem!("expired.pem"), pem!("expired.key")).await;
    let connector = with(Tls::builder().dangerously_do_not_verify());
    let client = Client::builder("me").server(&uri).connector(connector).connect().await.unwrap();
    assert!(server.kick("me"));
    client.publish("t", "x").await.unwrap();
    client.flush().await.unwrap();
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let warnings = text.lines().filter(|line| line.contains("WARN") && line.contains("TLS WITHOUT VERIFICATION"));
    assert_eq!(warnings.count(), 2, "{text}");
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// A proxy in front of a server is shown the headers that the application gave, and
/// then the first frame.
#[tokio::test]
async fn a_preflight_has_the_applications_headers_and_goes_before_the_logon() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("tcp://{}/amps/json?http_preflight=true", listener.local_addr().unwrap());
    let connector = SocketConnector::new().http_header("X-Route", "blue").unwrap();
    let client = Client::builder("me").server(uri).connector(connector).start().unwrap();
    let (mut stream, _) = tokio::time::timeout(SOON, listener.accept()).await.unwrap().unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    let request = String::from_utf8(request).unwrap();
    assert!(request.starts_with("GET ") && request.contains("\r\nX-Route: blue\r\n"), "{request}");
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await.unwrap();
    let mut frame = vec![0; stream.read_u32().await.unwrap() as usize];
    stream.read_exact(&mut frame).await.unwrap();
    let logon = amps_core::Message::decode(frame.into()).unwrap();
    assert_eq!((logon.kind(), logon.client_name().as_deref()), (MessageKind::Logon, Some("me")));
    drop(client);
}

/// What passed a proxy, each way.
#[derive(Default, Clone)]
struct Passed(Arc<Mutex<[Vec<u8>; 2]>>);

impl Passed {
    fn copy(&self, way: usize) -> Vec<u8> {
        self.0.lock().unwrap()[way].clone()
    }
}

/// Passes one connection on to a server, and keeps its bytes.
async fn proxy(server: &TestServer) -> (String, Passed) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("tcp://{}/amps/json", listener.local_addr().unwrap());
    let (to, passed) = (server.addr(), Passed::default());
    let kept = passed.clone();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let (client_reads, client_writes) = client.into_split();
        let (server_reads, server_writes) = TcpStream::connect(to).await.unwrap().into_split();
        let ways = [(client_reads, server_writes), (server_reads, client_writes)];
        for (way, (mut from, mut to)) in ways.into_iter().enumerate() {
            let kept = kept.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(count @ 1..) = from.read(&mut buffer).await {
                    kept.0.lock().unwrap()[way].extend_from_slice(&buffer[..count]);
                    if to.write_all(&buffer[..count]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (uri, passed)
}

fn seen_by_tap() -> (Tap, Passed) {
    let seen = Passed::default();
    let kept = seen.clone();
    let tap = Tap::new(move |direction, bytes| {
        kept.0.lock().unwrap()[usize::from(direction == Direction::In)].extend_from_slice(bytes);
    });
    (tap, seen)
}

/// Covers 14#1.
#[tokio::test]
async fn a_tap_sees_the_exact_bytes_and_a_slow_one_only_slows() {
    let server = builder().start().await.unwrap();
    let (uri, passed) = proxy(&server).await;
    let (tap, seen) = seen_by_tap();
    let slow = Tap::new(move |_, _| std::thread::sleep(Duration::from_millis(5)));
    let client = Client::builder("me").server(uri).connector(SocketConnector::new().tap(tap)).connect().await.unwrap();
    let other = Client::builder("other").server(server.uri()).connector(SocketConnector::new().tap(slow));
    let mut other = other.connect().await.unwrap().subscribe(Subscribe::to("t")).await.unwrap();
    for id in 0..300 {
        client.publish("t", format!("{id}")).await.unwrap();
    }
    client.flush().await.unwrap();
    for id in 0..300 {
        let message = tokio::time::timeout(SOON, other.next_message()).await.unwrap().unwrap().unwrap();
        assert_eq!(message.data(), id.to_string().as_bytes());
    }
    client.close(SOON).await;
    assert_eq!(seen.copy(0), passed.copy(0));
    let (read, sent) = (seen.copy(1), passed.copy(1));
    assert!(!read.is_empty() && sent.starts_with(&read), "{} of {}", read.len(), sent.len());
}

/// What a look back shows after a connection was lost: who said what, on which
/// connection, without the password.
#[tokio::test]
async fn the_last_headers_tell_what_happened() {
    let server = builder().start().await.unwrap();
    let headers = LastHeaders::new(100);
    let (tap, seen) = seen_by_tap();
    let connector = SocketConnector::new().tap(headers.tap()).tap(tap);
    let uri = server.uri().replace("tcp://", "tcp://me:s3cret@");
    let client = Client::builder("me").server(uri).connector(connector).connect().await.unwrap();
    client.publish("t", "a body").await.unwrap();
    client.flush().await.unwrap();
    server.kick("me");
    client.publish("t", "another").await.unwrap();
    client.flush().await.unwrap();
    let list = headers.list();
    let logons: Vec<_> = list.iter().filter(|seen| seen.header.starts_with(r#"{"c":"logon""#)).collect();
    assert_eq!(logons.iter().map(|seen| seen.connection).collect::<Vec<_>>(), [1, 2]);
    assert!(logons[0].header.contains(r#""pw":"***""#) && logons[0].direction == Direction::Out, "{}", logons[0]);
    assert!(list.iter().any(|seen| seen.direction == Direction::In && seen.header.contains(r#""a":"persisted""#)));
    assert!(!list.iter().any(|seen| seen.to_string().contains("s3cret") || seen.header.contains("body")));
    assert!(seen.copy(0).windows(6).any(|bytes| bytes == b"s3cret"), "a tap sees everything");
}

#[tokio::test]
async fn a_tap_that_panics_ends_the_connection_and_not_the_client() {
    let server = builder().start().await.unwrap();
    let broken = Arc::new(Mutex::new(false));
    let breaks = Arc::clone(&broken);
    let tap = Tap::new(move |_, _| {
        if std::mem::take(&mut *breaks.lock().unwrap()) {
            panic!("a tap of the test")
        }
    });
    let client = Client::builder("me").server(server.uri()).connector(SocketConnector::new().tap(tap));
    let client = client.connect().await.unwrap();
    *broken.lock().unwrap() = true;
    client.publish("t", "x").await.unwrap();
    client.flush().await.unwrap();
    client.connected().await.unwrap();
    assert_eq!((client.reconnects(), server.log().len()), (1, 1));
}

/// Covers 3.3#3.
#[tokio::test]
async fn what_repeats_is_small_on_the_wire_and_whole_for_a_tap() {
    let server = builder().start().await.unwrap();
    let (uri, passed) = proxy(&server).await;
    let (tap, seen) = seen_by_tap();
    let connector = SocketConnector::new().tap(tap);
    let client = Client::builder("me").server(format!("{uri}?compression=zlib")).connector(connector);
    let client = client.connect().await.unwrap();
    let body = "price ".repeat(1_000_000 / 6);
    client.publish("t", &body).await.unwrap();
    client.flush().await.unwrap();
    let (wire, plain) = (passed.copy(0).len(), seen.copy(0));
    assert!(wire * 20 < body.len(), "{wire} bytes for {}", body.len());
    assert!(plain.windows(body.len()).any(|window| window == body.as_bytes()));
    assert_eq!(server.log()[0].body, body.as_bytes());
    let unix = "unix://localhost:0/amps/json?path=/tmp/x&compression=zlib".parse::<amps_client::Uri>();
    assert!(unix.unwrap_err().to_string().contains("cannot be compressed"));
}
