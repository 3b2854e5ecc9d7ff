//! The server on a real socket.

mod common;

use std::future::Future;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use amps_core::{AckType, Field, FrameDecoder, Message};
use amps_testserver::{Target, TestServer};
use bytes::BytesMut;
use common::{logon, publish, subscribe};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Client {
    stream: TcpStream,
    decoder: FrameDecoder,
}

impl Client {
    async fn logon(server: &TestServer, name: &str) -> Self {
        let stream = TcpStream::connect(server.addr()).await.unwrap();
        let mut client = Self { stream, decoder: FrameDecoder::new(1 << 20) };
        client.send(logon(name).text(Field::Options, "ack_conflation=5ms")).await;
        assert_eq!(client.next().await.unwrap().ack_type(), Some(AckType::Processed));
        client
    }

    async fn send(&mut self, command: amps_core::Command) {
        let mut bytes = BytesMut::new();
        command.encode(&mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next message, `None` when the server closed.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(Message::decode(frame).unwrap());
            }
            match self.stream.read_buf(self.decoder.buffer_mut()).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    async fn persisted(&mut self, through: u64) {
        while let Some(message) = self.next().await {
            if message.ack_type() == Some(AckType::Persisted) && message.sequence() == Some(through) {
                return;
            }
        }
        panic!("the connection ended before {through} was persisted");
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), test).await.expect("in time") });
}

#[test]
fn what_was_acknowledged_is_there_after_an_abrupt_stop_and_a_restart_on_the_same_address() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let server = TestServer::builder().name("A").data_dir(dir.path()).start().await.unwrap();
        let address = server.addr();
        let mut publisher = Client::logon(&server, "p").await;
        for sequence in 1..=1_000 {
            publisher.send(publish("t", sequence)).await;
        }
        publisher.persisted(1_000).await;
        server.stop().await;
        assert!(publisher.next().await.is_none(), "a stop cuts every connection");
        assert_eq!(amps_testserver::journal::read(dir.path()).unwrap().len(), 1_000);

        let restarted =
            TestServer::builder().name("A").listen(address.to_string()).data_dir(dir.path()).start().await.unwrap();
        assert_eq!(restarted.log().len(), 1_000);
        let mut subscriber = Client::logon(&restarted, "s").await;
        subscriber.send(subscribe("1", "t", AckType::Completed).text(Field::Bookmark, "0")).await;
        for sequence in 1..=1_000 {
            let message = subscriber.next().await.unwrap();
            assert_eq!(message.bookmark().unwrap().sequence, sequence);
        }
        assert_eq!(subscriber.next().await.unwrap().ack_type(), Some(AckType::Completed));
    });
}

#[test]
fn two_servers_cannot_share_a_directory() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let first = TestServer::builder().data_dir(dir.path()).start().await.unwrap();
        let second = TestServer::builder().data_dir(dir.path()).start().await;
        let error = second.unwrap_err().to_string();
        assert!(
            error.contains("another server has it open") && error.contains(dir.path().to_str().unwrap()),
            "{error}"
        );
        drop(first);
    });
}

#[test]
fn a_client_that_does_not_read_blocks_nobody() {
    run(async {
        let server = TestServer::builder().configure(|c| c.outbox_limit = 1 << 20).start().await.unwrap();
        let mut idle = Client::logon(&server, "idle").await;
        idle.send(subscribe("1", "t", AckType::Processed).text(Field::Bookmark, "0")).await;
        let mut publisher = Client::logon(&server, "p").await;
        let body = "x".repeat(10_000);
        for sequence in 1..=2_000 {
            publisher.send(publish("t", sequence).body(body.clone())).await;
        }
        publisher.persisted(2_000).await;
        // It was only slow: everything comes, in order.
        assert_eq!(idle.next().await.unwrap().ack_type(), Some(AckType::Processed));
        for sequence in 1..=2_000 {
            assert_eq!(idle.next().await.unwrap().bookmark().unwrap().sequence, sequence);
        }
    });
}

