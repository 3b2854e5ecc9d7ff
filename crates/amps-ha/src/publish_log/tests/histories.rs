use proptest::prelude::*;

use super::oracle::{Kind, LONGEST, Op, World, run};
use super::*;
use crate::cases::cases;

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1usize..4000).prop_map(Op::Publish),
        2 => (20_000..LONGEST).prop_map(Op::Publish),
        12 => Just(Op::Work),
        6 => (1usize..60_000, prop_oneof![2 => Just(1000), 1 => 0u16..1000]).prop_map(|(max, part)| Op::Write(max, part)),
        3 => Just(Op::Ack),
        4 => (0usize..8).prop_map(Op::Refuse),
        2 => Just(Op::Tell),
        2 => Just(Op::Reconnect),
        1 => Just(Op::Disconnect),
        1 => (any::<bool>(), 0usize..8).prop_map(|(power, extra)| Op::Crash(power, extra)),
        1 => Just(Op::Close),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Disk(Durability::Memory)),
        Just(Kind::Disk(Durability::ProcessCrash)),
        Just(Kind::Disk(Durability::PowerLoss)),
        hybrid(),
    ]
}

fn hybrid() -> impl Strategy<Value = Kind> {
    (1usize..120_000, 1u64..40, 0u8..=100)
        .prop_map(|(bytes, messages, low)| MemoryPart::default().bytes(bytes).messages(messages).low_watermark(low))
        .prop_map(Kind::Hybrid)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(400)))]

    /// Rule 1 and 3: whatever dies, and wherever in the bytes, the server's
    /// log ends with each promised message once, in order.
    ///
    /// Covers 11.7.6#2, 20#22.
    #[test]
    fn nothing_promised_is_lost_doubled_or_reordered(
        kind in kind(),
        ops in prop::collection::vec(op(), 1..120),
    ) {
        run(kind, 0, ops);
    }

    /// The same for hybrid logs alone: what the disk had is replayed, what was
    /// only in memory is gone without a trace after a kill, and without loss
    /// after a close.
    #[test]
    fn a_hybrid_log_keeps_its_order_over_the_border_and_loses_only_memory(
        kind in hybrid(),
        known in prop_oneof![3 => Just(0), 1 => CLOCK - 10..CLOCK + 5_000_000],
        ops in prop::collection::vec(op(), 1..160),
    ) {
        run(kind, known, ops);
    }

    /// A name the servers remember with higher numbers than a fresh log gives.
    #[test]
    fn a_fresh_log_gets_above_what_the_server_knows(
        above in 0u64..5_000_000,
        ops in prop::collection::vec(op(), 1..60),
    ) {
        run(Kind::Disk(Durability::PowerLoss), CLOCK - 10 + above, ops);
    }

    /// An old copy of the store is put back: what is published afterwards is
    /// delivered all the same, once and in order.
    #[test]
    fn a_restored_copy_reuses_no_number(
        before in prop::collection::vec(op(), 1..60),
        between in prop::collection::vec(op(), 1..60),
        after in prop::collection::vec(op(), 1..60),
    ) {
        let mut world = World::new(Kind::Disk(Durability::PowerLoss), Server::default());
        before.into_iter().for_each(|op| world.apply(op));
        let backup = copy(&world.kv);
        between.into_iter().for_each(|op| world.apply(op));
        // What only the newer store knows is the copy's price.
        let delivered = world.server.ids();
        world.promised.retain(|id| delivered.contains(id));
        world.restart(backup);
        world.next_id += 1_000_000;
        let restored = world.next_id;
        after.into_iter().for_each(|op| world.apply(op));
        world.settle();
        let ids: Vec<_> = world.server.ids().into_iter().filter(|id| *id >= restored).collect();
        prop_assert!(ids.is_sorted_by(|a, b| a < b));
        for id in world.promised.iter().filter(|id| **id >= restored) {
            prop_assert!(ids.binary_search(id).is_ok(), "promised and lost: {}", id);
        }
    }
}
