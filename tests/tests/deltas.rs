//! Delta subscriptions of a client, and whole records made of them.

use std::collections::BTreeMap;
use std::time::Duration;

use amps_client::{
    Client, CommandError, DeltaError, DeltaRecords, Replacement, SowDelete, StartAt, Subscribe, Subscription,
    SubscriptionEvent,
};
use amps_core::message::MessageKind;
use amps_testserver::TestServer;
use proptest::prelude::*;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

async fn connect() -> (TestServer, Client) {
    let builder = TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("s", "/id");
    let server = builder.start().await.unwrap();
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    (server, client)
}

async fn event(stream: &mut Subscription) -> SubscriptionEvent {
    tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap().unwrap()
}

/// The records by the field `id`.
fn by_id<'r>(records: impl IntoIterator<Item = &'r Value>) -> BTreeMap<u64, &'r Value> {
    records.into_iter().map(|record| (record["id"].as_u64().unwrap(), record)).collect()
}

/// Covers 9.1#1.
#[tokio::test]
async fn a_delta_subscription_is_one_again_after_a_reconnect() {
    let (server, client) = connect().await;
    let _plain = client.subscribe(Subscribe::deltas_of("s").options("no_empties")).await.unwrap();
    let _whole = client.subscribe(Subscribe::sow_and_deltas_of("s").options("oof").filter("/id > 0")).await.unwrap();
    let asked = || {
        let stats = server.stats();
        let kinds = [MessageKind::DeltaSubscribe, MessageKind::SowAndDeltaSubscribe];
        let asked = stats.commands.iter().filter(|command| command.subscription_id.is_some());
        assert!(asked.clone().all(|command| kinds.contains(&command.kind)), "nothing else");
        asked.map(|command| command.kind).collect::<Vec<_>>()
    };
    let once = [MessageKind::DeltaSubscribe, MessageKind::SowAndDeltaSubscribe];
    assert_eq!(asked(), once);
    server.kick("me");
    client.publish("s", r#"{"id":1}"#).await.unwrap();
    tokio::time::timeout(SOON, client.flush()).await.unwrap().unwrap();
    assert_eq!(asked(), once.repeat(2));
}

/// Covers 9.1#2.
#[tokio::test]
async fn records_that_come_again_replace_what_was_made_of_deltas() {
    let (server, client) = connect().await;
    let other = Client::builder("other").server(server.uri()).connect().await.unwrap();
    for id in 1..=3 {
        other.publish("s", json!({"id": id, "a": 0, "b": 0}).to_string()).await.unwrap();
    }
    other.flush().await.unwrap();
    let mut stream = client.subscribe(Subscribe::sow_and_deltas_of("s").options("oof")).await.unwrap();
    let mut records = DeltaRecords::new();
    while records.apply(&event(&mut stream).await).unwrap().is_some() || records.len() < 3 {}
    other.publish("s", json!({"id": 1, "a": 1, "b": 0}).to_string()).await.unwrap();
    other.sow_delete(SowDelete::by_data("s", r#"{"id":2}"#)).await.unwrap();
    for _ in 0..2 {
        assert!(records.apply(&event(&mut stream).await).unwrap().is_some());
    }
    let values: Vec<_> = records.iter().map(|(_, record)| record.clone()).collect();
    assert_eq!(
        by_id(&values),
        by_id(&[json!({"id": 1, "a": 1, "b": 0}), json!({"id": 3, "a": 0, "b": 0})]),
        "a delta and a deletion"
    );
    // What happens while the client is away, it is not told.
    server.faults(|faults| faults.refuse(MessageKind::Logon, Some("not now")));
    server.kick("me");
    other.publish("s", json!({"id": 1, "c": 5}).to_string()).await.unwrap();
    other.sow_delete(SowDelete::by_data("s", r#"{"id":3}"#)).await.unwrap();
    other.flush().await.unwrap();
    server.faults(|faults| faults.refuse(MessageKind::Logon, None));
    loop {
        let event = event(&mut stream).await;
        records.apply(&event).unwrap();
        if matches!(event, SubscriptionEvent::SnapshotEnd) {
            break;
        }
    }
    let values: Vec<_> = records.iter().map(|(_, record)| record.clone()).collect();
    assert_eq!(values, [json!({"id": 1, "c": 5})]);
}

/// A replacement brings what is new to it; what was there stays.
#[tokio::test]
async fn records_stay_when_their_subscription_is_replaced() {
    let (server, client) = connect().await;
    for id in 1..=3 {
        client.publish("s", json!({"id": id, "a": 0}).to_string()).await.unwrap();
    }
    client.flush().await.unwrap();
    let whole = Subscribe::sow_and_deltas_of("s").options("oof").filter("/id < 3");
    let mut stream = client.subscribe(whole).await.unwrap();
    let mut records = DeltaRecords::new();
    while records.apply(&event(&mut stream).await).unwrap().is_some() || records.len() < 2 {}
    let replaced = stream.handle().replace(Replacement::new().filter("/id > 1")).await;
    replaced.unwrap();
    client.publish("s", json!({"id": 2, "a": 1}).to_string()).await.unwrap();
    let values = |records: &DeltaRecords| records.iter().map(|(_, record)| record.clone()).collect::<Vec<_>>();
    let expected = [json!({"id": 2, "a": 1}), json!({"id": 3, "a": 0})];
    while by_id(&values(&records)) != by_id(&expected) {
        let event = event(&mut stream).await;
        assert!(!matches!(event, SubscriptionEvent::SnapshotBegin), "{:?}", values(&records));
        records.apply(&event).unwrap();
    }
    // On another connection they come anew.
    assert!(server.kick("me"));
    while !matches!(event(&mut stream).await, SubscriptionEvent::SnapshotBegin) {}
}

#[tokio::test]
async fn without_keys_or_json_nothing_is_merged() {
    let (_server, client) = connect().await;
    let mut stream = client.subscribe(Subscribe::deltas_of("^(s|t)$").options("no_sowkey")).await.unwrap();
    client.publish("s", r#"{"id":1}"#).await.unwrap();
    let mut records = DeltaRecords::new();
    let error = records.apply(&event(&mut stream).await).unwrap_err();
    assert!(matches!(error, DeltaError::NoKey), "{error}");
    assert!(records.is_empty());
    let error = client.subscribe(Subscribe::deltas_of("s").bookmark(StartAt::Epoch)).await.unwrap_err();
    assert!(matches!(error, CommandError::Invalid { .. }), "{error}");
}

/// A value of some depth; arrays hold anything.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), (0..3i64).prop_map(Value::from), "[ab]{0,2}".prop_map(Value::from)];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[xyz]", inner, 0..3).prop_map(Value::from_iter),
        ]
    })
}

/// What a publisher writes: the whole record with some fields changed or added,
/// or only those.
fn overlaid(record: &Value, change: &Value) -> Value {
    let (Some(old), Some(new)) = (record.as_object(), change.as_object()) else { return change.clone() };
    let mut all = old.clone();
    for (name, value) in new {
        let value = old.get(name).map_or_else(|| value.clone(), |old| overlaid(old, value));
        all.insert(name.clone(), value);
    }
    Value::Object(all)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: amps_tests::cases(24), failure_persistence: None, ..ProptestConfig::default() })]

    /// What the server sends as deltas makes what the server holds, as long as no
    /// field disappears.
    #[test]
    fn deltas_make_the_records_of_the_server(
        changes in prop::collection::vec((1..4u64, any::<bool>(), value()), 1..40),
        options in prop::sample::select(vec!["oof", "oof,no_empties", "oof,no_empties,send_keys"]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_server, client) = connect().await;
            let mut stream = client.subscribe(Subscribe::sow_and_deltas_of("s").options(options)).await.unwrap();
            let mut records = DeltaRecords::new();
            let mut model = BTreeMap::new();
            for (id, whole, change) in changes.into_iter().chain([(9, true, json!({"last": 1}))]) {
                let change = if change.is_object() { change } else { json!({ "v": change }) };
                let keyed = overlaid(&json!({ "id": id }), &change);
                let record = model.entry(id).or_insert_with(|| json!({}));
                *record = overlaid(record, &keyed);
                match whole {
                    true => client.publish("s", record.to_string()).await.unwrap(),
                    // It cannot set a null.
                    false => client.delta_publish("s", keyed.to_string()).await.unwrap(),
                };
                if !whole {
                    // What the server holds then is what it says.
                    client.flush().await.unwrap();
                    let mut query = client.sow(amps_client::Sow::of("s").filter(format!("/id = {id}"))).await.unwrap();
                    let held = query.next_message().await.unwrap().unwrap();
                    *record = serde_json::from_slice(held.data()).unwrap();
                }
            }
            while !by_id(records.iter().map(|(_, record)| record)).contains_key(&9) {
                records.apply(&event(&mut stream).await).unwrap();
            }
            let merged = by_id(records.iter().map(|(_, record)| record));
            assert_eq!(merged, model.iter().map(|(id, record)| (*id, record)).collect());
        });
    }
}
