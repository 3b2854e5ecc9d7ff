//! What a client says of its health, and when.

use std::time::Duration;

use amps_client::kv::MemoryKv;
use amps_client::reconnect::FixedReconnect;
use amps_client::{
    BookmarkStore, Client, ClientBuilder, ConnectionState, HealthLimits, HealthReason, HealthStatus, OnPublishGap,
    PublishStore, RecoveryPhase, StartAt, Subscribe,
};
use amps_core::transport::Connecting;
use amps_testserver::{Access, TestServer};

const SOON: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);

fn builder(server: &str) -> ClientBuilder {
    let strategy = FixedReconnect::new(Duration::ZERO, 1).loss_window(Duration::ZERO);
    Client::builder("me").server(server).reconnect(strategy)
}

async fn server() -> TestServer {
    TestServer::builder().ack_conflation(Duration::from_millis(5)).start().await.unwrap()
}

/// Looks again and again until the health is as `is` says.
async fn until(client: &Client, limits: &HealthLimits, is: impl Fn(&[HealthReason]) -> bool) -> String {
    let looking = async {
        loop {
            let health = client.health_within(limits);
            if is(&health.reasons) {
                return health.to_string();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, looking).await.unwrap_or_else(|_| panic!("{}", client.health_within(limits)))
}

/// Opens no connection, in no time.
#[derive(Debug)]
struct Nowhere;

impl amps_client::Connector for Nowhere {
    fn connect<'a>(&'a self, _: &'a amps_client::Uri) -> Connecting<'a> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_connects_says_for_how_long_and_what_was_tried() {
    let client = builder("tcp://me:secret@h:9007/amps/json").connector(Nowhere).store_bound_messages(10);
    let client = client.start().unwrap();
    tokio::time::sleep(2 * SECOND).await;
    let health = client.health();
    assert_eq!(health.status, HealthStatus::Down);
    let [HealthReason::NotConnected { lasting, recovering: Some(at) }] = &health.reasons[..] else {
        panic!("{health:?}")
    };
    assert_eq!((*lasting, at.phase, at.attempt, at.lasting), (2 * SECOND, RecoveryPhase::Connect, 1, 2 * SECOND));

    for id in 0..9 {
        client.publish("orders", id.to_string()).await.unwrap();
    }
    tokio::time::sleep(30 * SECOND).await;
    let health = client.health();
    let text = health.to_string();
    assert_eq!(
        text,
        "down: not connected for 32.0s, in connect of attempt 7 at tcp://me:***@h:9007/amps/json for 2.0s; \
         6 attempts at tcp://me:***@h:9007/amps/json failed, the last: no connection within 5s; \
         the publish store is nearly full: BYTES of 268435456 bytes in 9 messages of 10; \
         9 messages are unacknowledged, the oldest for 30.0s"
            .replace("BYTES", &bytes(&health.reasons))
    );
    let strict = HealthLimits::new().store_part(0.95).unacknowledged_age(60 * SECOND);
    assert_eq!(client.health_within(&strict).reasons.len(), 2);

    let json = serde_json::to_value(&health).unwrap();
    assert_eq!(json["status"], "down");
    assert_eq!(json["reasons"][0]["reason"], "not_connected");
    assert_eq!(json["reasons"][0]["for_seconds"], 32.0);
    assert_eq!(json["reasons"][0]["recovering"]["phase"], "connect");
    assert_eq!(json["reasons"][1]["cause"], "no connection within 5s");
    assert_eq!(json["reasons"][3]["age_seconds"], 30.0);

    client.close(SECOND).await;
    let health = client.health();
    assert!(matches!(health.reasons[0], HealthReason::Over { .. }), "{health:?}");
    assert!(health.to_string().starts_with("down: the client is over: the client was closed; "), "{health}");
}

fn bytes(reasons: &[HealthReason]) -> String {
    let bytes = reasons.iter().find_map(|reason| match reason {
        HealthReason::PublishStoreNearlyFull { bytes, .. } => Some(*bytes),
        _ => None,
    });
    bytes.unwrap().to_string()
}

#[tokio::test]
async fn a_client_is_ready_when_it_has_recovered_and_down_when_it_is_lost() {
    let server = server().await;
    let client = builder(&server.uri()).connect().await.unwrap();
    assert!(client.health().is_ready());
    assert_eq!(client.health().to_string(), "ready");

    let mut state = client.state();
    state.latest();
    server.faults(|faults| faults.refuse_logon(Some("maintenance\nuntil noon")));
    server.kick("me");
    while state.changed().await.unwrap().state != ConnectionState::Disconnected {}
    let refused = |reasons: &[HealthReason]| {
        let cause = |reason: &HealthReason| match reason {
            HealthReason::AttemptsFailed { cause, .. } => Some(cause.name()),
            _ => None,
        };
        reasons.iter().filter_map(cause).any(|cause| cause == "logon_refused")
    };
    let text = until(&client, &HealthLimits::new(), refused).await;
    assert!(text.starts_with("down: not connected for "), "{text}");
    assert!(text.contains("failed, the last: the server refused the logon: maintenance until noon"), "{text}");
    server.faults(|faults| faults.refuse_logon(None));
    client.connected().await.unwrap();
    assert_eq!(client.health().to_string(), "ready", "what was tried before is over");
    client.close(SOON).await;
}

/// Whoever asks is not told that all is well by what is left of a client.
#[test]
fn a_client_whose_runtime_is_gone_says_so() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(async { builder(&server().await.uri()).connect().await.unwrap() });
    assert!(client.health().is_ready());
    drop(runtime);
    let health = client.health();
    assert_eq!(health.to_string(), "down: the client is over: gave up: the client's task ended");
    assert!(client.dump().contains("the client's task ended"));
}

#[tokio::test]
async fn without_recovery_a_loss_is_said_to_stay() {
    let server = server().await;
    let client = builder(&server.uri()).no_recovery().connect().await.unwrap();
    server.kick("me");
    let down = |reasons: &[HealthReason]| reasons.iter().any(|r| matches!(r, HealthReason::StaysDisconnected { .. }));
    let text = until(&client, &HealthLimits::new(), down).await;
    assert!(text.contains(", and nothing reconnects it: "), "{text}");
    client.reconnect().await.unwrap();
    assert!(client.health().is_ready());
}

#[tokio::test]
async fn a_full_queue_is_named_until_it_is_read() {
    let server = server().await;
    let client = builder(&server.uri()).connect().await.unwrap();
    let mut slow = client.subscribe(Subscribe::to("t").queue(2, 1 << 20).id("slow")).await.unwrap();
    for id in 0..10 {
        client.enqueue("t", id.to_string()).unwrap();
    }
    let at_once = HealthLimits::new().queue_full(Duration::ZERO);
    let full = |reasons: &[HealthReason]| matches!(reasons, [HealthReason::QueueFull { messages: 2, .. }, ..]);
    let text = until(&client, &at_once, full).await;
    assert!(text.starts_with("degraded: the queue of the subscription 'slow' to 't' is full for "), "{text}");
    assert!(client.report().subscriptions[0].full.is_some());
    for _ in 0..10 {
        slow.next_message().await.unwrap().unwrap();
    }
    client.flush().await.unwrap();
    assert!(client.health_within(&at_once).is_ready(), "{}", client.health_within(&at_once));
}

#[tokio::test]
async fn messages_that_nobody_discards_are_a_reason_for_who_wants_it() {
    let server = server().await;
    let client = builder(&server.uri()).connect().await.unwrap();
    let mut orders = client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch).id("desk")).await.unwrap();
    client.publish("t", "1").await.unwrap();
    let one = orders.next_message().await.unwrap().unwrap();
    let limits = HealthLimits::new().undiscarded_age(Duration::ZERO);
    let health = client.health_within(&limits);
    assert!(health.to_string().starts_with("degraded: 1 message of the subscription 'desk' not discarded"), "{health}");
    assert!(client.health().is_ready(), "it need not be wrong");
    orders.discard(&one);
    assert!(client.health_within(&limits).is_ready());
}

