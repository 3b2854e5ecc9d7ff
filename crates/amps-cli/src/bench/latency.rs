//! `amps bench latency`: a client that publishes to itself at a fixed rate.
//!
//! A message's time runs from the moment it was due, not from when it was sent:
//! a stall counts for every message it held up (corrected for coordinated
//! omission).
//!
//! Everything runs on one thread: no message goes from one thread to another on
//! its way out or in.

use std::time::{Duration, Instant};

use amps_client::{Client, PublishStore, Subscription};
use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::body::Body;
use super::summary::{Clocks, Summary, round};
use super::ticks::Ticks;
use super::{Load, connect, print, undisturbed};
use crate::exit::Failure;

/// Later than this counts as this late.
const MAX: Duration = Duration::from_secs(600);
/// How long a message may take before the run is given up.
const LOST: Duration = Duration::from_secs(30);

/// Options of `amps bench latency`.
#[derive(Debug, Args)]
pub(crate) struct Latency {
    #[command(flatten)]
    load: Load,
    /// Messages a second.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
}

/// The figures in microseconds.
#[derive(Debug, Serialize)]
struct Figures {
    #[serde(flatten)]
    summary: Summary,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
}

impl Latency {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Load { count, size, target } = &self.load;
        let topic = &target.topic;
        let (client, mut events) = connect(target.builder(None)?.publish_store(PublishStore::None)).await?;
        let stream = client.subscribe(topic.as_str()).await;
        let stream = stream.map_err(|error| Failure::new(format!("cannot subscribe to {topic}"), error))?;

        let clocks = Clocks::start();
        let plan = Plan { start: Instant::now(), interval: Duration::from_secs(1) / self.rate, count: *count };
        let ticks = Ticks::every(plan.interval).map_err(|error| Failure::new("cannot keep time", error))?;
        let receiver = tokio::spawn(receive(stream, plan));
        let sender = tokio::spawn(send(client.clone(), topic.clone(), Body::new(*size), plan, ticks));
        let broke = |error| Failure::new("the measurement broke off", error);
        sender.await.map_err(broke)??;
        let times = receiver.await.map_err(broke)??;
        let summary = clocks.stop(u64::from(*count), self.load.bytes());

        undisturbed(&client, &mut events)?;
        print(&Figures::new(summary, &times))
    }
}

/// When each message is due.
#[derive(Debug, Clone, Copy)]
struct Plan {
    start: Instant,
    interval: Duration,
    count: u32,
}

impl Plan {
    fn due(&self, number: u32) -> Instant {
        self.start + self.interval * number
    }
}

async fn send(client: Client, topic: String, mut body: Body, plan: Plan, mut ticks: Ticks) -> Result<(), Failure> {
    for number in 0..plan.count {
        while Instant::now() < plan.due(number) {
            ticks.next().await.map_err(|error| Failure::new("cannot keep time", error))?;
        }
        let sent = client.enqueue(&topic, body.number(number));
        sent.map_err(|error| Failure::new(format!("cannot publish message {number}"), error))?;
    }
    Ok(())
}

async fn receive(mut stream: Subscription, plan: Plan) -> Result<Histogram<u64>, Failure> {
    let mut times = histogram()?;
    for expected in 0..plan.count {
        let limit = plan.due(expected).saturating_duration_since(Instant::now()) + LOST;
        let next = tokio::time::timeout(limit, stream.next_message()).await;
        let next = next.map_err(|_| Failure::new("the measurement broke off", format!("no message {expected}")))?;
        let message = match next {
            Ok(Some(message)) => message,
            Ok(None) => return Err(Failure::new("the subscription ended", "the client is closed")),
            Err(error) => return Err(Failure::new("the subscription ended", error)),
        };
        if Body::read(message.data()) != Some(expected) {
            return Err(Failure::new("the measurement broke off", "somebody else publishes to this topic"));
        }
        times.saturating_record(nanos(plan.due(expected).elapsed()));
    }
    Ok(times)
}

/// Three digits are kept of each time.
fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_max(nanos(MAX), 3).map_err(|error| Failure::new("cannot keep the times", error))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Figures {
    fn new(summary: Summary, times: &Histogram<u64>) -> Self {
        let micros = |nanos: u64| round(nanos as f64 / 1_000.0, 1);
        let at = |quantile: f64| micros(times.value_at_quantile(quantile));
        Self {
            summary,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: micros(times.max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_quantiles_in_microseconds() {
        let mut times = histogram().unwrap();
        for micros in 1..=1_000 {
            times.saturating_record(micros * 1_000);
        }
        let figures = Figures::new(Clocks::start().stop(1_000, 0), &times);
        let near = |got: f64, want: f64| (got - want).abs() <= want / 500.0;
        assert!(near(figures.p50_us, 500.0) && near(figures.p90_us, 900.0), "{figures:?}");
        assert!(near(figures.p99_us, 990.0) && near(figures.p999_us, 999.0), "{figures:?}");
        assert!(near(figures.max_us, 1_000.0), "{figures:?}");
    }

    #[test]
    fn messages_are_due_at_the_rate_whatever_happens() {
        let plan = Plan { start: Instant::now(), interval: Duration::from_secs(1) / 10_000, count: 10 };
        assert_eq!(plan.due(10_000) - plan.start, Duration::from_secs(1));
    }
}
