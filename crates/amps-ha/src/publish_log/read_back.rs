//! What leaves memory once the disk has it, and comes back ahead of the writer.

use bytes::Bytes;

use super::log::PublishLog;
use super::segment::Body;

/// Bytes read back by one job: what waits to be stored waits no longer.
const READ_LEN: usize = 1 << 20;

impl PublishLog {
    /// Keys of the values that the writer comes to soon.
    pub(super) fn to_read(&self) -> Vec<u64> {
        let mut keys = Vec::new();
        let writing = self.online && self.disk.as_ref().is_some_and(|disk| disk.may_send);
        if !writing || self.sent == self.end {
            return keys;
        }
        let index = self.segments.partition_point(|segment| segment.end() <= self.sent);
        let (mut window, mut room) = (self.read_ahead(), READ_LEN);
        for segment in self.segments.range(index..) {
            if window == 0 || room == 0 || !segment.taken {
                break;
            }
            window = window.saturating_sub(segment.len);
            if matches!(segment.body, Body::Stored) {
                room = room.saturating_sub(segment.len);
                keys.push(segment.first_sequence);
            }
        }
        keys
    }

    /// Bytes; the value that the writer has come to is always read.
    fn read_ahead(&self) -> usize {
        (self.limits.resident_bytes / 2).max(1)
    }

    pub(super) fn loaded(&mut self, values: Vec<(u64, Bytes)>) {
        let read: usize = values.iter().map(|(_, bytes)| bytes.len()).sum();
        if let Some(disk) = &mut self.disk {
            disk.owed = disk.owed.saturating_sub(read);
        }
        for (key, bytes) in values {
            // It may have been settled or renumbered meanwhile.
            if let Ok(index) = self.segments.binary_search_by_key(&key, |segment| segment.first_sequence) {
                let segment = &mut self.segments[index];
                if matches!(segment.body, Body::Stored) {
                    self.resident += bytes.len();
                    segment.body = Body::Sealed(bytes);
                }
            }
        }
        self.evict();
    }

    /// Gives back memory when there is too much in use: first what was sent,
    /// then the oldest that the writer will not reach soon.
    pub(super) fn evict(&mut self) {
        let Some(disk) = &self.disk else { return };
        let stored = disk.stored;
        let hybrid = disk.spill.is_some();
        let (most, mut goal, mut window) = match hybrid {
            // What the disk has is not kept, but for what the writer wants next.
            true => (self.untaken, self.untaken, if self.online { self.read_ahead() } else { 0 }),
            // Somewhat below the bound, so that the next pass is not due at once.
            false => {
                let bound = if self.online { self.limits.resident_bytes } else { self.read_ahead() };
                let unstored = self.unstored();
                (bound + unstored, bound / 4 * 3 + unstored, self.read_ahead())
            }
        };
        if self.resident <= most {
            return;
        }
        for segment in &mut self.segments {
            if self.resident <= goal || segment.end() > stored {
                break;
            }
            if segment.end() > self.sent && window > 0 {
                window = window.saturating_sub(segment.len);
                goal += if hybrid { segment.resident() } else { 0 };
            } else if segment.taken && matches!(segment.body, Body::Sealed(_)) {
                if let Body::Sealed(bytes) = std::mem::replace(&mut segment.body, Body::Stored) {
                    self.spare.put_back(bytes);
                }
                self.resident -= segment.len;
            }
        }
    }

    /// Bytes of frames in memory.
    pub fn resident_bytes(&self) -> usize {
        self.resident
    }
}
