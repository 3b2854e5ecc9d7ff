//! The client for programs without an async runtime.

use std::collections::BTreeMap;
use std::sync::{Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use amps_client::blocking::{self, Client};
use amps_client::reconnect::FixedReconnect;
use amps_client::server_chooser::{Report, Server, ServerChooser};
use amps_client::{
    BookmarkStore, Cause, ClientBuilder, ConnectionState, Error, Event, Message, PublishStore, Sow, StartAt, Subscribe,
    SubscriptionEvent, TypedEvent, ViewEvent,
};
use amps_testserver::{Link, QueueConfig, QueueDepth, TestServer, TestServerBuilder};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

const SOON: Duration = Duration::from_secs(20);

/// What servers run on.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn server() -> TestServerBuilder {
    TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("records", "/id")
}

fn builder(name: &str, servers: &[String]) -> ClientBuilder {
    let strategy = FixedReconnect::new(Duration::ZERO, 1).loss_window(Duration::ZERO);
    Client::builder(name).servers(servers).reconnect(strategy)
}

#[test]
fn nothing_is_lost_and_nothing_doubled_when_a_server_dies() {
    let servers = runtime();
    let second = servers.block_on(server().name("second").start()).unwrap();
    let first = servers.block_on(server().name("first").peer(second.uri(), Link::Sync).start()).unwrap();
    let uris = [first.uri(), second.uri()];
    let dir = tempfile::tempdir().unwrap();
    let gateway = builder("gateway", &uris).publish_store(PublishStore::sled(dir.path().join("publish")));
    let gateway = Client::connect(gateway).unwrap();
    let desk = builder("desk", &uris).bookmark_store(BookmarkStore::sled(dir.path().join("bookmarks")));
    let desk = Client::connect(desk).unwrap();
    let mut orders = desk.subscribe(Subscribe::to("orders").bookmark(StartAt::Epoch)).unwrap();
    let (read, halfway) = mpsc::channel();
    let reader = thread::spawn(move || {
        let (mut seen, mut reconnects) = (Vec::new(), 0);
        for event in orders.by_ref() {
            match event.unwrap() {
                SubscriptionEvent::Message(message) => {
                    orders_done(&mut seen, &message);
                    if seen.len() == 100 {
                        read.send(()).unwrap();
                    }
                    if seen.len() == 400 {
                        break;
                    }
                }
                SubscriptionEvent::Reconnected { .. } => reconnects += 1,
                other => panic!("{other:?}"),
            }
        }
        (seen, reconnects, orders)
    });
    let mut receipts = Vec::new();
    for id in 0..200 {
        gateway.publish("orders", id.to_string()).unwrap();
    }
    halfway.recv_timeout(SOON).unwrap();
    servers.block_on(first.stop());
    for id in 200..400 {
        receipts.push(gateway.enqueue_wait("orders", id.to_string()).unwrap());
    }
    receipts.last().unwrap().durable().unwrap();
    receipts.iter().for_each(|receipt| receipt.persisted().unwrap());
    gateway.flush().unwrap();
    let (seen, reconnects, orders) = reader.join().unwrap();
    assert_eq!(seen, (0..400).collect::<Vec<u32>>());
    assert_eq!(reconnects, 1);
    assert_eq!(servers.block_on(second.wait_for_log(|log| log.len() == 400)).len(), 400);
    assert_eq!((gateway.unacknowledged(), gateway.as_async().reconnects()), (0, 1));
    drop(orders);
    for client in [gateway, desk] {
        assert!(client.close(SOON).unwrap().stores_closed);
    }
}

fn orders_done(seen: &mut Vec<u32>, message: &Message) {
    seen.push(std::str::from_utf8(message.data()).unwrap().parse().unwrap());
}

