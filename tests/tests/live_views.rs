//! Live views: what they show, what they tell, and what a failover does to them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use amps_client::codec::{Codec, MessagePack};
use amps_client::reconnect::FixedReconnect;
use amps_client::{
    Client, CommandError, ConnectionState, Publish, Reason, Records, Removal, SowDelete, SowView, Uri, ViewChange,
    ViewChanges, ViewEvent, ViewState,
};
use amps_core::message::MessageKind;
use amps_testserver::{Link, MessageType, SowConfig, Stats, TestServer};
use futures_util::StreamExt;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Price {
    id: u64,
    symbol: String,
    bid: u64,
}

fn price(id: u64, symbol: &str, bid: u64) -> Price {
    Price { id, symbol: symbol.to_owned(), bid }
}

async fn server() -> TestServer {
    TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("prices", "/id").start().await.unwrap()
}

async fn connect(name: &str, servers: &[&TestServer]) -> Client {
    let builder = Client::builder(name).servers(servers.iter().map(|server| server.uri()));
    builder
        .reconnect(FixedReconnect::new(Duration::from_millis(5), 1).loss_window(Duration::ZERO))
        .connect()
        .await
        .unwrap()
}

/// Publishes prices, and waits until the server has them.
async fn publish(client: &Client, prices: impl IntoIterator<Item = Price>) {
    for price in prices {
        client.publish_json("prices", &price).await.unwrap();
    }
    timeout(SOON, client.flush()).await.unwrap().unwrap();
}

async fn by_symbol(client: &Client) -> SowView<String, Price> {
    let view = SowView::of("prices").keyed_by(|price: &Price| price.symbol.clone());
    timeout(SOON, view.open(client)).await.unwrap().unwrap()
}

fn bids(records: &Records<String, Price>) -> Vec<(&str, u64)> {
    records.iter().map(|(symbol, price)| (symbol.as_str(), price.bid)).collect()
}

async fn next<K: Ord + Clone, V: PartialEq>(changes: &mut ViewChanges<K, V>) -> ViewEvent<K, V> {
    timeout(SOON, changes.next()).await.expect("an event in time").expect("the view goes on")
}

/// The next event, as a word.
async fn word(changes: &mut ViewChanges<String, Price>) -> String {
    match next(changes).await {
        ViewEvent::Start { records, missed, .. } => format!("start with {} behind {missed}", records.len()),
        ViewEvent::Change(ViewChange::Inserted { key, new }) => format!("+{key} {}", new.bid),
        ViewEvent::Change(ViewChange::Updated { key, old, new }) => format!("{key} {} to {}", old.bid, new.bid),
        ViewEvent::Change(ViewChange::Removed { key, old, why }) => format!("-{key} {} {why:?}", old.bid),
        ViewEvent::Change(ViewChange::Unreadable { error, .. }) => format!("unreadable: {error}"),
        ViewEvent::State(state) => format!("{state:?}"),
        other => panic!("{other:?}"),
    }
}

/// The words up to one, and with it.
async fn until(changes: &mut ViewChanges<String, Price>, last: &str) -> Vec<String> {
    let mut words = vec![word(changes).await];
    while words.last().is_none_or(|word| word != last) {
        words.push(word(changes).await);
    }
    words
}

/// Two servers that replicate to each other.
async fn two() -> (TestServer, TestServer) {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let start = async |name: &str, address: SocketAddr, peer: String| {
        let builder = TestServer::builder().name(name).listen(address.to_string()).peer(peer, Link::Sync);
        builder.ack_conflation(Duration::from_millis(5)).sow("prices", "/id").start().await.unwrap()
    };
    let first = start("a", "127.0.0.1:0".parse().unwrap(), format!("tcp://{free}/amps/json")).await;
    let second = start("b", free, first.uri()).await;
    (first, second)
}

