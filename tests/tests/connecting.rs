//! How a client gets its connection: which server, how long each step may
//! take, who is told, and what the final error says.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amps_client::reconnect::FixedReconnect;
use amps_client::server_chooser::{ListChooser, RefuseGaps, Report, Server, ServerChooser};
use amps_client::{
    Cause, Client, ClientBuilder, CommandError, ConnectError, ConnectionState, Connector, Event, Events, LastHeaders,
    Reason, SocketConnector, StartAt, Subscribe, Uri,
};
use amps_core::message::MessageKind;
use amps_core::transport::Connecting;
use amps_testserver::TestServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

const SOON: Duration = Duration::from_secs(20);

async fn server() -> TestServer {
    TestServer::builder().ack_conflation(Duration::from_millis(20)).start().await.unwrap()
}

/// Waits before attempts, the same each time, and never for nothing.
fn every(delay: Duration) -> FixedReconnect {
    FixedReconnect::new(delay, 1).loss_window(Duration::ZERO)
}

/// Refuses every connection, or counts them and goes on by TCP.
#[derive(Debug, Clone, Default)]
struct Dials {
    refuses: bool,
    count: Arc<AtomicUsize>,
}

impl Connector for Dials {
    fn connect<'a>(&'a self, uri: &'a Uri) -> Connecting<'a> {
        self.count.fetch_add(1, Ordering::SeqCst);
        match self.refuses {
            true => Box::pin(async { Err(io::Error::from(io::ErrorKind::ConnectionRefused)) }),
            false => Box::pin(async move { SocketConnector::default().connect(uri).await }),
        }
    }
}

fn refusing() -> Dials {
    Dials { refuses: true, ..Dials::default() }
}

/// What a chooser was told, in order.
type Told = Arc<Mutex<Vec<(String, Result<(), Cause>)>>>;

/// A list that notes its reports.
struct Noted(ListChooser, Told);

impl Noted {
    fn new(uris: impl IntoIterator<Item = String>) -> (Self, Told) {
        let told = Told::default();
        let list = uris.into_iter().map(|uri| uri.parse::<Uri>().unwrap()).collect();
        (Self(list, Arc::clone(&told)), told)
    }
}

impl ServerChooser for Noted {
    fn current(&mut self) -> Option<Server> {
        self.0.current()
    }
    fn report_failure(&mut self, report: &Report, cause: &Cause) {
        self.1.lock().unwrap().push((report.uri.to_string(), Err(cause.clone())));
        self.0.report_failure(report, cause);
    }
    fn report_success(&mut self, report: &Report) {
        self.1.lock().unwrap().push((report.uri.to_string(), Ok(())));
        self.0.report_success(report);
    }
    fn error(&self) -> String {
        self.0.error()
    }
}

/// The next event that `pick` picks.
async fn event<T>(events: &mut Events, pick: impl Fn(&Event) -> Option<T>) -> T {
    let found = async {
        loop {
            let event = events.next().await.expect("events go on");
            if let Some(found) = pick(&event) {
                return found;
            }
        }
    };
    tokio::time::timeout(SOON, found).await.expect("it is told")
}

fn failure(event: &Event) -> Option<Cause> {
    match event {
        Event::AttemptFailed { cause, .. } => Some(cause.clone()),
        _ => None,
    }
}

/// Covers 11.2#2, 11.10#3.
#[tokio::test(start_paused = true)]
async fn the_whole_has_a_limit_whatever_the_waits_and_the_error_says_what_was_tried() {
    let began = Instant::now();
    let builder = Client::builder("me").servers(["tcp://a:1/amps/json", "tcp://b:1/amps/json"]);
    let builder = builder.connector(refusing()).reconnect(every(Duration::from_secs(20)));
    let error = builder.connect_within(Duration::from_secs(1)).connect().await.unwrap_err();
    assert!((1_000..1_200).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    let ConnectError::TimedOut { attempts, .. } = &error else { panic!("{error}") };
    let tried: Vec<_> = attempts.iter().map(|(uri, count, cause)| (uri.as_str(), *count, cause.to_string())).collect();
    let refused = "cannot connect: connection refused".to_owned();
    assert_eq!(tried, [("tcp://a:1/amps/json", 1, refused.clone()), ("tcp://b:1/amps/json", 1, refused)]);
    let text = error.to_string();
    assert!(text.contains("tcp://a:1/amps/json (1 attempt): cannot connect"), "{text}");
    assert!(text.contains("tcp://b:1/amps/json (1 attempt): cannot connect"), "{text}");
}

/// Covers 11.2#3, 20#14.
#[tokio::test(start_paused = true)]
async fn a_close_does_not_wait_for_the_next_attempt() {
    let builder = Client::builder("me").server("tcp://a:1/amps/json").connector(refusing());
    let client = builder.reconnect(every(Duration::from_secs(20))).start().unwrap();
    let mut events = client.events();
    event(&mut events, failure).await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.connected().await }
    });
    let began = Instant::now();
    client.close(SOON).await;
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    assert!(matches!(waiting.await.unwrap(), Err(ConnectError::GaveUp { cause: Cause::ByUser, .. })));
    let mut states = Vec::new();
    while let Some(event) = events.next().await {
        states.extend(match event {
            Event::State(change) => Some(change.state),
            _ => None,
        });
        if states.last() == Some(&ConnectionState::Shutdown) {
            break;
        }
    }
    assert_eq!(states, [ConnectionState::Shutdown], "nothing else follows");
}

