//! Credentials: asked anew for each attempt, answers to challenges, per
//! server, never shown.

use std::error::Error as _;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amps_client::authenticator::{Authenticating, Authenticator, Challenge, Credentials, LogonRequest};
use amps_client::reconnect::FixedReconnect;
use amps_client::{Cause, Client, ClientBuilder, ConnectError, Event, PublishStore, Reason};
use amps_testserver::{Access, TestServer};
use tracing_subscriber::fmt::MakeWriter;

const SOON: Duration = Duration::from_secs(20);

async fn server() -> TestServer {
    TestServer::builder().ack_conflation(Duration::from_millis(20)).start().await.unwrap()
}

fn quick() -> FixedReconnect {
    FixedReconnect::new(Duration::from_millis(20), 1).loss_window(Duration::ZERO)
}

/// Answers with a new token each time, and notes what it is asked.
#[derive(Clone, Default)]
struct Tokens {
    asked: Arc<Mutex<Vec<String>>>,
}

impl Tokens {
    fn note(&self, text: String) -> usize {
        let mut asked = self.asked.lock().unwrap();
        asked.push(text);
        asked.len()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Authenticator for Tokens {
    fn authenticate<'a>(&'a self, logon: &'a LogonRequest) -> Authenticating<'a> {
        Box::pin(async move {
            // It may wait, and does not hold the client up.
            tokio::task::yield_now().await;
            let number = self.note(format!("authenticate {}", logon.client_name));
            Ok(Credentials::new(logon.uri.user().unwrap_or("nobody"), format!("token {number}")))
        })
    }

    fn retry<'a>(&'a self, _: &'a LogonRequest, challenge: &'a Challenge) -> Authenticating<'a> {
        Box::pin(async move {
            let (user, password) = (challenge.credentials.user(), challenge.credentials.password());
            let number = self.note(format!("retry {} {}", user.unwrap_or("-"), password.unwrap_or("-")));
            Ok(Credentials::new(user.unwrap_or_default(), format!("token {number}")))
        })
    }

    fn completed(&self, _: &LogonRequest, reason: Option<&str>) {
        self.note(format!("completed {}", reason.unwrap_or("-")));
    }
}

/// Notes the credentials of every logon that is looked at.
fn seen(server: &TestServer) -> Arc<Mutex<Vec<String>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    server.faults(|faults| {
        faults.check_credentials(move |user, password| {
            notes.lock().unwrap().push(format!("{user}:{password}"));
            true
        });
    });
    seen
}

/// Covers 3.4#1.
#[tokio::test]
async fn challenges_are_answered_one_after_the_other() {
    let server = server().await;
    let seen = seen(&server);
    server.faults(|faults| faults.challenge_logon(&[("first", "nonce 1"), ("second", "nonce 2")]));
    let tokens = Tokens::default();
    let client = Client::builder("me").server(server.uri()).authenticator(tokens.clone()).connect().await.unwrap();
    assert_eq!(
        tokens.asked(),
        ["authenticate me", "retry first nonce 1", "retry second nonce 2", "completed authentication disabled"]
    );
    assert_eq!(seen.lock().unwrap()[..], ["second:token 3"]);
    client.close(SOON).await;
}

/// Without an authenticator: first what the connection string has, then what
/// the server names.
#[tokio::test]
async fn without_an_authenticator_the_servers_own_words_are_the_answer() {
    let server = server().await;
    let seen = seen(&server);
    server.faults(|faults| faults.challenge_logon(&[("given", "by the server")]));
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    assert_eq!(seen.lock().unwrap()[..], ["given:by the server"]);
    client.close(SOON).await;
}

#[tokio::test]
async fn a_server_that_asks_for_ever_is_a_failed_attempt() {
    let (asks, lives) = (server().await, server().await);
    asks.faults(|faults| faults.challenge_logon(&[("u", "p"); 4]));
    let tokens = Tokens::default();
    let client = Client::builder("me").servers([asks.uri(), lives.uri()]).authenticator(tokens.clone());
    let client = client.reconnect(quick()).start().unwrap();
    assert!(matches!(failure(&client).await, Cause::TooManyChallenges(3)));
    client.connected().await.unwrap();
    assert_eq!(tokens.asked().iter().filter(|asked| asked.starts_with("retry")).count(), 3);
    client.close(SOON).await;
}

/// The cause of the first failed attempt from now on.
async fn failure(client: &Client) -> Cause {
    let mut events = client.events();
    loop {
        if let Some(Event::AttemptFailed { cause, .. }) = tokio::time::timeout(SOON, events.next()).await.unwrap() {
            return cause;
        }
    }
}