/// Covers 7.1#2.
#[tokio::test]
async fn what_was_deleted_while_away_is_told_as_removed_after_the_failover() {
    let (a, b) = two().await;
    let feed = connect("feed", &[&b]).await;
    publish(&feed, [price(1, "ACME", 10), price(2, "INIT", 20), price(3, "LAST", 30), price(4, "MORE", 40)]).await;
    let screen = connect("screen", &[&a, &b]).await;
    let view = by_symbol(&screen).await;
    assert!(view.state().is_current());
    let before = view.records();
    assert_eq!(bids(&before), [("ACME", 10), ("INIT", 20), ("LAST", 30), ("MORE", 40)]);
    let mut changes = view.changes();
    assert_eq!(word(&mut changes).await, "start with 4 behind 0");

    b.faults(|faults| faults.refuse(MessageKind::Logon, Some("not now")));
    a.stop().await;
    b.downgrade("a");
    assert_eq!(word(&mut changes).await, "Recovering");
    assert_eq!(view.get("ACME").unwrap().bid, 10, "it is read all the same");
    feed.sow_delete(SowDelete::by_filter("prices", "/id = 2")).await.unwrap();
    publish(&feed, [price(1, "ACME", 11), price(5, "NEXT", 50), price(4, "MOVED", 40)]).await;
    b.faults(|faults| faults.refuse(MessageKind::Logon, None));

    let mut told = until(&mut changes, "Current").await;
    told.sort();
    let expected = ["+MOVED 40", "+NEXT 50", "-INIT 20 Absent", "-MORE 40 Moved", "ACME 10 to 11", "Current"];
    assert_eq!(told, expected, "and nothing of what is as it was");
    assert_eq!(bids(&view.records()), [("ACME", 11), ("LAST", 30), ("MOVED", 40), ("NEXT", 50)]);
    assert_eq!(bids(&before).len(), 4, "what was taken before stays as it was");
    assert!(view.get("INIT").is_none() && view.len() == 4 && !view.is_empty());
}

#[tokio::test]
async fn what_leaves_a_view_says_why() {
    let server = server().await;
    let client = connect("me", &[&server]).await;
    publish(&client, [price(1, "ACME", 10), price(2, "INIT", 20)]).await;
    let view = SowView::of("prices").filter("/bid > 5").keyed_by(|price: &Price| price.symbol.clone());
    let view = timeout(SOON, view.open(&client)).await.unwrap().unwrap();
    let mut changes = view.changes();
    publish(&client, [price(1, "ACME", 4), price(2, "RENAMED", 20), price(2, "RENAMED", 20)]).await;
    client.sow_delete(SowDelete::by_filter("prices", "/id = 2")).await.unwrap();
    let told = until(&mut changes, "-RENAMED 20 Deleted").await;
    let expected =
        ["start with 2 behind 0", "-ACME 10 NoMatch", "-INIT 20 Moved", "+RENAMED 20", "-RENAMED 20 Deleted"];
    assert_eq!(told, expected, "the same value is no change");
}

