use amps_core::planted;
use bytes::BytesMut;

use super::disk::RESERVE;
use super::error::LogonRefused;
use super::log::PublishLog;
use super::meta::{Meta, SEQUENCE_MAX};
use super::segment::{Body, frames, renumber};
use super::work::Renumber;

/// What to do at a server that lacks messages an earlier one acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnPublishGap {
    /// Treat it as a failed attempt and try the next server.
    #[default]
    Refuse,
    /// Go on there. The messages it lacks are dropped by it for good if they
    /// reach it by replication after newer ones.
    Continue,
}

/// What a logon meant for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogonReport {
    /// Messages the server had already; they are settled.
    pub already_there: u64,
    /// Messages that will be sent again, or for the first time.
    pub to_replay: u64,
    /// The end of the log as of this logon: when `sent` reaches it, the
    /// replay is done.
    pub replay_end: u64,
    /// The server's sequence is above every number this log ever gave out:
    /// another client publishes under this name, or the store is an old copy.
    pub sequence_ahead: Option<u64>,
    /// Messages that got new numbers because the server's sequence would have
    /// made it drop them.
    pub renumbered: u64,
}

/// Numbers go on so far above what a server says it knows, when it knows what
/// this log never gave out: another life of this name got further, on a clock
/// that was ahead or with a newer copy of the store. At logon a server counts
/// only what its synchronous peers have too; it may have more, and would drop
/// what comes under those numbers without a word.
pub(super) const LEAP: u64 = 1 << 32;

fn leap() -> u64 {
    if planted::is("numbers-do-not-leap") { 1 } else { LEAP }
}

impl PublishLog {
    /// A server accepted the logon and knows this client up to `server`, its
    /// sequence in the logon acknowledgement (AMPS User Guide, "Message
    /// Sequence Numbers"). Sets `sent` back to what is not settled.
    ///
    /// The sequence only settles messages that may have been sent. What was
    /// certainly never sent cannot be what the server has: it is renumbered
    /// above, in order, never dropped.
    ///
    /// # Errors
    /// [`LogonRefused::PublishGap`] when the server is behind what was
    /// acknowledged earlier and `policy` refuses that;
    /// [`LogonRefused::ImpossibleSequence`];
    /// [`LogonRefused::Renumbering`] while an earlier logon's new numbers are
    /// still being stored. Nothing was changed.
    pub fn logged_on(&mut self, server: u64, policy: OnPublishGap) -> Result<LogonReport, LogonRefused> {
        if !self.sequenced {
            self.online = true;
            return Ok(LogonReport { replay_end: self.end, ..LogonReport::default() });
        }
        // What is published from now on has as many numbers above it.
        if server > SEQUENCE_MAX / 2 {
            return Err(LogonRefused::ImpossibleSequence { server });
        }
        if server < self.persisted_through && policy == OnPublishGap::Refuse {
            return Err(LogonRefused::PublishGap { server, acknowledged: self.persisted_through });
        }
        if self.disk.as_ref().is_some_and(|disk| disk.renumber.is_some()) {
            return Err(LogonRefused::Renumbering);
        }
        self.online = true;
        let ahead = self.ever_logged_on && server >= self.next_sequence;
        let before = self.acked;
        let may_be_there = if planted::is("unsent-settled-at-logon") { self.end } else { self.unsent_from };
        self.advance(self.ordinals_through(server).min(may_be_there));
        let first_unsent = self.unsent_from.max(self.acked);
        let mut renumbered = 0;
        if self.sequence_of(first_unsent).is_some_and(|sequence| sequence <= server) {
            renumbered = self.end - first_unsent;
            self.give_new_numbers(first_unsent, self.next_sequence.max(server + leap()));
        }
        if server >= self.next_sequence {
            self.next_sequence = server + leap();
        }
        self.persisted_through = self.persisted_through.max(server);
        self.ever_logged_on = true;
        self.sent = if planted::is("live-overtakes-replay") { first_unsent } else { self.acked };
        Ok(LogonReport {
            already_there: self.acked - before,
            to_replay: self.end - self.acked,
            replay_end: self.end,
            sequence_ahead: ahead.then_some(server),
            renumbered,
        })
    }

    /// Numbers everything from `from` on anew, beginning with `start`. What is
    /// only in memory changes at once; what is stored is copied by a job, and
    /// nothing is sent before that is done.
    fn give_new_numbers(&mut self, from: u64, start: u64) {
        if let Some(front) = self.segments.front_mut() {
            let (len, resident) = (front.len, front.resident());
            front.cut_front(from, &mut self.spare);
            self.bytes -= len - front.len;
            self.resident -= resident - front.resident();
            self.untaken -= if front.taken { 0 } else { len - front.len };
        }
        let old_first = self.segments.front().map_or(0, |front| front.first_sequence);
        let (mut keys, mut old_last, mut next) = (Vec::new(), 0, start);
        for segment in &mut self.segments {
            self.resident -= segment.resident();
            if segment.taken {
                keys.push(segment.first_sequence - segment.cut);
                old_last = segment.last_sequence();
                segment.cut = 0;
                segment.body = Body::Stored;
            } else if let Some(bytes) = segment.seal(&mut self.spare) {
                let mut out = BytesMut::with_capacity(bytes.len() + 64);
                for (sequence, frame) in (next..).zip(frames(&bytes)) {
                    renumber(frame, sequence, &mut out).expect("a frame of the publish log carries a sequence");
                }
                self.bytes = self.bytes - segment.len + out.len();
                self.untaken = self.untaken - segment.len + out.len();
                segment.len = out.len();
                self.resident += out.len();
                segment.body = Body::Sealed(out.freeze());
            }
            segment.first_sequence = next;
            next += segment.count;
            if let (Some(disk), true) = (&mut self.disk, segment.taken) {
                disk.chain = segment.last_sequence();
            }
        }
        self.next_sequence = next;
        if keys.is_empty() {
            return;
        }
        self.discarded_through = self.discarded_through.max(old_last);
        if let Some(disk) = &mut self.disk {
            let meta = Meta {
                discarded_through: old_last,
                reserved_through: next + RESERVE,
                ever_logged_on: true,
                next_sequence: None,
                never_sent_from: Some(start),
                settled: Vec::new(),
                ..disk.meta.clone()
            };
            disk.renumber = Some(Renumber { keys, from: old_first, old_last, start, meta });
        }
    }

    /// The copies are made; their lengths may differ by a digit.
    pub(super) fn renumbered(&mut self, values: Vec<(u64, usize)>) {
        for (key, len) in values {
            if let Ok(index) = self.segments.binary_search_by_key(&key, |segment| segment.first_sequence) {
                let segment = &mut self.segments[index];
                self.bytes = self.bytes - segment.len + len;
                segment.len = len;
            }
        }
    }
}