#[test]
fn a_stalled_connection_goes_on_when_the_fault_ends() {
    run(async {
        let server = TestServer::builder().start().await.unwrap();
        let mut publisher = Client::logon(&server, "p").await;
        server.faults(|faults| faults.half_open(Target::Client("p".into()), true));
        publisher.send(publish("t", 1)).await;
        let mut other = Client::logon(&server, "q").await;
        other.send(publish("t", 1)).await;
        other.persisted(1).await;
        assert_eq!(server.log().len(), 1, "the stalled client's message is not read");
        server.faults(|faults| faults.clear());
        publisher.persisted(1).await;
        server.kick("p");
        assert!(publisher.next().await.is_none());
    });
}

/// Three meshed servers on disk; each is stopped and restarted while messages
/// flow, and the publisher goes from one to the next.
#[test]
fn a_meshed_group_on_disk_ends_complete_after_restarts() {
    use amps_testserver::{Link, TestServerBuilder};
    const NAMES: [&str; 3] = ["A", "B", "C"];

    fn describe(ix: usize, addresses: &[String], dir: &std::path::Path) -> TestServerBuilder {
        let builder = TestServer::builder()
            .name(NAMES[ix])
            .listen(&addresses[ix])
            .data_dir(dir.join(NAMES[ix]))
            .configure(|config| config.redial_delay = Duration::from_millis(10));
        let peers = (0..3).filter(|peer| *peer != ix);
        peers.fold(builder, |builder, peer| builder.peer(format!("tcp://{}/amps/json", addresses[peer]), Link::Sync))
    }

    run(async {
        let dir = tempfile::tempdir().unwrap();
        let free = |_| std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        // All held at once, so that they differ.
        let listeners: Vec<_> = (0..3).map(free).collect();
        let addresses: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap().to_string()).collect();
        drop(listeners);
        let mut servers = Vec::new();
        for ix in 0..3 {
            servers.push(Some(describe(ix, &addresses, dir.path()).start().await.unwrap()));
        }
        let mut last = 0;
        for round in 0..6 {
            let at = round % 3;
            let mut client = Client::logon(servers[at].as_ref().unwrap(), "p").await;
            for sequence in last + 1..=last + 500 {
                client.send(publish("t", sequence)).await;
            }
            last += 500;
            // Any server is restarted, the publisher's own too, before or
            // after it took everything; then the publisher replays.
            let victim = (round / 2) % 3;
            servers[victim].take().unwrap().stop().await;
            servers[victim] = Some(describe(victim, &addresses, dir.path()).start().await.unwrap());
            let mut client = Client::logon(servers[at].as_ref().unwrap(), "p").await;
            for sequence in last - 499..=last {
                client.send(publish("t", sequence)).await;
            }
            client.persisted(last).await;
        }
        for server in servers.into_iter().flatten() {
            let log = server.wait_for_log(|log| log.len() as u64 >= last).await;
            assert!(log.iter().map(|message| message.sequence).eq(1..=last));
            server.stop().await;
        }
        for name in NAMES {
            let log = amps_testserver::journal::read(&dir.path().join(name)).unwrap();
            assert!(log.iter().map(|message| message.sequence).eq(1..=last));
        }
    });
}

/// Polls a future at most `times` times, and drops it.
async fn poll_and_drop<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    for _ in 0..times {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Covers 20#5.
#[tokio::test]
async fn a_start_stop_or_wait_dropped_at_any_await_leaves_address_and_journal_free() {
    let dir = tempfile::tempdir().unwrap();
    let first = TestServer::builder().data_dir(dir.path()).start().await.unwrap();
    let address = first.addr().to_string();
    first.stop().await;
    let builder = || TestServer::builder().listen(&address).data_dir(dir.path());
    for times in 0..6 {
        drop(poll_and_drop(builder().start(), times).await);
        let server = loop {
            match builder().start().await {
                Ok(server) => break server,
                // What was dropped ends a moment later.
                Err(_) => tokio::task::yield_now().await,
            }
        };
        assert!(poll_and_drop(server.wait_for(|stats| stats.logons > 0), times).await.is_none());
        assert!(poll_and_drop(server.wait_for_log(|log| log.len() > times), times).await.is_none());
        let mut client = Client::logon(&server, "p").await;
        client.send(publish("t", times as u64 + 1)).await;
        server.wait_for_log(|log| log.len() == times + 1).await;
        poll_and_drop(server.stop(), times).await;
    }
}
