//! The speed of a replay (AMPS User Guide, "Controlling Replay Rate").

use std::time::Duration;

/// A multiple of a unit of speed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rate {
    /// Messages a second.
    Messages(f64),
    /// Bytes a second.
    Bytes(f64),
    /// Times the speed at which the messages were published.
    Times(f64),
}

/// How fast a subscription is replayed. Times are microseconds since the
/// beginning of 1970.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pace {
    rate: Rate,
    /// The longest pause.
    max_gap: Option<u64>,
    /// The next message is not sent before this.
    ready: u64,
    /// When the last message was processed, and when it was sent again.
    last: Option<(u64, u64)>,
}

impl Pace {
    /// Reads a rate: `100`, `5KB` or `1.5X`. `None` when it is none.
    pub(super) fn parse(text: &str, max_gap: Option<Duration>) -> Option<Self> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let number: f64 = text[..digits].parse().ok()?;
        let rate = match text[digits..].to_ascii_lowercase().as_str() {
            "" => Rate::Messages(number),
            "kb" => Rate::Bytes(number * 1e3),
            "mb" => Rate::Bytes(number * 1e6),
            "gb" => Rate::Bytes(number * 1e9),
            "x" => Rate::Times(number),
            _ => return None,
        };
        let max_gap = max_gap.map(|gap| gap.as_micros() as u64);
        (number > 0.0 && number.is_finite()).then_some(Self { rate, max_gap, ready: 0, last: None })
    }

    /// When a message that was processed then may be sent.
    pub(super) fn due(&self, processed: u64) -> u64 {
        match (self.rate, self.last) {
            (Rate::Times(factor), Some((before, sent))) => {
                let gap = (processed.saturating_sub(before) as f64 / factor) as u64;
                sent.saturating_add(self.max_gap.map_or(gap, |most| gap.min(most)))
            }
            _ => self.ready,
        }
    }

    /// A message of so many bytes, that was processed then, is sent now.
    pub(super) fn sent(&mut self, processed: u64, bytes: usize, now: u64) {
        self.last = Some((processed, now));
        let pause = match self.rate {
            Rate::Messages(rate) => 1e6 / rate,
            Rate::Bytes(rate) => bytes as f64 * 1e6 / rate,
            Rate::Times(_) => 0.0,
        };
        let pause = (pause.ceil() as u64).min(self.max_gap.unwrap_or(u64::MAX));
        self.ready = now.saturating_add(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_rate_has_its_pauses() {
        let ms = Duration::from_millis;
        for (rate, max_gap, pause) in [
            ("4", None, 250_000),
            ("0.5", None, 2_000_000),
            ("4", Some(ms(100)), 100_000),
            ("2KB", None, 500_000),
            ("1mb", None, 1_000),
            ("2X", None, 1_500_000),
            ("1.5x", None, 2_000_000),
            ("2X", Some(ms(20)), 20_000),
        ] {
            let mut pace = Pace::parse(rate, max_gap).unwrap();
            assert!(pace.due(7) <= 1_000, "{rate}: the first goes at once");
            pace.sent(0, 1_000, 1_000);
            assert_eq!(pace.due(3_000_000), 1_000 + pause, "{rate} {max_gap:?}");
        }
        let mut slow = Pace::parse(&format!("0.{}1X", "0".repeat(300)), None).unwrap();
        slow.sent(0, 1, 1_000);
        assert_eq!(slow.due(1), u64::MAX, "never");
        for none in ["", "0", "x", "-1", "1Y", "1.2.3", "0X"] {
            assert_eq!(Pace::parse(none, None), None, "{none}");
        }
    }
}
