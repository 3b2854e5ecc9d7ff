//! What each command looks like on the wire, to the byte.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use amps_client::{
    Client, CommandOptions, Direction, Publish, Replacement, SocketConnector, Sow, SowDelete, StartAt, Subscribe, Tap,
};
use amps_core::{FrameDecoder, Message};
use amps_testserver::TestServer;

const SOON: Duration = Duration::from_secs(20);

/// The headers a client has sent.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<u8>>>);

impl Sent {
    fn tap(&self) -> Tap {
        let sent = Arc::clone(&self.0);
        Tap::new(move |direction, bytes| {
            if direction == Direction::Out {
                sent.lock().unwrap().extend_from_slice(bytes);
            }
        })
    }

    /// Those since the last call. Sequences and the version are not the same
    /// every time.
    fn take(&self) -> Vec<String> {
        let mut decoder = FrameDecoder::new(1 << 20);
        decoder.extend(&std::mem::take(&mut *self.0.lock().unwrap()));
        let mut headers = Vec::new();
        while let Some(frame) = decoder.next_frame().unwrap() {
            let message = Message::decode(frame).unwrap();
            let mut header = message.header().to_owned();
            if let Some(sequence) = message.sequence() {
                header = header.replace(&sequence.to_string(), "N");
            }
            headers.push(header.replace(env!("CARGO_PKG_VERSION"), "V"));
        }
        headers
    }
}

/// Covers 12#1.
#[tokio::test]
async fn every_command_has_its_bytes() {
    let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("s", "/id").start().await.unwrap();
    let sent = Sent::default();
    let builder = Client::builder("me").server(server.uri().replace("tcp://", "tcp://u:p%22w@"));
    let client = builder.connector(SocketConnector::new().tap(sent.tap())).connect().await.unwrap();
    assert_eq!(
        sent.take(),
        [
            r#"{"c":"logon","cid":"c1","client_name":"me","mt":"json","user_id":"u","pw":"p\"w","version":"rust:V","a":"processed"}"#,
            r#"{"c":"heartbeat","cid":"c2","o":"start,5","a":"processed"}"#,
        ]
    );

    client.publish("s", r#"{"id":1}"#).await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(sent.take(), [r#"{"c":"p","s":N,"a":"persisted","t":"s"}"#]);

    let plain = client.subscribe(Subscribe::to("t")).await.unwrap();
    let book = client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch).top_n(5)).await.unwrap();
    let both = client.subscribe(Subscribe::sow_and("s").options("oof").top_n(3)).await.unwrap();
    assert_eq!(
        sent.take(),
        [
            r#"{"c":"subscribe","cid":"4294967296","t":"t","sub_id":"4294967296","a":"processed"}"#,
            r#"{"c":"subscribe","cid":"4294967297","t":"t","sub_id":"4294967297","top_n":5,"bm":"0","a":"processed,persisted,completed"}"#,
            r#"{"c":"sow_and_subscribe","cid":"4294967298","t":"s","sub_id":"4294967298","query_id":"4294967298","bs":10,"top_n":3,"o":"oof","a":"processed,completed"}"#,
        ]
    );
    let (old, new) = (plain.handle(), Replacement::new().no_filter().options("bookmark"));
    old.replace(new).await.unwrap();
    book.handle().pause().await.unwrap();
    book.handle().resume().await.unwrap();
    assert_eq!(
        sent.take(),
        [
            r#"{"c":"subscribe","cid":"4294967296","t":"t","sub_id":"4294967296","o":"bookmark,replace","a":"processed"}"#,
            r#"{"c":"subscribe","cid":"c3","t":"t","sub_id":"4294967297","o":"pause","a":"processed"}"#,
            r#"{"c":"subscribe","cid":"c4","t":"t","sub_id":"4294967297","o":"resume","a":"processed"}"#,
        ]
    );
    drop((plain, book, both));
    assert_eq!(client.count(Sow::of("s")).await.unwrap(), 1);
    let query = Sow::of("s").keys(["1", "2"]).batch_size(1).options(CommandOptions::new().no_sowkey());
    drop(client.sow(query).await.unwrap());
    assert_eq!(
        sent.take(),
        [
            r#"{"c":"unsubscribe","cid":"c5","sub_id":"4294967296","a":"processed"}"#,
            r#"{"c":"unsubscribe","cid":"c6","sub_id":"4294967297","a":"processed"}"#,
            r#"{"c":"unsubscribe","cid":"c7","sub_id":"4294967298","a":"processed"}"#,
            r#"{"c":"sow","cid":"8589934594","t":"s","query_id":"8589934594","bs":10,"top_n":0,"a":"processed,completed,stats"}"#,
            r#"{"c":"sow","cid":"12884901890","t":"s","query_id":"12884901890","bs":1,"sow_keys":"1,2","o":"no_sowkey","a":"processed,completed"}"#,
        ]
    );
    let _ = client.subscribe(Subscribe::deltas_of("s")).await;
    let _ = client.subscribe(Subscribe::sow_and_deltas_of("s").options("no_empties").batch_size(100)).await;
    let _ = client.subscribe(Subscribe::to("t").filter("/a = 'x' OR /\"b\\c\" = 1")).await;
    let _ = client.sow(Sow::of("s").order_by("/id DESC").filter("/id > 5")).await;
    let asked: Vec<_> =
        sent.take().into_iter().filter(|header| header.contains("delta") || header.contains("\"f\"")).collect();
    assert_eq!(
        asked,
        [
            r#"{"c":"delta_subscribe","cid":"17179869186","t":"s","sub_id":"17179869186","a":"processed"}"#,
            r#"{"c":"sow_and_delta_subscribe","cid":"21474836482","t":"s","sub_id":"21474836482","query_id":"21474836482","bs":100,"o":"no_empties","a":"processed,completed"}"#,
            r#"{"c":"subscribe","cid":"25769803778","t":"t","sub_id":"25769803778","f":"/a = 'x' OR /\"b\\c\" = 1","a":"processed"}"#,
            r#"{"c":"sow","cid":"30064771074","t":"s","query_id":"30064771074","bs":10,"f":"/id > 5","orderby":"/id DESC","a":"processed,completed"}"#,
        ]
    );
    client.close(SOON).await;
}

