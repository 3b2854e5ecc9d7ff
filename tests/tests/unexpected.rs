//! What no stream takes, and writes that servers refuse: told, counted, and
//! never in anybody's way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use amps_client::reconnect::FixedReconnect;
use amps_client::{
    Client, ConnectionState, Event, FailedWrite, Field, PublishStore, Reason, StartAt, Stray, Strays, Subscribe,
};
use amps_core::message::MessageKind;
use amps_testserver::TestServer;

const SOON: Duration = Duration::from_secs(20);

async fn server() -> TestServer {
    TestServer::builder().ack_conflation(Duration::from_millis(5)).start().await.unwrap()
}

async fn client(server: &TestServer) -> Client {
    let strategy = FixedReconnect::new(Duration::from_millis(1), 1).loss_window(Duration::ZERO);
    Client::builder("me").server(server.uri()).reconnect(strategy).connect().await.unwrap()
}

fn frame(payload: &str) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(payload.as_bytes());
    frame
}

/// Behind what was sent to the client before, as the server counts it.
async fn settle(client: &Client) {
    tokio::time::timeout(SOON, client.sow("nothing")).await.unwrap().unwrap_err();
}

async fn next(strays: &mut Strays) -> amps_client::Message {
    match tokio::time::timeout(SOON, strays.next()).await.expect("a message in time") {
        Some(Stray::Message(message)) => message,
        other => panic!("{other:?}"),
    }
}

/// Failures of what the client never published go to whoever listens for
/// unexpected messages, with a store and without.
///
/// Covers 5.6#1, 5.8#2.
#[tokio::test]
async fn a_failure_that_belongs_to_no_message_is_unexpected() {
    let server = server().await;
    for store in [PublishStore::Memory, PublishStore::None] {
        let client = Client::builder("me").server(server.uri()).publish_store(store).connect().await.unwrap();
        let mut unexpected = client.unexpected_messages();
        let mut events = client.events();
        let ack = r#"{"c":"ack","a":"persisted","s":9000000000000000000,"status":"failure","reason":"not entitled"}"#;
        assert!(server.inject("me", &frame(ack)));
        let message = next(&mut unexpected).await;
        assert_eq!(message.text(Field::Status).as_deref(), Some("failure"));
        assert_eq!((message.reason(), message.data().len()), (Some(Reason::NotEntitled), 0));
        settle(&client).await;
        assert_eq!(client.stray_counts().unexpected, 1, "once");
        assert!(client.is_connected());
        client.close(SOON).await;
        assert_eq!(failed_writes(&mut events).await, 0);
    }
}

