//! What a fault does to the processes of a run.

use std::time::SystemTime;

use super::Run;
use crate::Failure;
use crate::events;
use crate::schedule::Fault;

impl Run<'_> {
    pub(super) fn apply(&mut self, fault: Fault) -> Result<(), Failure> {
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
                self.progress.say(&format!("paused server {}", self.servers[server].name()));
            }
            Fault::ResumeServer(server) => {
                self.servers[server].resume();
                self.progress.say(&format!("server {} goes on", self.servers[server].name()));
            }
            Fault::KillPublisher(publisher) => {
                if self.publishers[publisher].kill() {
                    self.killed(&self.publishers[publisher].name());
                }
            }
            Fault::RestartPublisher(publisher) => self.publishers[publisher].restart(&self.setup)?,
            Fault::KillSubscriber(subscriber) => {
                if self.subscribers[subscriber].kill(&self.scenario.input)? {
                    self.killed(&self.subscribers[subscriber].name());
                }
            }
            Fault::RestartSubscriber(subscriber) => self.subscribers[subscriber].start(&self.setup)?,
        }
        Ok(())
    }

    fn kill_server(&mut self, server: usize) {
        self.fault_times_ms.push(now_ms());
        if self.servers[server].kill() {
            self.killed(&format!("server {}", self.servers[server].name()));
        }
    }

    pub(super) fn restart_server(&mut self, server: usize) -> Result<(), Failure> {
        if self.servers[server].start(&self.setup)? {
            self.progress.say(&format!("restarted server {}", self.servers[server].name()));
        }
        Ok(())
    }

    fn killed(&mut self, what: &str) {
        self.kills += 1;
        self.progress.say(&format!("killed {what}"));
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
