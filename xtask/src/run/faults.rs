//! What a fault does to the processes and links of a run.

use std::time::{Duration, SystemTime};

use amps_client::Client;

use super::Run;
use super::cut_off::CUT_OFF;
use crate::Failure;
use crate::events;
use crate::schedule::{Disk, Fault, Path, Trouble};

/// What the page and the progress call what is done.
const KILLED: &str = "killed";
const PAUSED: &str = "paused";
const FULL_DISK: &str = "disk full";
const SLOW_DISK: &str = "slow disk";

/// Somebody else stays no longer than it takes to log on, or to give up.
const LIMIT: Duration = Duration::from_secs(2);

impl Run<'_> {
    pub(super) fn apply(&mut self, fault: Fault) -> Result<(), Failure> {
        if !fault.is_end() && !matches!(fault, Fault::CutOff(_) if self.cut_off.is_some()) {
            *self.faults.entry(fault.kind()).or_default() += 1;
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
                self.begin(self.server(server), PAUSED);
            }
            Fault::ResumeServer(server) => {
                self.servers[server].resume();
                self.end(&self.server(server), PAUSED);
            }
            Fault::KillPublisher(publisher) => {
                if self.publishers[publisher].kill() {
                    self.killed(self.publishers[publisher].name());
                }
            }
            Fault::RestartPublisher(publisher) => {
                self.publishers[publisher].restart(&self.setup)?;
                self.end(&self.publishers[publisher].name(), KILLED);
            }
            Fault::PausePublisher(publisher) => {
                self.publishers[publisher].pause(true);
                self.begin(self.publishers[publisher].name(), PAUSED);
            }
            Fault::ResumePublisher(publisher) => {
                self.publishers[publisher].pause(false);
                self.end(&self.publishers[publisher].name(), PAUSED);
            }
            Fault::FillDisk(publisher) => {
                self.publishers[publisher].fill_disk(&self.setup);
                self.begin(self.publishers[publisher].name(), FULL_DISK);
            }
            Fault::FreeDisk(publisher) => {
                self.publishers[publisher].free_disk(&self.setup)?;
                self.end(&self.publishers[publisher].name(), FULL_DISK);
            }
            Fault::SlowDisk(disk, ms) => {
                let who = self.process(disk);
                self.setup.write(&format!("{who}.disk"), &ms.to_string())?;
                self.begin(self.disk_lane(disk), SLOW_DISK);
            }
            Fault::QuickDisk(disk) => {
                self.quicken(disk);
                self.end(&self.disk_lane(disk), SLOW_DISK);
            }
            Fault::CutOff(server) => {
                if self.cut_off(server) {
                    self.begin(self.server(server), CUT_OFF);
                    self.fault_times_ms.push(now_ms());
                }
            }
            Fault::TakeBack(server) => {
                if self.cut_off.as_ref().is_some_and(|cut_off| cut_off.server() == server) {
                    self.take_back();
                }
            }
            Fault::KillConsumer(consumer) => {
                if self.consumers[consumer].kill(&self.scenario.input)? {
                    self.killed(self.consumers[consumer].name());
                }
            }
            Fault::RestartConsumer(consumer) => {
                self.consumers[consumer].start(&self.setup)?;
                self.end(&self.consumers[consumer].name(), KILLED);
            }
            Fault::PauseConsumer(consumer) => {
                self.consumers[consumer].pause(true);
                self.begin(self.consumers[consumer].name(), PAUSED);
            }
            Fault::ResumeConsumer(consumer) => {
                self.consumers[consumer].pause(false);
                self.end(&self.consumers[consumer].name(), PAUSED);
            }
            Fault::KillSubscriber(subscriber) => {
                if self.subscribers[subscriber].kill(&self.scenario.input)? {
                    self.killed(self.subscribers[subscriber].name());
                }
            }
            Fault::RestartSubscriber(subscriber) => {
                self.subscribers[subscriber].start(&self.setup)?;
                self.end(&self.subscribers[subscriber].name(), KILLED);
            }
            Fault::PauseSubscriber(subscriber) => {
                self.subscribers[subscriber].pause(true);
                self.begin(self.subscribers[subscriber].name(), PAUSED);
            }
            Fault::ResumeSubscriber(subscriber) => {
                self.subscribers[subscriber].pause(false);
                self.end(&self.subscribers[subscriber].name(), PAUSED);
            }
            Fault::TakeName(client) => self.take_name(client),
            Fault::Break(path, trouble) => self.break_links(path, trouble),
            Fault::Mend(path) => {
                if let Some(network) = &self.network {
                    network.mend(path);
                    self.end_all_on(&self.lane(path));
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
            self.end(&self.server(server), KILLED);
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
        self.begin(lane, KILLED);
    }

    fn begin(&mut self, lane: String, what: &str) {
        self.progress.say(&format!("{lane}: {what}"));
        self.story.begin(lane, what.to_owned());
    }

    pub(super) fn end(&mut self, lane: &str, what: &str) {
        self.progress.say(&format!("{lane}: no longer {what}"));
        self.story.end(lane, Some(what));
    }

    fn end_all_on(&mut self, lane: &str) {
        self.progress.say(&format!("{lane}: goes on"));
        self.story.end(lane, None);
    }

    /// Makes every disk quick again.
    pub(super) fn quicken_disks(&self) {
        let servers = (0..self.servers.len()).map(Disk::Server);
        let publishers = (0..self.publishers.len()).map(Disk::Publisher);
        let subscribers = (0..self.subscribers.len()).map(Disk::Subscriber);
        servers.chain(publishers).chain(subscribers).for_each(|disk| self.quicken(disk));
    }

    fn quicken(&self, disk: Disk) {
        // The file is there only if the disk was slow.
        let _ = std::fs::remove_file(self.setup.disk(&self.process(disk)));
    }

    /// The process whose disk it is.
    fn process(&self, disk: Disk) -> String {
        match disk {
            Disk::Server(server) => self.servers[server].process(),
            Disk::Publisher(publisher) => self.publishers[publisher].name(),
            Disk::Subscriber(subscriber) => self.subscribers[subscriber].name(),
        }
    }

    fn disk_lane(&self, disk: Disk) -> String {
        match disk {
            Disk::Server(server) => self.server(server),
            Disk::Publisher(_) | Disk::Subscriber(_) => self.process(disk),
        }
    }

    pub(super) fn server(&self, server: usize) -> String {
        format!("server {}", self.servers[server].name())
    }

    fn client(&self, client: usize) -> String {
        match client.checked_sub(self.publishers.len()) {
            None => self.publishers[client].name(),
            Some(other) => match other.checked_sub(self.subscribers.len()) {
                None => self.subscribers[other].name(),
                Some(consumer) => self.consumers[consumer].name(),
            },
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
