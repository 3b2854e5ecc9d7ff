//! A client is a fixed number of tasks: none for a message, however many wait.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use amps_client::server_chooser::ListChooser;
use amps_client::{Client, Durability, PublishStore, Receipt, StartAt, Subscribe, TcpConnector};
use amps_core::header::{Field, FrameWriter};
use amps_ha::client_core::{ClientCore, CoreConfig, Outlets};
use amps_ha::driver::{self, Inbox};
use amps_ha::event::ConnectionSummary;
use amps_ha::kv::{Kv, KvError, MemoryKv, SyncLevel, Visit};
use amps_ha::publish_log::{Identity, Limits, OnPublishGap, PublishLog, SegmentStore, SharedLog, StoreThread};
use amps_ha::reconnect::ExponentialReconnect;
use amps_ha::session::{Session, SessionConfig};
use amps_tests::peer;
use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast, watch};

const MESSAGES: u64 = 100_000;

fn alive() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_task_is_made_for_a_message_while_a_subscriber_stands_still() {
    let dir = tempfile::tempdir().unwrap();
    for store in [PublishStore::Memory, PublishStore::sled(dir.path())] {
        let uri = peer::start(20_000);
        let client = Client::builder("me").server(uri).publish_store(store).no_heartbeat().connect().await.unwrap();
        let before = alive();
        assert!(before > 0, "the driver counts");
        let stream = client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch)).await.unwrap();
        // Its queue is full, so the client reads nothing any more, no
        // acknowledgement either.
        while stream.depth() < 10_000 {
            tokio::task::yield_now().await;
        }
        let mut receipts: Vec<Receipt> = Vec::new();
        for number in 1..=MESSAGES {
            receipts.push(client.enqueue("t", b"{}").unwrap());
            if number % 1_000 == 0 {
                assert_eq!(alive(), before, "after {number} messages");
            }
        }
        drop(stream);
        client.flush().await.unwrap();
        assert_eq!(alive(), before, "when all are acknowledged");
        client.close(Duration::from_secs(10)).await;
    }
}

/// A store whose syncs wait until the gate is open.
struct Gated {
    kv: MemoryKv,
    open: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn set(&self, open: bool) {
        *self.open.lock().unwrap() = open;
        self.opened.notify_all();
    }

    fn pass(&self) {
        drop(self.opened.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
    }
}

impl Kv for Gated {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.kv.get(key)
    }
    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.kv.insert(key, value)
    }
    fn remove(&mut self, key: &[u8]) -> Result<(), KvError> {
        self.kv.remove(key)
    }
    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), KvError> {
        self.kv.scan(from, to, visit)
    }
    fn sync(&mut self, level: SyncLevel) -> Result<(), KvError> {
        self.open.pass();
        self.kv.sync(level)
    }
    fn max_value(&self) -> usize {
        self.kv.max_value()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_task_is_made_for_a_message_while_the_store_stands_still() {
    let gate = Arc::new(Gate::default());
    gate.set(true);
    let gated = Gated { kv: MemoryKv::new(), open: Arc::clone(&gate) };
    let identity = Identity { client_name: "me".into(), message_type: "json".into(), protocol: "amps".into() };
    let (segments, recovered) = SegmentStore::open(Box::new(gated), Path::new("memory"), &identity, 1 << 60).unwrap();
    let wake = Arc::new(Notify::new());
    let log = PublishLog::on_disk(Limits::default(), Durability::PowerLoss, recovered);
    let log = Arc::new(SharedLog::new(log, Arc::clone(&wake)));
    let store = StoreThread::start(Arc::clone(&log), segments).unwrap();
    let inbox = Arc::new(Inbox::new(wake));
    let (summary, mut state) = watch::channel(ConnectionSummary::default());
    let core = core(Arc::clone(&log), summary);
    let driver = tokio::spawn(driver::run(core, Arc::new(TcpConnector), Arc::clone(&inbox)));
    state.wait_for(|state| state.live).await.unwrap();

    let before = alive();
    gate.set(false);
    for number in 1..=MESSAGES {
        append(&log);
        if number % 1_000 == 0 {
            assert_eq!(alive(), before, "after {number} messages");
        }
    }
    assert!(log.peek(|log| log.cursors().durable) < MESSAGES, "the store stood still");
    gate.set(true);
    log.watch().wait_for(|cursors| cursors.settled == MESSAGES).await.unwrap();
    assert_eq!(alive(), before, "when all are acknowledged");
    inbox.close();
    driver.await.unwrap();
    tokio::task::spawn_blocking(|| store.close()).await.unwrap();
}

fn append(log: &SharedLog) {
    log.append(100, |sequence, out| {
        let frame = FrameWriter::new(out, "p").number(Field::Sequence, sequence.unwrap());
        frame.text(Field::AckType, "persisted").text(Field::Topic, "t").finish(b"{}");
    })
    .unwrap();
}

/// A client of a peer.
fn core(log: Arc<SharedLog>, summary: watch::Sender<ConnectionSummary>) -> ClientCore {
    let chooser = ListChooser::new(vec![peer::start(0).parse().unwrap()]);
    let session = SessionConfig { heartbeats: false, ..SessionConfig::default() };
    let session = Session::new(session, Box::new(chooser), Box::new(ExponentialReconnect::new(1)));
    let config = CoreConfig {
        name: "me".to_owned(),
        heartbeat: None,
        command_timeout: Duration::from_secs(10),
        ack_conflation: None,
        on_publish_gap: OnPublishGap::Refuse,
        frame_limit: 1 << 20,
        deadlock_after: Duration::from_secs(1),
    };
    let outlets = Outlets { events: broadcast::Sender::new(16), summary, stalled: watch::channel(None).0 };
    ClientCore::new(config, session, log, outlets)
}