#[tokio::test]
async fn a_subscription_that_was_refused_on_a_reconnect_is_remembered_until_it_is_made_anew() {
    let server = server().await;
    let client = builder(&server.uri()).connect().await.unwrap();
    let mut kept = client.subscribe(Subscribe::to("open")).await.unwrap();
    let mut lost = client.subscribe(Subscribe::to("closed").filter("/id = 1")).await.unwrap();
    server.faults(|faults| faults.entitle(|_, access, topic| access != Access::Read || topic != "closed"));
    server.kick("me");
    assert!(lost.next().await.unwrap().is_ok(), "it says that it reconnects");
    assert!(lost.next().await.unwrap().is_err());
    client.connected().await.unwrap();
    let text = client.health().to_string();
    let expected = "degraded: the subscription to 'closed' with the filter '/id = 1' has ended: ";
    assert!(text.starts_with(expected) && text.ends_with("refused it: not entitled"), "{text}");
    server.faults(|faults| faults.clear());
    let again = client.subscribe(Subscribe::to("closed").filter("/id = 1")).await.unwrap();
    assert!(client.health().is_ready(), "{}", client.health());
    drop(again);
    client.publish("open", "1").await.unwrap();
    while !matches!(kept.next().await.unwrap().unwrap(), amps_client::SubscriptionEvent::Message(_)) {}
}

#[tokio::test]
async fn a_publish_gap_says_what_is_missing_where() {
    let one = server().await;
    let other = server().await;
    let client = builder(&one.uri()).server(other.uri()).on_publish_gap(OnPublishGap::Refuse);
    let client = client.connect().await.unwrap();
    client.publish("t", "1").await.unwrap();
    client.flush().await.unwrap();
    one.stop().await;
    let gap = |reasons: &[HealthReason]| reasons.iter().any(|r| matches!(r, HealthReason::PublishGap { known: 0, .. }));
    let text = until(&client, &HealthLimits::new(), gap).await;
    assert!(text.contains(&format!("publish gap at {}: it knows this client up to sequence 0", other.uri())), "{text}");
}

/// A store that fails for good stops what is published; a client that goes on
/// as if nothing had happened would be worse.
#[tokio::test]
async fn stores_that_fail_are_named() {
    let server = server().await;
    let disk = MemoryKv::new();
    let store = PublishStore::custom("the disk", Box::new(disk.clone()));
    let client = builder(&server.uri()).publish_store(store).connect().await.unwrap();
    client.publish("t", "1").await.unwrap();
    client.flush().await.unwrap();
    disk.fail_write(1);
    client.publish("t", "2").await.unwrap_err();
    let health = client.health();
    assert_eq!(health.status, HealthStatus::Down);
    assert!(health.to_string().starts_with("down: the publish store failed: "), "{health}");
    drop(client);

    let disk = MemoryKv::new();
    let store = BookmarkStore::custom("the disk", Box::new(disk.clone()));
    let client = builder(&server.uri()).bookmark_store(store).connect().await.unwrap();
    let mut orders = client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch)).await.unwrap();
    let one = orders.next_message().await.unwrap().unwrap();
    orders.discarded().await.unwrap();
    disk.fail_write(1);
    orders.discard(&one);
    orders.discarded().await.unwrap_err();
    let health = client.health();
    assert_eq!(health.status, HealthStatus::Degraded);
    assert!(health.to_string().starts_with("degraded: bookmarks are not kept: "), "{health}");
}
