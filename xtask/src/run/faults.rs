//! What a fault does to the processes and links of a run.

use std::time::{Duration, SystemTime};

use amps_client::Client;

use super::Run;
use crate::Failure;
use crate::events;
use crate::schedule::{Fault, Path, Trouble};

/// Somebody else stays no longer than it takes to log on, or to give up.
const LIMIT: Duration = Duration::from_secs(2);

impl Run<'_> {
    pub(super) fn apply(&mut self, fault: Fault) -> Result<(), Failure> {
        if !fault.is_end() {
            self.faults += 1;
        }
        match fault {
            Fault::KillServerInUse => self.kill_server(self.server_in_use()),
            Fault::KillServer(server) => self.kill_server(server),
            Fault::RestartServer(server) => self.restart_server(server)?,
            Fault::RestartDeadServers => {
                for server in 0..self.servers.len() {
                    self.restart_server(server)?;
                }
            }
            Fault::PauseServer(server) => {
                self.fault_times_ms.push(now_ms());
                self.servers[server].pause();
                self.begin(self.server(server), "paused");
            }
            Fault::ResumeServer(server) => {
                self.servers[server].resume();
                self.end(&self.server(server));
            }
            Fault::KillPublisher(publisher) => {
                if self.publishers[publisher].kill() {
                    self.killed(self.publishers[publisher].name());
                }
            }
            Fault::RestartPublisher(publisher) => {
                self.publishers[publisher].restart(&self.setup)?;
                self.end(&self.publishers[publisher].name());
            }
            Fault::PausePublisher(publisher) => {
                self.publishers[publisher].pause(true);
                self.begin(self.publishers[publisher].name(), "paused");
            }
            Fault::ResumePublisher(publisher) => {
                self.publishers[publisher].pause(false);
                self.end(&self.publishers[publisher].name());
            }
            Fault::FillDisk(publisher) => {
                self.publishers[publisher].fill_disk(&self.setup);
                self.begin(self.publishers[publisher].name(), "disk full");
            }
            Fault::FreeDisk(publisher) => {
                self.publishers[publisher].free_disk(&self.setup)?;
                self.end(&self.publishers[publisher].name());
            }
            Fault::KillSubscriber(subscriber) => {
                if self.subscribers[subscriber].kill(&self.scenario.input)? {
                    self.killed(self.subscribers[subscriber].name());
                }
            }
            Fault::RestartSubscriber(subscriber) => {
                self.subscribers[subscriber].start(&self.setup)?;
                self.end(&self.subscribers[subscriber].name());
            }
            Fault::PauseSubscriber(subscriber) => {
                self.subscribers[subscriber].pause(true);
                self.begin(self.subscribers[subscriber].name(), "paused");
            }
            Fault::ResumeSubscriber(subscriber) => {
                self.subscribers[subscriber].pause(false);
                self.end(&self.subscribers[subscriber].name());
            }
            Fault::TakeName(client) => self.take_name(client),
            Fault::Break(path, trouble) => self.break_links(path, trouble),
            Fault::Mend(path) => {
                if let Some(network) = &self.network {
                    network.mend(path);
                    self.end(&self.lane(path));
                }
            }
        }
        Ok(())
    }

    fn kill_server(&mut self, server: usize) {
        self.fault_times_ms.push(now_ms());
        if self.servers[server].kill() {
            self.killed(self.server(server));
        }
    }

    pub(super) fn restart_server(&mut self, server: usize) -> Result<(), Failure> {
        if self.servers[server].start(&self.setup)? {
            self.end(&self.server(server));
        }
        Ok(())
    }

    fn break_links(&mut self, path: Path, trouble: Trouble) {
        let Some(network) = &self.network else { return };
        self.fault_times_ms.push(now_ms());
        network.trouble(path, trouble);
        let lane = self.lane(path);
        match trouble {
            Trouble::Cut | Trouble::CutAfter(_) => {
                self.progress.say(&format!("{lane}: {trouble}"));
                self.story.mark(lane, trouble.to_string());
            }
            _ => self.begin(lane, &trouble.to_string()),
        }
    }

    /// Logs on as somebody else does who has the same name by mistake, and goes.
    fn take_name(&mut self, client: usize) {
        let Some(network) = &self.network else { return };
        let name = self.client(client);
        self.fault_times_ms.push(now_ms());
        let servers = self.setup.uris(client);
        let builder = Client::builder(&name).servers(servers.split(',')).connect_within(LIMIT);
        network.runtime().spawn(async move {
            // While every server is down nobody logs on.
            if let Ok(other) = builder.connect().await {
                other.close(LIMIT).await;
            }
        });
        self.progress.say(&format!("{name}: somebody else takes its name"));
        self.story.mark(name, "name taken".to_owned());
    }

    fn killed(&mut self, lane: String) {
        self.kills += 1;
        self.begin(lane, "killed");
    }

    fn begin(&mut self, lane: String, what: &str) {
        self.progress.say(&format!("{lane}: {what}"));
        self.story.begin(lane, what.to_owned());
    }

    fn end(&mut self, lane: &str) {
        self.progress.say(&format!("{lane}: goes on"));
        self.story.end(lane);
    }

    fn server(&self, server: usize) -> String {
        format!("server {}", self.servers[server].name())
    }

    fn client(&self, client: usize) -> String {
        match client.checked_sub(self.publishers.len()) {
            None => self.publishers[client].name(),
            Some(subscriber) => self.subscribers[subscriber].name(),
        }
    }

    /// The name of what is broken by trouble on a path.
    fn lane(&self, path: Path) -> String {
        match path {
            Path::Client { client, .. } => format!("network of {}", self.client(client)),
            Path::Peers(a, b) => format!("{} and {}", self.servers[a].name(), self.servers[b].name()),
        }
    }

    /// The listening server that most clients connected to last.
    fn server_in_use(&self) -> usize {
        let mut users = vec![0; self.servers.len()];
        let files = self.publishers.iter().map(|p| p.event_files(&self.setup));
        for files in files.chain(self.subscribers.iter().map(|s| s.event_files(&self.setup))) {
            let last = files.last().and_then(|file| events::connections(file).pop());
            if let Some(server) = last.and_then(|uri| self.setup.server_of(&uri)) {
                users[server] += 1;
            }
        }
        let listening = (0..self.servers.len()).filter(|&server| self.servers[server].listens());
        // The first of those with equally many users.
        listening.rev().max_by_key(|&server| users[server]).unwrap_or(0)
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
