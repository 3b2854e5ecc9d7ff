//! Streams: their bound, their end, who gets what.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use amps_client::{
    BookmarkStore, Client, Command, CommandError, CommandKind, ConnectionState, Message, OnFull, Sow, StartAt,
    Subscribe, SubscriptionEvent,
};
use amps_core::header::FrameWriter;
use amps_core::message::MessageKind;
use amps_core::{Field, FrameDecoder};
use amps_testserver::TestServer;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_secs(20);

async fn server() -> TestServer {
    TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("s", "/id").start().await.unwrap()
}

async fn connect(server: &TestServer) -> Client {
    Client::builder("me").server(server.uri()).connect().await.unwrap()
}

async fn next(stream: &mut amps_client::Subscription) -> Message {
    tokio::time::timeout(SOON, stream.next_message()).await.unwrap().unwrap().unwrap()
}

/// Covers 4#1.
#[tokio::test]
async fn a_message_for_two_subscriptions_reaches_both_and_shares_its_bytes() {
    let server = server().await;
    let client = connect(&server).await;
    let mut one = client.subscribe("t").await.unwrap();
    let mut other = client.subscribe("^t").await.unwrap();
    for id in 0..10 {
        client.publish("t", id.to_string()).await.unwrap();
        let (first, second) = (next(&mut one).await, next(&mut other).await);
        assert_eq!((first.data(), second.data()), (id.to_string().as_bytes(), id.to_string().as_bytes()));
        assert_eq!(first.data().as_ptr(), second.data().as_ptr());
        // One frame came, with the ids of both.
        assert_eq!((first.subscription_ids().count(), first.size()), (2, second.size()));
    }
    let frames = server.stats().commands.iter().filter(|command| command.kind == MessageKind::Publish).count();
    assert_eq!((frames, one.depth(), other.depth()), (10, 0, 0));
}

/// Covers 4.2#2.
#[tokio::test]
async fn a_bounded_queue_never_holds_more_and_loses_nothing() {
    let server = server().await;
    let client = connect(&server).await;
    let publisher = Client::builder("publisher").server(server.uri()).connect().await.unwrap();
    let mut messages = client.subscribe(Subscribe::to("t").queue(10, 1 << 20)).await.unwrap();
    // More than the sockets hold in between.
    let total = 10_000;
    let body = |id: usize| format!("{id:0>2000}");
    for id in 0..total {
        publisher.enqueue_wait("t", body(id)).await.unwrap();
    }
    publisher.flush().await.unwrap();
    let unsent = || server.with_engine(|engine, _| engine.unsent("me")).unwrap();
    assert!(unsent() > 0, "the client reads no more, and TCP holds the server back");
    for id in 0..total {
        assert!(messages.depth() <= 10, "{}", messages.depth());
        assert_eq!(next(&mut messages).await.data(), body(id).as_bytes());
    }
    assert_eq!((client.reconnects(), messages.stats().duplicates, unsent()), (0, 0, 0));
}

/// What a subscription does not say for itself is said for the client.
#[tokio::test]
async fn a_client_may_bound_all_its_queues() {
    let server = server().await;
    let client = Client::builder("me").server(server.uri()).default_queue(3, 1 << 20).connect().await.unwrap();
    let dropping = || Subscribe::to("t").on_full(OnFull::DropOldest);
    let (few, more) = (client.subscribe(dropping()).await.unwrap(), dropping().queue(5, 1 << 20));
    let more = client.subscribe(more).await.unwrap();
    let mut all = client.subscribe(Subscribe::to("t").queue(100, 1 << 20)).await.unwrap();
    for id in 0..10 {
        client.publish("t", id.to_string()).await.unwrap();
    }
    for id in 0..10 {
        assert_eq!(next(&mut all).await.data(), id.to_string().as_bytes());
    }
    assert_eq!((few.stats().missed, more.stats().missed), (7, 5));
}

