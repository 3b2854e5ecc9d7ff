//! The table: which measurement is held against which, and the target.

use serde::Serialize;

use super::Samples;
use super::figures::{Figures, Spread};
use super::part::{Header, Parser};
use super::probe::{Probe, Store};

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
}

/// The bound on the ratio of ours to the limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

struct Plan {
    number: &'static str,
    path: &'static str,
    ours: Probe,
    limit: Probe,
    metric: Metric,
    target: Target,
}

/// A row of the table.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) number: &'static str,
    pub(super) path: &'static str,
    pub(super) limit_name: &'static str,
    pub(super) metric: Metric,
    pub(super) ours: Spread,
    pub(super) limit: Spread,
    pub(super) ratio: f64,
    pub(super) target: Target,
    pub(super) met: bool,
    /// Nanoseconds a message in the client process: ours, and the limit's.
    pub(super) cpu: [f64; 2],
}

const fn plan(
    number: &'static str,
    path: &'static str,
    [ours, limit]: [Probe; 2],
    metric: Metric,
    target: Target,
) -> Plan {
    Plan { number, path, ours, limit, metric, target }
}

const PLANS: [Plan; 9] = {
    use Target::{AtLeast, AtMost};
    const POWER: Probe = Probe::Publish(Store::PowerLoss);
    const CRASH: Probe = Probe::Publish(Store::ProcessCrash);
    const NONE: [Probe; 2] = [Probe::Publish(Store::None), Probe::RawPublish { sequenced: false }];
    const MEMORY: [Probe; 2] = [Probe::Publish(Store::Memory), Probe::RawPublish { sequenced: true }];
    const SHORT: [Probe; 2] = [Probe::Subscribe(Header::Short), Probe::RawReceive(Header::Short)];
    const LONG: [Probe; 2] = [Probe::Subscribe(Header::Long), Probe::RawReceive(Header::Long)];
    const PARSE: [Probe; 2] = [Probe::Parse(Parser::Ours), Probe::Parse(Parser::Serde)];
    const LATENCY: [Probe; 2] = [Probe::Latency, Probe::RoundTrip];
    [
        plan("1", "publish, no store, until a flush is answered", NONE, Metric::Rate, AtLeast(0.9)),
        plan("2", "publish, memory store, until it is empty", MEMORY, Metric::Rate, AtLeast(0.9)),
        plan("3", "publish, sled, PowerLoss, until it is empty", [POWER, Probe::LogFile], Metric::Rate, AtLeast(0.8)),
        plan("4", "publish, sled, ProcessCrash; beside row 3", [CRASH, POWER], Metric::Rate, AtLeast(1.0)),
        plan("6a", "subscribe, short header: CPU a message", SHORT, Metric::Cpu, AtMost(2.5)),
        plan("6b", "subscribe, long header: CPU a message", LONG, Metric::Cpu, AtMost(5.0)),
        plan("9a", "latency at 10,000 a second: p50", LATENCY, Metric::P50, AtMost(1.5)),
        plan("9b", "latency at 10,000 a second: p99", LATENCY, Metric::P99, AtMost(3.0)),
        plan("12", "parse a header, 4 typical ones", PARSE, Metric::Rate, AtLeast(2.5)),
    ]
};

/// Everything to be measured in one round, in order: ours, then its limit.
pub(super) fn probes() -> Vec<Probe> {
    let mut probes = Vec::new();
    for probe in PLANS.iter().flat_map(|plan| [plan.ours, plan.limit]) {
        if !probes.contains(&probe) {
            probes.push(probe);
        }
    }
    probes
}

/// The rows, from the medians of all rounds.
pub(super) fn judge(samples: &Samples) -> Vec<Row> {
    PLANS.iter().map(|plan| row(plan, samples)).collect()
}

fn row(plan: &Plan, samples: &Samples) -> Row {
    let spread = |probe, metric| {
        let figures = samples.get(&probe).map_or(&[][..], Vec::as_slice);
        Spread::of(figures.iter().map(|figures| value(figures, metric)).collect())
    };
    let (ours, limit) = (spread(plan.ours, plan.metric), spread(plan.limit, plan.metric));
    let ratio = ours.median / limit.median;
    let met = match plan.target {
        Target::AtLeast(bound) => ratio >= bound,
        Target::AtMost(bound) => ratio <= bound,
    };
    let cpu = [plan.ours, plan.limit].map(|probe| spread(probe, Metric::Cpu).median);
    let limit_name = plan.limit.name();
    Row {
        number: plan.number,
        path: plan.path,
        limit_name,
        metric: plan.metric,
        ours,
        limit,
        ratio,
        target: plan.target,
        met,
        cpu,
    }
}

fn value(figures: &Figures, metric: Metric) -> f64 {
    match metric {
        Metric::Rate => figures.msgs_per_s,
        Metric::Cpu => figures.cpu_ns_per_msg,
        // A probe of latency that says none would miss its target.
        Metric::P50 => figures.p50_us.unwrap_or(f64::INFINITY),
        Metric::P99 => figures.p99_us.unwrap_or(f64::INFINITY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rate: f64) -> Figures {
        Figures { msgs_per_s: rate, cpu_ns_per_msg: rate / 10.0, ..Figures::default() }
    }

    #[test]
    fn a_row_is_met_by_the_ratio_of_the_medians() {
        let ours = vec![figures(900.0), figures(1.0), figures(5_000.0)];
        let limit = vec![figures(1_000.0), figures(999.0), figures(1_001.0)];
        let mut samples = Samples::from([(PLANS[0].ours, ours), (PLANS[0].limit, limit)]);
        let met = row(&PLANS[0], &samples);
        assert_eq!((met.ratio, met.met, met.cpu), (0.9, true, [90.0, 100.0]));
        samples.insert(PLANS[0].ours, vec![figures(899.0)]);
        assert!(!row(&PLANS[0], &samples).met);
    }

    #[test]
    fn more_is_worse_for_processor_time() {
        let plan = &PLANS[4];
        let of = |ours| Samples::from([(plan.ours, vec![figures(ours)]), (plan.limit, vec![figures(100.0)])]);
        assert!(row(plan, &of(250.0)).met);
        assert!(!row(plan, &of(251.0)).met);
    }

    #[test]
    fn nothing_measured_meets_nothing() {
        assert!(judge(&Samples::new()).iter().all(|row| !row.met));
    }

    #[test]
    fn ours_and_its_limit_take_turns() {
        let probes = probes();
        assert_eq!(probes[..2], [PLANS[0].ours, PLANS[0].limit]);
        assert_eq!(probes.len(), 15);
    }
}
