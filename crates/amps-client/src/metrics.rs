//! Figures of clients through the facade [`metrics`](https://docs.rs/metrics): with
//! the feature `metrics` every client records them for whichever recorder the
//! application installs.
//!
//! Install the recorder before clients are started: what a client looks up once
//! it does not look up again. Names, units and labels are in `docs/operations.md`.
//! What happens is recorded when it happens, what stands once a second and
//! whenever [`Client::record_metrics`] asks for it; nothing is recorded once a
//! message. Labels hold no users and no passwords.
//!
//! The example `operations` serves them to Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use amps_core::Uri;
use amps_core::uri::Scheme;
use amps_ha::error::Cause;
use amps_ha::event::ConnectionSummary;
use amps_ha::measure::{Measure, Observer};
use metrics::{Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use tokio::sync::watch;

use crate::client::Client;
use crate::inner::Inner;
use crate::report::{PublishingReport, SubscriptionReport, subscription};

/// Between two looks at what stands.
const EVERY: Duration = Duration::from_secs(1);

const ATTEMPTS: &str = "amps_attempts_total";
const LOSSES: &str = "amps_losses_total";
const DETECT: &str = "amps_detect_seconds";
const PHASE: &str = "amps_recovery_phase_seconds";
const RECOVER: &str = "amps_recover_seconds";
const ROUND_TRIP: &str = "amps_heartbeat_round_trip_seconds";
const ACK_LATENCY: &str = "amps_ack_latency_seconds";
const STORE_WORK: &str = "amps_store_work_seconds";
const CONNECTED: &str = "amps_connected";
const UNACKNOWLEDGED: &str = "amps_unacknowledged_messages";
const UNACKNOWLEDGED_BYTES: &str = "amps_unacknowledged_bytes";
const UNACKNOWLEDGED_AGE: &str = "amps_unacknowledged_age_seconds";
const UNSTORED: &str = "amps_unstored_bytes";
const PUBLISHED: &str = "amps_published_messages_total";
const DELIVERED: &str = "amps_delivered_messages_total";
const DUPLICATES: &str = "amps_duplicate_messages_total";
const CONFLATED: &str = "amps_conflated_messages_total";
const MISSED: &str = "amps_missed_messages_total";
const STRAYS: &str = "amps_stray_messages_total";
const QUEUE: &str = "amps_queue_messages";
const QUEUE_BYTES: &str = "amps_queue_bytes";
const UNDISCARDED: &str = "amps_undiscarded_messages";
const UNDISCARDED_AGE: &str = "amps_undiscarded_age_seconds";

/// Tells the recorder what the names mean.
fn describe() {
    describe_counter!(ATTEMPTS, Unit::Count, "Attempts to connect that ended, by how");
    describe_counter!(LOSSES, Unit::Count, "Live connections lost, by cause");
    describe_histogram!(DETECT, Unit::Seconds, "How long nothing had come when a loss was noticed");
    describe_histogram!(PHASE, Unit::Seconds, "Phases of recovery, successful or not");
    describe_histogram!(RECOVER, Unit::Seconds, "From the loss, or the start, until live");
    describe_histogram!(ROUND_TRIP, Unit::Seconds, "From starting heartbeats to the server's answer");
    describe_histogram!(ACK_LATENCY, Unit::Seconds, "From handing a message to the connection to its acknowledgement");
    describe_histogram!(STORE_WORK, Unit::Seconds, "Pieces of work of the publish store");
    describe_gauge!(CONNECTED, Unit::Count, "1 while connected and fully recovered");
    describe_gauge!(UNACKNOWLEDGED, Unit::Count, "Messages no server has acknowledged");
    describe_gauge!(UNACKNOWLEDGED_BYTES, Unit::Bytes, "Bytes of these");
    describe_gauge!(UNACKNOWLEDGED_AGE, Unit::Seconds, "Age of the oldest of these, at most");
    describe_gauge!(UNSTORED, Unit::Bytes, "Bytes the publish store's disk has not taken");
    describe_counter!(PUBLISHED, Unit::Count, "Messages published");
    describe_counter!(DELIVERED, Unit::Count, "Messages queued for the application");
    describe_counter!(DUPLICATES, Unit::Count, "Messages dropped because they were delivered or discarded before");
    describe_counter!(CONFLATED, Unit::Count, "Messages replaced by newer ones before they were read");
    describe_counter!(MISSED, Unit::Count, "Messages dropped before they were read, as a full queue was told to");
    describe_counter!(STRAYS, Unit::Count, "Messages that reached no stream, duplicates aside");
    describe_gauge!(QUEUE, Unit::Count, "Events that wait in a subscription's queue");
    describe_gauge!(QUEUE_BYTES, Unit::Bytes, "Bytes of these");
    describe_gauge!(UNDISCARDED, Unit::Count, "Messages of a bookmark subscription not discarded");
    describe_gauge!(UNDISCARDED_AGE, Unit::Seconds, "Age of the oldest of these, at most");
}

/// Records what happens.
pub(crate) struct Recording {
    client: Arc<str>,
    /// Looked up once: they may be recorded as often as messages are acknowledged.
    ack_latency: Histogram,
    store_work: Histogram,
}

impl Recording {
    pub(crate) fn new(client: &str) -> Self {
        describe();
        let client: Arc<str> = client.into();
        let ack_latency = histogram!(ACK_LATENCY, "client" => Arc::clone(&client));
        let store_work = histogram!(STORE_WORK, "client" => Arc::clone(&client));
        Self { client, ack_latency, store_work }
    }
}

impl Observer for Recording {
    fn measured(&self, measure: &Measure<'_>) {
        let client = || Arc::clone(&self.client);
        match measure {
            Measure::Attempt { server, failed } => {
                let outcome = failed.map_or("live", Cause::name);
                let server = server_label(server);
                counter!(ATTEMPTS, "client" => client(), "server" => server, "outcome" => outcome).increment(1);
            }
            Measure::Lost { server, cause, silence } => {
                let cause = cause.name();
                counter!(LOSSES, "client" => client(), "server" => server_label(server), "cause" => cause).increment(1);
                if let Some(silence) = silence {
                    histogram!(DETECT, "client" => client(), "cause" => cause).record(*silence);
                }
            }
            Measure::Phase { phase, took } => {
                histogram!(PHASE, "client" => client(), "phase" => phase.as_str()).record(*took);
            }
            Measure::Recovered { reason, took } => {
                histogram!(RECOVER, "client" => client(), "reason" => reason.as_str()).record(*took);
            }
            Measure::RoundTrip { server, took } => {
                histogram!(ROUND_TRIP, "client" => client(), "server" => server_label(server)).record(*took);
            }
            Measure::Acknowledged { took } => self.ack_latency.record(*took),
            Measure::Stored { took } => self.store_work.record(*took),
            // What this crate has no name for yet.
            _ => {}
        }
    }
}

/// Host and port, or the path of a socket file: neither user nor password.
fn server_label(uri: &Uri) -> String {
    match (uri.scheme(), &uri.options().path) {
        (Scheme::Unix, Some(path)) => path.display().to_string(),
        _ if uri.host().contains(':') => format!("[{}]:{}", uri.host(), uri.port()),
        _ => format!("{}:{}", uri.host(), uri.port()),
    }
}

/// What was recorded of what stands.
#[derive(Debug)]
pub(crate) struct Sampled {
    client: Arc<str>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Counters as they were recorded last.
    counted: BTreeMap<(&'static str, &'static str), u64>,
    /// The subscriptions there were.
    ids: BTreeSet<String>,
}

impl Sampled {
    /// `published` messages were there before this client.
    pub(crate) fn new(client: &str, published: u64) -> Self {
        let counted = BTreeMap::from([((PUBLISHED, ""), published)]);
        Self { client: client.into(), state: Mutex::new(State { counted, ..State::default() }) }
    }

    fn record(&self, client: &Client) {
        // First, so that nobody records what is older afterwards.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = tokio::time::Instant::now().into_std();
        let (looks, streams) = client.inner.listing.look();
        let reports: Vec<_> = looks.into_iter().map(|(id, look)| subscription(now, &id, look)).collect();
        let strays = client.stray_counts();
        self.connected(client.is_connected());
        self.publishing(&mut state, &client.publishing(now, None));
        self.count(&mut state, (DELIVERED, ""), streams.delivered);
        self.count(&mut state, (DUPLICATES, ""), streams.duplicates);
        self.count(&mut state, (CONFLATED, ""), streams.conflated);
        self.count(&mut state, (MISSED, ""), streams.missed);
        self.count(&mut state, (STRAYS, "unexpected"), strays.unexpected);
        self.count(&mut state, (STRAYS, "late"), strays.late);
        self.subscriptions(&mut state, &reports);
    }

    fn connected(&self, live: bool) {
        gauge!(CONNECTED, "client" => Arc::clone(&self.client)).set(if live { 1.0 } else { 0.0 });
    }

    fn publishing(&self, state: &mut State, report: &PublishingReport) {
        self.count(state, (PUBLISHED, ""), report.published);
        let client = || Arc::clone(&self.client);
        gauge!(UNACKNOWLEDGED, "client" => client()).set(report.unacknowledged as f64);
        gauge!(UNACKNOWLEDGED_BYTES, "client" => client()).set(report.bytes as f64);
        gauge!(UNACKNOWLEDGED_AGE, "client" => client()).set(report.age.unwrap_or_default());
        gauge!(UNSTORED, "client" => client()).set(report.unstored as f64);
    }

    /// By as much as it has grown: an earlier client of the same name in this
    /// process may have counted before.
    fn count(&self, state: &mut State, what: (&'static str, &'static str), now: u64) {
        let (name, kind) = what;
        let before = state.counted.insert(what, now).unwrap_or_default();
        let client = Arc::clone(&self.client);
        let counter = match kind {
            "" => counter!(name, "client" => client),
            kind => counter!(name, "client" => client, "kind" => kind),
        };
        counter.increment(now.saturating_sub(before));
    }

    /// Those with the same id count together; those that are gone are zero.
    fn subscriptions(&self, state: &mut State, reports: &[SubscriptionReport]) {
        let mut by_id: BTreeMap<&str, [f64; 4]> = state.ids.iter().map(|id| (id.as_str(), [0.0; 4])).collect();
        let open = reports.iter().filter(|report| !report.is_query);
        for report in open.clone() {
            let [depth, bytes, undiscarded, age] = by_id.entry(&report.id).or_default();
            *depth += report.depth as f64;
            *bytes += report.bytes as f64;
            *undiscarded += report.undiscarded.unwrap_or_default() as f64;
            *age = age.max(report.undiscarded_age.unwrap_or_default().as_secs_f64());
        }
        for (id, values) in by_id {
            for (name, value) in [QUEUE, QUEUE_BYTES, UNDISCARDED, UNDISCARDED_AGE].into_iter().zip(values) {
                gauge!(name, "client" => Arc::clone(&self.client), "subscription" => id.to_owned()).set(value);
            }
        }
        state.ids = open.map(|report| report.id.clone()).collect();
    }

    /// The client is gone.
    fn over(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.connected(false);
        self.subscriptions(&mut state, &[]);
    }
}

/// Records what stands, once a second for as long as there is a client.
pub(crate) async fn sample(client: Weak<Inner>, sampled: Arc<Sampled>, mut state: watch::Receiver<ConnectionSummary>) {
    loop {
        let over = tokio::time::timeout(EVERY, state.wait_for(|state| state.over.is_some())).await.is_ok();
        match client.upgrade() {
            Some(inner) => Client { inner }.record_metrics(),
            None => sampled.over(),
        }
        if over {
            return sampled.over();
        }
    }
}

impl Client {
    /// Records what stands right now, such as depths and ages, instead of within
    /// the second: before a scrape, for example. Only with the feature `metrics`.
    pub fn record_metrics(&self) {
        self.inner.sampled.record(self);
    }
}
