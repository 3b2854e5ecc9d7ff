//! A client over WebSocket, with frames split over and joined in messages by the
//! bytes that happen to be written together.

use std::time::Duration;

use amps_client::tls::Tls;
use amps_client::{Client, Compression, Connector, Options, SocketConnector, StartAt, Subscribe, Uri};
use amps_core::transport::WebSocket;
use amps_testserver::TestServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::test]
async fn a_client_speaks_through_a_websocket_and_comes_back_after_a_loss() {
    let server = TestServer::builder().websocket().ack_conflation(Duration::from_millis(5)).start().await.unwrap();
    let uri = server.websocket_uri().unwrap();
    assert!(uri.starts_with("ws://"));
    let client = Client::builder("me").server(uri).connect().await.unwrap();
    let mut orders = client.subscribe(Subscribe::to("orders").bookmark(StartAt::Epoch)).await.unwrap();
    let body = |id: u32| format!("{id} {}", "x".repeat(id as usize * 7_000 % 200_000));
    for id in 0..100 {
        client.publish("orders", body(id)).await.unwrap();
        if id == 50 {
            assert!(server.kick("me"));
        }
    }
    tokio::time::timeout(Duration::from_secs(60), client.flush()).await.unwrap().unwrap();
    for id in 0..100 {
        let order = tokio::time::timeout(Duration::from_secs(60), orders.next_message()).await.unwrap().unwrap();
        assert_eq!(order.unwrap().data(), body(id).as_bytes(), "each once, in order");
    }
    assert_eq!((client.reconnects(), server.log().len()), (1, 100));
}

/// WebSocket over TLS: the certificate is looked at as ever, and what is split
/// into records of TLS comes together again.
#[tokio::test]
async fn a_websocket_over_tls_carries_everything_to_a_server_it_trusts() {
    let (chain, key) = (include_str!("../data/tls/server.pem"), include_str!("../data/tls/server.key"));
    let builder = TestServer::builder().websocket().tls(chain, key).ack_conflation(Duration::from_millis(5));
    let server = builder.start().await.unwrap();
    let uri = server.secure_websocket_uri().unwrap();
    assert!(uri.starts_with("wss://"));
    let strangers = Client::builder("me").server(uri.clone()).connect_within(Duration::from_secs(1)).connect().await;
    let error = strangers.err().unwrap().to_string();
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(server.stats().publishes, 0);

    let trusting = Tls::builder().roots_pem(include_str!("../data/tls/ca.pem")).build().unwrap();
    let connector = SocketConnector::new().tls(trusting);
    let client = Client::builder("me").server(uri).connector(connector).connect().await.unwrap();
    let mut orders = client.subscribe(Subscribe::to("orders").bookmark(StartAt::Epoch)).await.unwrap();
    let sizes = [0, 10, 20_000, 3_000_000, 1];
    for (n, size) in sizes.into_iter().enumerate() {
        client.publish("orders", "x".repeat(size)).await.unwrap();
        if n == 2 {
            client.flush().await.unwrap();
            assert!(server.kick("me"));
        }
    }
    tokio::time::timeout(Duration::from_secs(60), client.flush()).await.unwrap().unwrap();
    for size in sizes {
        let order = tokio::time::timeout(Duration::from_secs(60), orders.next_message()).await.unwrap().unwrap();
        assert_eq!(order.unwrap().data().len(), size, "each once, in order");
    }
    assert_eq!((client.reconnects(), server.log().len()), (1, sizes.len()));
}

/// What a client says for all its connections is not for those that do not take
/// it: the bytes are written as they are.
#[tokio::test]
async fn defaults_for_other_transports_leave_a_websocket_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri: Uri = format!("ws://{}/amps/json", listener.local_addr().unwrap()).parse().unwrap();
    let mut defaults = Options::default();
    (defaults.compression, defaults.http_preflight) = (Some(Compression::Zlib), Some(true));
    let connector = SocketConnector::new().defaults(defaults);
    let client = async {
        let mut stream = connector.connect(&uri).await.unwrap();
        stream.write_all(b"bytes").await.unwrap();
        stream.flush().await.unwrap();
        stream
    };
    let server = async {
        let mut stream = WebSocket::accept(listener.accept().await.unwrap().0).await.unwrap();
        let mut got = [0; 5];
        stream.read_exact(&mut got).await.unwrap();
        got
    };
    let both = async { tokio::join!(client, server) };
    let (_client, got) = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
    assert_eq!(&got, b"bytes");
}

/// A server that speaks no WebSocket is an attempt that failed, with its cause.
#[tokio::test]
async fn a_server_without_websocket_is_a_failed_attempt() {
    let server = TestServer::builder().start().await.unwrap();
    let uri = server.uri().replace("tcp://", "ws://");
    let client = Client::builder("me").server(uri).connect_within(Duration::from_secs(1)).connect().await;
    let error = client.err().unwrap().to_string();
    assert!(error.contains("WebSocket") || error.contains("closed"), "{error}");
}