#[tokio::test]
async fn by_sow_keys_a_view_shows_what_the_server_has_under_them() {
    let server = server().await;
    let client = connect("me", &[&server]).await;
    publish(&client, [price(1, "ACME", 10), price(2, "ACME", 20)]).await;
    let view: SowView<String, Price> = timeout(SOON, SowView::of("prices").open(&client)).await.unwrap().unwrap();
    let mut query = client.json().sow::<Price>("prices").await.unwrap();
    let mut expected = BTreeMap::new();
    while let Some(record) = query.next_message().await.unwrap() {
        expected.insert(record.sow_key().unwrap().into_owned(), Arc::new(record.value.unwrap()));
    }
    assert_eq!((*view.records()).clone(), expected);
    // Keys that are none, of the application's, hide all records but one.
    let hiding = by_symbol(&client).await;
    assert_eq!((hiding.len(), hiding.hidden(), view.hidden()), (1, 1, 0));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_told_counted_and_ends_nothing() {
    let server = server().await;
    let client = connect("me", &[&server]).await;
    publish(&client, [price(1, "ACME", 10)]).await;
    let view = SowView::of("prices").keyed_by(|price: &Price| {
        assert_ne!(price.symbol, "BAD", "no key for it");
        price.symbol.clone()
    });
    let view = timeout(SOON, view.open(&client)).await.unwrap().unwrap();
    let mut changes = view.changes();
    client.publish("prices", r#"{"id":1,"symbol":"ACME","bid":"ten"}"#).await.unwrap();
    assert_eq!(word(&mut changes).await, "start with 1 behind 0");
    assert_eq!(word(&mut changes).await, "-ACME 10 Unreadable");
    let error = word(&mut changes).await;
    assert!(error.starts_with("unreadable: the json body cannot be read: invalid type: string \"ten\""), "{error}");
    publish(&client, [price(2, "BAD", 1)]).await;
    let error = word(&mut changes).await;
    assert!(error.starts_with("unreadable: the reading of a record panicked: "), "{error}");
    assert_eq!((view.len(), view.unreadable(), view.state().is_current()), (0, 2, true));
    publish(&client, [price(1, "ACME", 11), price(2, "GOOD", 2)]).await;
    assert_eq!([word(&mut changes).await, word(&mut changes).await], ["+ACME 11", "+GOOD 2"]);
    assert_eq!(view.unreadable(), 0);
}

#[tokio::test]
async fn a_view_of_deltas_shows_whole_records() {
    let server = server().await;
    let client = connect("me", &[&server]).await;
    let feed = connect("feed", &[&server]).await;
    publish(&feed, [price(1, "ACME", 10), price(2, "INIT", 20)]).await;
    let view = SowView::of("prices").deltas().keyed_by(|price: &Price| price.symbol.clone());
    let view = timeout(SOON, view.open(&client)).await.unwrap().unwrap();
    assert!(server.stats().commands.iter().any(|command| command.kind == MessageKind::SowAndDeltaSubscribe));
    let mut changes = view.changes();
    feed.json().delta_publish("prices", &json!({"id": 1, "bid": 11})).await.unwrap();
    feed.json().delta_publish("prices", &json!({"id": 2, "bid": "odd"})).await.unwrap();
    feed.json().delta_publish("prices", &json!({"id": 2, "bid": 22})).await.unwrap();
    let told = until(&mut changes, "+INIT 22").await;
    assert_eq!(told[..3], ["start with 2 behind 0", "ACME 10 to 11", "-INIT 20 Unreadable"]);
    assert_eq!(told.len(), 5, "{told:?}");
    // What is missed while away comes with the whole records.
    server.faults(|faults| faults.refuse(MessageKind::Logon, Some("not now")));
    assert!(server.kick("me"));
    feed.json().delta_publish("prices", &json!({"id": 1, "bid": 12})).await.unwrap();
    feed.sow_delete(SowDelete::by_filter("prices", "/id = 2")).await.unwrap();
    timeout(SOON, feed.flush()).await.unwrap().unwrap();
    server.faults(|faults| faults.refuse(MessageKind::Logon, None));
    let told = until(&mut changes, "Current").await;
    assert_eq!(told, ["Recovering", "ACME 11 to 12", "-INIT 22 Absent", "Current"]);
    feed.json().delta_publish("prices", &json!({"id": 1, "bid": 13})).await.unwrap();
    assert_eq!(word(&mut changes).await, "ACME 12 to 13");
}

#[tokio::test]
async fn bodies_may_be_in_another_format() {
    let server = TestServer::builder()
        .message_type("packed", MessageType::Binary)
        .sow_topic(SowConfig::with_given_keys("packed"))
        .start()
        .await
        .unwrap();
    let client = Client::builder("me").server(server.uri_of("binary")).connect().await.unwrap();
    let body = MessagePack.encode(&price(1, "ACME", 10)).unwrap();
    client.write(Publish::new("packed", &body).sow_key("k1")).await.unwrap();
    client.flush().await.unwrap();
    let view: SowView<String, Price> =
        timeout(SOON, SowView::of("packed").codec(MessagePack).open(&client)).await.unwrap().unwrap();
    assert_eq!(bids(&view.records()), [("k1", 10)]);
}

#[tokio::test]
async fn a_listener_that_is_too_slow_is_told_and_starts_over_with_the_records_there_are() {
    let server = server().await;
    let client = connect("me", &[&server]).await;
    let view = SowView::of("prices").listener_bound(4).keyed_by(|price: &Price| price.symbol.clone());
    let view = timeout(SOON, view.open(&client)).await.unwrap().unwrap();
    let (mut slow, mut quick, mut word) = (view.changes(), view.changes(), String::new());
    publish(&client, (0..10).map(|bid| price(1, "ACME", bid))).await;
    publish(&client, [price(2, "LAST", 0)]).await;
    // One that does not read holds nothing up for the other.
    while !["+LAST 0", "start with 2 behind"].iter().any(|last| word.starts_with(last)) {
        word = self::word(&mut quick).await;
    }
    let words = until(&mut slow, "start with 2 behind 11").await;
    assert_eq!(words.len(), 1, "{words:?}");
    publish(&client, [price(1, "ACME", 77)]).await;
    assert_eq!(self::word(&mut slow).await, "ACME 9 to 77");
}

#[tokio::test]
async fn a_dropped_view_ends_its_subscription_and_its_listeners() {
    let server = server().await;
    let client = connect("me", &[&server]).await;
    let view = by_symbol(&client).await;
    let clone = view.clone();
    let changes = view.changes();
    drop(view);
    publish(&client, [price(1, "ACME", 10)]).await;
    let mut words = Vec::new();
    let mut changes = changes.boxed();
    while words.len() < 2 {
        words.push(timeout(SOON, changes.next()).await.unwrap().unwrap());
    }
    assert!(matches!(&words[1], ViewEvent::Change(ViewChange::Inserted { .. })), "a clone keeps it: {words:?}");
    drop(clone);
    let unsubscribed = |stats: &Stats| stats.commands.iter().any(|command| command.kind == MessageKind::Unsubscribe);
    timeout(SOON, server.wait_for(unsubscribed)).await.unwrap();
    let last = timeout(SOON, changes.next()).await.unwrap();
    assert!(matches!(last, Some(ViewEvent::State(ViewState::Ended(None)))), "{last:?}");
    assert!(timeout(SOON, changes.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_view_ends_with_its_client_and_keeps_what_it_had() {
    let server = server().await;
    let client = connect("me", &[&server]).await;
    publish(&client, [price(1, "ACME", 10)]).await;
    let view = by_symbol(&client).await;
    client.close(SOON).await;
    let mut changes = view.changes();
    while !view.state().is_ended() {
        next(&mut changes).await;
    }
    assert!(matches!(view.current().await, Err(CommandError::Closed)));
    assert_eq!(bids(&view.records()), [("ACME", 10)]);
    // A listener that comes late gets the records, and then nothing.
    let mut late = view.changes();
    assert_eq!(word(&mut late).await, "start with 1 behind 0");
    assert!(late.next().await.is_none());
}

#[tokio::test]
async fn a_view_may_begin_before_there_is_a_server_and_moves_with_its_client() {
    let (a, b) = two().await;
    a.faults(|faults| faults.refuse(MessageKind::Logon, Some("not yet")));
    b.faults(|faults| faults.refuse(MessageKind::Logon, Some("not yet")));
    let builder = Client::builder("me").servers([a.uri()]).command_timeout(Duration::from_millis(20));
    let client = builder
        .reconnect(FixedReconnect::new(Duration::from_millis(5), 1).loss_window(Duration::ZERO))
        .start()
        .unwrap();
    let view = SowView::of("prices").keyed_by(|price: &Price| price.symbol.clone()).start(&client).unwrap();
    let mut attempts = client.events();
    for _ in 0..20 {
        timeout(SOON, attempts.next()).await.unwrap();
    }
    assert!(matches!(view.state(), ViewState::Loading));
    a.faults(|faults| faults.refuse(MessageKind::Logon, None));
    b.faults(|faults| faults.refuse(MessageKind::Logon, None));
    timeout(SOON, view.current()).await.unwrap().unwrap();
    let mut changes = view.changes();
    timeout(SOON, client.move_to(b.uri().parse::<Uri>().unwrap())).await.unwrap().unwrap();
    let told = until(&mut changes, "Current").await;
    assert_eq!(told, ["start with 0 behind 0", "Recovering", "Current"]);
    assert!(client.state().latest().is_some_and(|change| change.state == ConnectionState::Resubscribed));
}

#[tokio::test]
async fn a_view_that_cannot_be_says_so() {
    let server = server().await;
    let client = connect("me", &[&server]).await;
    for options in ["no_sowkey", "top_n=5"] {
        let refused = SowView::<String, Value>::of("prices").options(options).start(&client);
        assert!(matches!(refused, Err(CommandError::Invalid { .. })), "{options}");
    }
    let refused = SowView::<String, Value>::of("prices").filter("/id = ").open(&client).await;
    assert!(matches!(refused, Err(CommandError::Refused { reason: Reason::BadFilter, .. })), "{refused:?}");
    let refused = SowView::<String, Value>::of("prices").deltas().conflate().open(&client).await;
    assert!(matches!(refused, Err(CommandError::Invalid { .. })), "{refused:?}");
    let page = SowView::<String, Value>::of("prices").order_by("/id").options("top_n=2,skip_n=0");
    let page = timeout(SOON, page.open(&client)).await.unwrap().unwrap();
    publish(&client, (1..=3).map(|id| price(id, "ACME", id))).await;
    let mut changes = page.changes();
    while page.len() < 2 {
        next(&mut changes).await;
    }
    client.sow_delete(SowDelete::by_filter("prices", "/id = 1")).await.unwrap();
    let on_page = |page: &SowView<String, Value>| -> Vec<u64> {
        let mut ids: Vec<_> = page.records().values().filter_map(|record| record["id"].as_u64()).collect();
        ids.sort_unstable();
        ids
    };
    while on_page(&page) != [2, 3] {
        next(&mut changes).await;
    }
}

/// Something happens to records, or to the connection of the view.
#[derive(Debug, Clone)]
enum Op {
    Publish(u64, u64),
    Delete(u64),
    Kick,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..6u64, 0..4u64).prop_map(|(id, bid)| Op::Publish(id, bid)),
        3 => (0..6u64).prop_map(Op::Delete),
        2 => Just(Op::Kick),
    ]
}

/// Follows a view by its changes alone, until a record comes that is the last.
async fn follow(mut changes: ViewChanges<String, Price>) -> BTreeMap<String, u64> {
    let mut followed = BTreeMap::new();
    let (mut current, mut last) = (false, false);
    while !(current && last) {
        match next(&mut changes).await {
            ViewEvent::Start { records, state, .. } => {
                followed = records.iter().map(|(key, price)| (key.clone(), price.bid)).collect();
                current = state.is_current();
            }
            ViewEvent::Change(ViewChange::Inserted { key, new }) => {
                assert_eq!(followed.insert(key, new.bid), None);
            }
            ViewEvent::Change(ViewChange::Updated { key, old, new }) => {
                assert_eq!(followed.insert(key, new.bid), Some(old.bid));
            }
            ViewEvent::Change(ViewChange::Removed { key, old, why }) => {
                assert_eq!(followed.remove(&key), Some(old.bid), "{why:?}");
                assert!(matches!(why, Removal::Deleted | Removal::Absent), "{why:?}");
            }
            ViewEvent::State(state) => current = state.is_current(),
            other => panic!("{other:?}"),
        }
        last = followed.contains_key("LAST");
    }
    followed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: amps_tests::cases(24), failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is written and however often the view is cut off: in the end it
    /// is what the server has, and so is what its changes make, for a quick
    /// listener and for one that always lags.
    #[test]
    fn a_view_and_its_changes_are_what_the_server_has(
        ops in prop::collection::vec(op(), 1..60),
        deltas in any::<bool>(),
        bound in prop::sample::select(vec![1, 3, 1_000]),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let server = server().await;
            let feed = connect("feed", &[&server]).await;
            let screen = connect("screen", &[&server]).await;
            let view = SowView::of("prices").listener_bound(bound).keyed_by(|price: &Price| price.symbol.clone());
            let view = if deltas { view.deltas() } else { view };
            let view = view.start(&screen).unwrap();
            let following = tokio::spawn(follow(view.changes()));
            let mut expected = BTreeMap::new();
            for op in ops {
                match op {
                    Op::Publish(id, bid) => {
                        expected.insert(format!("S{id}"), bid);
                        feed.publish_json("prices", &price(id, &format!("S{id}"), bid)).await.unwrap();
                    }
                    Op::Delete(id) => {
                        expected.remove(&format!("S{id}"));
                        let filter = format!("/id = {id}");
                        feed.sow_delete(SowDelete::by_filter("prices", &filter)).await.unwrap();
                    }
                    Op::Kick => drop(server.kick("screen")),
                }
            }
            publish(&feed, [price(99, "LAST", 99)]).await;
            expected.insert("LAST".to_owned(), 99);
            let followed = timeout(SOON, following).await.unwrap().unwrap();
            assert_eq!(followed, expected, "by its changes");
            assert_eq!(view.records().iter().map(|(key, price)| (key.clone(), price.bid)).collect::<BTreeMap<_, _>>(), expected);
        });
    }
}
