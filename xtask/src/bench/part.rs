//! The processes of the benchmark that are not `amps`: the peer, and the plain
//! loops that set the limits.

mod clocks;
mod feed;
mod frames;
mod headers;
mod instructions;
mod log_file;
mod peer;
mod publish;
mod receive;
mod round_trip;

use std::fmt::Display;
use std::net::SocketAddr;

use clap::{Args, Subcommand};

use super::figures::Figures;
use crate::Failure;
pub(super) use clocks::monotonic;
pub(super) use frames::{Header, publish_len};
pub(super) use headers::Parser;
pub(super) use instructions::Work;

/// One process.
#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// The least a client can take for a server.
    Peer(peer::Peer),
    /// Publishes in 64 KiB writes until everything is acknowledged.
    Publish(publish::Publish),
    /// The same through a log file: synced before it is sent.
    LogFile(log_file::LogFile),
    /// Receives and looks at nothing but the frames' lengths.
    Receive(receive::Receive),
    /// Parses typical headers, without a connection.
    Headers(headers::Headers),
    /// Sends a message and waits until it comes back, at a fixed rate.
    RoundTrip(round_trip::RoundTrip),
    /// Does a small piece of work again and again.
    Instructions(instructions::Instructions),
}

/// What every loop takes.
#[derive(Debug, Args)]
pub(crate) struct Load {
    #[arg(long)]
    to: SocketAddr,
    #[arg(long)]
    count: u64,
    #[arg(long)]
    size: usize,
}

/// Runs one process of the benchmark.
///
/// # Errors
/// When the connection or the disk fails.
pub(crate) fn run(part: &Part) -> Result<(), Failure> {
    match part {
        Part::Peer(peer) => return peer.run(),
        Part::Instructions(instructions) => return instructions.run(),
        _ => {}
    }
    let line = serde_json::to_string(&figures(part)?).map_err(|error| failed("print the figures", error))?;
    println!("{line}");
    Ok(())
}

fn figures(part: &Part) -> Result<Figures, Failure> {
    match part {
        Part::Publish(publish) => publish.run(),
        Part::LogFile(log) => log.run(),
        Part::Receive(receive) => receive.run(),
        Part::Headers(headers) => headers.run(),
        Part::RoundTrip(round_trip) => round_trip.run(),
        Part::Peer(_) | Part::Instructions(_) => Err(failed("measure", "this part has no figures")),
    }
}

fn failed(what: &str, why: impl Display) -> Failure {
    Failure::new(format!("cannot {what}: {why}"))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use clap::ValueEnum;

    use super::*;

    /// What a loop says of 3,000 messages, against a peer that sends so many.
    fn measure(send: u64, part: impl FnOnce(Load) -> Part) -> Figures {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = listener.local_addr().unwrap();
        let peer = peer::Peer {
            send,
            header: Header::Long,
            size: 128,
            delay_us: 0,
            hang_up_after: 0,
            note_first: false,
            note_total: true,
        };
        let served = std::thread::spawn(move || peer.serve_one(&listener));
        let figures = figures(&part(Load { to, count: 3_000, size: 128 })).unwrap();
        served.join().unwrap().unwrap();
        assert_eq!((figures.messages, figures.bytes), (3_000, 384_000));
        assert!(figures.msgs_per_s > 0.0 && figures.cpu_ns_per_msg > 0.0);
        figures
    }

    #[test]
    fn both_parsers_take_every_header() {
        for parser in [Parser::Ours, Parser::Serde] {
            let figures = figures(&Part::Headers(headers::Headers { parser, count: 4_000 })).unwrap();
            assert_eq!(figures.messages, 4_000);
            assert!(figures.msgs_per_s > 0.0);
        }
    }

    #[test]
    fn every_piece_of_work_can_be_done() {
        for work in Work::value_variants() {
            instructions::Instructions { work: *work, count: 2_000 }.run().unwrap();
        }
    }

    #[test]
    fn every_loop_comes_to_its_end() {
        measure(0, |load| Part::Publish(publish::Publish { load, sequenced: false }));
        measure(0, |load| Part::Publish(publish::Publish { load, sequenced: true }));
        measure(3_000, |load| Part::Receive(receive::Receive { load, batch: 0 }));
        measure(3_000, |load| Part::Receive(receive::Receive { load, batch: 100 }));
        let figures = measure(0, |load| Part::RoundTrip(round_trip::RoundTrip { load, rate: 100_000 }));
        assert!(figures.p50_us > Some(0.0) && figures.p50_us <= figures.p99_us);
    }

    #[test]
    fn what_is_sent_was_in_the_log_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("log");
        measure(0, |load| Part::LogFile(log_file::LogFile { load, file: file.clone() }));
        let log = std::fs::read(&file).unwrap();
        let mut frames = 0;
        let mut rest = &log[..];
        while let Some((head, tail)) = rest.split_at_checked(8) {
            let len = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
            assert_eq!(crc32fast::hash(&tail[..len]).to_be_bytes(), head[4..]);
            let mut group = &tail[..len];
            while let Some(len) = amps_core::frame::frame_len(group) {
                group = &group[len..];
                frames += 1;
            }
            rest = &tail[len..];
        }
        assert_eq!((frames, rest.len()), (3_000, 0));
    }
}