/// A stream that nobody reads and that may miss messages holds up no other, and says
/// what it missed.
#[tokio::test]
async fn a_stream_that_may_miss_messages_holds_up_nobody() {
    let server = server().await;
    let client = connect(&server).await;
    let dropping = Subscribe::to("t").queue(10, 1 << 20).on_full(OnFull::DropOldest);
    let mut slow = client.subscribe(dropping).await.unwrap();
    let mut other = client.subscribe("t").await.unwrap();
    for id in 0..1_000 {
        client.publish("t", id.to_string()).await.unwrap();
    }
    for id in 0..1_000 {
        assert_eq!(next(&mut other).await.data(), id.to_string().as_bytes());
    }
    assert_eq!(slow.stats().missed, 990);
    let missed = tokio::time::timeout(SOON, slow.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(missed, SubscriptionEvent::Missed { messages: 990 }), "{missed:?}");
    for id in 990..1_000 {
        assert_eq!(next(&mut slow).await.data(), id.to_string().as_bytes());
    }
    client.publish("t", "after").await.unwrap();
    assert_eq!(next(&mut slow).await.data(), b"after");
}

/// One that is to end when it is not read is unsubscribed, and not entered again; a
/// bookmark subscription goes on where it was read to.
#[tokio::test]
async fn a_stream_that_is_to_end_when_it_is_full_misses_nothing_from_there_on() {
    let server = server().await;
    let dir = tempfile::tempdir().unwrap();
    let builder = Client::builder("me").server(server.uri()).bookmark_store(BookmarkStore::sled(dir.path()));
    let client = builder.connect().await.unwrap();
    let ending = || Subscribe::to("t").bookmark(StartAt::Epoch).id("audit").queue(10, 1 << 20).on_full(OnFull::End);
    let mut slow = client.subscribe(ending()).await.unwrap();
    let mut other = client.subscribe("t").await.unwrap();
    for id in 0..100 {
        client.publish("t", id.to_string()).await.unwrap();
    }
    for id in 0..100 {
        assert_eq!(next(&mut other).await.data(), id.to_string().as_bytes());
    }
    let unsubscribed = |stats: &amps_testserver::Stats| {
        stats.commands.iter().filter(|command| command.kind == MessageKind::Unsubscribe).count() == 1
    };
    tokio::time::timeout(SOON, server.wait_for(unsubscribed)).await.unwrap();
    assert!(server.kick("me"));
    let event = tokio::time::timeout(SOON, other.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(event, SubscriptionEvent::Reconnected { .. }), "{event:?}");
    let mut read = 0;
    let ended = loop {
        match tokio::time::timeout(SOON, slow.next()).await.unwrap().unwrap() {
            Ok(SubscriptionEvent::Message(message)) => {
                assert_eq!(message.data(), read.to_string().as_bytes());
                slow.discard(&message);
                read += 1;
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(&ended, CommandError::QueueFull { topic } if topic == "t"), "{ended}");
    assert_eq!(read, 10);
    assert!(slow.next().await.is_none());
    slow.discarded().await.unwrap();
    drop(slow);
    let mut again = client.subscribe(ending().queue(1_000, 1 << 20)).await.unwrap();
    for id in read..100 {
        assert_eq!(next(&mut again).await.data(), id.to_string().as_bytes());
    }
}

/// A server that gives a slow client up: the loss is told with its cause, the
/// depth says whose fault it was, and a bookmark subscription misses nothing.
///
/// Covers 16#1.
#[tokio::test]
async fn a_slow_client_is_cut_and_misses_nothing_when_it_reads_again() {
    let builder = TestServer::builder().ack_conflation(Duration::from_millis(5));
    let server = builder.configure(|config| config.outbox_limit = 1 << 20).start().await.unwrap();
    let uri = format!("{}?tcp_rcvbuf=200000", server.uri());
    // Who does not read notices with the next beat.
    let beats = Duration::from_secs(1);
    let client = Client::builder("slow").server(&uri).heartbeat(beats, 2 * beats).connect().await.unwrap();
    let publisher = Client::builder("publisher").server(server.uri()).connect().await.unwrap();
    // The plain one is what the server counts; replays are paced.
    let plain = client.subscribe(Subscribe::to("t").queue(10, 1 << 20)).await.unwrap();
    let mut audit = client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch)).await.unwrap();
    let mut state = client.state();
    let body = |id: usize| format!("{id:0>10000}");
    let mut published = 0;
    while server.stats().disconnects.is_empty() {
        assert!(published < 20_000, "the server never gave it up");
        publisher.publish("t", body(published)).await.unwrap();
        published += 1;
        tokio::task::yield_now().await;
    }
    let lost = loop {
        let change = tokio::time::timeout(SOON, state.changed()).await.unwrap().unwrap();
        if change.state == ConnectionState::Disconnected {
            break change;
        }
    };
    assert!(matches!(lost.cause, Some(amps_client::Cause::Closed | amps_client::Cause::Io(_))), "{:?}", lost.cause);
    assert_eq!(plain.depth(), 10, "what was not read");
    let reasons: Vec<_> = server.stats().disconnects.iter().map(|(_, reason)| reason.clone()).collect();
    assert_eq!(reasons, ["slow client"]);
    drop(plain);
    publisher.flush().await.unwrap();
    for id in 0..published {
        let message = next(&mut audit).await;
        assert!(message.data() == body(id).as_bytes(), "{id}");
        audit.discard(&message);
    }
}