/// Covers 11.2#4.
#[tokio::test]
async fn several_callers_share_one_attempt() {
    let server = server().await;
    let dials = Dials::default();
    let builder = Client::builder("me").server(server.uri()).connector(dials.clone());
    let client = builder.start().unwrap();
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.connected().await })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!((dials.count.load(Ordering::SeqCst), server.stats().logons), (1, 1));
    client.close(SOON).await;

    let builder = Client::builder("me").server("tcp://a:1/amps/json").connector(refusing());
    let strategy = every(Duration::from_millis(1)).max_retry_time(Duration::from_millis(20));
    let client = builder.reconnect(strategy).start().unwrap();
    let (one, other) = tokio::join!(client.connected(), client.connected());
    let (one, other) = (one.unwrap_err().to_string(), other.unwrap_err().to_string());
    assert!(one == other && one.contains("gave up"), "{one}; {other}");
}

/// A listener that answers each connection with `bytes` and keeps it open.
async fn answers(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(bytes).await;
                // Until the client hangs up.
                while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    format!("tcp://{address}/amps/json")
}

/// A connector whose handshake fails for `tcps`; the rest is TCP.
#[derive(Debug)]
struct NoTrust;

impl Connector for NoTrust {
    fn connect<'a>(&'a self, uri: &'a Uri) -> Connecting<'a> {
        Box::pin(async move {
            match uri.scheme() {
                amps_core::uri::Scheme::Tcps => Err(io::Error::other("the certificate is not trusted")),
                _ => SocketConnector::default().connect(uri).await,
            }
        })
    }
}

/// Covers 11.2#6.
#[tokio::test]
async fn every_way_to_fail_is_reported_once_and_the_next_server_is_tried() {
    let live = server().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let uris = [
        "tcp://no-such-host.invalid:9007/amps/json".to_owned(),
        format!("tcp://{closed}/amps/json"),
        "tcps://127.0.0.1:1/amps/json".to_owned(),
        answers(b"HTTP/1.1 400 Bad Request\r\n\r\n").await,
        answers(b"\0\0\0\x04nope").await,
        answers(b"").await,
        live.uri(),
    ];
    let (chooser, told) = Noted::new(uris.clone());
    let client = Client::builder("me").server_chooser(chooser).connector(NoTrust).reconnect(every(Duration::ZERO));
    let client = client.attempt_timeouts(SOON, Duration::from_secs(2)).connect().await.unwrap();
    let told = told.lock().unwrap().clone();
    let order: Vec<_> = told.iter().map(|(uri, _)| uri.clone()).collect();
    assert_eq!(order, uris, "each once, in order");
    let causes: Vec<_> = told.iter().map(|(_, result)| result.clone().err()).collect();
    assert!(
        matches!(
            &causes[..],
            [
                Some(Cause::Connect(_)),
                Some(Cause::Connect(_)),
                Some(Cause::Connect(_)),
                Some(Cause::Frame(_)),
                Some(Cause::Message(_)),
                Some(Cause::LogonTimeout(_)),
                None,
            ]
        ),
        "{causes:?}"
    );
    client.close(SOON).await;
}

/// Says that it has no server, and why.
struct Nowhere;

impl ServerChooser for Nowhere {
    fn current(&mut self) -> Option<Server> {
        None
    }
    fn report_failure(&mut self, _: &Report, _: &Cause) {}
    fn report_success(&mut self, _: &Report) {}
    fn error(&self) -> String {
        "the directory of servers is down".to_owned()
    }
}

/// Covers 11.4#3.
#[tokio::test]
async fn a_chooser_without_a_server_ends_it_with_its_own_words() {
    let error = Client::builder("me").server_chooser(Nowhere).connect().await.unwrap_err();
    assert!(error.to_string().contains("the directory of servers is down"), "{error}");
}

/// Uses the client in every call, and notices calls at the same time.
struct Curious {
    list: ListChooser,
    client: Arc<Mutex<Option<Client>>>,
    inside: AtomicBool,
    calls: Arc<AtomicUsize>,
}

