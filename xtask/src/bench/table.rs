//! The table for the screen, for docs/benchmarks.md, and as JSON.

use std::fmt::Write;

use serde::Serialize;

use super::Samples;
use super::figures::{Figures, Spread};
use super::probe::{Extent, Probe, SIZE};
use super::rows::{Metric, Row, Target};
use crate::Failure;

/// What the command writes in the document stands between these.
const BEGIN: &str = "<!-- written by `cargo xtask bench`; do not edit -->\n";
const END: &str = "<!-- end of what is written by `cargo xtask bench` -->\n";

/// What a document begins with that was not there.
const TITLE: &str = "# Benchmarks\n\n";

/// What the limits are.
const LIMITS: &str = "\
The limits:

* raw publish: one loop that encodes the same frames into a buffer and writes it when 64 KiB are full, until a flush is
  answered; with sequences, until the last one is acknowledged.
* raw log file: one thread encodes, another takes what has gathered (8 MiB at most), appends it to a file with length
  and CRC, syncs it once (`fdatasync`), and then sends it; until the last sequence is acknowledged.
* raw receive: reads of 64 KiB in which only the lengths of the frames are looked at.
* raw round trip: one blocking write and one blocking read a message, from the moment the message was due or, if the one
  before it was still under way, from the end of that. The client's latency runs from the moment the message was due in
  any case.
";

/// Ratios first.
pub(super) fn plain(rows: &[Row]) -> String {
    let mut text = format!("{:>6}  {:<10} {:<4} {:<3} {:<46} {:<37} limit", "ratio", "target", "", "#", "path", "ours");
    for row in rows {
        let (ours, limit) = (spread(row.ours, row.metric), spread(row.limit, row.metric));
        // Writing into a String cannot fail.
        let _ = write!(
            text,
            "\n{:>6.2}  {:<12} {:<4}  {:<3} {:<44} {ours:<32} {limit}; CPU ns/msg {:.0} / {:.0}",
            row.ratio,
            target(row.target),
            met(row.met),
            row.number,
            row.path,
            row.cpu[0],
            row.cpu[1]
        );
    }
    text
}

/// The table of the document, and how it came about.
pub(super) fn markdown(rows: &[Row], command: &str, extent: &Extent, machine: &str) -> String {
    let mut text = format!(
        "`{command}`, {} rounds by turns, bodies of {SIZE} bytes, on {machine}.\n\n\
         Client and peer are processes of their own on loopback; both sides of a row face the same peer, a loop that\n\
         parses every header and acknowledges after each read. Figures are medians [least, most]. Processor time is\n\
         that of the client process, user and system. The ratio is ours by the limit.\n\n\
         Messages a measurement: {} published, {} of them through a disk, {} received, {} for latency,\n\
         {} headers parsed.\n\n\
         | # | path | ratio | target | | ours | limit | limit is | CPU ns/msg, ours | limit |\n\
         | --- | --- | ---: | --- | --- | --- | --- | --- | ---: | ---: |\n",
        extent.rounds, extent.publish, extent.durable, extent.receive, extent.latency, extent.parse,
    );
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {} | {} | {} | {} | {} | {:.0} | {:.0} |",
            row.number,
            row.path,
            row.ratio,
            target(row.target),
            met(row.met),
            spread(row.ours, row.metric),
            spread(row.limit, row.metric),
            row.limit_name,
            row.cpu[0],
            row.cpu[1]
        );
    }
    text.push('\n');
    text.push_str(LIMITS);
    text
}

/// The document with the new text in place of the old; what else it says stays.
pub(super) fn document(old: &str, text: &str) -> String {
    let ours = format!("{BEGIN}\n{text}\n{END}");
    match old.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1))) {
        Some((before, after)) => format!("{before}{ours}{after}"),
        None if old.is_empty() => format!("{TITLE}{ours}"),
        None => format!("{old}\n{ours}"),
    }
}

/// Every measurement and every row.
pub(super) fn json(samples: &Samples, rows: &[Row]) -> Result<String, Failure> {
    #[derive(Serialize)]
    struct Measured<'a> {
        probe: Probe,
        figures: &'a [Figures],
    }
    #[derive(Serialize)]
    struct Report<'a> {
        rows: &'a [Row],
        measurements: Vec<Measured<'a>>,
    }
    let measurements = samples.iter().map(|(probe, figures)| Measured { probe: *probe, figures }).collect();
    serde_json::to_string_pretty(&Report { rows, measurements })
        .map_err(|error| Failure::new(format!("cannot write the measurements as JSON: {error}")))
}

fn met(met: bool) -> &'static str {
    if met { "met" } else { "MISS" }
}

fn target(target: Target) -> String {
    match target {
        Target::AtLeast(bound) => format!("at least {bound}"),
        Target::AtMost(bound) => format!("at most {bound}"),
    }
}

fn spread(Spread { median, min, max }: Spread, metric: Metric) -> String {
    match metric {
        Metric::Rate => {
            let thousands = |rate: f64| (rate / 1_000.0).round();
            format!("{} [{}, {}] k msg/s", thousands(median), thousands(min), thousands(max))
        }
        Metric::Cpu => format!("{median:.0} [{min:.0}, {max:.0}] ns"),
        Metric::P50 | Metric::P99 => format!("{median:.0} [{min:.0}, {max:.0}] us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows;

    #[test]
    fn only_the_commands_own_part_of_the_document_changes() {
        let first = document("", "one\n");
        assert!(first.starts_with(TITLE) && first.contains("one"));
        let edited = first.replace(TITLE, "# Mine\n\nbefore\n") + "after\n";
        let second = document(&edited, "two\n");
        assert_eq!(second, edited.replace("one", "two"));
        assert!(document("other text\n", "three\n").starts_with("other text\n"));
    }

    #[test]
    fn a_miss_is_said_plainly_in_every_form() {
        let rows = rows::judge(&Samples::new());
        let table = markdown(&rows, "cargo xtask bench", &Extent::QUICK, "2 cores");
        for text in [plain(&rows), table] {
            assert_eq!(text.matches("MISS").count(), rows.len(), "{text}");
        }
        assert!(json(&Samples::new(), &rows).unwrap().contains("\"met\": false"));
    }
}
