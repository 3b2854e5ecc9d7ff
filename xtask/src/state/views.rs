//! Two views of a SOW topic, kept by deltas while both servers are killed in
//! turn. Afterwards each equals what the servers have, and what was published.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{Watch, lines, start};
use crate::input::Input;
use crate::publisher::Publisher;
use crate::server::Server;
use crate::setup::Setup;
use crate::{Failure, ports};

const TOPIC: &str = "weather.hourly";
const SERVERS: usize = 2;
/// Readings a second: the story ends before them.
const RATE: u32 = 2_000;
const START_LIMIT: Duration = Duration::from_secs(30);
const PUBLISH_LIMIT: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(20);
/// A view that is right and stays so for so long is right.
const QUIET: Duration = Duration::from_millis(700);

/// The views: a name, and what is in them.
const VIEWS: [(&str, Option<(&str, f64)>); 2] =
    [("all stations", None), ("warmer than 45 F", Some(("/temp_f > 45", 45.0)))];

/// The records of a topic, by station.
type Records = BTreeMap<String, Value>;

/// What came of the views.
#[derive(Debug)]
pub(super) struct Views {
    pub(super) published: usize,
    pub(super) kills: usize,
    pub(super) views: Vec<View>,
}

/// What came of one.
#[derive(Debug)]
pub(super) struct View {
    pub(super) name: &'static str,
    pub(super) ledger: Ledger,
    /// What every server has, asked when all was over.
    pub(super) servers: Vec<Records>,
    /// The newest reading of each station that belongs into it.
    pub(super) published: Records,
}

/// What a view wrote.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Ledger {
    pub(super) records: Records,
    pub(super) snapshots: usize,
    pub(super) updates: usize,
    pub(super) gone: usize,
}

impl Views {
    pub(super) fn is_good(&self) -> bool {
        self.views.iter().all(View::is_good)
    }
}

impl View {
    pub(super) fn is_good(&self) -> bool {
        self.ledger.records == self.published && self.servers.iter().all(|server| *server == self.published)
    }
}

pub(super) fn story(text: &str, dir: &Path, amps: PathBuf, watch: &mut Watch) -> Result<Views, Failure> {
    let input = Input::deal(text, 1)?;
    let setup = Setup {
        amps,
        dir: dir.to_owned(),
        ports: ports::free(SERVERS)?,
        client_ports: Vec::new(),
        peer_ports: Vec::new(),
        topic: TOPIC,
        queued: None,
        rate: RATE,
        heartbeat: 1,
        spread: false,
        slow_disks: false,
        planted: None,
    };
    let mut servers: Vec<_> = (0..SERVERS).map(|index| Server::new(index).sow(format!("{TOPIC}:/station"))).collect();
    restart(&mut servers, &setup, watch)?;

    let uris = setup.uris(0);
    let mut processes = Vec::new();
    for (index, (_, filter)) in VIEWS.iter().enumerate() {
        let ledger = ledger(dir, index);
        let ledger = ledger.to_string_lossy();
        let name = format!("view-{}", index + 1);
        let mut arguments = vec!["view", "--name", &name, "--server", &uris, "--topic", TOPIC, "--ledger", &ledger];
        arguments.extend(filter.iter().flat_map(|(filter, _)| ["--filter", *filter]));
        processes.push(start(&name, dir, &arguments)?);
    }
    let mut publisher = Publisher::new(0);
    publisher.publish(&setup, &input, 0)?;
    let flow = |count: usize| move |dir: &Path| Ok::<_, Failure>(lines(&ledger(dir, 0))?.len() >= count);
    // Each kill in the midst of readings; the other server is up again by then.
    for (victim, readings) in [(0, 2_000), (1, 7_000)] {
        if !watch.until(START_LIMIT, || flow(readings)(dir))? {
            return Err(Failure::new(format!("the first view got no {readings} updates in time")));
        }
        servers[victim].kill();
        watch.say(&format!("killed server {}", servers[victim].name()));
        let seen = lines(&ledger(dir, 0))?.len();
        if !watch.until(START_LIMIT, || flow(seen + 1_000)(dir))? {
            return Err(Failure::new("the first view did not go on at the other server in time"));
        }
        restart(&mut servers, &setup, watch)?;
        watch.say(&format!("server {} is back", servers[victim].name()));
    }
    let done = watch.until(PUBLISH_LIMIT, || {
        publisher.poll(&setup)?;
        // A process takes a part of the input at most.
        if publisher.is_drained() {
            publisher.publish(&setup, &input, publisher.promised())?;
        }
        Ok(publisher.is_done())
    })?;
    if !done {
        return Err(Failure::new("the readings are not persisted in time"));
    }
    let views = || VIEWS.iter().enumerate().map(|(index, view)| judged(index, view, text, &setup)).collect();
    let mut judged_good = false;
    watch.until(SETTLE, || {
        let views: Vec<View> = Result::from_iter::<Vec<_>>(views())?;
        judged_good = views.iter().all(View::is_good);
        Ok(judged_good)
    })?;
    // Nothing may come behind that.
    watch.until(QUIET, || Ok(false))?;
    for process in &mut processes {
        if let Some(status) = process.ended()? {
            return Err(process.unexpected(status));
        }
    }
    Ok(Views { published: input.total(), kills: 2, views: Result::from_iter::<Vec<_>>(views())? })
}

/// Starts the servers that are dead, and waits until all listen.
fn restart(servers: &mut [Server], setup: &Setup, watch: &mut Watch) -> Result<(), Failure> {
    for server in servers.iter_mut() {
        server.start(setup)?;
    }
    let listen = watch.until(START_LIMIT, || {
        servers.iter_mut().try_for_each(|server| server.poll())?;
        Ok(servers.iter().all(Server::listens))
    })?;
    if listen { Ok(()) } else { Err(Failure::new("the servers do not listen in time")) }
}

