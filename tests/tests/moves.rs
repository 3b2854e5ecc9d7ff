//! Planned moves to another server: nothing is lost, doubled or reordered, and
//! nobody is blamed.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use amps_client::reconnect::FixedReconnect;
use amps_client::server_chooser::{PrimaryChooser, Server};
use amps_client::{
    Cause, Client, ConnectionState, Event, MoveError, PublishError, PublishStore, Sow, StartAt, Subscribe, Uri,
};
use amps_core::message::MessageKind;
use amps_ha::client_core::Request;
use amps_ha::publish_log::AppendError;
use amps_tests::{ClientSetup, Pair, Store};
use amps_testserver::{Link, TestServer};
use rand::RngExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const SECOND: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(20);

fn parsed(server: &TestServer) -> Uri {
    server.uri().parse().unwrap()
}

/// Two servers that replicate to each other synchronously.
async fn two() -> (TestServer, TestServer) {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let start = async |name: &str, address: SocketAddr, peer: String| {
        let builder = TestServer::builder().name(name).listen(address.to_string()).peer(peer, Link::Sync);
        builder.ack_conflation(Duration::from_millis(10)).sow("s", "/id").start().await.unwrap()
    };
    let first = start("a", "127.0.0.1:0".parse().unwrap(), format!("tcp://{free}/amps/json")).await;
    let second = start("b", free, first.uri()).await;
    (first, second)
}

/// Publishers and a bookmark subscriber that are moved to and fro at random,
/// while connections die.
#[test]
fn moves_lose_and_double_nothing() {
    for seed in 0..60 {
        let mut pair = Pair::with_servers(seed, 3, Some(Link::Sync));
        let subscriber = pair.client(ClientSetup::new("subscriber", [0, 1, 2]));
        let publisher = pair.client(ClientSetup::new("publisher", [0, 1, 2]));
        let mut entered = pair.subscribe_from(subscriber, "t", StartAt::Epoch);
        pair.run_live(subscriber);
        pair.run_live(publisher);
        let mut answers = Vec::new();
        for round in 0..20 {
            for id in 0..pair.random.random_range(0..40) {
                pair.publish(publisher, format!("{round}.{id}")).unwrap();
            }
            for _ in 0..pair.random.random_range(0..20) {
                pair.step();
            }
            let client = if pair.random.random_range(0..2) == 0 { subscriber } else { publisher };
            let to = pair.random.random_range(0..3);
            if pair.random.random_range(0..4) == 0 {
                pair.cut(client);
            } else {
                let server = Server::new(format!("tcp://s{to}:9007/amps/json").parse().unwrap());
                let (sender, answer) = oneshot::channel();
                pair.request(client, Request::Move { server, reply: sender });
                answers.push((client, to, answer));
            }
            let time = Duration::from_millis(pair.random.random_range(0..1_500));
            pair.run_for(time);
            entered.take(usize::MAX);
        }
        pair.run_settled(publisher);
        pair.run_for(60 * SECOND);
        entered.take(usize::MAX);
        assert!(entered.error.is_none(), "{:?}: {}", entered.error, pair.describe());
        assert!(entered.bodies() == pair.published(publisher), "{}", pair.describe());
        for server in 0..3 {
            assert_eq!(pair.logged(server, publisher), pair.published(publisher), "{}", pair.describe());
        }
        for (client, to, mut answer) in answers {
            let answer = answer.try_recv().expect("every move is answered");
            assert!(
                matches!(answer, Ok(()) | Err(MoveError::Superseded | MoveError::Failed { .. })),
                "{client} to {to}: {answer:?}"
            );
        }
    }
}

/// Everything published before is at the first server and acknowledged before
/// the client leaves it; what comes meanwhile goes to the second.
#[test]
fn a_move_waits_for_the_acknowledgements_of_what_was_published() {
    let mut pair = Pair::with_servers(1, 2, Some(Link::Sync));
    let client = pair.client(ClientSetup::new("p", [0, 1]));
    pair.run_live(client);
    pair.run_for(SECOND);
    let now = pair.now;
    pair.server(0).with_faults(now, |faults| faults.withhold_acks(true));
    for id in 0..50 {
        pair.publish(client, format!("before {id}")).unwrap();
    }
    let server = Server::new("tcp://s1:9007/amps/json".parse().unwrap());
    let (sender, mut answer) = oneshot::channel();
    pair.request(client, Request::Move { server, reply: sender });
    pair.run_for(SECOND);
    for id in 0..50 {
        pair.publish(client, format!("meanwhile {id}")).unwrap();
    }
    pair.run_for(SECOND);
    assert_eq!(pair.attempts(client).len(), 1, "it waits");
    assert_eq!(pair.server(0).stats().publishes, 50, "and sends nothing newer");
    let now = pair.now;
    pair.server(0).with_faults(now, |faults| faults.withhold_acks(false));
    pair.run_settled(client);
    pair.run_live(client);
    assert!(matches!(answer.try_recv(), Ok(Ok(()))));
    let received = |pair: &mut Pair, server: usize| pair.server(server).stats().publishes;
    assert_eq!((received(&mut pair, 0), received(&mut pair, 1)), (50, 50), "each message was sent once");
    assert_eq!(pair.logged(1, client), pair.published(client));
    let failures = pair.events(client).iter().filter(|(_, event)| matches!(event, Event::AttemptFailed { .. })).count();
    assert_eq!(failures, 0, "{}", pair.describe());
}

