//! Everything that is written: publishes, delta publishes, deletions. All of it
//! takes one way to the server, and the same way again.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use amps_client::{Client, ErrorKind, Event, OnPublishGap, Publish, PublishError, PublishStore, Reason, SowDelete};
use amps_core::header::{Field, FrameWriter};
use amps_core::transport::{Connecting, Transport};
use amps_core::{CommandKind, Connector, FrameDecoder, Message, SocketConnector, Uri};
use amps_ha::publish_log::{Durability, MemoryPart};
use amps_tests::{ClientSetup, Kill, Pair, Store};
use amps_testserver::{Config, Link, TestServer};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use rand::RngExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const SOON: Duration = Duration::from_secs(20);

/// TCP that keeps what is written to each connection, write by write.
#[derive(Debug, Clone, Default)]
struct Recorder {
    tcp: SocketConnector,
    connections: Arc<Mutex<Vec<Vec<Vec<u8>>>>>,
}

impl Recorder {
    fn writes(&self) -> usize {
        self.connections.lock().unwrap().iter().map(Vec::len).sum()
    }

    /// The whole frames of a connection that carry a sequence, as they were
    /// written.
    fn writes_of(&self, connection: usize) -> Vec<Bytes> {
        let mut decoder = FrameDecoder::new(1 << 20);
        decoder.extend(&self.connections.lock().unwrap()[connection].concat());
        let frames = std::iter::from_fn(|| decoder.next_frame().unwrap());
        frames.filter(|frame| Message::decode(frame.clone()).unwrap().sequence().is_some()).collect()
    }
}

impl Connector for Recorder {
    fn connect<'a>(&'a self, uri: &'a Uri) -> Connecting<'a> {
        Box::pin(async move {
            let stream = self.tcp.connect(uri).await?;
            let mut connections = self.connections.lock().unwrap();
            connections.push(Vec::new());
            let recorded = Recorded { stream, connection: connections.len() - 1, recorder: self.clone() };
            Ok(Box::new(recorded) as Box<dyn Transport>)
        })
    }
}

struct Recorded {
    stream: Box<dyn Transport>,
    connection: usize,
    recorder: Recorder,
}

impl AsyncRead for Recorded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.recorder.connections.lock().unwrap()[self.connection].push(bytes[..written].to_vec());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn server() -> TestServer {
    TestServer::builder().sow("w", "/id").ack_conflation(Duration::from_millis(5)).start().await.unwrap()
}

/// The bodies of the records of `w`.
async fn records(client: &Client) -> Vec<String> {
    let mut query = client.sow("w").await.unwrap();
    let mut bodies = Vec::new();
    while let Some(record) = tokio::time::timeout(SOON, query.next_message()).await.unwrap().unwrap() {
        bodies.push(String::from_utf8(record.data().to_vec()).unwrap());
    }
    bodies.sort();
    bodies
}

/// Covers 20#26.
#[tokio::test]
async fn messages_published_at_full_speed_share_their_writes() {
    const MESSAGES: u64 = 20_000;
    let server = TestServer::builder().start().await.unwrap();
    for store in [PublishStore::None, PublishStore::Memory] {
        let recorder = Recorder::default();
        let client = Client::builder("me").server(server.uri()).publish_store(store).connector(recorder.clone());
        let client = client.connect().await.unwrap();
        let before = recorder.writes();
        assert!(before > 0, "writes are recorded");
        for _ in 0..MESSAGES {
            client.enqueue("t", [b' '; 128]).unwrap();
        }
        client.flush().await.unwrap();
        let writes = (recorder.writes() - before) as u64;
        assert!(writes <= MESSAGES / 100, "{writes} writes for {MESSAGES} messages");
    }
    assert_eq!(server.stats().publishes, 2 * MESSAGES);
}