/// The rest of the surface does what its async twins do.
#[test]
fn queries_changes_and_events_are_those_of_the_async_client() {
    let servers = runtime();
    let server = servers.block_on(server().start()).unwrap();
    let client = Client::connect(builder("me", &[server.uri()])).unwrap();
    let events = client.events();
    client.publish("records", r#"{"id":1,"qty":5}"#).unwrap();
    client.delta_publish("records", r#"{"id":1,"qty":6}"#).unwrap();
    client.publish("records", r#"{"id":2,"qty":7}"#).unwrap();
    client.flush().unwrap();
    assert_eq!(client.count("records").unwrap(), 2);
    let records: Result<Vec<_>, _> = client.sow("records").unwrap().messages().collect();
    assert_eq!(records.unwrap().len(), 2);
    let command = amps_client::Command::sow_delete("records").text(amps_client::Field::Filter, "/id = 1");
    let blocking::Executed::Written(receipt) = client.execute(command).unwrap() else {
        panic!("a deletion is written")
    };
    receipt.persisted_within(SOON).unwrap();
    assert_eq!(client.count("records").unwrap(), 1);

    let mut live = client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch)).unwrap();
    let handle = live.handle();
    handle.pause().unwrap();
    client.publish("t", "1").unwrap();
    client.flush().unwrap();
    let began = Instant::now();
    let limit = Duration::from_millis(60);
    assert!(matches!(live.next_message_within(limit), Err(Error::NothingYet { after }) if after == limit));
    assert!(began.elapsed() >= limit);
    client.resume([&handle]).unwrap();
    assert_eq!(live.next_message_within(SOON).unwrap().unwrap().data(), b"1");
    // A call from within a handler is legal.
    client.publish("t", "2").unwrap();
    let mut handled = Vec::new();
    let ended = live.for_each_message(|message| {
        handled.push(message.data().to_vec());
        match message.data() {
            b"2" => client.publish("t", "3"),
            _ => client.close(SOON).map(drop),
        }
    });
    assert!(matches!(ended, Err(Error::Command(_))), "{ended:?}");
    assert_eq!(handled, [b"2", b"3"]);
    let mut shutdown = events.filter(
        |event| matches!(event.as_ref().unwrap(), Event::State(change) if change.state == ConnectionState::Shutdown),
    );
    assert!(shutdown.next().is_some());
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct Record {
    id: u32,
    qty: u32,
}

#[test]
fn values_and_views_are_those_of_the_async_client() {
    let servers = runtime();
    let server = servers.block_on(server().start()).unwrap();
    let client = Client::connect(builder("me", &[server.uri()])).unwrap();
    let records = client.json();
    records.publish("records", &Record { id: 1, qty: 5 }).unwrap();
    records.enqueue_wait("records", &Record { id: 2, qty: 6 }).unwrap().persisted().unwrap();
    let found: Result<Vec<_>, _> =
        records.sow::<Record>(Sow::of("records").order_by("/id")).unwrap().messages().collect();
    let found: Vec<_> = found.unwrap().into_iter().map(|message| message.value.unwrap().qty).collect();
    assert_eq!(found, [5, 6]);

    let view =
        blocking::SowView::open(blocking::SowView::of("records").keyed_by(|it: &Record| it.id), &client).unwrap();
    assert_eq!((view.len(), view.get(&1).unwrap().qty), (2, 5));
    let mut changes = view.changes();
    assert!(matches!(changes.next().unwrap().unwrap(), ViewEvent::Start { records, .. } if records.len() == 2));
    let limit = Duration::from_millis(20);
    assert!(matches!(changes.next_within(limit), Err(Error::NothingYet { after }) if after == limit));
    client.publish_json("records", &Record { id: 3, qty: 7 }).unwrap();
    assert!(matches!(changes.next_within(SOON).unwrap().unwrap(), ViewEvent::Change(_)));
    assert_eq!(view.get(&3).unwrap().qty, 7);
    view.current().unwrap();

    // What is no value is an item like others.
    let mut typed = client.subscribe_json::<Record>(Subscribe::to("typed").bookmark(StartAt::Epoch)).unwrap();
    client.publish("typed", "poison").unwrap();
    client.publish_json("typed", &Record { id: 4, qty: 8 }).unwrap();
    let TypedEvent::Message(poison) = typed.next_within(SOON).unwrap().unwrap() else { panic!("a message") };
    assert!(poison.value.is_err());
    assert_eq!(poison.data(), b"poison");
    assert_eq!(typed.next_message().unwrap().unwrap().value.unwrap(), Record { id: 4, qty: 8 });
    typed.discarded().unwrap();
}

#[test]
fn handlers_work_through_a_queue_on_threads_of_their_own() {
    let servers = runtime();
    let server =
        servers.block_on(server().queue(QueueConfig::new("work").max_per_subscription_backlog(10)).start()).unwrap();
    let client = Client::connect(builder("me", &[server.uri()])).unwrap();
    let bodies = ["1", "2", "fails", "panics", "3", "4"];
    bodies.iter().for_each(|body| client.publish("work", body).unwrap());
    let mut work = client.subscribe(Subscribe::to("work").max_backlog(10)).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let stop = Mutex::new(Some(stop));
    // How often each was tried, and how many are done.
    let seen = Mutex::new((BTreeMap::<String, u32>::new(), 0));
    // The first ones go on together or not at all.
    let together = Barrier::new(2);
    let publisher = client.clone();
    let handler = move |message: Message| {
        let body = String::from_utf8_lossy(message.data()).into_owned();
        let first = {
            let tries = &mut seen.lock().unwrap().0;
            *tries.entry(body.clone()).and_modify(|count| *count += 1).or_insert(1) == 1
        };
        match body.as_str() {
            "1" | "2" => drop(together.wait()),
            "fails" if first => return Err("not yet"),
            "panics" if first => panic!("planned"),
            // A handler may call the client.
            "4" => publisher.publish("work", "last").unwrap(),
            _ => {}
        }
        let done = &mut seen.lock().unwrap().1;
        *done += 1;
        if *done == 7 {
            drop(stop.lock().unwrap().take());
        }
        Ok(())
    };
    let stopped = async { stopped.await.unwrap_or(()) };
    let processed = work.process_until(stopped, 2, handler).unwrap();
    assert_eq!((processed.done, processed.failed, processed.lost), (7, 2, 0));
    servers.block_on(server.wait_for_queue("work", |queue| queue == QueueDepth::default()));
}

/// Dials nobody, and blocks its thread while it is asked.
struct Stuck(mpsc::Sender<()>, mpsc::Receiver<()>);

impl ServerChooser for Stuck {
    fn current(&mut self) -> Option<Server> {
        self.0.send(()).unwrap();
        let _ = self.1.recv();
        None
    }
    fn report_failure(&mut self, _: &Report, _: &Cause) {}
    fn report_success(&mut self, _: &Report) {}
    fn error(&self) -> String {
        "nowhere to go".to_owned()
    }
}

#[test]
fn closing_and_dropping_hold_nobody_up_whatever_the_client_is_at() {
    let limit = Duration::from_millis(200);
    let slack = Duration::from_secs(5);
    // A server that says nothing.
    let servers = runtime();
    let server = servers.block_on(server().start()).unwrap();
    server.faults(|faults| faults.silence_at_logon(true));
    let client = Client::start(builder("silent", &[server.uri()])).unwrap();
    client.publish("t", "1").unwrap();
    let began = Instant::now();
    let closed = client.close(limit).unwrap();
    assert!(began.elapsed() < slack, "{:?}", began.elapsed());
    assert_eq!(closed.unacknowledged, 1);

    // Code of the application that never returns has the client's thread.
    let (asked, is_asked) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let client = Client::start(Client::builder("stuck").server_chooser(Stuck(asked, released))).unwrap();
    is_asked.recv_timeout(SOON).unwrap();
    client.publish("t", "1").unwrap();
    let stream = thread::spawn({
        let client = client.clone();
        move || client.subscribe("t").map(drop)
    });
    let began = Instant::now();
    assert_eq!(client.close(limit).unwrap().unacknowledged, 1);
    drop(client);
    assert!(began.elapsed() < slack, "{:?}", began.elapsed());
    release.send(()).unwrap();
    assert!(stream.join().unwrap().is_err(), "who waits is told when it is over");
}

/// A thread of the client's ends with it.
#[test]
fn a_client_leaves_no_thread_behind() {
    let is_there = |name: &str| {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let names = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
        names.into_iter().any(|comm| comm.trim_end() == name)
    };
    let servers = runtime();
    let server = servers.block_on(server().start()).unwrap();
    let client = Client::connect(builder("goner", &[server.uri()])).unwrap();
    let stream = client.subscribe("t").unwrap();
    let refused = Client::connect(builder("refused", &["nonsense".to_owned()]));
    assert!(matches!(refused, Err(Error::Open(_))), "{refused:?}");
    assert!(is_there("amps-goner"));
    drop(client);
    assert!(is_there("amps-goner"), "a stream keeps the client");
    drop(stream);
    let began = Instant::now();
    while is_there("amps-goner") || is_there("amps-refused") {
        assert!(began.elapsed() < SOON, "the thread is still there");
        thread::yield_now();
    }
}

/// Every call that waits, in this place.
fn would_deadlock(client: &Client, stream: &mut blocking::Subscription, uri: &str) -> bool {
    let is = |error: Option<Error>| matches!(error, Some(Error::WouldDeadlock));
    let receipt = client.enqueue("t", "enqueued anywhere").unwrap();
    let all = [
        is(Client::connect(builder("other", &[uri.to_owned()])).err()),
        is(client.publish("t", "1").err()),
        is(client.flush().err()),
        is(client.subscribe("t").err()),
        is(client.count("records").err()),
        is(receipt.persisted().err()),
        is(stream.next_message_within(Duration::from_secs(1)).err()),
        is(stream.next().and_then(Result::err)),
        is(client.events().next().and_then(Result::err)),
        is(client.close(SOON).err()),
    ];
    assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
    all[0]
}

#[test]
fn in_async_code_every_call_says_that_it_would_deadlock() {
    let servers = runtime();
    let server = servers.block_on(server().start()).unwrap();
    let uri = server.uri();
    let client = Client::connect(builder("me", std::slice::from_ref(&uri))).unwrap();
    let mut stream = client.subscribe("t").unwrap();
    let one_thread = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(one_thread.block_on(async { would_deadlock(&client, &mut stream, &uri) }));
    assert!(servers.block_on(async { would_deadlock(&client, &mut stream, &uri) }));
    // Nothing was done, and the stream goes on. Dropping is allowed anywhere.
    assert_eq!(client.flush().map_err(|error| error.to_string()), Ok(()));
    assert_eq!(stream.next_message_within(SOON).unwrap().unwrap().data(), b"enqueued anywhere");
    let mut other = client.clone().subscribe("t").unwrap();
    let publishes = client.clone();
    let blocking = servers.block_on(async move {
        let spawned = tokio::task::spawn_blocking(move || {
            publishes.publish("t", "from a place for blocking code")?;
            publishes.flush()?;
            other.next_message_within(SOON)
        });
        spawned.await.unwrap()
    });
    assert_eq!(blocking.unwrap().unwrap().data(), b"from a place for blocking code");
    one_thread.block_on(async { drop((stream, client)) });
}

/// Asks a blocking client of its own thread.
struct Asks(mpsc::Receiver<Client>, mpsc::Sender<bool>);

impl ServerChooser for Asks {
    fn current(&mut self) -> Option<Server> {
        let client = self.0.recv_timeout(SOON).unwrap();
        self.1.send(matches!(client.flush(), Err(Error::WouldDeadlock))).unwrap();
        None
    }
    fn report_failure(&mut self, _: &Report, _: &Cause) {}
    fn report_success(&mut self, _: &Report) {}
    fn error(&self) -> String {
        "nowhere to go".to_owned()
    }
}

#[test]
fn code_that_the_client_calls_does_not_lock_itself_out() {
    let (give, given) = mpsc::channel();
    let (told, tells) = mpsc::channel();
    let client = Client::start(Client::builder("me").server_chooser(Asks(given, told))).unwrap();
    client.publish("t", "1").unwrap();
    give.send(client.clone()).unwrap();
    assert!(tells.recv_timeout(SOON).unwrap());
    let error = client.connected().unwrap_err();
    assert!(error.to_string().contains("nowhere to go"), "{error}");
}