/// Covers 4.2#4, 4.6#2.
#[tokio::test]
async fn a_dropped_stream_is_unsubscribed_once_and_what_still_comes_is_counted() {
    let server = server().await;
    let client = connect(&server).await;
    let mut unexpected = client.unexpected_messages();
    let dropped = client.subscribe("t").await.unwrap();
    let id = server.stats().commands.back().unwrap().subscription_id.clone().unwrap();
    drop(dropped);
    client.subscribe("u").await.unwrap();
    let mut late = BytesMut::new();
    FrameWriter::new(&mut late, "p").text(Field::Topic, "t").text(Field::SubscriptionIds, &id).finish(b"late");
    assert!(server.inject("me", &late));
    let mut after = client.subscribe("v").await.unwrap();
    client.publish("v", "x").await.unwrap();
    next(&mut after).await;
    let unsubscribes: Vec<_> = server
        .stats()
        .commands
        .iter()
        .filter(|command| command.kind == MessageKind::Unsubscribe && command.subscription_id.as_ref() == Some(&id))
        .cloned()
        .collect();
    assert_eq!(unsubscribes.len(), 1, "{unsubscribes:?}");
    assert_eq!(client.stray_counts().late, 1);
    client.close(SOON).await;
    drop((client, after));
    assert!(unexpected.next().await.is_none(), "nobody has to deal with it");
}

/// Covers 4.2#5.
#[tokio::test]
async fn a_plain_clients_stream_gives_what_is_there_and_ends_with_the_loss() {
    let server = server().await;
    let client = Client::plain("me").server(server.uri()).connect().await.unwrap();
    let mut messages = client.subscribe("t").await.unwrap();
    for id in 0..3 {
        client.publish("t", id.to_string()).await.unwrap();
    }
    client.flush().await.unwrap();
    let mut state = client.state();
    server.kick("me");
    while state.changed().await.unwrap().state != ConnectionState::Disconnected {}
    for id in 0..3 {
        assert_eq!(next(&mut messages).await.data(), id.to_string().as_bytes());
    }
    assert!(matches!(messages.next().await, Some(Err(CommandError::Disconnected))));
    assert!(messages.next().await.is_none());
}

