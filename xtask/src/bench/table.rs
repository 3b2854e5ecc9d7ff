//! The tables for the screen, and everything as JSON.

use std::fmt::Write;

use serde::Serialize;

use super::figures::{Figures, Spread};
use super::probe::Probe;
use super::rows::{Metric, Row, Target, Value};
use super::{Report, Samples};
use crate::Failure;

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[1;31m";
const PLAIN: &str = "\x1b[0m";

/// Ratios first; then what each measurement took.
pub(super) fn plain(report: &Report<'_>, colours: bool) -> String {
    let mut text =
        format!("{:>6}  {:<9} {:<4}  {:<3}  {:<37} {:<24}  limit\n", "ratio", "target", "", "#", "path", "ours");
    for row in report.rows {
        let limit = row.limit.as_ref().map_or_else(|| "-".to_owned(), spread);
        let (colour, plain) = match (colours, row.met) {
            (false, _) => ("", ""),
            (true, true) => (GREEN, PLAIN),
            (true, false) => (RED, PLAIN),
        };
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "{:>6}  {:<9} {colour}{:<4}{plain}  {:<3}  {:<37} {:<24}  {limit}",
            judged(row),
            target(row),
            met(row),
            row.number,
            row.path,
            spread(&row.ours),
        );
    }
    let _ = writeln!(text, "\n{:<46} {:>9} {:>11} {:>8}", "measurement", "rate", "CPU ns/msg", "peak MB");
    for (probe, figures) in in_order(report) {
        let [rate, cpu, memory] = cells(figures);
        let _ = writeln!(text, "{:<46} {rate:>9} {cpu:>11} {memory:>8}", probe.name());
    }
    let _ = write!(text, "\n{:<46}", "microseconds");
    for (name, _) in QUANTILES {
        let _ = write!(text, " {name:>8}");
    }
    for (probe, quantiles) in latencies(report) {
        let _ = write!(text, "\n{:<46}", probe.name());
        for micros in quantiles {
            let _ = write!(text, " {micros:>8}");
        }
    }
    text
}

/// Every measurement and every row.
pub(super) fn json(report: &Report<'_>) -> Result<String, Failure> {
    #[derive(Serialize)]
    struct Measured<'a> {
        probe: Probe,
        figures: &'a [Figures],
    }
    #[derive(Serialize)]
    struct All<'a> {
        rows: &'a [Row],
        measurements: Vec<Measured<'a>>,
    }
    let measurements = in_order(report).map(|(probe, figures)| Measured { probe, figures }).collect();
    serde_json::to_string_pretty(&All { rows: report.rows, measurements })
        .map_err(|error| Failure::new(format!("cannot write the measurements as JSON: {error}")))
}

/// The measurements as they were carried out.
pub(super) fn in_order<'a>(report: &Report<'a>) -> impl Iterator<Item = (Probe, &'a [Figures])> {
    let samples: &Samples = report.samples;
    super::rows::probes().into_iter().filter_map(|probe| Some((probe, samples.get(&probe)?.as_slice())))
}

/// Messages a second, processor time a message, and memory.
pub(super) fn cells(figures: &[Figures]) -> [String; 3] {
    let of = |value: fn(&Figures) -> f64| Spread::of(figures.iter().map(value).collect()).median;
    let rate = of(|figures| figures.msgs_per_s);
    let memory = of(|figures| figures.max_rss_mb.unwrap_or(f64::NAN));
    let (scale, unit, digits) = scale(rate, Metric::Rate);
    [
        format!("{:.digits$} {unit}", rate / scale),
        format!("{:.0}", of(|figures| figures.cpu_ns_per_msg)),
        if memory.is_nan() { "-".to_owned() } else { format!("{memory:.1}") },
    ]
}

type Quantile = (&'static str, fn(&Figures) -> Option<f64>);

pub(super) const QUANTILES: [Quantile; 5] = [
    ("p50", |figures| figures.p50_us),
    ("p90", |figures| figures.p90_us),
    ("p99", |figures| figures.p99_us),
    ("p99.9", |figures| figures.p999_us),
    ("max", |figures| figures.max_us),
];

/// Of the measurements that have them, medians of the rounds.
pub(super) fn latencies(report: &Report<'_>) -> impl Iterator<Item = (Probe, Vec<String>)> {
    in_order(report).filter(|(_, figures)| figures.iter().any(|figures| figures.p50_us.is_some())).map(
        |(probe, figures)| {
            let median = |of: fn(&Figures) -> Option<f64>| Spread::of(figures.iter().filter_map(of).collect()).median;
            (probe, QUANTILES.iter().map(|(_, of)| format!("{:.0}", median(*of))).collect())
        },
    )
}

pub(super) fn met(row: &Row) -> &'static str {
    if row.met { "met" } else { "MISS" }
}

