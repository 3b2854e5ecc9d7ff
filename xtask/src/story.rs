//! What happened in a run, by time: what the page shows.

use std::time::{Duration, Instant, SystemTime};

/// How often figures are noted.
const EVERY: Duration = Duration::from_millis(500);

/// Faults as bars and marks, and figures over time.
#[derive(Debug)]
pub(crate) struct Story {
    began: Instant,
    began_unix_ms: u64,
    bars: Vec<Bar>,
    samples: Vec<Sample>,
    over: Option<Duration>,
}

/// A fault, on the lane of what it broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bar {
    /// Such as `server A`.
    pub(crate) lane: String,
    /// Such as `killed`.
    pub(crate) what: String,
    /// When it began.
    pub(crate) from: Duration,
    /// When it ended; at once, or never, without one.
    pub(crate) to: Option<Duration>,
}

/// Figures of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// When.
    pub(crate) at: Duration,
    /// Lines promised to each publisher by now.
    pub(crate) published: Vec<usize>,
    /// Different lines each subscriber has by now; behind them updates and messages
    /// that consumers got.
    pub(crate) delivered: Vec<usize>,
    /// Lines promised that some server has not logged yet.
    pub(crate) unacknowledged: usize,
}

impl Story {
    pub(crate) fn new() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            began: Instant::now(),
            began_unix_ms: unix.as_millis() as u64,
            bars: Vec::new(),
            samples: Vec::new(),
            over: None,
        }
    }

    /// The time since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// A time of the Unix clock, as a time since the beginning.
    pub(crate) fn since_begin(&self, unix_ms: u64) -> Duration {
        Duration::from_millis(unix_ms.saturating_sub(self.began_unix_ms))
    }

    /// A fault begins.
    pub(crate) fn begin(&mut self, lane: String, what: String) {
        let from = self.now();
        self.bars.push(Bar { lane, what, from, to: None });
    }

    /// Something happens, and is over.
    pub(crate) fn mark(&mut self, lane: String, what: String) {
        let at = self.now();
        self.bars.push(Bar { lane, what, from: at, to: Some(at) });
    }

    /// What is open on a lane ends; with `what`, only what is called so.
    pub(crate) fn end(&mut self, lane: &str, what: Option<&str>) {
        let now = self.now();
        let open = |bar: &&mut Bar| bar.lane == lane && bar.to.is_none() && what.is_none_or(|what| bar.what == what);
        for bar in self.bars.iter_mut().filter(open) {
            bar.to = Some(now);
        }
    }

    /// Everything open ends, but for what is called `but`: no more faults.
    pub(crate) fn end_all(&mut self, but: &str) {
        let now = self.now();
        self.over = Some(now);
        for bar in self.bars.iter_mut().filter(|bar| bar.what != but) {
            bar.to.get_or_insert(now);
        }
    }

    /// When the last fault ended, once it has.
    pub(crate) fn over(&self) -> Option<Duration> {
        self.over
    }

    /// Whether the next figures are due.
    pub(crate) fn is_due(&self) -> bool {
        self.samples.last().is_none_or(|last| self.now() >= last.at + EVERY)
    }

    /// Notes figures.
    pub(crate) fn sample(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// The faults, in order of their beginning.
    pub(crate) fn bars(&self) -> &[Bar] {
        &self.bars
    }

    /// The figures, in order.
    pub(crate) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// When a publisher was promised this line, as far as the figures tell.
    pub(crate) fn promised_at(&self, publisher: usize, number: usize) -> Option<Duration> {
        let has = |sample: &&Sample| sample.published.get(publisher).is_some_and(|count| *count > number);
        self.samples.iter().find(has).map(|sample| sample.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_closes_what_is_open_on_its_lane_only() {
        let mut story = Story::new();
        story.begin("a".into(), "killed".into());
        story.begin("b".into(), "killed".into());
        story.mark("a".into(), "cut".into());
        story.begin("a".into(), "slow disk".into());
        story.end("a", Some("killed"));
        let open = |story: &Story| story.bars().iter().filter(|bar| bar.to.is_none()).count();
        assert_eq!(open(&story), 2);
        story.end("a", None);
        assert_eq!(open(&story), 1);
        story.end_all("killed");
        assert_eq!(open(&story), 1, "what may go on");
        story.end_all("");
        assert_eq!(open(&story), 0);
    }

    #[test]
    fn a_line_was_promised_when_the_count_passed_it() {
        let mut story = Story::new();
        for (second, count) in [(1, 0), (2, 5), (3, 9)] {
            story.sample(Sample { at: Duration::from_secs(second), published: vec![count], ..Sample::default() });
        }
        assert_eq!(story.promised_at(0, 4), Some(Duration::from_secs(2)));
        assert_eq!(story.promised_at(0, 5), Some(Duration::from_secs(3)));
        assert_eq!(story.promised_at(0, 9), None);
        assert_eq!(story.promised_at(1, 0), None);
    }
}
