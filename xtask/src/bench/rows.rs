//! The table: which measurement is held against which, and the target.

use serde::Serialize;

use super::Samples;
use super::figures::{Figures, Spread};
use super::part::{Header, Parser, publish_len};
use super::probe::{Bookmarks, Extent, Outage, Probe, SIZE, Store};

/// What of a measurement a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Metric {
    /// Messages a second.
    Rate,
    /// Nanoseconds of processor time a message.
    Cpu,
    /// Microseconds.
    P50,
    /// Microseconds.
    P99,
    /// All in all, in microseconds.
    Took,
    /// Messages a sync.
    PerSync,
    /// Resident bytes at the most, in 10^6.
    Memory,
    /// Seconds.
    FirstByte,
}

/// One side of a row: what of which measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Of(Probe, Metric),
    /// The bytes of the frames that wait during an outage, in 10^6.
    Frames,
}

/// The bound on the ratio of ours to the limit, or on ours.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

struct Plan {
    number: &'static str,
    path: &'static str,
    ours: Side,
    /// `None` where the target is for the figure itself.
    limit: Option<Side>,
    target: Target,
}

/// A row of the table.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) number: &'static str,
    pub(super) path: &'static str,
    pub(super) ours: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<Value>,
    /// Ours by the limit; without a limit, ours.
    pub(super) judged: f64,
    pub(super) target: Target,
    pub(super) met: bool,
}

/// One side of a row.
#[derive(Debug, Serialize)]
pub(super) struct Value {
    pub(super) what: &'static str,
    pub(super) metric: Metric,
    #[serde(flatten)]
    pub(super) spread: Spread,
}

const fn plan(number: &'static str, path: &'static str, ours: Side, limit: Side, target: Target) -> Plan {
    Plan { number, path, ours, limit: Some(limit), target }
}

/// A row without a limit to be held against.
const fn alone(number: &'static str, path: &'static str, ours: Side, target: Target) -> Plan {
    Plan { number, path, ours, limit: None, target }
}

const fn rate(probe: Probe) -> Side {
    Side::Of(probe, Metric::Rate)
}

const fn cpu(probe: Probe) -> Side {
    Side::Of(probe, Metric::Cpu)
}

const fn memory(outage: Outage) -> Side {
    Side::Of(Probe::Outage(outage), Metric::Memory)
}

const fn first_byte(outage: Outage) -> Side {
    Side::Of(Probe::Outage(outage), Metric::FirstByte)
}

const PLANS: [Plan; 19] = {
    use Header::{Long, Short};
    use Metric::{P50, P99, PerSync, Took};
    use Probe::{LateRoundTrip, Latency, LogFile, Parse, Publish, RawPublish, RawReceive, RawSow, Resubscribe};
    use Probe::{RoundTrip, Sow, Subscribe, Tasks};
    use Side::{Frames, Of};
    use Target::{AtLeast, AtMost};
    const POWER: Side = rate(Publish(Store::PowerLoss));
    const CRASH: Side = rate(Publish(Store::ProcessCrash));
    const RAW: Side = rate(RawPublish { sequenced: false });
    const SEQUENCED: Side = rate(RawPublish { sequenced: true });
    const IN_MEMORY: Side = cpu(Probe::Bookmarks(Bookmarks::Memory));
    const IN_SLED: Side = cpu(Probe::Bookmarks(Bookmarks::Sled));
    [
        plan("1", "publish, no store, to the flush", rate(Publish(Store::None)), RAW, AtLeast(0.9)),
        plan("2", "publish, memory store", rate(Publish(Store::Memory)), SEQUENCED, AtLeast(0.9)),
        plan("3", "publish, sled, PowerLoss", POWER, rate(LogFile), AtLeast(0.8)),
        plan("4", "publish, sled, ProcessCrash; by row 3", CRASH, POWER, AtLeast(1.0)),
        alone("5", "64 tasks that wait, PowerLoss", Of(Tasks, PerSync), AtLeast(30.0)),
        plan("6a", "subscribe, short header", cpu(Subscribe(Short)), cpu(RawReceive(Short)), AtMost(2.5)),
        plan("6b", "subscribe, long header", cpu(Subscribe(Long)), cpu(RawReceive(Long)), AtMost(5.0)),
        plan("7a", "discard each, memory; by row 6b", IN_MEMORY, cpu(Subscribe(Long)), AtMost(2.0)),
        plan("7b", "discard each, sled; by row 6b", IN_SLED, cpu(Subscribe(Long)), AtMost(2.0)),
        plan("8", "SOW query, 100 records a frame", rate(Sow), rate(RawSow), AtLeast(0.4)),
        plan("9a", "latency at 10,000 a second, p50", Of(Latency, P50), Of(RoundTrip, P50), AtMost(1.5)),
        plan("9b", "latency at 10,000 a second, p99", Of(Latency, P99), Of(RoundTrip, P99), AtMost(3.0)),
        plan("10a", "outage, memory store, resident", memory(Outage::Memory), Frames, AtMost(1.3)),
        alone("10b", "outage, sled, resident", memory(Outage::SledClosed), AtMost(100.0)),
        alone("10c", "outage, sled, kill -9, resident", memory(Outage::SledKilled), AtMost(100.0)),
        alone("10d", "reopened, to the first byte", first_byte(Outage::SledClosed), AtMost(1.0)),
        alone("10e", "reopened after kill -9, first byte", first_byte(Outage::SledKilled), AtMost(1.0)),
        plan("11", "1,000 subscriptions entered again", Of(Resubscribe, Took), Of(LateRoundTrip, P50), AtMost(50.0)),
        plan(
            "12",
            "parse a header, 4 typical ones",
            rate(Parse(Parser::Ours)),
            rate(Parse(Parser::Serde)),
            AtLeast(2.5),
        ),
    ]
};