/// How an authenticator misbehaves.
enum Bad {
    Fails,
    Panics,
    Sleeps,
}

impl Authenticator for Bad {
    fn authenticate<'a>(&'a self, _: &'a LogonRequest) -> Authenticating<'a> {
        match self {
            Self::Fails => Box::pin(async { Err(io::Error::other("the ticket office is closed").into()) }),
            Self::Panics => panic!("on purpose"),
            Self::Sleeps => Box::pin(std::future::pending()),
        }
    }
    fn retry<'a>(&'a self, logon: &'a LogonRequest, _: &'a Challenge) -> Authenticating<'a> {
        self.authenticate(logon)
    }
}

/// Covers 3.4#2.
#[tokio::test]
async fn an_authenticator_that_fails_is_a_failed_attempt_and_the_next_server_is_tried() {
    for bad in [Bad::Fails, Bad::Panics, Bad::Sleeps] {
        let (first, second) = (server().await, server().await);
        let builder = Client::builder("me").server_with(first.uri(), bad).server(second.uri()).reconnect(quick());
        let client = builder.attempt_timeouts(SOON, Duration::from_secs(2)).start().unwrap();
        let cause = failure(&client).await;
        match &cause {
            Cause::Authenticator(_) => {
                let source = cause.source().expect("the error is the source");
                assert_eq!(source.to_string(), "the ticket office is closed");
            }
            Cause::Panicked(panicked) => assert_eq!(panicked.to_string(), "the authenticator panicked: on purpose"),
            Cause::AuthenticatorTimeout(limit) => assert_eq!(*limit, Duration::from_secs(2)),
            other => panic!("{other}"),
        }
        tokio::time::timeout(SOON, client.connected()).await.unwrap().unwrap();
        assert_eq!((first.stats().logons, second.stats().logons), (0, 1));
        client.close(SOON).await;
    }
}

/// Panics when it is told that it succeeded.
struct Startled;

impl Authenticator for Startled {
    fn authenticate<'a>(&'a self, _: &'a LogonRequest) -> Authenticating<'a> {
        Box::pin(async { Ok(Credentials::default()) })
    }
    fn retry<'a>(&'a self, logon: &'a LogonRequest, _: &'a Challenge) -> Authenticating<'a> {
        self.authenticate(logon)
    }
    fn completed(&self, _: &LogonRequest, _: Option<&str>) {
        panic!("on purpose")
    }
}

#[tokio::test]
async fn an_authenticator_that_panics_at_its_success_is_told_of_and_the_logon_stands() {
    let server = server().await;
    let client = Client::builder("me").server(server.uri()).authenticator(Startled).start().unwrap();
    let mut events = client.events();
    tokio::time::timeout(SOON, client.connected()).await.unwrap().unwrap();
    let told = async {
        loop {
            if let Some(Event::Panicked(panicked)) = events.next().await {
                return panicked.to_string();
            }
        }
    };
    assert_eq!(tokio::time::timeout(SOON, told).await.unwrap(), "the authenticator panicked: on purpose");
    client.close(SOON).await;
}

/// Covers 3.4#3.
#[tokio::test]
async fn every_attempt_has_fresh_credentials() {
    let server = server().await;
    let seen = seen(&server);
    let tokens = Tokens::default();
    let uri = server.uri().replace("tcp://", "tcp://me@");
    let client = Client::builder("me").server(uri).authenticator(tokens.clone()).reconnect(quick());
    let client = client.connect().await.unwrap();
    for number in 1..=2 {
        server.kick("me");
        let back = server.wait_for(|stats| stats.logons > number);
        tokio::time::timeout(SOON, back).await.unwrap();
    }
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen, ["me:token 1", "me:token 3", "me:token 5"], "a new token after each loss");
    client.close(SOON).await;
}

/// Each server its own, or the client's.
#[tokio::test]
async fn a_servers_own_authenticator_goes_before_the_clients() {
    let (a, b) = (server().await, server().await);
    let (own, common) = (Tokens::default(), Tokens::default());
    let client = Client::builder("me").server_with(a.uri(), own.clone()).server(b.uri()).authenticator(common.clone());
    let client = client.reconnect(quick()).connect().await.unwrap();
    assert_eq!((own.asked().len(), common.asked().len()), (2, 0));
    a.kick("me");
    tokio::time::timeout(SOON, b.wait_for(|stats| stats.logons == 1)).await.unwrap();
    client.connected().await.unwrap();
    assert_eq!((own.asked().len(), common.asked().len()), (2, 2));
    client.close(SOON).await;
}