/// Covers 7.1#1.
#[tokio::test]
async fn after_a_failover_the_records_come_again_between_their_markers() {
    let server = server().await;
    let client = connect(&server).await;
    client.publish("s", r#"{"id":1}"#).await.unwrap();
    client.flush().await.unwrap();
    let mut records = client.subscribe(Subscribe::sow_and("s")).await.unwrap();
    let mut words = Vec::new();
    while words.len() < 7 {
        let word = match tokio::time::timeout(SOON, records.next()).await.unwrap().unwrap().unwrap() {
            SubscriptionEvent::SnapshotBegin => "begin".to_owned(),
            SubscriptionEvent::SnapshotEnd => "end".to_owned(),
            SubscriptionEvent::Reconnected { .. } => "reconnected".to_owned(),
            SubscriptionEvent::Message(record) => String::from_utf8_lossy(record.data()).into_owned(),
            other => panic!("{other:?}"),
        };
        words.push(word);
        if words.len() == 3 {
            server.kick("me");
        }
    }
    assert_eq!(words, ["begin", r#"{"id":1}"#, "end", "reconnected", "begin", r#"{"id":1}"#, "end"]);
}

/// Covers 4.3#3.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_is_called_once_at_a_time() {
    let server = server().await;
    let client = connect(&server).await;
    let mut messages = client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch)).await.unwrap();
    let (inside, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (entered, counted) = (Arc::clone(&inside), Arc::clone(&calls));
    let handling = tokio::spawn(async move {
        let handler = |_: &Message| {
            assert!(!entered.swap(true, Ordering::SeqCst), "called while it ran");
            std::thread::yield_now();
            entered.store(false, Ordering::SeqCst);
            counted.fetch_add(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(())
        };
        messages.for_each(handler).await
    });
    for id in 0..500 {
        client.publish("t", id.to_string()).await.unwrap();
        if id % 100 == 50 {
            server.kick("me");
        }
    }
    client.flush().await.unwrap();
    while calls.load(Ordering::SeqCst) < 500 {
        tokio::task::yield_now().await;
    }
    client.close(SOON).await;
    handling.await.unwrap().unwrap_err();
    assert_eq!(calls.load(Ordering::SeqCst), 500);
}

/// The answer and the first message come in one segment.
///
/// Covers 4.3#1.
#[tokio::test]
async fn a_message_right_behind_the_confirmation_is_delivered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("tcp://{}/amps/json", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut decoder = FrameDecoder::new(1 << 20);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            while let Some(frame) = decoder.next_frame().unwrap() {
                let command = Message::decode(frame).unwrap();
                let mut out = BytesMut::new();
                FrameWriter::new(&mut out, "ack")
                    .maybe(Field::CommandId, command.command_id())
                    .text(Field::AckType, "processed")
                    .text(Field::Status, "success")
                    .finish(b"");
                if let Some(id) = command.raw(Field::SubscriptionId) {
                    FrameWriter::new(&mut out, "p")
                        .text(Field::Topic, "t")
                        .text(Field::SubscriptionIds, id)
                        .finish(b"first");
                }
                stream.write_all(&out).await.unwrap();
            }
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => decoder.extend(&buffer[..count]),
            }
        }
    });
    let client = Client::builder("me").server(uri).connect().await.unwrap();
    let mut messages = client.subscribe("t").await.unwrap();
    assert_eq!(next(&mut messages).await.data(), b"first");
}

/// Covers 12#4.
#[tokio::test]
async fn one_description_serves_many_subscriptions_each_with_its_own_id() {
    let server = server().await;
    let client = connect(&server).await;
    let description = Subscribe::to("t").filter("/a = 1");
    let _held = [
        client.subscribe(description.clone()).await.unwrap(),
        client.subscribe(description.clone()).await.unwrap(),
        client.subscribe(description).await.unwrap(),
    ];
    drop(client.sow(Sow::of("s")).await.unwrap());
    // So does a command that is put together field by field.
    let command = Command::new(CommandKind::Subscribe).topic("t").filter("/a = 1");
    let _more = [client.execute(command.clone()).await.unwrap(), client.execute(command).await.unwrap()];
    let stats = server.stats();
    let asked: Vec<_> = stats.commands.iter().filter(|command| command.kind == MessageKind::Subscribe).collect();
    let mut ids: Vec<_> = stats.commands.iter().filter_map(|command| command.command_id.clone()).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!((asked.len(), ids.len()), (5, all), "every command has an id of its own");
}
