//! What the test server offers to the tests of others: groups, coming back, and
//! what arrived.

use std::time::Duration;

use amps_client::reconnect::FixedReconnect;
use amps_client::{Client, SowDelete};
use amps_testserver::{Link, TestServer};

const SOON: Duration = Duration::from_secs(20);

async fn client(name: &str, server: &TestServer) -> Client {
    let reconnect = FixedReconnect::new(Duration::from_millis(5), 1).loss_window(Duration::ZERO);
    Client::builder(name).server(server.uri()).reconnect(reconnect).connect().await.unwrap()
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("in time")
}

#[tokio::test]
async fn all_of_a_group_have_what_each_took_and_one_that_comes_back_gets_the_rest() {
    let quick = Duration::from_millis(20);
    let group = TestServer::group(["A", "B", "C"], |server| server.ack_conflation(quick)).await.unwrap();
    let [a, b, c] = group;
    assert!([&a, &b, &c].iter().all(|server| server.config().peers.iter().all(|peer| peer.link == Link::Sync)));
    let (on_a, on_b) = (client("on-a", &a).await, client("on-b", &b).await);
    on_a.publish("orders", "1").await.unwrap();
    on_b.publish("orders", "2").await.unwrap();
    soon(on_a.flush()).await.unwrap();
    soon(on_b.flush()).await.unwrap();
    for server in [&a, &b, &c] {
        let mut logged = server.logged("orders");
        logged.sort();
        assert_eq!(logged, ["1", "2"], "acknowledged, and not at {}", server.config().name);
    }

    let (uri, again) = (c.uri(), c.again());
    c.stop().await;
    on_a.publish("orders", "3").await.unwrap();
    soon(b.wait_for_logged("orders", 3)).await;
    assert_eq!(on_a.unacknowledged(), 1, "one of the group is away");
    let c = again.start().await.unwrap();
    assert_eq!((c.uri(), c.config().name.as_str()), (uri, "C"));
    soon(on_a.flush()).await.unwrap();
    assert_eq!(c.logged("orders").len(), 3);
}

#[tokio::test]
async fn what_is_logged_of_a_topic_is_what_was_published_to_it_in_order() {
    let server = TestServer::builder().topic_log("^(orders|prices)$").sow("prices", "/id").start().await.unwrap();
    let client = client("client", &server).await;
    for (topic, body) in [("orders", "1"), ("prices", r#"{"id":1}"#), ("chat", "hello"), ("orders", "2")] {
        client.publish(topic, body).await.unwrap();
    }
    client.sow_delete(SowDelete::by_filter("prices", "/id = 1")).await.unwrap();
    client.publish("orders", "3").await.unwrap();
    assert_eq!(soon(server.wait_for_logged("orders", 3)).await, ["1", "2", "3"]);
    // More than what is waited for is shown, not cut off.
    assert_eq!(soon(server.wait_for_logged("orders", 1)).await, ["1", "2", "3"]);
    assert_eq!(server.logged("prices"), [r#"{"id":1}"#], "a deletion is none");
    assert!(server.logged("chat").is_empty() && server.logged("nothing").is_empty());
    assert!(tokio::time::timeout(Duration::ZERO, server.wait_for_logged("orders", 4)).await.is_err());
}
