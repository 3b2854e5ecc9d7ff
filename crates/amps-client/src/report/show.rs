use std::fmt;

use super::{ConnectionReport, PublishingReport, Report, StreamState, SubscriptionReport};
use crate::health::{For, count, one_line};

/// A line that stands under a heading; what servers and applications say may have
/// more lines.
fn under(f: &mut fmt::Formatter<'_>, text: &impl fmt::Display) -> fmt::Result {
    writeln!(f, "  {}", one_line(&text.to_string()))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "client '{}': {}", self.client, self.health.status)?;
        self.health.reasons.iter().try_for_each(|reason| under(f, reason))?;
        write!(f, "{}", self.connection)?;
        write!(f, "{}", self.publishing)?;
        writeln!(f, "bookmarks: kept {}", self.bookmarks)?;
        writeln!(f, "streams: {} open", self.subscriptions.len())?;
        self.subscriptions.iter().try_for_each(|subscription| under(f, subscription))?;
        let (streams, strays) = (self.streams, self.strays);
        writeln!(
            f,
            "  ever: {} delivered, {} duplicates, {} conflated, {} missed, {} late, {} unexpected",
            streams.delivered, streams.duplicates, streams.conflated, streams.missed, strays.late, strays.unexpected
        )?;
        writeln!(f, "calls that wait: {}", self.waiting.len())?;
        for call in &self.waiting {
            let topic = if call.topic.is_empty() { String::new() } else { format!(" '{}'", call.topic) };
            under(f, &format!("{}{topic} for {}", call.call, For(call.lasting)))?;
        }
        if !self.last_headers.is_empty() {
            writeln!(f, "last headers:")?;
        }
        self.last_headers.iter().try_for_each(|header| under(f, header))
    }
}

impl fmt::Display for ConnectionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let live = if self.live { "live" } else { "not live" };
        let server = self.server.as_deref().unwrap_or("none yet");
        let version = self.server_version.as_ref().map(|version| format!(" ({version})")).unwrap_or_default();
        writeln!(f, "connection: {live} for {}", For(self.lasting))?;
        writeln!(f, "  server: {server}{version}, attempt {}", self.attempt)?;
        self.recovering.as_ref().map_or(Ok(()), |at| under(f, &format!("recovery: {at}")))?;
        for failed in &self.failed {
            let attempts = count(failed.attempts, "attempt");
            under(f, &format!("{attempts} at {} failed, the last: {}", failed.server, failed.cause))?;
        }
        let round_trip = self.round_trip.map(|took| format!(", round trip {}", For(took))).unwrap_or_default();
        writeln!(f, "  {}{round_trip}", count(self.reconnects, "reconnect"))
    }
}

impl fmt::Display for PublishingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "publishing: {}, kept {}", count(self.published, "message"), self.kept)?;
        write!(f, "  {} unacknowledged in {}", self.unacknowledged, count(self.bytes as u64, "byte"))?;
        write!(f, ", the bound is {} bytes", self.bytes_bound)?;
        if self.messages_bound < u64::MAX {
            write!(f, " and {} messages", self.messages_bound)?;
        }
        self.age.map_or(Ok(()), |age| write!(f, ", the oldest for {}", For(age)))?;
        writeln!(f)?;
        let latency = self.ack_latency.map(|took| format!(", acknowledged in {}", For(took))).unwrap_or_default();
        writeln!(
            f,
            "  {} not on the disk, persisted through {}{latency}",
            count(self.unstored as u64, "byte"),
            self.persisted_through
        )
    }
}

impl fmt::Display for SubscriptionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_query { "query" } else { "subscription" };
        let paused = if self.paused { ", paused" } else { "" };
        write!(f, "{kind} '{}': {}{paused}, topic '{}'", self.id, self.state.as_str(), self.topic)?;
        self.filter.as_ref().map_or(Ok(()), |filter| write!(f, ", filter '{filter}'"))?;
        write!(f, ", {} waiting in {}", count(self.depth as u64, "event"), count(self.bytes as u64, "byte"))?;
        self.full.map_or(Ok(()), |full| write!(f, ", full for {}", For(full)))?;
        self.undiscarded.map_or(Ok(()), |undiscarded| write!(f, ", {undiscarded} not discarded"))?;
        self.undiscarded_age.map_or(Ok(()), |age| write!(f, ", the oldest for {}", For(age)))?;
        write!(f, ", {} delivered, {} duplicates", self.stats.delivered, self.stats.duplicates)
    }
}

impl StreamState {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Asked => "asked",
            Self::Active => "active",
            Self::Ended => "ended",
        }
    }
}