/// A server that never acknowledges holds a move up for ten seconds; then what
/// is not settled is sent again at the next.
#[test]
fn a_move_that_cannot_be_drained_goes_on_without() {
    let mut pair = Pair::with_servers(2, 2, Some(Link::Sync));
    let client = pair.client(ClientSetup::new("p", [0, 1]));
    pair.run_live(client);
    pair.run_for(SECOND);
    let now = pair.now;
    pair.server(0).with_faults(now, |faults| faults.withhold_acks(true));
    pair.publish(client, "one").unwrap();
    let server = Server::new("tcp://s1:9007/amps/json".parse().unwrap());
    let (sender, mut answer) = oneshot::channel();
    pair.request(client, Request::Move { server, reply: sender });
    pair.run_for(Duration::from_millis(9_900));
    assert_eq!(pair.attempts(client).len(), 1);
    pair.run_until(SECOND, |pair| pair.attempts(client).len() == 2);
    pair.run_settled(client);
    pair.run_live(client);
    assert!(matches!(answer.try_recv(), Ok(Ok(()))));
    assert_eq!(pair.logged(1, client), ["one"]);
}

/// Without a store nothing is taken that would be lost with the connection.
#[test]
fn without_a_store_nothing_is_accepted_while_the_connection_is_drained() {
    let mut pair = Pair::with_servers(3, 2, None);
    let client = pair.client(ClientSetup::new("p", [0, 1]).store(Store::None));
    pair.run_live(client);
    let now = pair.now;
    pair.server(0).with_faults(now, |faults| faults.ignore(MessageKind::Flush, true));
    for id in 0..100 {
        pair.publish(client, id.to_string()).unwrap();
    }
    let server = Server::new("tcp://s1:9007/amps/json".parse().unwrap());
    let (sender, mut answer) = oneshot::channel();
    pair.request(client, Request::Move { server, reply: sender });
    pair.run_for(SECOND);
    assert!(matches!(pair.publish(client, "meanwhile"), Err(AppendError::Disconnected)));
    pair.run_for(20 * SECOND);
    assert!(matches!(answer.try_recv(), Ok(Ok(()))));
    assert_eq!(pair.logged(0, client).len(), 100);
    assert!(!pair.events(client).iter().any(|(_, event)| matches!(event, Event::Dropped { .. })));
    pair.publish(client, "after").unwrap();
    pair.run_for(SECOND);
    assert_eq!(pair.logged(1, client), ["after"]);
}

#[tokio::test]
async fn a_client_moves_with_its_subscriptions_and_says_so() {
    let (a, b) = two().await;
    let client = Client::builder("me").servers([a.uri(), b.uri()]).connect().await.unwrap();
    let mut events = client.events();
    let mut messages = client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch)).await.unwrap();
    for id in 0..100 {
        client.publish("t", id.to_string()).await.unwrap();
    }
    tokio::time::timeout(SOON, client.move_to(parsed(&b))).await.unwrap().unwrap();
    assert!(client.is_connected());
    assert_eq!(client.unacknowledged(), 0, "drained");
    client.move_to(parsed(&b)).await.unwrap();
    for id in 100..200 {
        client.publish("t", id.to_string()).await.unwrap();
    }
    for id in 0..200 {
        let message = tokio::time::timeout(SOON, messages.next_message()).await.unwrap().unwrap().unwrap();
        assert_eq!(message.data(), id.to_string().as_bytes());
    }
    assert_eq!((a.stats().logons, b.stats().logons, client.reconnects()), (1, 1, 0), "to be moved is no loss");
    // The next loss: the list goes on from where the client is.
    assert!(b.kick("me"));
    tokio::time::timeout(SOON, a.wait_for(|stats| stats.logons == 2)).await.unwrap();
    client.close(SOON).await;
    let mut disconnects = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Event::State(change) if change.state == ConnectionState::Disconnected => disconnects.push(change.cause),
            Event::State(change) if change.state == ConnectionState::Shutdown => break,
            _ => {}
        }
    }
    assert!(matches!(&disconnects[0], Some(Cause::Moved(uri)) if *uri == parsed(&b)), "{disconnects:?}");
}

