//! Content filters from the client's side, against the server that evaluates
//! them.

use std::time::Duration;

use amps_client::{
    Client, CommandError, PublishStore, Reason, Replacement, Sow, StartAt, Subscribe, Subscription, SubscriptionEvent,
    quote, quote_list,
};
use amps_core::Field;
use amps_core::message::MessageKind;
use amps_testserver::{Filter, ReceivedCommand, TestServer};
use proptest::prelude::*;
use serde_json::json;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

async fn server() -> TestServer {
    TestServer::builder().sow("w", "/id").ack_conflation(Duration::from_millis(5)).start().await.unwrap()
}

async fn client(server: &TestServer, name: &str) -> Client {
    let builder = Client::builder(name).server(server.uri()).publish_store(PublishStore::Memory);
    builder.connect().await.unwrap()
}

async fn next(subscription: &mut Subscription) -> String {
    let message = timeout(SOON, subscription.next_message()).await.expect("a message in time").unwrap().unwrap();
    String::from_utf8(message.data().to_vec()).unwrap()
}

/// The subscribe commands with a filter, in order.
fn filtered(server: &TestServer) -> Vec<ReceivedCommand> {
    server.stats().commands.into_iter().filter(|command| command.filter.is_some()).collect()
}

/// What each filter asks for is sent, and nothing else: the server reads it
/// byte for byte as it was written.
///
/// Covers 4.1#1.
#[tokio::test]
async fn a_filter_reaches_the_server_as_it_was_written() {
    let server = server().await;
    let publisher = client(&server, "publisher").await;
    let reader = client(&server, "reader").await;
    for (at, (filter, wanted)) in [
        ("/a = \"it's\"", "it's"),
        (r#"/a = 'say "hi"'"#, r#"say "hi""#),
        (r#"/a = 'it\'s "both"'"#, r#"it's "both""#),
        (r"/a = 'back\\slash'", r"back\slash"),
        (r"/a LIKE '^\\\\$'", r"\\"),
        ("/a = 'two\nlines'\n", "two\nlines"),
        ("\t/a\r\n=\t'tab\there'", "tab\there"),
        ("/a = 'größe 日本 🦀'", "größe 日本 🦀"),
        ("/a = '{}[]:,}'", "{}[]:,}"),
        ("/a = '\u{1}\u{1f}\u{7f}'", "\u{1}\u{1f}\u{7f}"),
    ]
    .into_iter()
    .enumerate()
    {
        let topic = format!("t{at}");
        let mut subscription = reader.subscribe(Subscribe::to(&topic).filter(filter)).await.unwrap();
        assert_eq!(filtered(&server).last().unwrap().filter.as_deref(), Some(filter));
        for value in ["other", wanted] {
            publisher.publish(&topic, serde_json::json!({ "a": value }).to_string()).await.unwrap();
        }
        let body: serde_json::Value = serde_json::from_str(&next(&mut subscription).await).unwrap();
        assert_eq!(body["a"], wanted, "{filter}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: amps_tests::cases(2_000), failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a user typed is a value: it matches itself and nothing else, alone and
    /// in a list, and no filter comes of it.
    #[test]
    fn a_quoted_text_is_a_value_whatever_is_in_it(
        typed in prop_oneof![".{1,20}", "['\"\\\\ =1OR/a\\n\t\r\0\u{7f}()]{1,20}"],
        other in ".{1,20}",
    ) {
        let matches = |filter: &str, value: &str| {
            let filter: Filter = filter.parse().unwrap_or_else(|error| panic!("{filter}: {error}"));
            filter.matches(json!({ "a": value }).to_string().as_bytes())
        };
        let equals = format!("/a = {}", quote(&typed));
        prop_assert!(matches(&equals, &typed), "{}", equals);
        prop_assert_eq!(matches(&equals, &other), typed == other, "{}", equals);
        let listed = format!("/a IN {}", quote_list([&other, &typed]));
        prop_assert!(matches(&listed, &typed) && matches(&listed, &other), "{}", listed);
        let inside = format!("INSTR(/a, {}) > 0", quote(&typed));
        let around = format!("x{}y", typed);
        prop_assert!(matches(&inside, &around), "{}", inside);
        let none = format!("/a IN {}", quote_list([""; 0]));
        prop_assert!(!matches(&none, &typed));
    }
}

/// Covers 4.1#2.
#[tokio::test]
async fn a_bad_filter_is_an_error_of_the_call_and_the_connection_stays() {
    let server = server().await;
    let client = client(&server, "me").await;
    let mut before = client.subscribe("t").await.unwrap();
    for bad in ["/a >", "/a LIKE '('", "no words please", "((1 = 1)"] {
        for refused in [
            client.subscribe(Subscribe::to("t").filter(bad)).await,
            client.subscribe(Subscribe::to("t").filter(bad).bookmark(StartAt::Epoch)).await,
            client.subscribe(Subscribe::sow_and("w").filter(bad)).await,
            client.sow(Sow::of("w").filter(bad)).await,
        ] {
            let refused = refused.expect_err("refused");
            assert!(matches!(&refused, CommandError::Refused { reason: Reason::BadFilter, .. }), "{bad}: {refused}");
        }
    }
    let mut after = client.subscribe(Subscribe::to("t").filter("/a = 1")).await.unwrap();
    client.publish("t", r#"{"a":1}"#).await.unwrap();
    for subscription in [&mut before, &mut after] {
        assert_eq!(next(subscription).await, r#"{"a":1}"#);
    }
    assert_eq!((client.reconnects(), server.stats().logons), (0, 1));
}

/// Messages come at 10,000 a second while the filter is replaced: what both
/// filters match comes once and in order, what one of them matches comes on
/// its side of one moment.
///
/// Covers 4.1.1#1.
#[tokio::test]
async fn a_filter_is_replaced_between_two_messages_of_a_full_stream() {
    const MESSAGES: u64 = 10_000;
    let server = server().await;
    for start in [None, Some(StartAt::Epoch)] {
        let topic = if start.is_some() { "bookmark" } else { "plain" };
        let publisher = client(&server, &format!("publisher of {topic}")).await;
        let reader = client(&server, &format!("reader of {topic}")).await;
        let both = |other: u64| format!("/n % 2 = 0 OR /n % {other} = 0 OR /n = {}", MESSAGES - 1);
        let mut subscribe = Subscribe::to(topic).filter(both(3));
        if let Some(start) = start {
            subscribe = subscribe.bookmark(start);
        }
        let mut subscription = reader.subscribe(subscribe).await.unwrap();
        let handle = subscription.handle();
        let feeding = tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(1));
            let mut replacing = None;
            for n in 0..MESSAGES {
                if n % 10 == 0 {
                    pace.tick().await;
                }
                if n == MESSAGES / 3 {
                    let (handle, filter) = (handle.clone(), both(5));
                    replacing =
                        Some(tokio::spawn(async move { handle.replace(Replacement::new().filter(filter)).await }));
                }
                publisher.enqueue(topic, format!("{{\"n\":{n}}}")).unwrap();
            }
            publisher.flush().await.unwrap();
            replacing.unwrap().await.unwrap().unwrap();
        });
        let mut got = Vec::new();
        while got.last() != Some(&(MESSAGES - 1)) {
            let body: serde_json::Value = serde_json::from_str(&next(&mut subscription).await).unwrap();
            got.push(body["n"].as_u64().unwrap());
        }
        feeding.await.unwrap();
        assert!(got.is_sorted_by(|a, b| a < b), "{topic}: out of order or twice");
        assert_eq!(got.iter().filter(|n| **n % 2 == 0).count() as u64, MESSAGES / 2, "{topic}: a gap");
        let only = |this: u64, not: u64| {
            move |n: &&u64| **n % 2 == 1 && n.is_multiple_of(this) && !n.is_multiple_of(not) && **n != MESSAGES - 1
        };
        let moment = *got.iter().rfind(only(3, 5)).unwrap();
        let expected = |this: u64, not: u64, range: std::ops::Range<u64>| range.filter(|n| only(this, not)(&n)).count();
        assert_eq!(got.iter().filter(only(3, 5)).count(), expected(3, 5, 0..moment + 1), "{topic}");
        let first = *got.iter().find(only(5, 3)).unwrap();
        assert!(first > moment, "{topic}: {first} of the new filter before {moment} of the old");
        assert_eq!(got.iter().filter(only(5, 3)).count(), expected(5, 3, first..MESSAGES), "{topic}");
    }
}

/// Covers 4.1.1#2, 4.1.1#3.
#[tokio::test]
async fn the_filter_the_server_took_last_is_the_one_of_every_later_connection() {
    let server = server().await;
    let publisher = client(&server, "publisher").await;
    let reader = client(&server, "reader").await;
    let mut subscription = reader.subscribe(Subscribe::to("t").filter("/n = 1")).await.unwrap();
    subscription.handle().replace(Replacement::new().filter("/n = 2")).await.unwrap();
    let refused = subscription.handle().replace(Replacement::new().filter("/n = ")).await.unwrap_err();
    assert!(matches!(&refused, CommandError::Refused { reason: Reason::BadFilter, .. }), "{refused}");
    for n in 1..=3 {
        publisher.publish("t", format!("{{\"n\":{n}}}")).await.unwrap();
    }
    assert_eq!(next(&mut subscription).await, r#"{"n":2}"#);
    let entered = filtered(&server).len();
    assert!(server.kick("reader"));
    let event = timeout(SOON, subscription.next()).await.expect("an event in time").unwrap().unwrap();
    assert!(matches!(event, SubscriptionEvent::Reconnected { .. }), "{event:?}");
    timeout(SOON, reader.connected()).await.expect("recovered in time").unwrap();
    let again = filtered(&server).split_off(entered);
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!(again[0].filter.as_deref(), Some("/n = 2"));
    assert!(!again[0].options.as_deref().unwrap_or_default().contains("replace"), "{again:?}");
    for n in 1..=3 {
        publisher.publish("t", format!("{{\"n\":{n},\"again\":1}}")).await.unwrap();
    }
    assert_eq!(next(&mut subscription).await, r#"{"n":2,"again":1}"#);
}

#[tokio::test]
async fn a_query_gets_the_records_that_match_and_then_what_comes_and_goes() {
    let server = server().await;
    let client = client(&server, "me").await;
    for id in 1..=4 {
        client.publish("w", format!(r#"{{"id":{id},"n":1}}"#)).await.unwrap();
    }
    client.flush().await.unwrap();
    let mut records = client.sow(Sow::of("w").filter("/id >= 2 AND /id != 3")).await.unwrap();
    let mut found = Vec::new();
    while let Some(record) = timeout(SOON, records.next_message()).await.unwrap().unwrap() {
        found.push(String::from_utf8(record.data().to_vec()).unwrap());
    }
    found.sort();
    assert_eq!(found, [r#"{"id":2,"n":1}"#, r#"{"id":4,"n":1}"#]);

    let subscribe = Subscribe::sow_and("w").filter("/id = 1 AND /n < 3").options("oof");
    let mut live = client.subscribe(subscribe).await.unwrap();
    assert_eq!(next(&mut live).await, r#"{"id":1,"n":1}"#);
    for n in 2..=4 {
        client.publish("w", format!(r#"{{"id":1,"n":{n}}}"#)).await.unwrap();
    }
    assert_eq!(next(&mut live).await, r#"{"id":1,"n":2}"#);
    let left = timeout(SOON, live.next_message()).await.unwrap().unwrap().unwrap();
    assert_eq!(left.kind(), MessageKind::Oof);
    assert_eq!(left.text(Field::Reason).as_deref(), Some("match"));
    assert_eq!(left.data(), br#"{"id":1,"n":3}"#);
}
