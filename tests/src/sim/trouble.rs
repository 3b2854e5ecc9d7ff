//! Faults that begin and end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use amps_testserver::Access;

use super::check;
use super::fault::{DiskFault, Fault};
use super::guests::GUESTS;
use super::plan::World;
use super::run::Run;
use crate::pair::Door;
use crate::{Kill, Pair, Store};

/// What is wrong at the moment, and what of it the end has to know.
#[derive(Default)]
pub(super) struct Trouble {
    /// What ends when.
    ends: Vec<(Duration, Fault)>,
    /// Clients that read nothing.
    lazy: BTreeSet<usize>,
    dead: BTreeSet<usize>,
    paused: BTreeSet<usize>,
    /// Servers that are down.
    down: BTreeSet<usize>,
    /// Servers that stopped, since their disks are full.
    full: BTreeSet<usize>,
    /// Servers whose disks are about to be full.
    filling: BTreeSet<usize>,
    /// The server whose disk was lost, until it has everything again.
    emptied: Option<usize>,
    /// Bodies that were on disks that were lost.
    pub(super) gone: BTreeSet<String>,
    /// How many events each client had told when it died.
    deaths: BTreeMap<usize, Vec<usize>>,
}

impl Trouble {
    /// Whether a client's process runs.
    pub(super) fn runs(&self, client: usize) -> bool {
        !self.dead.contains(&client) && !self.paused.contains(&client)
    }

    /// Whether it reads, too.
    pub(super) fn reads(&self, client: usize) -> bool {
        self.runs(client) && !self.lazy.contains(&client)
    }

    /// Whether a server is still to get what its peers have.
    pub(super) fn resyncs(&self) -> bool {
        self.emptied.is_some()
    }

    /// How many events a client had told at each of its deaths.
    pub(super) fn deaths(&self, client: usize) -> impl Iterator<Item = usize> + use<> {
        self.deaths.get(&client).cloned().unwrap_or_default().into_iter()
    }
}

