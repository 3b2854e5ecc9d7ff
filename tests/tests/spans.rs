//! Spans of a failover, held against the table in `docs/operations.md`. Alone in
//! its process, since the stores' threads have only the subscriber of all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amps_client::reconnect::FixedReconnect;
use amps_client::{BookmarkStore, Client, Event, PublishStore, StartAt, Subscribe};
use amps_testserver::{Link, TestServer};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

const SOON: Duration = Duration::from_secs(20);

/// One span that was seen.
#[derive(Debug, Clone)]
struct Seen {
    name: &'static str,
    level: Level,
    parent: Option<&'static str>,
    /// All that it has, filled or not.
    fields: BTreeSet<String>,
    values: BTreeMap<&'static str, String>,
    closed: bool,
}

/// Those of this library, in order of their beginning.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<(u64, Seen)>>>);

struct Values<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Values<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let metadata = attributes.metadata();
        if !metadata.name().starts_with("amps.") {
            return;
        }
        let span = context.span(id).expect("a span that was made");
        let mut values = BTreeMap::new();
        attributes.record(&mut Values(&mut values));
        let seen = Seen {
            name: metadata.name(),
            level: *metadata.level(),
            parent: span.parent().map(|parent| parent.name()),
            fields: metadata.fields().iter().map(|field| field.name().to_owned()).collect(),
            values,
            closed: false,
        };
        self.0.lock().unwrap().push((id.into_u64(), seen));
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, _: Context<'_, S>) {
        self.with(id, |seen| record.record(&mut Values(&mut seen.values)));
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.with(&id, |seen| seen.closed = true);
    }
}

impl Spans {
    /// Ids come again when a span is closed.
    fn with(&self, id: &Id, act: impl FnOnce(&mut Seen)) {
        let mut spans = self.0.lock().unwrap();
        if let Some((_, seen)) = spans.iter_mut().rev().find(|(number, seen)| *number == id.into_u64() && !seen.closed)
        {
            act(seen);
        }
    }

    fn all(&self) -> Vec<Seen> {
        self.0.lock().unwrap().iter().map(|(_, seen)| seen.clone()).collect()
    }

    fn named(&self, name: &str) -> Vec<Seen> {
        self.all().into_iter().filter(|seen| seen.name == name).collect()
    }
}

/// A row of the table: name, level, what it is within, and fields.
fn documented() -> BTreeMap<String, (String, String, BTreeSet<String>)> {
    let text = include_str!("../../docs/operations.md");
    let rows = text.lines().filter(|line| line.starts_with("| `amps."));
    let ticked = |cell: &str| -> BTreeSet<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, name, level, within, fields, _, _] = cells[..] else { panic!("a row of five cells: {line}") };
        (name.trim_matches('`').to_owned(), (level.to_owned(), within.trim_matches('`').to_owned(), ticked(fields)))
    };
    rows.map(row).collect()
}

#[tokio::test]
async fn the_spans_of_a_failover_are_those_of_the_table() {
    let spans = Spans::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(spans.clone())).unwrap();

    let second = TestServer::builder().name("second").start().await.unwrap();
    let first = TestServer::builder().name("first").peer(second.uri(), Link::Sync).start().await.unwrap();
    let secret = |server: &TestServer| server.uri().replace("tcp://", "tcp://trader:secret@");
    let dir = tempfile::tempdir().unwrap();
    let outer = tracing::info_span!("outer").entered();
    let client = Client::builder("gateway")
        .servers([secret(&first), secret(&second)])
        .reconnect(FixedReconnect::new(Duration::ZERO, 1).loss_window(Duration::ZERO))
        .publish_store(PublishStore::sled(dir.path().join("publish")))
        .bookmark_store(BookmarkStore::sled(dir.path().join("bookmarks")))
        .start()
        .unwrap();
    drop(outer);
    client.connected().await.unwrap();
    let mut orders = client.subscribe(Subscribe::to("orders").bookmark(StartAt::Epoch)).await.unwrap();
    client.publish("orders", "1").await.unwrap();
    client.flush().await.unwrap();
    let one = orders.next_message().await.unwrap().unwrap();
    orders.discard(&one);
    orders.discarded().await.unwrap();
    let address = first.addr().to_string();
    first.stop().await;
    second.wait_for(|stats| stats.logons > 0).await;
    client.connected().await.unwrap();
    drop(orders);
    client.close(SOON).await;
    drop(client);

    // Every span of the table was there, and nothing else.
    let documented = documented();
    for Seen { name, level, parent, fields, .. } in spans.all() {
        let (its_level, within, its_fields) = documented.get(name).unwrap_or_else(|| panic!("{name} is undocumented"));
        assert_eq!(level.as_str().to_lowercase(), *its_level, "{name}");
        assert_eq!(fields, *its_fields, "{name}");
        if within != "the caller's" {
            assert_eq!(parent.unwrap_or_default(), within, "{name}");
        }
    }
    let seen: BTreeSet<_> = spans.all().iter().map(|seen| seen.name.to_owned()).collect();
    assert_eq!(seen, documented.into_keys().collect());

    // Two connections; the first tells how it ended.
    let connections = spans.named("amps.connection");
    let lost: Vec<_> = connections.iter().filter(|seen| seen.values["server"].contains(&address)).collect();
    assert!(["closed", "io"].contains(&lost[0].values["cause"].as_str()), "{lost:?}");
    assert_eq!(connections.last().unwrap().values["cause"], "by_user");
    let recoveries = spans.named("amps.recovery");
    let told = |seen: &Seen| (seen.values["reason"].clone(), seen.values["outcome"].clone());
    let reasons: Vec<_> = recoveries.iter().map(told).collect();
    assert_eq!(reasons, [("start".into(), "live".into()), ("loss".into(), "live".into())]);
    assert!(recoveries.iter().all(|seen| seen.values["attempts"] != "0"), "{recoveries:?}");
    // The phases of the second, in order, the last attempt's at least.
    let all = spans.all();
    let from = all.iter().rposition(|seen| seen.name == "amps.recovery.wait").unwrap();
    let phases: Vec<_> = all[from..].iter().filter_map(|seen| seen.name.strip_prefix("amps.recovery.")).collect();
    assert_eq!(phases, ["wait", "connect", "logon", "heartbeat", "replay", "resubscribe"]);

    let open: Vec<_> = spans.all().into_iter().filter(|seen| !seen.closed).collect();
    assert!(open.is_empty(), "still open: {open:?}");
    assert!(spans.all().iter().all(|seen| !format!("{seen:?}").contains("secret")));
    assert_eq!(spans.named("amps.client")[0].values["client"], "gateway");
    let works: BTreeSet<_> = spans.named("amps.store").iter().map(|seen| seen.values["work"].clone()).collect();
    assert!(works.contains("commit") || works.contains("sync"), "{works:?}");
    let commands: Vec<_> = spans.named("amps.command").iter().map(|seen| seen.values["command"].clone()).collect();
    assert_eq!(commands, ["subscribe", "flush", "close", "flush_acks"]);

    // One that finds nobody and is closed.
    let client = Client::builder("lonely").server(format!("tcp://{address}/amps/json")).start().unwrap();
    let mut events = client.events();
    while !matches!(events.next().await.unwrap(), Event::AttemptFailed { .. }) {}
    client.close(SOON).await;
    drop(client);
    let last = spans.named("amps.recovery").pop().unwrap();
    assert_eq!((last.values["outcome"].as_str(), last.closed), ("closed", true));
}