/// For a subscription that never was: told. For one that has ended: counted.
///
/// Covers 5.6#2.
#[tokio::test]
async fn a_message_for_nobody_is_told_and_one_that_came_late_is_counted() {
    let server = server().await;
    let client = client(&server).await;
    let mut unexpected = client.unexpected_messages();
    for id in ["7", "4294967296000", "x", "4294967297"] {
        assert!(server.inject("me", &frame(&format!(r#"{{"c":"p","sids":"{id}","t":"t"}}body {id}"#))));
        assert_eq!(next(&mut unexpected).await.data(), format!("body {id}").as_bytes());
    }
    let ended = client.subscribe("t").await.unwrap();
    let kept = client.subscribe("t").await.unwrap();
    let ids: Vec<_> = server.stats().commands.iter().filter_map(|command| command.subscription_id.clone()).collect();
    drop(ended);
    let left = server.wait_for(|stats| stats.commands.iter().any(|command| command.kind == MessageKind::Unsubscribe));
    tokio::time::timeout(SOON, left).await.unwrap();
    for body in ["late", "later"] {
        assert!(server.inject("me", &frame(&format!(r#"{{"c":"p","sids":"{}","t":"t"}}{body}"#, ids[0]))));
    }
    settle(&client).await;
    let counts = client.stray_counts();
    assert_eq!((counts.unexpected, counts.late), (4, 2));
    assert_eq!(kept.stats().delivered, 0);
    assert_eq!(unexpected_now(&client, &mut unexpected).await, 0, "what came late is only counted");
}

/// How many messages wait for a listener, once the client has ended.
async fn unexpected_now(client: &Client, strays: &mut Strays) -> usize {
    client.close(SOON).await;
    let mut count = 0;
    while let Ok(Some(_)) = tokio::time::timeout(Duration::ZERO, strays.next()).await {
        count += 1;
    }
    count
}

/// The server sends again what was delivered and what was discarded: all of
/// that goes to whoever listens for duplicates, none of it to the stream.
///
/// Covers 5.6#3, 11.8.3#8.
#[tokio::test]
async fn duplicates_go_to_their_listener_and_never_to_the_stream() {
    let server = server().await;
    let publisher = Client::builder("publisher").server(server.uri()).connect().await.unwrap();
    let client = client(&server).await;
    let mut duplicates = client.duplicates();
    let mut stream = client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch)).await.unwrap();
    for id in 0..10 {
        publisher.publish("t", id.to_string()).await.unwrap();
    }
    publisher.flush().await.unwrap();
    let mut bookmarks = Vec::new();
    for id in 0..10 {
        let message = tokio::time::timeout(SOON, stream.next_message()).await.unwrap().unwrap().unwrap();
        assert_eq!(message.data(), id.to_string().as_bytes());
        bookmarks.push(message.bookmark().unwrap());
        if id % 2 == 0 {
            stream.discard(&message);
        }
    }
    let commands = server.stats().commands;
    let id = commands.iter().filter_map(|command| command.subscription_id.clone()).next_back().unwrap();
    for bookmark in &bookmarks {
        let again = format!(r#"{{"c":"p","sids":"{id}","t":"t","bm":"{bookmark}"}}again"#);
        assert!(server.inject("me", &frame(&again)));
    }
    for bookmark in &bookmarks {
        let message = next(&mut duplicates).await;
        assert_eq!((message.bookmark(), message.data()), (Some(*bookmark), b"again".as_slice()));
    }
    settle(&client).await;
    let stats = stream.stats();
    assert_eq!((stats.delivered, stats.duplicates, stream.depth()), (10, 10, 0));
}

/// How many refused writes there are up to the end of the client.
async fn failed_writes(events: &mut amps_client::Events) -> usize {
    let mut count = 0;
    loop {
        match tokio::time::timeout(SOON, events.next()).await.expect("an event in time").expect("an end") {
            Event::FailedWrite(_) => count += 1,
            Event::State(change) if change.state == ConnectionState::Shutdown => return count,
            _ => {}
        }
    }
}

/// The next refused write.
async fn failed_write(events: &mut amps_client::Events) -> Arc<FailedWrite> {
    loop {
        match tokio::time::timeout(SOON, events.next()).await.expect("an event in time") {
            Some(Event::FailedWrite(failed)) => return failed,
            Some(_) => {}
            None => panic!("no more events"),
        }
    }
}

/// One of five is refused: the store empties, the one is told of once, with
/// what it was; and whoever is told may publish there and then.
///
/// Covers 5.8#1, 5.8#4.
#[tokio::test]
async fn a_refused_write_is_told_once_with_its_message_and_the_listener_may_publish() {
    let dir = tempfile::tempdir().unwrap();
    for store in [PublishStore::Memory, PublishStore::sled(dir.path())] {
        let server = server().await;
        server.faults(|faults| {
            faults.reject_writes(|_, _, body| (body == b"3").then(|| "not entitled".to_owned()));
        });
        let client = Client::builder("me").server(server.uri()).publish_store(store).connect().await.unwrap();
        let mut events = client.events();
        let mut receipts = Vec::new();
        for id in 1..=5 {
            receipts.push(client.enqueue("orders", id.to_string()).unwrap());
        }
        tokio::time::timeout(SOON, client.flush()).await.unwrap().unwrap();
        assert_eq!(client.unacknowledged(), 0);
        let failed = failed_write(&mut events).await;
        assert_eq!(failed.reason, Reason::NotEntitled);
        let message = failed.message.as_ref().expect("its message");
        assert_eq!((message.topic().as_deref(), message.data()), (Some("orders"), b"3".as_slice()));
        let first = server.log()[0].sequence;
        assert_eq!(failed.sequence, first + 2);
        // There and then.
        client.publish("refused", message.data()).await.unwrap();
        client.enqueue("orders", "6").unwrap();
        tokio::time::timeout(SOON, client.flush()).await.unwrap().unwrap();
        let logged: Vec<_> = server.log().iter().map(|m| String::from_utf8_lossy(&m.body).into_owned()).collect();
        assert_eq!(logged, ["1", "2", "4", "5", "6"]);
        // The copy on the other topic has the same body and is refused too.
        let again = failed_write(&mut events).await;
        assert_eq!(again.message.as_ref().unwrap().topic().as_deref(), Some("refused"));
        client.close(SOON).await;
        assert_eq!(failed_writes(&mut events).await, 0, "each is told once");
    }
}

/// A server that says `duplicate` to what is replayed has it: settled, told
/// with that reason, and a success for whoever holds the receipt.
///
/// Covers 5.8#3.
#[tokio::test]
async fn a_duplicate_is_settled_and_told_as_such() {
    let server = server().await;
    server.faults(|faults| faults.withhold_acks(true));
    let client = client(&server).await;
    let mut events = client.events();
    let receipt = client.enqueue("t", "one").unwrap();
    tokio::time::timeout(SOON, server.wait_for_log(|log| log.len() == 1)).await.unwrap();
    let sequence = server.log()[0].sequence;
    let ack = format!(r#"{{"c":"ack","a":"persisted","s":{sequence},"status":"failure","reason":"duplicate"}}"#);
    assert!(server.inject("me", &frame(&ack)));
    let failed = failed_write(&mut events).await;
    assert_eq!((failed.sequence, &failed.reason), (sequence, &Reason::Duplicate));
    tokio::time::timeout(SOON, receipt.persisted()).await.unwrap().unwrap();
    assert_eq!(client.unacknowledged(), 0);
    // Again: it was settled before, and nobody is told twice.
    assert!(server.inject("me", &frame(&ack)));
    settle(&client).await;
    assert_eq!((client.stray_counts().late, client.stray_counts().unexpected), (1, 0));
}

/// Keeps what is logged as an error.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Nobody listens to events: what the application's code does wrong is logged
/// as an error all the same.
///
/// Covers 5.7#2.
#[tokio::test]
async fn errors_in_user_code_are_logged_without_a_listener() {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR).with_writer(move || writer.clone()).finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let server = server().await;
    let client = client(&server).await;
    let mut stream = client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch)).await.unwrap();
    for body in ["error", "panic", "end"] {
        client.publish("t", body).await.unwrap();
    }
    let mut handled = 0;
    let handling = stream.for_each(|message| {
        handled += 1;
        match message.data() {
            b"error" => Err("no such order"),
            b"panic" => panic!("at the disco"),
            _ => {
                client.enqueue("done", "").unwrap();
                Ok(())
            }
        }
    });
    let done = server.wait_for_log(|log| log.len() == 4);
    tokio::select! {
        ended = handling => panic!("{ended:?}"),
        done = tokio::time::timeout(SOON, done) => drop(done.unwrap()),
    }
    let text = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("no such order") && text.contains("at the disco"), "{text}");
    assert!(text.lines().all(|line| line.contains("ERROR")), "{text}");
    assert_eq!(handled, 3);
}
