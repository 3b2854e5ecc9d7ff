//! What a run is judged by, and the judgement.

use amps_testserver::journal::JournalReader;

use super::Run;
use crate::publisher::Publisher;
use crate::report::{self, Facts};
use crate::server::Server;
use crate::setup::Setup;
use crate::subscriber::Subscriber;
use crate::verdict::{self, Evidence, ServerLog};
use crate::{Failure, events, page, recovery, reliability, server_log};

/// The journals of the servers, followed while they run.
#[derive(Debug)]
pub(super) struct Logs {
    readers: Vec<JournalReader>,
    logs: Vec<ServerLog>,
    publishers: Vec<String>,
}

impl Logs {
    pub(super) fn new(servers: &[Server], setup: &Setup, publishers: usize) -> Self {
        let log = |server: &Server| ServerLog { name: format!("server {}", server.name()), entries: Vec::new() };
        Self {
            readers: servers.iter().map(|server| JournalReader::new(&server.data(setup))).collect(),
            logs: servers.iter().map(log).collect(),
            publishers: (0..publishers).map(|index| Publisher::new(index).name()).collect(),
        }
    }

    /// The length of the shortest log.
    pub(super) fn fewest(&self) -> usize {
        self.logs.iter().map(|log| log.entries.len()).min().unwrap_or(0)
    }
}

impl Run<'_> {
    /// Takes in what the servers have logged since the last call.
    pub(super) fn read_logs(&mut self) -> Result<(), Failure> {
        let Logs { readers, logs, publishers } = &mut self.logs;
        let mut both = readers.iter_mut().zip(logs);
        both.try_for_each(|(reader, log)| server_log::read_on(reader, log, &self.scenario.input, publishers))
    }

    /// For each publisher, how many of its first lines must be everywhere, as far
    /// as the logs were read.
    pub(super) fn required(&self) -> Vec<usize> {
        verdict::required(&self.promised(), &self.logs.logs)
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

    /// Prints the report, and writes the page if one is wanted.
    pub(super) fn judge(self) -> Result<bool, Failure> {
        let verdict = verdict::judge(&self.evidence()?);
        let lives: Vec<Vec<u64>> = self.subscribers.iter().flat_map(Subscriber::times_ms).collect();
        let mut event_files: Vec<_> = self.publishers.iter().flat_map(|p| p.event_files(&self.setup)).collect();
        event_files.extend(self.subscribers.iter().flat_map(|s| s.event_files(&self.setup)));
        let recoveries = recovery::all_ms(lives.iter().map(Vec::as_slice), &self.fault_times_ms);
        let facts = Facts {
            subscribers: self.subscribers.iter().map(Subscriber::name).collect(),
            redelivered: self.subscribers.iter().map(|s| s.deliveries() - s.distinct()).sum(),
            seed: self.scenario.seed,
            faults: self.faults,
            kills: self.kills,
            failovers: events::failovers(&event_files),
            longest_recovery_ms: recoveries.iter().map(|recovery| recovery.lasted_ms).max().unwrap_or(0),
            seconds: self.story.now().as_secs_f64(),
        };
        if let Some(path) = &self.scenario.page {
            let shown = page::Shown {
                name: self.scenario.name,
                verdict: &verdict,
                problems: &self.problems,
                facts: &facts,
                story: &self.story,
                recoveries: &recoveries,
            };
            page::write(path, &shown)?;
            eprintln!("the run is shown in {}", path.display());
        }
        if let Some(file) = &self.scenario.record {
            reliability::record(file, "chaos", &report::figures(&verdict, &facts))?;
        }
        let good = verdict.violations.is_empty() && self.problems.is_empty();
        drop(self);
        print!("{}", report::render(&verdict, &facts));
        Ok(good)
    }
}
