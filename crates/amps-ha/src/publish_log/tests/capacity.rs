//! Bounds, and what happens at them (acceptance ids 11.7.6).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;

use super::*;

const SMALL: Limits = Limits { bytes: 1000, messages: 10, resident_bytes: 1 << 20 };

fn shared(limits: Limits, policy: OnStoreFull) -> SharedLog {
    SharedLog::new(PublishLog::in_memory(limits, CLOCK), Arc::new(Notify::new())).on_full(policy)
}

fn publish(log: &SharedLog, len: usize) -> Result<u64, AppendError> {
    log.append(len, |sequence, out| encode(sequence, "x", out))
}

#[test]
fn either_bound_refuses_and_says_both() {
    let log = shared(SMALL, OnStoreFull::Reject);

    for _ in 0..10 {
        publish(&log, 64).unwrap();
    }
    let Err(AppendError::StoreFull(full)) = publish(&log, 64) else { panic!("ten messages are the bound") };
    assert_eq!((full.messages, full.messages_bound, full.bytes_bound, full.needed), (10, 10, 1000, 64));
    let text = full.to_string();
    assert!(text.contains("10 messages") && text.contains("1000 bytes"), "{text}");
    assert!(!log.waits(&full) && !full.is_over(&log.peek(PublishLog::cursors)));

    log.with(|log| {
        log.logged_on(0, OnPublishGap::Refuse).unwrap();
        log.fill(&mut BytesMut::new(), usize::MAX, u64::MAX);
        log.acknowledged(CLOCK);
    });
    assert!(full.is_over(&log.peek(PublishLog::cursors)), "one acknowledgement makes room for one message");
    publish(&log, 64).unwrap();

    let log = shared(SMALL, OnStoreFull::Block);
    publish(&log, 64).unwrap();
    let Err(AppendError::StoreFull(full)) = publish(&log, 980) else { panic!("a thousand bytes are the bound") };
    assert!(log.waits(&full));
    assert!(full.bytes > 0 && full.messages == 1, "{full:?}");
    assert!(matches!(publish(&log, 1001), Err(AppendError::TooLarge { len: 1001, bound: 1000 })));
}

/// The handler is called with the proposed size; `false` means
/// `StoreFull`, the store unchanged.
///
/// Covers 11.7.6#5.
#[test]
fn a_resize_handler_is_asked_with_the_proposed_size_and_may_veto() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&asked);
    let log = shared(
        SMALL,
        OnStoreFull::resize(move |resize| {
            notes.lock().unwrap().push((resize.bytes, resize.messages, resize.full.messages));
            resize.messages <= 30
        }),
    );
    for _ in 0..30 {
        publish(&log, 30).unwrap();
    }
    let before = log.peek(PublishLog::cursors);
    assert!(matches!(publish(&log, 30), Err(AppendError::StoreFull(Full { messages_bound: 30, .. }))));
    let after = log.peek(PublishLog::cursors);
    assert_eq!((after.end, after.bytes, after.settled), (before.end, before.bytes, before.settled));
    let asked = std::mem::take(&mut *asked.lock().unwrap());
    let messages: Vec<_> =
        asked.iter().map(|(_, messages, held)| (*messages, *held)).filter(|a| a.1 % 10 == 0).collect();
    assert_eq!(messages, [(20, 10), (30, 20), (40, 30)], "by the size it began with: {asked:?}");
    assert!(asked.iter().all(|(bytes, ..)| bytes % 1000 == 0), "{asked:?}");
}

#[test]
fn a_message_larger_than_the_bound_asks_for_as_much_as_it_needs() {
    let proposed = Arc::new(AtomicUsize::new(0));
    let note = Arc::clone(&proposed);
    let policy = OnStoreFull::resize(move |resize| {
        note.store(resize.bytes, Ordering::Relaxed);
        true
    });
    let log = shared(SMALL, policy);
    publish(&log, 3500).unwrap();
    assert_eq!(proposed.load(Ordering::Relaxed), 4000);
    let never = shared(SMALL, OnStoreFull::resize(|_| false));
    assert!(matches!(publish(&never, 3500), Err(AppendError::TooLarge { bound: 1000, .. })));
    let huge = shared(Limits { bytes: usize::MAX, ..SMALL }, OnStoreFull::resize(|_| false));
    assert!(publish(&huge, 64).is_ok());
}