impl Plan {
    fn probes(&self) -> impl Iterator<Item = Probe> {
        [Some(self.ours), self.limit].into_iter().flatten().filter_map(|side| match side {
            Side::Of(probe, _) => Some(probe),
            Side::Frames => None,
        })
    }

    fn judge(&self, samples: &Samples, extent: &Extent) -> Row {
        let ours = self.ours.value(samples, extent);
        let limit = self.limit.map(|limit| limit.value(samples, extent));
        let judged = ours.spread.median / limit.as_ref().map_or(1.0, |limit| limit.spread.median);
        let met = match self.target {
            Target::AtLeast(bound) => judged >= bound,
            Target::AtMost(bound) => judged <= bound,
        };
        Row { number: self.number, path: self.path, ours, limit, judged, target: self.target, met }
    }
}

impl Side {
    fn value(self, samples: &Samples, extent: &Extent) -> Value {
        match self {
            Self::Of(probe, metric) => {
                let figures = samples.get(&probe).map_or(&[][..], Vec::as_slice);
                let spread = Spread::of(figures.iter().map(|figures| metric.of(figures)).collect());
                Value { what: probe.name(), metric, spread }
            }
            Self::Frames => {
                let bytes = publish_len(SIZE as usize) as u64 * extent.outage;
                Value {
                    what: "bytes of the frames",
                    metric: Metric::Memory,
                    spread: Spread::of(vec![bytes as f64 / 1e6]),
                }
            }
        }
    }
}

impl Metric {
    /// A measurement that does not tell is not a number: that meets no target.
    fn of(self, figures: &Figures) -> f64 {
        match self {
            Self::Rate => figures.msgs_per_s,
            Self::Cpu => figures.cpu_ns_per_msg,
            Self::Took => figures.seconds * 1e6,
            Self::P50 => figures.p50_us.unwrap_or(f64::NAN),
            Self::P99 => figures.p99_us.unwrap_or(f64::NAN),
            Self::PerSync => figures.per_sync.unwrap_or(f64::NAN),
            Self::Memory => figures.max_rss_mb.unwrap_or(f64::NAN),
            Self::FirstByte => figures.first_byte_s.unwrap_or(f64::NAN),
        }
    }
}

/// Everything to be measured in one round, in order: ours, then its limit.
pub(super) fn probes() -> Vec<Probe> {
    let mut probes = Vec::new();
    for probe in PLANS.iter().flat_map(Plan::probes) {
        if !probes.contains(&probe) {
            probes.push(probe);
        }
    }
    probes
}

/// The rows, from the medians of all rounds.
pub(super) fn judge(samples: &Samples, extent: &Extent) -> Vec<Row> {
    PLANS.iter().map(|plan| plan.judge(samples, extent)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rate: f64) -> Figures {
        Figures { msgs_per_s: rate, cpu_ns_per_msg: rate / 10.0, ..Figures::default() }
    }

    /// The first row, on these rates of ours and of the limit.
    fn first(ours: &[f64], limit: &[f64]) -> Row {
        let rates = |rates: &[f64]| rates.iter().map(|rate| figures(*rate)).collect();
        let [a, b] = [PLANS[0].probes().next().unwrap(), PLANS[0].probes().nth(1).unwrap()];
        PLANS[0].judge(&Samples::from([(a, rates(ours)), (b, rates(limit))]), &Extent::QUICK)
    }

    fn numbered(number: &str) -> &'static Plan {
        PLANS.iter().find(|plan| plan.number == number).unwrap()
    }

    #[test]
    fn a_row_is_met_by_the_ratio_of_the_medians() {
        let met = first(&[900.0, 1.0, 5_000.0], &[1_000.0, 999.0, 1_001.0]);
        assert_eq!((met.judged, met.met), (0.9, true));
        assert!(!first(&[899.0], &[1_000.0]).met);
    }

    #[test]
    fn more_is_worse_for_processor_time() {
        let plan = numbered("6a");
        let [ours, limit] = [plan.probes().next().unwrap(), plan.probes().nth(1).unwrap()];
        let of = |rate| Samples::from([(ours, vec![figures(rate)]), (limit, vec![figures(100.0)])]);
        assert!(plan.judge(&of(250.0), &Extent::QUICK).met);
        assert!(!plan.judge(&of(251.0), &Extent::QUICK).met);
    }

    #[test]
    fn memory_is_held_against_the_frames_or_a_number() {
        let frames = publish_len(128) as f64 * Extent::FULL.outage as f64 / 1e6;
        for (number, bound) in [("10a", 1.3 * frames), ("10b", 100.0)] {
            let plan = numbered(number);
            let judge = |memory| {
                let figures = Figures { max_rss_mb: memory, ..Figures::default() };
                plan.judge(&Samples::from([(plan.probes().next().unwrap(), vec![figures])]), &Extent::FULL).met
            };
            assert!(judge(Some(bound - 0.1)) && !judge(Some(bound + 0.1)) && !judge(None), "{number}");
        }
    }

    #[test]
    fn nothing_measured_meets_nothing() {
        assert!(judge(&Samples::new(), &Extent::QUICK).iter().all(|row| !row.met));
    }

    #[test]
    fn ours_and_its_limit_take_turns() {
        let probes = probes();
        assert_eq!(probes[..2], [Probe::Publish(Store::None), Probe::RawPublish { sequenced: false }]);
        assert_eq!(probes.len(), 25);
    }
}