impl Curious {
    fn look(&self) {
        assert!(!self.inside.swap(true, Ordering::SeqCst), "two calls at once");
        if let Some(client) = &*self.client.lock().unwrap() {
            let _ = (client.is_connected(), client.unacknowledged(), client.reconnects(), client.server_version());
            let _ = (client.state().latest(), client.events());
            client.enqueue("t", "from the chooser").unwrap();
        }
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.inside.store(false, Ordering::SeqCst);
    }
}

impl ServerChooser for Curious {
    fn current(&mut self) -> Option<Server> {
        self.look();
        self.list.current()
    }
    fn report_failure(&mut self, report: &Report, cause: &Cause) {
        self.look();
        self.list.report_failure(report, cause);
    }
    fn report_success(&mut self, report: &Report) {
        self.look();
        self.list.report_success(report);
    }
    fn error(&self) -> String {
        self.list.error()
    }
}

/// Covers 11.4#4, 20#8.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chooser_may_use_the_client_and_is_called_once_at_a_time() {
    let (a, b) = (server().await, server().await);
    let uris = [&a, &b].map(|server| server.uri().parse::<Uri>().unwrap());
    let (handle, calls) = (Arc::default(), Arc::default());
    let chooser = Curious {
        list: uris.into_iter().collect(),
        client: Arc::clone(&handle),
        inside: AtomicBool::new(false),
        calls: Arc::clone(&calls),
    };
    let client = Client::builder("me").server_chooser(chooser).reconnect(every(Duration::ZERO));
    let client = client.on_publish_gap(amps_client::OnPublishGap::Continue).connect().await.unwrap();
    *handle.lock().unwrap() = Some(client.clone());
    let mut state = client.state();
    for round in 0..10 {
        state.latest();
        assert!(if round % 2 == 0 { a.kick("me") } else { b.kick("me") });
        let recovered = async {
            while state.changed().await.expect("the client is there").state != ConnectionState::Resubscribed {}
        };
        tokio::time::timeout(SOON, recovered).await.unwrap();
    }
    assert!(calls.load(Ordering::SeqCst) >= 30, "{calls:?}");
    tokio::time::timeout(SOON, client.flush()).await.unwrap().unwrap();
    // It holds a client, and the client holds it.
    *handle.lock().unwrap() = None;
    client.close(SOON).await;
}

/// A list that the application can change while it is used.
#[derive(Clone)]
struct Shared(Arc<Mutex<ListChooser>>);

impl ServerChooser for Shared {
    fn current(&mut self) -> Option<Server> {
        self.0.lock().unwrap().current()
    }
    fn report_failure(&mut self, report: &Report, cause: &Cause) {
        self.0.lock().unwrap().report_failure(report, cause);
    }
    fn report_success(&mut self, report: &Report) {
        self.0.lock().unwrap().report_success(report);
    }
    fn error(&self) -> String {
        self.0.lock().unwrap().error()
    }
}

/// Covers 11.4#2.
#[tokio::test]
async fn a_server_taken_off_the_list_keeps_its_connection_until_that_is_lost() {
    let (a, b) = (server().await, server().await);
    let [first, second] = [&a, &b].map(|server| server.uri().parse::<Uri>().unwrap());
    let list = Shared(Arc::new(Mutex::new(ListChooser::new([first.clone(), second]))));
    let client = Client::builder("me").server_chooser(list.clone()).reconnect(every(Duration::ZERO));
    let client = client.connect().await.unwrap();
    assert!(list.0.lock().unwrap().remove(&first));
    client.publish("t", "1").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!((a.log().len(), a.stats().connections), (1, 1), "still there");
    for times in 1..=3 {
        assert!(if times == 1 { a.kick("me") } else { b.kick("me") });
        let back = b.wait_for(|stats| stats.logons == times);
        tokio::time::timeout(SOON, back).await.unwrap();
    }
    assert_eq!(a.stats().accepted, 1, "never again");
}

/// Covers 3#1, 3#2.
#[tokio::test]
async fn connecting_twice_is_refused_and_changes_nothing() {
    for builder in [Client::builder("me"), Client::plain("me")] {
        let server = server().await;
        let client = builder.server(server.uri()).connect().await.unwrap();
        client.connected().await.unwrap();
        assert!(matches!(client.reconnect().await, Err(ConnectError::AlreadyConnected)));
        client.publish("t", "1").await.unwrap();
        client.flush().await.unwrap();
        let stats = server.stats();
        let logons = stats.commands.iter().filter(|command| command.kind == MessageKind::Logon).count();
        assert_eq!((stats.accepted, logons, server.log().len()), (1, 1, 1));
    }
}