/// Covers 12#1.
#[tokio::test]
async fn every_write_has_its_bytes() {
    let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("s", "/id").start().await.unwrap();
    let sent = Sent::default();
    let builder = Client::builder("me").server(server.uri()).connector(SocketConnector::new().tap(sent.tap()));
    let client = builder.connect().await.unwrap();
    sent.take();
    client
        .write(Publish::new("s", br#"{"id":1}"#).correlation_id("YQ==").expiration(Duration::from_secs(5)))
        .await
        .unwrap();
    client.delta_publish("s", r#"{"id":1,"a":2}"#).await.unwrap();
    client.sow_delete(SowDelete::by_keys("s", ["1", "2"])).await.unwrap();
    client.sow_delete(SowDelete::by_filter("s", "1=1")).await.unwrap();
    client.sow_delete(SowDelete::by_data("s", r#"{"id":1}"#)).await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(
        sent.take(),
        [
            r#"{"c":"p","s":N,"a":"persisted","t":"s","e":5,"x":"YQ=="}"#,
            r#"{"c":"delta_publish","s":N,"a":"persisted","t":"s"}"#,
            r#"{"c":"sow_delete","s":N,"a":"persisted","t":"s","sow_keys":"1,2"}"#,
            r#"{"c":"sow_delete","s":N,"a":"persisted","t":"s","f":"1=1"}"#,
            r#"{"c":"sow_delete","s":N,"a":"persisted","t":"s"}"#,
        ]
    );
    client.close(SOON).await;

    let builder = Client::plain("me").server(server.uri()).connector(SocketConnector::new().tap(sent.tap()));
    let client = builder.connect().await.unwrap();
    sent.take();
    client.publish("s", r#"{"id":1}"#).await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(sent.take(), [r#"{"c":"p","t":"s"}"#, r#"{"c":"flush","cid":"c3","a":"completed"}"#]);
}