impl Run<'_> {
    /// Does what a fault says, unless what it is about is gone already.
    pub(super) fn begin(&mut self, fault: &Fault) -> bool {
        let now = self.pair.elapsed();
        let Trouble { ends, lazy, dead, paused, down, filling, emptied, .. } = &mut self.trouble;
        let mut until = |time: &Duration| ends.push((now + *time, fault.clone()));
        match fault {
            Fault::Cut(client) if !dead.contains(client) => return self.pair.cut(*client),
            Fault::BlackHole(client) if !dead.contains(client) => return self.pair.black_hole(*client),
            Fault::OneWay(client, to_server) if !dead.contains(client) => {
                return self.pair.one_way(*client, *to_server);
            }
            Fault::CutAfter(server, to_client, to_server) => self.pair.cut_next(*server, *to_client, *to_server),
            Fault::Crash(server, time) if down.insert(*server) => {
                until(time);
                self.crash(*server);
            }
            Fault::Wipe(server, time) if emptied.is_none() && down.insert(*server) => {
                until(time);
                *emptied = Some(*server);
                let gone = bodies(&mut self.pair, *server);
                self.trouble.gone.extend(gone);
                self.crash(*server);
            }
            Fault::Full(server, writes, kept, time) if !down.contains(server) && filling.insert(*server) => {
                until(time);
                self.pair.fail_journal(*server, Some((*writes, *kept)));
            }
            Fault::Freeze(server, time) => {
                until(time);
                self.pair.freeze(*server, true);
            }
            Fault::Move(client, server) if !dead.contains(client) => self.moves.ask(&mut self.pair, *client, *server),
            Fault::Door(server, door, time) => {
                until(time);
                self.pair.door(*server, *door);
            }
            Fault::Partition(a, b, time) => {
                until(time);
                self.pair.partition(*a, *b, true);
            }
            Fault::Mute(from, to) => return self.pair.mute(*from, *to),
            Fault::Refuse(server, time) if !down.contains(server) => {
                until(time);
                self.refuse(*server, true);
                self.pair.cut_clients_of(*server);
            }
            Fault::Kill(client, how, time) if dead.insert(*client) => {
                until(time);
                self.kill(*client, *how);
            }
            Fault::Pause(client, time) if !dead.contains(client) => {
                until(time);
                paused.insert(*client);
                self.pair.pause(*client, true);
            }
            Fault::HoldDisk(client, time) => {
                until(time);
                self.pair.hold_store(*client, true);
            }
            Fault::DiskFails(client, operation, _, time) if !dead.contains(client) => {
                if !matches!(self.plan.world.store(*client), Some(Store::Disk(_) | Store::Hybrid(_))) {
                    return false;
                }
                until(time);
                match operation {
                    DiskFault::Write(number) => self.pair.disk(*client).fail_write(*number),
                    DiskFault::Sync(number) => self.pair.disk(*client).fail_sync(*number),
                }
            }
            Fault::Lazy(client, time) => {
                until(time);
                lazy.insert(*client);
            }
            Fault::Slow(latency, room, time) => {
                until(time);
                self.pair.latency(*latency);
                self.pair.room(*room);
            }
            Fault::WallClock(client, seconds) => {
                let nanos = self.pair.setup(*client).unix_nanos;
                self.pair.setup(*client).unix_nanos = nanos.saturating_add_signed(seconds * 1_000_000_000);
            }
            Fault::ServerClock(server, seconds) => self.pair.server_clock(*server, *seconds),
            _ => return false,
        }
        true
    }

    fn crash(&mut self, server: usize) {
        self.violations.extend(check::server(&mut self.pair, server));
        self.pair.crash_server(server);
    }

    fn refuse(&mut self, server: usize, on: bool) {
        let now = self.pair.now;
        self.pair.server(server).with_faults(now, |faults| {
            faults.entitle(move |_, access, topic| !(on && access == Access::Read && topic == GUESTS));
        });
    }

    fn kill(&mut self, client: usize, how: Kill) {
        for publisher in self.publishers.iter_mut().filter(|publisher| publisher.client == client) {
            publisher.dies(&self.pair, how);
        }
        self.parts.iter_mut().filter(|part| part.client() == client).for_each(|part| part.dies(how));
        self.moves.dies(client);
        self.pair.kill(client, how);
        let told = self.pair.events(client).len();
        self.trouble.deaths.entry(client).or_default().push(told);
        self.unpause(client);
    }

    fn revive(&mut self, client: usize) {
        self.pair.start_client(client);
        let Self { parts, pair, .. } = self;
        parts.iter_mut().filter(|part| part.client() == client).for_each(|part| part.start(pair));
    }

    fn unpause(&mut self, client: usize) {
        self.trouble.paused.remove(&client);
        self.pair.pause(client, false);
    }

    pub(super) fn end_faults(&mut self, now: Duration) {
        let (over, rest) = std::mem::take(&mut self.trouble.ends).into_iter().partition(|(at, _)| *at <= now);
        self.trouble.ends = rest;
        let over: Vec<(Duration, Fault)> = over;
        for (_, fault) in over {
            self.end(&fault);
        }
    }

    fn end(&mut self, fault: &Fault) {
        let World { latency, room, .. } = &self.plan.world;
        match fault {
            Fault::Crash(server, _) => {
                self.trouble.down.remove(server);
                self.pair.start_server(*server);
            }
            Fault::Wipe(server, _) => {
                self.trouble.down.remove(server);
                self.pair.door(*server, Door::Refuses);
                self.pair.wipe_server(*server);
            }
            Fault::Full(server, ..) => {
                // It may have come to that just now.
                self.stop_full();
                self.trouble.filling.remove(server);
                self.pair.fail_journal(*server, None);
                if self.trouble.full.remove(server) {
                    self.trouble.down.remove(server);
                    self.pair.start_server(*server);
                }
            }
            Fault::Freeze(server, _) => self.pair.freeze(*server, false),
            Fault::Door(server, ..) if self.trouble.emptied != Some(*server) => self.pair.door(*server, Door::Open),
            Fault::Partition(a, b, _) => self.pair.partition(*a, *b, false),
            Fault::Refuse(server, _) if !self.trouble.down.contains(server) => self.refuse(*server, false),
            Fault::Kill(client, ..) => {
                self.trouble.dead.remove(client);
                self.revive(*client);
            }
            Fault::Pause(client, _) => self.unpause(*client),
            Fault::HoldDisk(client, _) => self.pair.hold_store(*client, false),
            Fault::DiskFails(client, _, how, _) if !self.trouble.dead.contains(client) => {
                if self.pair.cursors(*client).failed.is_some() {
                    self.kill(*client, *how);
                    self.revive(*client);
                } else {
                    // It did not come to that; not before the end of time.
                    self.pair.disk(*client).fail_write(u64::MAX);
                    self.pair.disk(*client).fail_sync(u64::MAX);
                }
            }
            Fault::Lazy(client, _) => drop(self.trouble.lazy.remove(client)),
            Fault::Slow(..) => {
                self.pair.latency(*latency);
                self.pair.room(*room);
            }
            _ => {}
        }
    }

    pub(super) fn heal(&mut self) {
        for (_, fault) in std::mem::take(&mut self.trouble.ends) {
            self.end(&fault);
        }
        for server in 0..self.plan.world.servers {
            self.pair.cut_next(server, None, None);
        }
    }

    /// A server whose disk is full stops by itself.
    pub(super) fn stop_full(&mut self) {
        for server in self.trouble.filling.clone() {
            if !self.trouble.down.contains(&server) && self.pair.server(server).failure().is_some() {
                self.trouble.down.insert(server);
                self.trouble.full.insert(server);
                self.crash(server);
            }
        }
    }

    /// Lets clients in again at a server that lost its disk, once it has what
    /// the others have. By then every client has been elsewhere: one that went
    /// on there as if it had never left would take it for the server it was.
    pub(super) fn resync(&mut self) {
        let Some(server) = self.trouble.emptied.filter(|server| !self.trouble.down.contains(server)) else { return };
        let mut running = (0..self.plan.world.clients()).filter(|client| !self.trouble.dead.contains(client));
        let elsewhere = |client| self.trouble.runs(client) && self.pair.is_live_elsewhere(client, server);
        if !running.all(elsewhere) {
            return;
        }
        let own = bodies(&mut self.pair, server);
        let others =
            (0..self.plan.world.servers).filter(|other| *other != server && !self.trouble.down.contains(other));
        let others: Vec<_> = others.collect();
        if !others.is_empty() && others.iter().all(|other| bodies(&mut self.pair, *other).is_subset(&own)) {
            self.trouble.emptied = None;
            self.pair.door(server, Door::Open);
        }
    }
}

fn bodies(pair: &mut Pair, server: usize) -> BTreeSet<String> {
    pair.log(server).into_iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect()
}
