//! A client is a fixed number of tasks: none for a message, however many wait.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use amps_client::kv::{Kv, KvError, MemoryKv, SyncLevel, Visit};
use amps_client::{Client, PublishStore, Receipt, StartAt, Subscribe};
use amps_tests::peer;
use tokio::runtime::Handle;

const MESSAGES: u64 = 100_000;

fn alive() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Covers 20#13.
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

/// Opens the gate in the end, also when the test fails: the store's thread is
/// waited for.
struct OpenOnDrop(Arc<Gate>);

impl Drop for OpenOnDrop {
    fn drop(&mut self) {
        self.0.set(true);
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

/// Covers 20#13.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_task_is_made_for_a_message_while_the_store_stands_still() {
    let gate = Arc::new(Gate::default());
    gate.set(true);
    let gated = Gated { kv: MemoryKv::new(), open: Arc::clone(&gate) };
    let builder = Client::builder("me").server(peer::start(0)).no_heartbeat();
    let builder = builder.publish_store(PublishStore::custom("gated", Box::new(gated)));
    let client = builder.connect().await.unwrap();
    let _open = OpenOnDrop(Arc::clone(&gate));
    let before = alive();
    gate.set(false);
    for number in 1..=MESSAGES {
        client.enqueue("t", b"{}").unwrap();
        if number % 1_000 == 0 {
            assert_eq!(alive(), before, "after {number} messages");
        }
    }
    assert_eq!(client.unacknowledged(), MESSAGES, "the store stands still");
    gate.set(true);
    client.flush().await.unwrap();
    assert_eq!(alive(), before, "when all are acknowledged");
    client.close(Duration::from_secs(10)).await;
}