/// The ratio, or ours where there is no limit to be held against.
pub(super) fn judged(row: &Row) -> String {
    let digits = if row.judged >= 10.0 { 1 } else { 2 };
    format!("{:.digits$}", row.judged)
}

pub(super) fn target(row: &Row) -> String {
    let unit = match (&row.limit, row.ours.metric) {
        (None, Metric::Memory) => " MB",
        (None, Metric::FirstByte) => " s",
        _ => "",
    };
    match row.target {
        Target::AtLeast(bound) => format!(">= {bound}{unit}"),
        Target::AtMost(bound) => format!("<= {bound}{unit}"),
    }
}

/// `median [least, most] unit`.
pub(super) fn spread(Value { metric, spread: Spread { median, min, max }, .. }: &Value) -> String {
    let (scale, unit, digits) = scale(*median, *metric);
    let shown = |number: f64| format!("{:.digits$}", number / scale);
    match min == max {
        true => format!("{} {unit}", shown(*median)),
        false => format!("{} [{}, {}] {unit}", shown(*median), shown(*min), shown(*max)),
    }
}

/// The unit for a number, what it is divided by, and the digits that make three
/// or so.
fn scale(number: f64, metric: Metric) -> (f64, &'static str, usize) {
    let (scale, unit) = match metric {
        Metric::Rate if number >= 1e6 => (1e6, "M/s"),
        Metric::Rate => (1e3, "k/s"),
        Metric::P50 | Metric::P99 | Metric::Took if number >= 1e4 => (1e3, "ms"),
        Metric::P50 | Metric::P99 | Metric::Took => (1.0, "us"),
        Metric::Cpu => (1.0, "ns"),
        Metric::PerSync => (1.0, "a sync"),
        Metric::Memory => (1.0, "MB"),
        Metric::FirstByte => (1.0, "s"),
    };
    let digits = match number / scale {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    (scale, unit, digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::probe::Extent;
    use crate::bench::rows;

    fn value(metric: Metric, median: f64, min: f64, max: f64) -> Value {
        Value { what: "x", metric, spread: Spread { median, min, max } }
    }

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        assert_eq!(spread(&value(Metric::Rate, 3_063_000.0, 2_830_000.0, 12_398_000.0)), "3.06 [2.83, 12.40] M/s");
        assert_eq!(spread(&value(Metric::Rate, 393_400.0, 4_000.0, 499_000.0)), "393 [4, 499] k/s");
        assert_eq!(spread(&value(Metric::P99, 9_019.0, 739.0, 37_552.0)), "9019 [739, 37552] us");
        assert_eq!(spread(&value(Metric::Took, 13_420.0, 12_000.0, 14_000.0)), "13.4 [12.0, 14.0] ms");
        assert_eq!(spread(&value(Metric::Memory, 96.5, 96.5, 96.5)), "96.5 MB");
    }

    #[test]
    fn every_row_and_measurement_is_in_the_tables_and_no_line_is_long() {
        let figures = Figures {
            msgs_per_s: 1_234_567.0,
            cpu_ns_per_msg: 12_345.0,
            max_rss_mb: Some(100.1),
            p50_us: Some(1_000.0),
            ..Figures::default()
        };
        let samples: Samples = rows::probes().into_iter().map(|probe| (probe, vec![figures.clone(); 3])).collect();
        let rows = rows::judge(&samples, &Extent::FULL);
        let text = plain(&Report { samples: &samples, rows: &rows, extent: &Extent::FULL }, false);
        for name in rows::probes().iter().map(|probe| probe.name()).chain(rows.iter().map(|row| row.path)) {
            assert!(text.contains(name), "{name}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn a_miss_is_said_plainly() {
        let samples = Samples::new();
        let rows = rows::judge(&samples, &Extent::QUICK);
        let report = Report { samples: &samples, rows: &rows, extent: &Extent::QUICK };
        assert_eq!(plain(&report, true).matches("MISS").count(), rows.len());
        assert_eq!(json(&report).unwrap().matches("\"met\": false").count(), rows.len());
    }
}