fn ledger(dir: &Path, view: usize) -> PathBuf {
    dir.join(format!("view-{}.ledger", view + 1))
}

fn judged(
    index: usize,
    (name, filter): &(&'static str, Option<(&'static str, f64)>),
    text: &str,
    setup: &Setup,
) -> Result<View, Failure> {
    let ledger = read(&lines(&ledger(&setup.dir, index))?)?;
    let servers = (0..SERVERS).map(|server| ask(setup, server, filter.map(|(filter, _)| filter)));
    let servers = servers.collect::<Result<_, _>>()?;
    Ok(View { name, ledger, servers, published: newest(text, filter.map(|(_, above)| above))? })
}

/// The records a server has, by `amps sow`.
fn ask(setup: &Setup, server: usize, filter: Option<&str>) -> Result<Records, Failure> {
    let mut command = setup.command("sow");
    command.args(["--server", &setup.uri(server), "--topic", TOPIC]);
    command.args(filter.iter().flat_map(|filter| ["--filter", *filter]));
    let output = command.output().map_err(|error| Failure::new(format!("cannot start amps sow: {error}")))?;
    if !output.status.success() {
        return Err(Failure::new(format!("amps sow failed: {}", String::from_utf8_lossy(&output.stderr))));
    }
    String::from_utf8_lossy(&output.stdout).lines().map(record).collect()
}

fn record(line: &str) -> Result<(String, Value), Failure> {
    let record: Value =
        serde_json::from_str(line).map_err(|error| Failure::new(format!("{line:?} is no record: {error}")))?;
    match record["station"].as_str() {
        Some(station) => Ok((station.to_owned(), record)),
        None => Err(Failure::new(format!("{line:?} has no station"))),
    }
}

/// The last reading of each station, if it is warm enough.
fn newest(text: &str, above: Option<f64>) -> Result<Records, Failure> {
    let mut newest: Records = text.lines().map(record).collect::<Result<_, _>>()?;
    newest.retain(|_, record| above.is_none_or(|above| record["temp_f"].as_f64().is_some_and(|temp| temp > above)));
    Ok(newest)
}

/// What stands in a view's ledger: the records at its end, by station, and what
/// happened on the way.
fn read(lines: &[String]) -> Result<Ledger, Failure> {
    let (mut by_key, mut ledger) = (BTreeMap::new(), Ledger::default());
    for line in lines {
        let entry: Value =
            serde_json::from_str(line).map_err(|error| Failure::new(format!("{line:?} is no entry: {error}")))?;
        match (entry["key"].as_str(), &entry["record"]) {
            (None, _) => {
                by_key.clear();
                ledger.snapshots += 1;
            }
            (Some(key), Value::Null) => {
                by_key.remove(key);
                ledger.gone += 1;
            }
            (Some(key), whole) => {
                by_key.insert(key.to_owned(), whole.clone());
                ledger.updates += 1;
            }
        }
    }
    ledger.records = by_key.into_values().map(|whole| record(&whole.to_string())).collect::<Result<_, _>>()?;
    Ok(ledger)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = concat!(
        r#"{"station":"SEA","temp_f":50.0}"#,
        "\n",
        r#"{"station":"SFO","temp_f":44.0}"#,
        "\n",
        r#"{"station":"SEA","temp_f":40.0}"#,
        "\n",
        r#"{"station":"SFO","temp_f":46.5}"#,
    );

    #[test]
    fn the_truth_is_the_last_reading_of_each_station() {
        let all = newest(TEXT, None).unwrap();
        assert_eq!((all["SEA"]["temp_f"].as_f64(), all["SFO"]["temp_f"].as_f64()), (Some(40.0), Some(46.5)));
        assert_eq!(newest(TEXT, Some(45.0)).unwrap().keys().collect::<Vec<_>>(), ["SFO"]);
    }

    #[test]
    fn a_ledger_ends_with_the_records_of_its_last_snapshot_and_what_followed() {
        let ledger = [
            r#"{"snapshot":true}"#,
            r#"{"key":"1","record":{"station":"SEA","temp_f":50.0}}"#,
            r#"{"key":"2","record":{"station":"SFO","temp_f":44.0}}"#,
            r#"{"snapshot":true}"#,
            r#"{"key":"2","record":{"station":"SFO","temp_f":46.5}}"#,
            r#"{"key":"1","record":{"station":"SEA","temp_f":50.0}}"#,
            r#"{"key":"1","record":null}"#,
        ];
        let ledger = read(&ledger.map(str::to_owned)).unwrap();
        assert_eq!((ledger.snapshots, ledger.updates, ledger.gone), (2, 4, 1));
        let published = newest(TEXT, Some(45.0)).unwrap();
        let view = |ledger, server| View { name: "", ledger, servers: vec![server], published: published.clone() };
        assert!(view(ledger, published.clone()).is_good());
        // A record too many, one that is old, and a server that differs are seen.
        let stale = read(&[r#"{"key":"2","record":{"station":"SFO","temp_f":46.0}}"#.to_owned()]).unwrap();
        assert!(!view(stale, published.clone()).is_good());
        let good = || Ledger { records: published.clone(), ..Ledger::default() };
        assert!(!view(good(), Records::new()).is_good());
        assert!(
            !view(Ledger { records: newest(TEXT, None).unwrap(), ..Ledger::default() }, published.clone()).is_good()
        );
    }
}
