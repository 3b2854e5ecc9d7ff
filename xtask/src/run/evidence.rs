//! What a run is judged by, and the judgement.

use std::collections::HashSet;

use amps_testserver::journal::JournalReader;

use super::{Outcome, Run};
use crate::consumer::Consumer;
use crate::input::Line;
use crate::publisher::Publisher;
use crate::report::Facts;
use crate::server::Server;
use crate::setup::Setup;
use crate::subscriber::Subscriber;
use crate::verdict::{self, Evidence, Kind, Seen, ServerLog, Violation};
use crate::{Failure, events, page, recovery, server_log};

/// The journals of the servers, followed while they run.
#[derive(Debug)]
pub(super) struct Logs {
    readers: Vec<JournalReader>,
    logs: Vec<ServerLog>,
    /// For each server, how many first lines of each publisher it has; and how many
    /// entries were counted.
    heights: Vec<(Vec<usize>, usize)>,
    publishers: Vec<String>,
}

impl Logs {
    pub(super) fn new(servers: &[Server], setup: &Setup, publishers: usize) -> Self {
        let log = |server: &Server| ServerLog { name: format!("server {}", server.name()), entries: Vec::new() };
        Self {
            readers: servers.iter().map(|server| JournalReader::new(&server.data(setup))).collect(),
            logs: servers.iter().map(log).collect(),
            heights: vec![(vec![0; publishers], 0); servers.len()],
            publishers: (0..publishers).map(|index| Publisher::new(index).name()).collect(),
        }
    }

    /// How many first lines of each publisher one server has.
    pub(super) fn height(&self, server: usize) -> &[usize] {
        &self.heights[server].0
    }

    /// How many first lines of each publisher any server has.
    pub(super) fn highest(&self) -> Vec<usize> {
        let mut highest = vec![0; self.publishers.len()];
        for (height, _) in &self.heights {
            raise(&mut highest, height);
        }
        highest
    }

    /// The length of the shortest log.
    pub(super) fn fewest(&self) -> usize {
        self.logs.iter().map(|log| log.entries.len()).min().unwrap_or(0)
    }
}

impl Run<'_> {
    /// Takes in what the servers have logged since the last call.
    pub(super) fn read_logs(&mut self) -> Result<(), Failure> {
        let Logs { readers, logs, heights, publishers } = &mut self.logs;
        for ((reader, log), (height, counted)) in readers.iter_mut().zip(logs).zip(heights) {
            server_log::read_on(reader, log, &self.scenario.input, publishers)?;
            for (_, seen) in &log.entries[*counted..] {
                if let Seen::Line(line) = seen {
                    height[line.publisher] = height[line.publisher].max(line.number + 1);
                }
            }
            *counted = log.entries.len();
        }
        Ok(())
    }

    /// For each publisher, how many of its first lines must be everywhere, as far
    /// as the logs were read.
    pub(super) fn required(&self) -> Vec<usize> {
        let mut required = self.promised();
        raise(&mut required, &self.logs.highest());
        required
    }

    pub(super) fn promised(&self) -> Vec<usize> {
        self.publishers.iter().map(Publisher::promised).collect()
    }

    /// All there is. The journals are read from their beginnings: they count as
    /// they are now.
    pub(super) fn evidence(&self) -> Result<Evidence, Failure> {
        let read = |(server, log): (&Server, &ServerLog)| {
            server_log::read(&log.name, &server.data(&self.setup), &self.scenario.input, &self.logs.publishers)
        };
        Ok(Evidence {
            promised: self.promised(),
            servers: self.servers.iter().zip(&self.logs.logs).map(read).collect::<Result<_, _>>()?,
            subscribers: self.subscribers.iter().map(Subscriber::history).collect(),
        })
    }

    /// What views and workers lack, or have too much of, when so many first lines
    /// of each publisher are published.
    pub(super) fn consumers_lack(&self, required: &[usize]) -> Vec<Violation> {
        let queued = required.len() - usize::from(self.scenario.workers > 0);
        let views = self.consumers.iter().flat_map(|view| view.differs(&self.scenario.input, &required[..queued]));
        let mut lack: Vec<Violation> = views.collect();
        let done = |line: &Line| self.consumers.iter().any(|worker| worker.done().contains(line));
        for (publisher, &lines) in required.iter().enumerate().skip(queued) {
            let lines = (0..lines).map(|number| Line { publisher, number });
            lack.extend(lines.filter(|line| !done(line)).map(|line| Violation {
                kind: Kind::Lost,
                place: "the queue".to_owned(),
                what: Seen::Line(line),
                why: "no worker has done it",
                at_ms: None,
            }));
        }
        lack
    }

    /// Judges, and writes the page if one is wanted.
    pub(super) fn judge(mut self) -> Result<Outcome, Failure> {
        let mut verdict = verdict::judge(&self.evidence()?);
        for broken in server_log::protocol_violations(&self.setup.dir)? {
            self.problem(broken);
        }
        self.read_logs()?;
        let required = self.required();
        verdict.violations.extend(self.consumers.iter().flat_map(|consumer| consumer.broken().iter().cloned()));
        verdict.violations.extend(self.consumers_lack(&required));
        let lives: Vec<Vec<u64>> = self.subscribers.iter().flat_map(Subscriber::times_ms).collect();
        let mut event_files: Vec<_> = self.publishers.iter().flat_map(|p| p.event_files(&self.setup)).collect();
        event_files.extend(self.subscribers.iter().flat_map(|s| s.event_files(&self.setup)));
        let recoveries = recovery::all_ms(lives.iter().map(Vec::as_slice), &self.fault_times_ms);
        let facts = Facts {
            again: self.scenario.again.clone(),
            publishers: self.publishers.iter().map(Publisher::name).collect(),
            subscribers: self.subscribers.iter().map(Subscriber::name).collect(),
            consumers: self.consumers.iter().map(Consumer::name).collect(),
            settled_ms: self.settled.map(|settled| settled.as_millis() as u64),
            problems: std::mem::take(&mut self.problems),
            view_updates: self.consumers.iter().map(Consumer::updates).sum(),
            queue_given: self.consumers.iter().map(Consumer::given).sum(),
            queue_done: self.consumers.iter().flat_map(|worker| worker.done()).collect::<HashSet<_>>().len(),
            redelivered: self.subscribers.iter().map(|s| s.deliveries() - s.distinct()).sum(),
            seed: self.scenario.seed,
            faults: std::mem::take(&mut self.faults),
            kills: self.kills,
            failovers: events::failovers(&event_files),
            longest_recovery_ms: recoveries.iter().map(|recovery| recovery.lasted_ms).max().unwrap_or(0),
            seconds: self.story.now().as_secs_f64(),
        };
        if let Some(path) = &self.scenario.page {
            let shown = page::Shown {
                name: self.scenario.name,
                verdict: &verdict,
                facts: &facts,
                story: &self.story,
                recoveries: &recoveries,
            };
            page::write(path, &shown)?;
            self.progress.say(&format!("the run is shown in {}", path.display()));
        }
        Ok(Outcome { verdict, facts })
    }
}

fn raise(height: &mut [usize], to: &[usize]) {
    for (height, to) in height.iter_mut().zip(to) {
        *height = (*height).max(*to);
    }
}
