//! The part of docs/benchmarks.md that the command writes.

use std::fmt::Write;

use super::Report;
use super::probe::{RATE, SIZE};
use super::table::{QUANTILES, cells, in_order, judged, latencies, met, spread, target};

/// What the command writes stands between these.
const BEGIN: &str = "<!-- written by `cargo xtask bench`; do not edit -->\n";
const END: &str = "<!-- end of what is written by `cargo xtask bench` -->\n";

/// What a document begins with that was not there.
const TITLE: &str = "# Benchmarks\n\n";

/// What the rows and the limits are.
const NOTES: &str = "\
What is measured:

* Publishing runs from the first message until a flush is answered (no store) or the store is empty. The 64 tasks each
  wait until a message is durable before the next; the syncs are those the store counts.
* Rows 6 and 7 are about processor time a message. The short header is the same in every message, as it is for one topic;
  in the long one bookmark, time and key change. Row 7 is held against the same subscription without a bookmark store.
* Latency runs from the moment a message was due (corrected for coordinated omission) to its delivery to the publisher.
  Client and peer are held to one core each; the client publishes and receives on one thread.
* An outage: no server listens while the store fills. Memory is the most the process had resident, with a disk store
  also while it replays. The first byte is timed from the start of the new process to the peer's read.
* Subscriptions are entered again after the peer hung up; timed from the logon's answer, with a peer that answers 2 ms
  late. The limit is one round trip to that peer.

The limits:

* raw publish: one loop that encodes the same frames into a buffer and writes it when 64 KiB are full, until a flush is
  answered; with sequences, until the last one is acknowledged.
* raw log file: one thread encodes, another takes what has gathered (8 MiB at most), appends it to a file with length
  and CRC, syncs it once (`fdatasync`), and then sends it; until the last sequence is acknowledged.
* raw receive: reads of 64 KiB in which only the lengths of the frames are looked at.
* raw round trip: one thread sleeps until a message is due and writes it, another waits in a read.
";

/// The tables, and how they came about.
pub(super) fn text(report: &Report<'_>, machine: &str) -> String {
    let extent = report.extent;
    let mut text = format!(
        "`cargo xtask bench`, {} rounds by turns, bodies of {SIZE} bytes, on {machine}.\n\n\
         Client and peer are processes of their own on loopback; both sides of a row face the same peer, a loop that\n\
         parses every header and acknowledges after each read. Figures are medians [least, most]. Processor time is\n\
         that of the client process, user and system. The ratio is ours by the limit.\n\n\
         Messages a measurement: {} published, {} of them through a disk, {} by tasks that wait, {} received,\n\
         {} records, {} at {RATE} a second for latency, {} during an outage, {} headers parsed.\n\n\
         | # | path | ratio | target | | ours | limit | held against |\n\
         | --- | --- | ---: | --- | --- | --- | --- | --- |\n",
        extent.rounds,
        extent.publish,
        extent.durable,
        extent.tasks,
        extent.receive,
        extent.records,
        extent.latency,
        extent.outage,
        extent.parse,
    );
    for row in report.rows {
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            row.number,
            row.path,
            judged(row),
            target(row),
            met(row),
            spread(&row.ours),
            row.limit.as_ref().map_or_else(String::new, spread),
            row.limit.as_ref().map_or("", |limit| limit.what),
        );
    }
    text.push_str("\n| measurement | rate | CPU ns/msg | peak resident MB |\n| --- | ---: | ---: | ---: |\n");
    for (probe, figures) in in_order(report) {
        let _ = writeln!(text, "| {} | {} |", probe.name(), cells(figures).join(" | "));
    }
    let names = QUANTILES.map(|(name, _)| name).join(" | ");
    let _ = writeln!(text, "\n| microseconds | {names} |\n| ---{} |", " | ---:".repeat(QUANTILES.len()));
    for (probe, quantiles) in latencies(report) {
        let _ = writeln!(text, "| {} | {} |", probe.name(), quantiles.join(" | "));
    }
    text.push('\n');
    text.push_str(NOTES);
    text
}

/// The document with the new text in place of the old; what else it says stays.
pub(super) fn with(old: &str, text: &str) -> String {
    let ours = format!("{BEGIN}\n{text}\n{END}");
    match old.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1))) {
        Some((before, after)) => format!("{before}{ours}{after}"),
        None if old.is_empty() => format!("{TITLE}{ours}"),
        None => format!("{old}\n{ours}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::probe::Extent;
    use crate::bench::{Samples, rows};

    #[test]
    fn only_the_commands_own_part_of_the_document_changes() {
        let first = with("", "one\n");
        assert!(first.starts_with(TITLE) && first.contains("one"));
        let edited = first.replace(TITLE, "# Mine\n\nbefore\n") + "\n## Tried and dropped\n\nafter\n";
        let second = with(&edited, "two\n");
        assert_eq!(second, edited.replace("one", "two"));
        assert!(second.ends_with("## Tried and dropped\n\nafter\n"));
        assert!(with("other text\n", "three\n").starts_with("other text\n"));
    }

    #[test]
    fn the_document_in_the_repository_has_the_markers_and_keeps_what_is_below() {
        let path = crate::binary::workspace().join(crate::bench::DOCUMENT);
        let old = std::fs::read_to_string(path).unwrap();
        let (before, after) = (old.split_once(BEGIN).unwrap().0, old.split_once(END).unwrap().1);
        assert_eq!(with(&old, "new\n"), format!("{before}{BEGIN}\nnew\n\n{END}{after}"));
    }

    #[test]
    fn a_miss_is_said_plainly() {
        let samples = Samples::new();
        let rows = rows::judge(&samples, &Extent::QUICK);
        let report = Report { samples: &samples, rows: &rows, extent: &Extent::QUICK };
        assert_eq!(text(&report, "2 cores").matches("MISS").count(), rows.len());
    }
}
