//! What one measurement gives: the line that `amps bench` prints.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// One measurement.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Figures {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) seconds: f64,
    pub(super) msgs_per_s: f64,
    pub(super) cpu_ns_per_msg: f64,
    pub(super) max_rss_mb: Option<f64>,
    /// Of latencies only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p50_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p90_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p99_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p999_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_us: Option<f64>,
    /// Of durable publishing by tasks that wait: messages in a sync.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) per_sync: Option<f64>,
    /// Of a replay: from the start of the process to its first byte at the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_byte_s: Option<f64>,
}

impl Figures {
    /// With the quantiles of these times in nanoseconds.
    pub(super) fn with_times(self, times: &Histogram<u64>) -> Self {
        let micros = |nanos: u64| Some((nanos as f64 / 100.0).round() / 10.0);
        let at = |quantile: f64| micros(times.value_at_quantile(quantile));
        let max_us = micros(times.max());
        Self { p50_us: at(0.5), p90_us: at(0.9), p99_us: at(0.99), p999_us: at(0.999), max_us, ..self }
    }
}

/// The middle of several measurements, and their ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// Of no numbers at all, not a number.
    pub(super) fn of(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (numbers.first().copied(), numbers.last().copied()) else {
            return Self { median: f64::NAN, min: f64::NAN, max: f64::NAN };
        };
        let upper = numbers[numbers.len() / 2];
        let median = if numbers.len() % 2 == 1 { upper } else { f64::midpoint(numbers[numbers.len() / 2 - 1], upper) };
        Self { median, min, max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 9.0]), Spread { median: 3.0, min: 1.0, max: 9.0 });
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 9.0]).median, 3.0);
    }

    #[test]
    fn the_line_of_the_command_is_understood() {
        let line = r#"{"messages":1,"bytes":2,"seconds":3.0,"msgs_per_s":4.0,"cpu_ns_per_msg":5.0,"max_rss_mb":null,"p50_us":6.0,"p90_us":7.0,"p99_us":8.0,"p999_us":9.0,"max_us":10.0}"#;
        let figures: Figures = serde_json::from_str(line).unwrap();
        assert_eq!((figures.msgs_per_s, figures.p99_us, figures.max_rss_mb), (4.0, Some(8.0), None));
    }
}