#[test]
fn a_resize_handler_that_panics_vetoes_and_the_log_goes_on() {
    let log = shared(SMALL, OnStoreFull::resize(|_| panic!("of the user's")));
    while publish(&log, 64).is_ok() {}
    assert!(matches!(publish(&log, 64), Err(AppendError::StoreFull(_))));
    log.with(|log| {
        log.logged_on(0, OnPublishGap::Refuse).unwrap();
        log.fill(&mut BytesMut::new(), usize::MAX, u64::MAX);
        log.acknowledged(u64::MAX);
    });
    publish(&log, 64).unwrap();
}

/// It would hang here if a lock were held, and overflow the stack if it were
/// asked about what it does itself.
#[test]
fn a_resize_handler_may_use_the_log() {
    let this: Arc<Mutex<Option<Arc<SharedLog>>>> = Arc::default();
    let log = Arc::clone(&this);
    let policy = OnStoreFull::resize(move |resize| {
        let log = log.lock().unwrap().clone().unwrap();
        assert!(matches!(publish(&log, 64), Err(AppendError::StoreFull(_))), "full is full");
        assert_eq!(log.peek(PublishLog::cursors).bytes, resize.full.bytes);
        log.with(|log| {
            log.fill(&mut BytesMut::new(), usize::MAX, u64::MAX);
            log.acknowledged(u64::MAX);
        });
        false
    });
    let log = Arc::new(shared(SMALL, policy));
    log.with(|log| log.logged_on(0, OnPublishGap::Refuse)).unwrap();
    *this.lock().unwrap() = Some(Arc::clone(&log));
    for _ in 0..30 {
        publish(&log, 64).unwrap();
    }
}

/// Whatever the kind of store, what is not acknowledged is counted
/// right, stays within the bound as it grows, and is replayed in order.
///
/// Covers 11.7.6#1.
#[test]
fn a_hundred_thousand_messages_with_acknowledgements_at_random() {
    const MESSAGES: u64 = 100_000;
    let limits = Limits { bytes: 1 << 20, messages: 3_000, resident_bytes: 100_000 };
    for kind in ["memory", "disk", "hybrid"] {
        let mut random = StdRng::seed_from_u64(7);
        let part = MemoryPart::default().bytes(50_000);
        let (mut store, hybrid) = open_hybrid(MemoryKv::new(), part, limits, CLOCK);
        let mut log = match kind {
            "memory" => PublishLog::in_memory(limits, CLOCK),
            "hybrid" => hybrid,
            _ => {
                let (disk, log) = open(MemoryKv::new(), Durability::ProcessCrash, limits, CLOCK);
                store = disk;
                log
            }
        };
        log.logged_on(0, OnPublishGap::Refuse).unwrap();
        let mut server = Server::default();
        let (mut published, mut acked, mut full) = (0, 0, 0);
        while acked < MESSAGES {
            let burst = random.random_range(0..4_000).min(MESSAGES - published);
            for _ in 0..burst {
                match append(&mut log, published) {
                    Ok(_) => published += 1,
                    Err(AppendError::StoreFull(_)) => {
                        full += 1;
                        break;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            work(&mut log, &mut store);
            let mut wire = BytesMut::new();
            log.fill(&mut wire, 64 << 10, u64::MAX);
            server.receive(&wire);
            // Any sequence the server has, late ones too.
            if server.highest > CLOCK {
                let sequence = random.random_range(CLOCK..=server.highest);
                log.acknowledged(sequence);
                acked = acked.max(sequence + 1 - CLOCK);
            }
            if random.random_bool(0.02) {
                log.disconnected(0);
                server.disconnect();
                log.logged_on(server.highest, OnPublishGap::Refuse).unwrap();
                acked = server.highest + 1 - CLOCK;
            }
            let cursors = log.cursors();
            assert_eq!(cursors.end - cursors.settled, cursors.end - acked, "{kind}");
            assert!(cursors.bytes <= limits.bytes && cursors.end - cursors.settled <= limits.messages, "{kind}");
        }
        assert!(full > 0, "the bound was met");
        assert!(server.ids().into_iter().eq(0..MESSAGES), "{kind}: each once, in order");
    }
}