#[tokio::test]
async fn a_move_to_a_dead_server_fails_and_the_client_stays_usable() {
    let (a, _b) = two().await;
    let nobody: Uri = "tcp://127.0.0.1:1/amps/json".parse().unwrap();
    let quick = FixedReconnect::new(Duration::from_millis(10), 1);
    let client = Client::builder("me").server(a.uri()).reconnect(quick).connect().await.unwrap();
    let refused = tokio::time::timeout(SOON, client.move_to(nobody.clone())).await.unwrap().unwrap_err();
    assert!(matches!(&refused, MoveError::Failed { uri, cause: Cause::Connect(_) } if *uri == nobody), "{refused}");
    tokio::time::timeout(SOON, client.connected()).await.unwrap().unwrap();
    client.publish("t", "1").await.unwrap();
    client.flush().await.unwrap();
    client.close(SOON).await;
    assert!(matches!(client.move_to(nobody).await, Err(MoveError::Closed)));
}

/// Without a store the server has everything that was published before, since
/// it answered a flush; meanwhile publishing waits for nothing.
#[tokio::test]
async fn without_a_store_what_was_published_before_a_move_arrives() {
    for round in 0..20 {
        let (a, b) = two().await;
        let client = Client::builder("me").server(a.uri()).publish_store(PublishStore::None).connect().await.unwrap();
        for id in 0..200 {
            client.publish("t", format!("{round} {id}")).await.unwrap();
        }
        let query = client.sow(Sow::of("s")).await.unwrap();
        drop(query);
        tokio::time::timeout(SOON, client.move_to(parsed(&b))).await.unwrap().unwrap();
        assert_eq!(a.log().len(), 200, "{round}");
        match client.publish("t", "after").await {
            Ok(()) | Err(PublishError::Disconnected { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        client.close(SOON).await;
    }
}

/// The primary was away; once it takes connections again the client goes there
/// by itself.
///
/// Covers 11.4#6.
#[tokio::test]
async fn a_client_goes_back_to_its_primary() {
    let (a, b) = two().await;
    let address = a.addr().to_string();
    let chooser = PrimaryChooser::new(parsed(&a), [parsed(&b)]).fail_back_after(SECOND);
    let quick = FixedReconnect::new(Duration::from_millis(10), 1).loss_window(Duration::ZERO);
    let builder = Client::builder("me").server_chooser(chooser).reconnect(quick);
    let client = builder.publish_store(PublishStore::None).connect().await.unwrap();
    a.stop().await;
    tokio::time::timeout(SOON, b.wait_for(|stats| stats.logons == 1)).await.unwrap();
    client.connected().await.unwrap();
    let again = TestServer::builder().name("a").listen(address).start().await.unwrap();
    tokio::time::timeout(SOON, again.wait_for(|stats| stats.logons == 1)).await.expect("back at the primary");
    tokio::time::timeout(SOON, b.wait_for(|stats| stats.logons == 1 && stats.connections <= 2)).await.unwrap();
    client.close(SOON).await;
}

/// Dropped after any number of polls, a move goes on or never began; the
/// client is none the worse.
///
/// Covers 20#5.
#[tokio::test]
async fn a_move_dropped_at_any_await_leaves_a_client_that_works() {
    let (a, b) = two().await;
    let client = Client::builder("me").servers([a.uri(), b.uri()]).connect().await.unwrap();
    for times in 0..8 {
        let to = if times % 2 == 0 { parsed(&b) } else { parsed(&a) };
        {
            let mut moving = std::pin::pin!(client.move_to(to));
            for _ in 0..times {
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                if moving.as_mut().poll(&mut context).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        client.publish("t", times.to_string()).await.unwrap();
        tokio::time::timeout(SOON, client.flush()).await.unwrap().unwrap();
    }
    let log = tokio::time::timeout(SOON, a.wait_for_log(|log| log.len() == 8)).await.unwrap();
    assert!(log.iter().map(|message| message.body.to_vec()).eq((0..8).map(|id| id.to_string().into_bytes())));
    client.close(SOON).await;
}
