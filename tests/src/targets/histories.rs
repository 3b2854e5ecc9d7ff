//! Operations, made of bytes, on the publish log and on bookmarks; their oracles
//! stand beside them.

use amps_ha::bookmarks::oracle as bookmarks_oracle;
use amps_ha::publish_log::oracle::{self, CLOCK, Kind, LONGEST, Op};
use amps_ha::publish_log::{Durability, MemoryPart};
use arbitrary::{Result, Unstructured};

/// As many operations as there are bytes for, and no more than this.
const OPS_MAX: usize = 200;

fn ops<'a, T>(bytes: &mut Unstructured<'a>, op: fn(&mut Unstructured<'a>) -> Result<T>) -> Vec<T> {
    let next = || if bytes.is_empty() { None } else { op(bytes).ok() };
    std::iter::from_fn(next).take(OPS_MAX).collect()
}

/// Nothing promised is lost, doubled or out of order, whatever fails.
pub(super) fn publish_log(bytes: &[u8]) {
    let mut bytes = Unstructured::new(bytes);
    let Ok((kind, known)) = setup(&mut bytes) else { return };
    oracle::run(kind, known, ops(&mut bytes, log_op));
}

fn setup(bytes: &mut Unstructured<'_>) -> Result<(Kind, u64)> {
    let kind = match bytes.int_in_range(0..=3u8)? {
        0 => Kind::Disk(Durability::Memory),
        1 => Kind::Disk(Durability::ProcessCrash),
        2 => Kind::Disk(Durability::PowerLoss),
        _ => {
            let part = MemoryPart::default().bytes(bytes.int_in_range(1..=120_000)?);
            Kind::Hybrid(part.messages(bytes.int_in_range(1..=40)?).low_watermark(bytes.int_in_range(0..=100)?))
        }
    };
    let known = if bytes.ratio(1, 4u8)? { bytes.int_in_range(CLOCK - 10..=CLOCK + 5_000_000)? } else { 0 };
    Ok((kind, known))
}

fn log_op(bytes: &mut Unstructured<'_>) -> Result<Op> {
    Ok(match bytes.int_in_range(0..=15u8)? {
        0..=2 => Op::Publish(bytes.int_in_range(1..=4_000)?),
        3 => Op::Publish(bytes.int_in_range(20_000..=LONGEST - 1)?),
        4..=6 => Op::Work,
        7 => Op::Write(bytes.int_in_range(1..=60_000)?, 1000),
        8 => Op::Write(bytes.int_in_range(1..=60_000)?, bytes.int_in_range(0..=999)?),
        9 => Op::Ack,
        10 => Op::Refuse(bytes.int_in_range(0..=7)?),
        11 => Op::Tell,
        12 => Op::Reconnect,
        13 => Op::Disconnect,
        14 => Op::Crash(bytes.arbitrary()?, bytes.int_in_range(0..=7)?),
        _ => Op::Close,
    })
}

/// Nothing is lost and nothing comes twice, whichever servers a subscription is
/// on.
pub(super) fn bookmarks(bytes: &[u8]) {
    bookmarks_oracle::run(ops(&mut Unstructured::new(bytes), bookmark_op));
}

fn bookmark_op(bytes: &mut Unstructured<'_>) -> Result<bookmarks_oracle::Op> {
    use bookmarks_oracle::{LAG, Op, SERVERS};
    let lag = |bytes: &mut Unstructured<'_>| bytes.int_in_range(0..=LAG);
    Ok(match bytes.int_in_range(0..=13u8)? {
        0..=2 => Op::Publish { publisher: bytes.int_in_range(1..=5)?, lags: [lag(bytes)?, lag(bytes)?, lag(bytes)?] },
        3 | 4 => Op::Advance(bytes.int_in_range(0..=499)?),
        5 => Op::Read(bytes.int_in_range(0..=5)?),
        6 => Op::Read(usize::MAX),
        7..=9 => Op::Discard(bytes.int_in_range(0..=7)?),
        10 => Op::Persisted,
        11 => Op::Commit,
        12 => Op::Connect(bytes.int_in_range(0..=SERVERS - 1)?),
        _ => Op::Restart(bytes.int_in_range(0..=SERVERS - 1)?),
    })
}