/// A deletion names records in one of three ways, and only in one.
///
/// Covers 7.3#3.
#[tokio::test]
async fn a_deletion_names_records_in_exactly_one_way() {
    let server = server().await;
    let recorder = Recorder::default();
    let client = Client::builder("me").server(server.uri()).connector(recorder.clone()).connect().await.unwrap();
    for delete in [
        SowDelete::by_filter("w", "/id = 1"),
        SowDelete::by_keys("w", ["1", "2"]),
        SowDelete::by_data("w", r#"{"id":1}"#),
    ] {
        client.sow_delete(delete).await.unwrap();
    }
    client.flush().await.unwrap();
    let sent: Vec<_> = recorder.writes_of(0).into_iter().map(|frame| Message::decode(frame).unwrap()).collect();
    let named = |message: &Message| {
        let field = |field| message.text(field).map(|text| text.into_owned());
        (field(Field::Filter), field(Field::SowKeys), String::from_utf8(message.data().to_vec()).unwrap())
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        sent.iter().map(named).collect::<Vec<_>>(),
        [
            (some("/id = 1"), None, String::new()),
            (None, some("1,2"), String::new()),
            (None, None, r#"{"id":1}"#.to_owned())
        ]
    );
    for none in [SowDelete::by_filter("w", ""), SowDelete::by_keys("w", [""; 0]), SowDelete::by_data("w", "")] {
        let error = client.sow_delete(none).await.unwrap_err();
        assert_eq!(error.to_string(), "a sow_delete names no records");
        assert_eq!(amps_client::Error::from(error).kind(), ErrorKind::Usage);
    }
}

#[tokio::test]
async fn header_fields_that_no_server_could_read_are_refused_before_they_are_stored() {
    let server = server().await;
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    for publish in [
        Publish::new("t", "x").correlation_id("two words"),
        Publish::new("t", "x").correlation_id(""),
        Publish::delta("t", "x").sow_key("a,b"),
    ] {
        assert!(matches!(client.write(publish).await, Err(PublishError::Invalid { .. })), "{publish:?}");
    }
    assert!(matches!(client.delta_publish("", "x").await, Err(PublishError::NoTopic)));
    assert_eq!(client.unacknowledged(), 0);
    let mut stream = client.subscribe("t").await.unwrap();
    let publish = Publish::new("t", "x").correlation_id("aGk=").expiration(Duration::from_millis(1_001)).sow_key("k1");
    client.enqueue_write(publish).unwrap().persisted().await.unwrap();
    let message = tokio::time::timeout(SOON, stream.next_message()).await.unwrap().unwrap().unwrap();
    assert_eq!(message.text(Field::CorrelationId).as_deref(), Some("aGk="));
}

/// What was written at one server is sent to the next byte for byte: commands,
/// sequences, fields and bodies, in their order. So it is by a new process.
///
/// Covers 7.3#2, 9.2#1.
#[tokio::test]
async fn whatever_was_written_is_sent_again_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    for store in [|_: &_| PublishStore::Memory, |dir: &std::path::Path| PublishStore::sled(dir)] {
        let (first, second) = (server().await, server().await);
        first.faults(|faults| faults.withhold_acks(true));
        let recorder = Recorder::default();
        let client = Client::builder("me").servers([first.uri(), second.uri()]).connector(recorder.clone());
        let client = client.publish_store(store(dir.path())).connect().await.unwrap();
        for id in 0..20 {
            let record = format!(r#"{{"id":{id},"v":1}}"#);
            client.publish("w", &record).await.unwrap();
            client.delta_publish("w", format!(r#"{{"id":{id},"w":2}}"#)).await.unwrap();
            if id % 2 == 0 {
                client.sow_delete(SowDelete::by_data("w", &record)).await.unwrap();
            }
            client.sow_delete(SowDelete::by_keys("w", ["7", "8"])).await.unwrap();
            client.sow_delete(SowDelete::by_filter("w", &format!("/id = {id}"))).await.unwrap();
            let life = Duration::from_secs(60);
            client.write(Publish::delta("w", &record).correlation_id("c").expiration(life)).await.unwrap();
        }
        let before = records(&client).await;
        assert_eq!(before.len(), 20);
        first.stop().await;
        tokio::time::timeout(SOON, client.flush()).await.unwrap().unwrap();
        let sent = recorder.writes_of(0);
        assert_eq!(sent.len(), 110);
        assert_eq!(recorder.writes_of(1), sent);
        assert_eq!(records(&client).await, before, "the same records at the other server");
        client.close(SOON).await;
    }
}

/// A deletion that is refused is told with what was to be deleted.
#[tokio::test]
async fn a_refused_deletion_is_told_with_its_command() {
    let server = server().await;
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    let mut events = client.events();
    let receipt = client.enqueue_write(SowDelete::by_keys("no sow", ["1"])).unwrap();
    assert!(matches!(receipt.persisted().await, Err(PublishError::Refused(Reason::InvalidTopic))));
    let failed = loop {
        match tokio::time::timeout(SOON, events.next()).await.unwrap() {
            Some(Event::FailedWrite(failed)) => break failed,
            Some(_) => {}
            None => panic!("no failed write"),
        }
    };
    let message = failed.message.as_ref().unwrap();
    assert_eq!((message.topic().as_deref(), message.text(Field::SowKeys).as_deref()), (Some("no sow"), Some("1")));
}

/// What a server's log has to hold for what was written to a topic with
/// records: a publish as it is, a delta merged, a deletion.
#[derive(Default)]
struct Model {
    records: BTreeMap<u64, (u64, Option<u64>)>,
    log: Vec<String>,
}

impl Model {
    fn body(id: u64, v: Option<u64>, w: Option<u64>) -> String {
        let field = |name, value: Option<u64>| value.map(|value| format!(r#","{name}":{value}"#)).unwrap_or_default();
        format!(r#"{{"id":{id}{}{}}}"#, field("v", v), field("w", w))
    }

    fn publish(&mut self, id: u64, v: u64) -> String {
        self.records.insert(id, (v, None));
        self.log.push(Self::body(id, Some(v), None));
        Self::body(id, Some(v), None)
    }

    /// Only of records that are there.
    fn delta(&mut self, id: u64, w: u64) -> Option<String> {
        let (v, its) = self.records.get_mut(&id)?;
        *its = Some(w);
        self.log.push(Self::body(id, Some(*v), Some(w)));
        Some(Self::body(id, None, Some(w)))
    }

    fn delete(&mut self, id: u64) -> String {
        self.records.remove(&id);
        self.log.push(format!("-{}", Self::body(id, None, None)));
        Self::body(id, None, None)
    }
}

fn logged(pair: &mut Pair, server: usize) -> Vec<String> {
    let line = |message: amps_testserver::LoggedMessage| {
        let body = String::from_utf8(message.body.to_vec()).unwrap();
        if message.deletes.is_some() { format!("-{body}") } else { body }
    };
    pair.log(server).into_iter().map(line).collect()
}

/// Two servers that replicate to each other, and a client that writes all kinds
/// while its connections and the servers die, and it itself.
fn write_through_failovers(seed: u64, store: Store) {
    let configs = (0..2).map(|own| {
        let config = Config::new(format!("s{own}")).sow("w", "/id").ack_conflation(Duration::from_millis(20));
        config.peer(format!("s{}", 1 - own), Link::Sync)
    });
    let mut pair = Pair::with_configs(seed, configs.collect());
    let mut setup = ClientSetup::new("p", [0, 1]).store(store).resident(20_000);
    setup.core.on_publish_gap = OnPublishGap::Refuse;
    let client = pair.client(setup);
    let mut model = Model::default();
    let keeps = matches!(store, Store::Disk(_));
    for step in 0..120 {
        for _ in 0..pair.random.random_range(0..12) {
            let (id, value) = (pair.random.random_range(0..6), pair.random.random_range(0..1_000));
            let (kind, body) = match pair.random.random_range(0..4) {
                0 => (CommandKind::SowDelete, model.delete(id)),
                1 | 2 if model.records.contains_key(&id) => {
                    (CommandKind::DeltaPublish, model.delta(id, value).unwrap())
                }
                _ => (CommandKind::Publish, model.publish(id, value)),
            };
            let encode = |sequence, out: &mut BytesMut| {
                let frame = match kind {
                    CommandKind::SowDelete => FrameWriter::sow_delete(out, "w", sequence),
                    CommandKind::DeltaPublish => FrameWriter::delta_publish(out, "w", sequence),
                    _ => FrameWriter::publish(out, "w", sequence),
                };
                frame.finish(body.as_bytes());
            };
            pair.write(client, step.to_string(), 200, encode).unwrap();
        }
        let server = pair.random.random_range(0..2);
        match pair.random.random_range(0..24) {
            0 | 1 => drop(pair.cut(client)),
            2 => {
                let at = pair.random.random_range(0..3_000);
                pair.cut_next(server, None, Some(at));
            }
            3 => {
                pair.crash_server(server);
                let down = pair.random.random_range(0..3_000);
                pair.run_for(Duration::from_millis(down));
                pair.start_server(server);
            }
            4 if keeps => {
                // What was promised is all that was written.
                pair.run_until(SOON, |pair| pair.promised(client).len() == pair.published(client).len());
                pair.kill(client, Kill::Process);
                pair.start_client(client);
            }
            _ => {}
        }
        let time = Duration::from_micros(pair.random.random_range(0..200_000));
        pair.run_for(time);
    }
    (0..2).for_each(|server| pair.start_server(server));
    pair.run_settled(client);
    for server in 0..2 {
        assert_eq!(logged(&mut pair, server), model.log, "server {server}: {}", pair.describe());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: amps_tests::cases(60), failure_persistence: None, ..ProptestConfig::default() })]

    /// Covers 7.3#2.
    #[test]
    fn publishes_deltas_and_deletions_keep_their_order_through_failovers(seed: u64, store in 0..3usize) {
        let hybrid = Store::Hybrid(MemoryPart::default().messages(20));
        let stores = [Store::Memory, Store::Disk(Durability::ProcessCrash), hybrid];
        write_through_failovers(seed, stores[store]);
    }
}
