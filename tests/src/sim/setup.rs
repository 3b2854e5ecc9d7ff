//! Who takes part in a run.

use std::rc::Rc;
use std::time::Duration;

use amps_testserver::{Config, Link};
use rand::RngExt;
use rand::rngs::StdRng;

use super::Profile;
use super::asker::Asker;
use super::chooser::Chooser;
use super::deltas::DeltaViewer;
use super::guests::Guests;
use super::part::Part;
use super::pauser::Pauser;
use super::plan::Plan;
use super::publisher::{DELTAS, RECORDS};
use super::ranger::Ranger;
use super::run::SETTLES;
use super::subscriber::Subscriber;
use super::viewer::Viewer;
use super::worker::{self, Worker};
use crate::{ClientSetup, Pair};

fn configs(plan: &Plan) -> Vec<Config> {
    let world = &plan.world;
    let name = |server: usize| format!("s{server}");
    let peers = |own: usize| (0..world.servers).filter(move |peer| *peer != own);
    let config = |own| {
        let mut config = Config::new(name(own)).ack_conflation(Duration::from_millis(20)).sow(RECORDS, "/id");
        if world.mix.deltas {
            config = config.sow(DELTAS, "/id");
        }
        if plan.profile != Profile::First {
            config.wall_clock = Duration::from_secs(1_700_000_000);
            // As far apart as two starts of a process are.
            config.incarnation = 1_000_000_000;
        }
        if world.workers > 0 { config.queue(worker::config()) } else { config }
    };
    (0..world.servers)
        .map(|own| peers(own).fold(config(own), |config, peer| config.peer(name(peer), Link::Sync)))
        .collect()
}

/// Servers and clients, the publishers first.
pub(super) fn pair(plan: &Plan, random: &mut StdRng) -> Pair {
    let world = &plan.world;
    let mut pair = Pair::with_configs(plan.seed, configs(plan));
    pair.latency(world.latency);
    pair.room(world.room);
    pair.jitter(world.jitter);
    let servers: Vec<usize> = (0..world.servers).collect();
    for client in 0..world.clients() {
        let mut servers = servers.clone();
        servers.rotate_left(random.random_range(0..world.servers));
        let name = match client.checked_sub(world.publishers.len()) {
            None => format!("publisher{client}"),
            Some(_) => format!("reader{client}"),
        };
        let mut setup = ClientSetup::new(&name, servers).resident(world.resident).bound(world.bound.0, world.bound.1);
        // A subscription may be entered while every server is down.
        setup.core.command_timeout = SETTLES;
        pair.client(match world.store(client) {
            Some(store) => setup.store(store),
            None => setup,
        });
    }
    pair
}

/// What the other clients do, in their order.
pub(super) fn parts(plan: &Plan) -> Vec<Box<dyn Part>> {
    let world = &plan.world;
    let steady = plan.profile == Profile::First;
    let mut parts: Vec<Box<dyn Part>> = Vec::new();
    let mut clients = world.publishers.len()..;
    for client in clients.by_ref().take(world.subscribers) {
        if world.guests {
            parts.push(Box::new(Guests::new(client)));
        }
        parts.push(Box::new(Subscriber::new(client, world.queue, steady)));
    }
    for client in clients.by_ref().take(world.viewers) {
        parts.push(Box::new(Viewer::new(client, world.conflation)));
    }
    for client in clients.by_ref().take(world.askers) {
        parts.push(Box::new(Asker::new(client)));
    }
    for client in clients.by_ref().take(world.choosers) {
        parts.push(Box::new(Chooser::new(client)));
    }
    for client in clients.by_ref().take(world.delta_viewers) {
        parts.push(Box::new(DeltaViewer::new(client)));
    }
    for client in clients.by_ref().take(world.pausers) {
        parts.push(Box::new(Pauser::new(client)));
    }
    for client in clients.by_ref().take(world.rangers) {
        parts.push(Box::new(Ranger::new(client)));
    }
    let ledger = Rc::default();
    for client in clients.by_ref().take(world.workers) {
        parts.push(Box::new(Worker::new(client, &ledger)));
    }
    parts
}
