//! Byte pipes with delay, bounded room, cuts and black holes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use amps_testserver::ConnId;

/// The two ends of a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A client, by index and life.
    Client { client: usize, life: u64 },
    /// A server's connection.
    Server { server: usize, life: u64, id: ConnId },
}

/// One direction of a pipe.
#[derive(Debug, Default)]
struct Lane {
    /// Bytes on their way, with the time of their arrival.
    moving: VecDeque<(Instant, Vec<u8>)>,
    in_flight: usize,
    /// Its bytes travel so much longer than those of others.
    lag: Duration,
    delivered: u64,
    /// The connection dies when so many bytes have been delivered.
    cut_at: Option<u64>,
}

/// A connection. Lane `n` carries bytes to end `n`.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) ends: [End; 2],
    lanes: [Lane; 2],
    /// Ends that have not closed it.
    pub(crate) open: [bool; 2],
    /// Bytes on their way to end `n` vanish, and nobody is told.
    pub(crate) swallows: [bool; 2],
    /// It broke: both ends get an error, and nothing is delivered any more.
    pub(crate) broken: bool,
}

/// What a read finds.
#[derive(Debug)]
pub(crate) enum Found {
    /// Bytes.
    Bytes(Vec<u8>),
    /// The peer closed, and everything it had sent was read.
    Closed,
    /// The connection broke.
    Broken,
    /// Nothing yet.
    Nothing,
}

/// How bytes travel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) latency: Duration,
    /// Bytes that fit between a writer and its reader.
    pub(crate) room: usize,
}

impl Pipe {
    pub(crate) fn new(ends: [End; 2], cuts: [Option<u64>; 2], lags: [Duration; 2]) -> Self {
        let lanes = [0, 1].map(|to| Lane { cut_at: cuts[to], lag: lags[to], ..Lane::default() });
        Self { ends, lanes, open: [true, true], swallows: [false, false], broken: false }
    }

    /// How many bytes end `from` may write now.
    pub(crate) fn room(&self, from: usize, weather: Weather) -> usize {
        weather.room.saturating_sub(self.lanes[1 - from].in_flight)
    }

    pub(crate) fn write(&mut self, now: Instant, from: usize, bytes: &[u8], weather: Weather) {
        let lane = &mut self.lanes[1 - from];
        // In a black hole the sender's buffer fills up and stays full.
        lane.in_flight += bytes.len();
        if !self.swallows[1 - from] {
            lane.moving.push_back((now + weather.latency + lane.lag, bytes.to_vec()));
        }
    }

    /// What end `to` reads, at most `limit` bytes.
    pub(crate) fn read(&mut self, now: Instant, to: usize, limit: usize) -> Found {
        if self.broken {
            return Found::Broken;
        }
        if self.swallows[to] {
            return Found::Nothing;
        }
        let peer_open = self.open[1 - to];
        let lane = &mut self.lanes[to];
        if lane.cut_at == Some(lane.delivered) {
            self.broken = true;
            return Found::Broken;
        }
        let left = lane.cut_at.map_or(u64::MAX, |at| at - lane.delivered);
        match lane.moving.front_mut() {
            Some((at, bytes)) if *at <= now => {
                let count = limit.min(bytes.len()).min(usize::try_from(left).unwrap_or(usize::MAX));
                let read: Vec<u8> = bytes.drain(..count).collect();
                if bytes.is_empty() {
                    lane.moving.pop_front();
                }
                lane.in_flight -= count;
                lane.delivered += count as u64;
                Found::Bytes(read)
            }
            None if !peer_open => Found::Closed,
            _ => Found::Nothing,
        }
    }

    /// Whether end `to` would find something other than nothing.
    pub(crate) fn readable(&self, now: Instant, to: usize) -> bool {
        let lane = &self.lanes[to];
        let arrived = lane.moving.front().is_some_and(|(at, _)| *at <= now);
        let ended = lane.moving.is_empty() && !self.open[1 - to];
        self.broken || !self.swallows[to] && (arrived || ended || lane.cut_at == Some(lane.delivered))
    }

    /// When the next bytes arrive.
    pub(crate) fn arrival(&self) -> Option<Instant> {
        if self.broken {
            return None;
        }
        let open = self.lanes.iter().zip(self.swallows).filter(|(_, swallows)| !swallows);
        open.filter_map(|(lane, _)| lane.moving.front().map(|(at, _)| *at)).min()
    }

    /// Bytes delivered to end `to` so far.
    pub(crate) fn delivered(&self, to: usize) -> u64 {
        self.lanes[to].delivered
    }

    pub(crate) fn is_over(&self) -> bool {
        self.open == [false, false]
    }
}
