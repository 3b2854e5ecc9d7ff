//! What a running test server is told on its standard input.

use std::io::{self, BufRead};
use std::thread;

use amps_testserver::TestServer;
use tokio::sync::mpsc;

/// Orders on their way.
const AHEAD: usize = 16;

/// The lines of standard input. They are read by a thread of their own: standard
/// input may block for ever.
///
/// # Errors
/// When there can be no such thread.
pub(crate) fn listen() -> io::Result<mpsc::Receiver<String>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    thread::Builder::new().name("control".to_owned()).spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// No orders at all.
pub(crate) fn nothing() -> mpsc::Receiver<String> {
    mpsc::channel(1).1
}

/// Carries an order out. The answer says what was done.
pub(crate) fn obey(order: &str, server: &TestServer) -> String {
    let (known, done, peer) = match order.trim().split_once(' ') {
        Some(("downgrade", peer)) => (server.downgrade(peer.trim()), "downgraded", peer.trim()),
        Some(("upgrade", peer)) => (server.upgrade(peer.trim()), "upgraded", peer.trim()),
        _ => return format!("unknown order {order:?}: say `downgrade PEER` or `upgrade PEER`"),
    };
    match known {
        true => format!("{done} {peer}"),
        false => format!("no peer {peer}"),
    }
}

#[cfg(test)]
mod tests {
    use amps_testserver::Link;

    use super::*;

    #[tokio::test]
    async fn an_order_names_a_peer_by_its_uri() {
        let peer = "tcp://127.0.0.1:1/amps/json";
        let server = TestServer::builder().name("A").peer(peer, Link::Sync).start().await.unwrap();
        assert_eq!(obey(&format!("downgrade {peer}"), &server), format!("downgraded {peer}"));
        assert_eq!(obey(&format!(" upgrade  {peer}"), &server), format!("upgraded {peer}"));
        assert_eq!(obey("upgrade B", &server), "no peer B");
        for bad in ["", "downgrade", "stop now"] {
            assert!(obey(bad, &server).starts_with("unknown order"), "{bad:?}");
        }
        server.stop().await;
    }
}