/// Covers 3#3, 3#5.
#[tokio::test]
async fn the_first_command_is_a_logon_and_its_answer_has_the_servers_version() {
    let server = TestServer::builder().version("5.3.5.99").start().await.unwrap();
    let client = Client::builder("me").server(server.uri()).start().unwrap();
    assert_eq!(client.server_version(), None);
    let mut state = client.state();
    while state.changed().await.unwrap().state != ConnectionState::LoggedOn {}
    assert_eq!(client.server_version().as_deref(), Some("5.3.5.99"));
    client.connected().await.unwrap();
    let first = server.stats().commands[0].clone();
    assert_eq!((first.kind, first.acks.as_deref()), (MessageKind::Logon, Some("processed")));
    client.close(SOON).await;
    assert_eq!(client.server_version(), None);
}

/// A client knows its own messages, also before a failover, and a server shows what
/// the client said of itself.
#[tokio::test]
async fn a_client_knows_its_number_and_says_what_it_is_told_to_say() {
    let server = TestServer::builder().start().await.unwrap();
    let headers = LastHeaders::new(100);
    let builder = Client::builder("me").server(server.uri()).logon_correlation_id("desk+7");
    let client = builder.connector(SocketConnector::new().tap(headers.tap())).start().unwrap();
    assert_eq!(client.name_hash(), None);
    client.connected().await.unwrap();
    let mut own = client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch)).await.unwrap();
    client.publish("t", "x").await.unwrap();
    let message = own.next_message().await.unwrap().unwrap();
    assert_eq!(client.name_hash(), Some(message.bookmark().unwrap().publisher));
    let logon = headers.list().remove(0).header;
    assert!(logon.starts_with(r#"{"c":"logon""#) && logon.contains(r#""x":"desk+7""#), "{logon}");
    client.close(SOON).await;
    assert!(client.name_hash().is_some());
}

/// Covers 3#4.
#[tokio::test]
async fn with_a_silent_server_a_publish_returns_and_a_subscribe_waits_for_its_time() {
    let server = server().await;
    let limit = Duration::from_millis(200);
    let client = Client::builder("me").server(server.uri()).command_timeout(limit).connect().await.unwrap();
    server.faults(|faults| faults.half_open(amps_testserver::Target::All, true));
    let mut took = Vec::new();
    for id in 0..20 {
        let began = Instant::now();
        client.publish("t", id.to_string()).await.unwrap();
        took.push(began.elapsed());
    }
    took.sort();
    // The median: a busy machine may stop this process in between.
    assert!(took[10] < Duration::from_millis(10), "{took:?}");
    let began = Instant::now();
    let refused = client.subscribe("t").await.unwrap_err();
    assert!(matches!(refused, CommandError::TimedOut { .. }), "{refused}");
    assert!(began.elapsed() >= limit, "{:?}", began.elapsed());
}

fn as_user(server: &TestServer, user: &str) -> ClientBuilder {
    let uri = server.uri().replace("tcp://", &format!("tcp://{user}@"));
    Client::builder("me").server(uri).reconnect(every(Duration::from_millis(20)))
}

/// Covers 3.1#2.
#[tokio::test]
async fn a_name_in_use_by_another_user_is_a_failed_attempt_and_tried_again() {
    let server = server().await;
    let holder = as_user(&server, "one").connect().await.unwrap();
    let other = as_user(&server, "other").start().unwrap();
    let mut events = other.events();
    for _ in 0..3 {
        let cause = event(&mut events, failure).await;
        assert!(matches!(cause, Cause::LogonRefused(Reason::NameInUse)), "{cause}");
    }
    assert!(holder.is_connected(), "who has the name keeps it");
    holder.close(SOON).await;
    tokio::time::timeout(SOON, other.connected()).await.unwrap().unwrap();
}

/// A server that lacks acknowledged messages, and a client that was told to go
/// on there: the chooser has the last word.
///
/// Covers 11.4#6.
#[tokio::test]
async fn a_chooser_may_refuse_a_publish_gap_for_a_while() {
    let (has, lacks) = (server().await, server().await);
    let uris = [&has, &lacks].map(|server| server.uri().parse::<Uri>().unwrap());
    let chooser = RefuseGaps::new(uris.into_iter().collect::<ListChooser>()).give_in_after(2);
    let builder = Client::builder("me").server_chooser(chooser).reconnect(every(Duration::from_millis(10)));
    let client = builder.on_publish_gap(amps_client::OnPublishGap::Continue).connect().await.unwrap();
    client.publish("t", "1").await.unwrap();
    client.flush().await.unwrap();
    let mut events = client.events();
    has.stop().await;
    let mut refused = 0;
    let live = async {
        loop {
            match events.next().await.unwrap() {
                Event::AttemptFailed { cause: Cause::NotAccepted, .. } => refused += 1,
                Event::State(change) if change.state == ConnectionState::Resubscribed => return,
                _ => {}
            }
        }
    };
    tokio::time::timeout(SOON, live).await.unwrap();
    assert_eq!(refused, 2);
    client.publish("t", "2").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(lacks.log().len(), 1);
    client.close(SOON).await;
}