/// Covers 11.2#5.
#[tokio::test]
async fn refused_credentials_lead_to_the_next_server_or_end_it() {
    let (refuses, takes) = (server().await, server().await);
    refuses.faults(|faults| faults.check_credentials(|_, password| password == "right"));
    let builder = |uris: [String; 2]| Client::builder("me").servers(uris).reconnect(quick());
    let client = builder([refuses.uri(), takes.uri()]).start().unwrap();
    assert!(matches!(failure(&client).await, Cause::LogonRefused(Reason::AuthFailure)));
    tokio::time::timeout(SOON, client.connected()).await.unwrap().unwrap();
    client.close(SOON).await;

    let stopped = builder([refuses.uri(), takes.uri()]).stop_on_auth_failure().connect().await.unwrap_err();
    let ConnectError::GaveUp { cause, attempts } = &stopped else { panic!("{stopped}") };
    assert!(matches!(cause, Cause::LogonRefused(Reason::AuthFailure)), "{cause}");
    assert_eq!(attempts.len(), 1, "{stopped}");
}

/// The server allows a user some topics only.
#[tokio::test]
async fn what_a_user_may_not_do_is_refused() {
    let server = server().await;
    server.faults(|faults| {
        faults.entitle(|user, access, topic| match access {
            Access::Logon => user != "nobody",
            Access::Read => topic == "public",
            _ => user == "writer",
        });
    });
    let user = |name: &str| {
        let uri = server.uri().replace("tcp://", &format!("tcp://{name}@"));
        Client::builder(name).server(uri).stop_on_auth_failure()
    };
    let refused = user("nobody").connect().await.unwrap_err();
    assert!(refused.to_string().contains("not entitled"), "{refused}");
    let writer = user("writer").connect().await.unwrap();
    let refused = writer.subscribe("private").await.unwrap_err();
    assert!(refused.to_string().contains("not entitled"), "{refused}");
    let mut public = writer.subscribe("public").await.unwrap();
    let reader = user("reader").connect().await.unwrap();
    let receipt = reader.enqueue("public", "no").unwrap();
    assert!(receipt.persisted().await.unwrap_err().to_string().contains("not entitled"));
    writer.publish("public", "yes").await.unwrap();
    assert_eq!(public.next_message().await.unwrap().unwrap().data(), b"yes");
}

/// Everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

struct Secret;

impl Authenticator for Secret {
    fn authenticate<'a>(&'a self, _: &'a LogonRequest) -> Authenticating<'a> {
        Box::pin(async { Ok(Credentials::new("me", "SECRET-token")) })
    }
    fn retry<'a>(&'a self, logon: &'a LogonRequest, _: &'a Challenge) -> Authenticating<'a> {
        self.authenticate(logon)
    }
}

/// Logs everything the client and its authenticators can log, and prints
/// everything that can be printed.
///
/// Covers 3.4#4.
#[tokio::test]
async fn no_secret_is_ever_shown() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = server().await;
    let mut shown = Vec::new();
    for with_authenticator in [false, true] {
        for refuse in [None, Some("auth failure")] {
            server.faults(|faults| {
                faults.challenge_logon(&[("me", "SECRET-nonce")]);
                faults.refuse_logon(refuse);
            });
            let uri = server.uri().replace("tcp://", "tcp://me:SECRET-password@");
            let mut builder: ClientBuilder = Client::builder("me").server(uri).publish_store(PublishStore::None);
            if with_authenticator {
                builder = builder.authenticator(Secret);
            }
            builder = builder.reconnect(quick()).stop_on_auth_failure();
            shown.push(format!("{builder:?}"));
            let client = builder.start().unwrap();
            let mut events = client.events();
            let result = client.connected().await;
            assert_eq!(result.is_ok(), refuse.is_none(), "{result:?}");
            shown.push(format!("{result:?} {client:?} {:?} {:?}", client.state().latest(), client.state()));
            client.close(SOON).await;
            loop {
                match events.next().await {
                    Some(Event::State(change)) if change.cause.is_some() && change.uri.is_none() => break,
                    Some(event) => shown.push(format!("{event:?}")),
                    None => break,
                }
                if shown.last().is_some_and(|text| text.contains("Shutdown")) {
                    break;
                }
            }
        }
    }
    assert!(shown.iter().any(|text| text.contains("Shutdown")), "{shown:?}");
    shown.push(String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned());
    assert!(shown.last().unwrap().contains("connection state"), "it was logged at all");
    for text in shown {
        assert!(!text.contains("SECRET"), "{text}");
    }
}
