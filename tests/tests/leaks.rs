//! What a lost connection leaves behind: nothing. Alone in its process, whose
//! threads are counted.

use std::time::Duration;

use amps_client::Client;
use amps_client::reconnect::FixedReconnect;
use amps_testserver::TestServer;

const SOON: Duration = Duration::from_secs(20);

/// Covers 5.5.2#3.
#[tokio::test]
async fn a_thousand_lost_connections_leave_no_task_and_no_thread_behind() {
    fn threads() -> usize {
        std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
    }
    let server = TestServer::builder().start().await.unwrap();
    let strategy = FixedReconnect::new(Duration::ZERO, 1).loss_window(Duration::ZERO);
    let client = Client::builder("me").server(server.uri()).reconnect(strategy);
    let client = client.no_heartbeat().connect().await.unwrap();
    let metrics = tokio::runtime::Handle::current().metrics();
    let cycle = async |number: u64| {
        server.kick("me");
        server.wait_for(|stats| stats.logons > number && stats.connections == 1).await;
    };
    for number in 1..=10 {
        tokio::time::timeout(SOON, cycle(number)).await.unwrap();
    }
    let before = (metrics.num_alive_tasks(), threads());
    for number in 11..=1_000 {
        tokio::time::timeout(SOON, cycle(number)).await.unwrap();
    }
    let after = (metrics.num_alive_tasks(), threads());
    assert!(after.0 <= before.0 + 2 && after.1 <= before.1 + 2, "{before:?} before, {after:?} after");
    client.close(SOON).await;
}
