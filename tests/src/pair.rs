//! Clients and servers in memory, with virtual time, from one seed.
//!
//! A [`Pair`] couples the client's core with the server's engine, both state
//! machines without I/O, by pipes that can delay, split, cut and swallow. Time
//! stands still while anything can happen and then jumps to the next moment
//! something is due, so an hour of outage takes milliseconds. Everything that
//! is random comes from the seed, which every failure prints.

mod client;
mod faults;
mod look;
mod network;
mod server;
mod setup;
mod subscription;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use amps_core::connection::Transmit;
use amps_core::header::FrameWriter;
use bytes::BytesMut;

use amps_ha::client_core::Request;
use amps_ha::kv::{Kv, MemoryKv, SyncLevel};
use amps_ha::publish_log::AppendError;
use amps_testserver::Link as ServerLink;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use client::{Client, Link, Running, Wish};
use network::{End, Found, Pipe, Weather};
use server::Server;
use setup::{Attempt, server_of};

pub use look::options;
pub use server::Door;
pub use setup::{ClientSetup, Kill, Store, uri};
pub use subscription::{Answer, Entered};

/// Steps without time passing, after which something is running in circles.
const LIVELOCK: u64 = 2_000_000;

/// Clients, servers, and the network between them. See the [module](self).
pub struct Pair {
    /// The time.
    pub now: Instant,
    /// Whether reads and writes are split at random sizes.
    pub split: bool,
    /// Randomness for whoever writes a scenario.
    pub random: StdRng,
    seed: u64,
    started: Instant,
    weather: Weather,
    /// How much longer than others a connection may take, one way.
    jitter: Duration,
    servers: Vec<Server>,
    clients: Vec<Client>,
    pipes: BTreeMap<usize, Pipe>,
    last_pipe: usize,
    partitions: BTreeSet<(usize, usize)>,
    steps_at_now: u64,
}

impl Pair {
    /// One server, and nobody else yet.
    pub fn new(seed: u64) -> Self {
        Self::with_servers(seed, 1, None)
    }

    /// So many servers, linked to each other or not at all.
    pub fn with_servers(seed: u64, servers: usize, link: Option<ServerLink>) -> Self {
        Self::with_configs(seed, server::configs(servers, link))
    }

    /// Servers with these configurations. Their names, and their addresses for
    /// each other, are `s0`, `s1` and so on.
    pub fn with_configs(seed: u64, configs: Vec<amps_testserver::Config>) -> Self {
        let now = Instant::now();
        Self {
            now,
            split: true,
            random: StdRng::seed_from_u64(seed),
            seed,
            started: now,
            jitter: Duration::ZERO,
            weather: Weather { latency: Duration::from_micros(200), room: 256 * 1024 },
            servers: configs.into_iter().map(Server::new).collect(),
            clients: Vec::new(),
            pipes: BTreeMap::new(),
            last_pipe: 0,
            partitions: BTreeSet::new(),
            steps_at_now: 0,
        }
    }

    /// Sets how long bytes travel, one way.
    pub fn latency(&mut self, latency: Duration) {
        self.weather.latency = latency;
    }

    /// Sets how many bytes fit between a writer and its reader.
    pub fn room(&mut self, bytes: usize) {
        self.weather.room = bytes;
    }

    /// Sets how much longer than others a connection's bytes may travel, each way
    /// by itself: what goes over one may overtake what goes over another.
    pub fn jitter(&mut self, jitter: Duration) {
        self.jitter = jitter;
    }

    /// The virtual time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.now - self.started
    }

    // Clients.

    /// Starts a client. Answers its index.
    pub fn client(&mut self, setup: ClientSetup) -> usize {
        self.clients.push(Client::new(setup));
        let client = self.clients.len() - 1;
        self.start_client(client);
        client
    }

    /// Starts a client that was killed, on what its disk holds.
    pub fn start_client(&mut self, client: usize) {
        let seed = self.random.random();
        self.clients[client].start(self.now, seed);
    }

    /// Ends a client as a crash would. Bytes it has sent are on their way.
    pub fn kill(&mut self, client: usize, how: Kill) {
        self.forget(client);
        let client = &mut self.clients[client];
        client.kv = how.disk(&client.kv);
    }

    /// Ends a client without touching its disk.
    pub fn forget(&mut self, client: usize) {
        self.listen(client);
        if let Some(running) = self.clients[client].running.take()
            && let Link::Up { pipe, .. } = running.link
        {
            self.hang_up(pipe, 0);
        }
    }

    /// Closes a client: nothing is sent any more.
    pub fn close(&mut self, client: usize) {
        let now = self.now;
        let running = self.running_mut(client);
        match std::mem::replace(&mut running.link, Link::Idle) {
            Link::Up { pipe, out, .. } => {
                running.core.close(now, &out);
                self.hang_up(pipe, 0);
            }
            _ => running.core.close(now, &Transmit::default()),
        }
        self.listen(client);
    }

    /// The settings of a client; changes count from its next life.
    pub fn setup(&mut self, client: usize) -> &mut ClientSetup {
        &mut self.clients[client].setup
    }

    /// A client's disk; another one counts from its next life.
    pub fn disk(&mut self, client: usize) -> &mut MemoryKv {
        &mut self.clients[client].kv
    }

    /// A copy of what is on a client's disk now, as a backup would be.
    pub fn copy_disk(&self, client: usize) -> MemoryKv {
        let mut copy = MemoryKv::new();
        let each = &mut |key: &[u8], value: &[u8]| {
            copy.insert(key, value).expect("a copy in memory");
            ControlFlow::Continue(())
        };
        self.clients[client].kv.scan(b"", &[0xff; 16], each).expect("a disk that can be read");
        copy.sync(SyncLevel::Power).expect("a copy in memory");
        copy
    }

    /// Keeps a client's store from working, or lets it.
    pub fn hold_store(&mut self, client: usize, held: bool) {
        self.clients[client].store_held = held;
    }

    /// Publishes to topic `t`.
    ///
    /// # Errors
    /// As the log answers.
    pub fn publish(&mut self, client: usize, body: impl Into<String>) -> Result<u64, AppendError> {
        self.publish_to(client, "t", body)
    }

    /// Publishes as the facade does.
    ///
    /// # Errors
    /// As the log answers.
    pub fn publish_to(&mut self, client: usize, topic: &str, body: impl Into<String>) -> Result<u64, AppendError> {
        let body = body.into();
        let len = 80 + topic.len() * 6 + body.len();
        self.write(client, body.clone(), len, |sequence, out| {
            FrameWriter::publish(out, topic, sequence).finish(body.as_bytes());
        })
    }

    /// Hands a frame of at most `len` bytes to a client's log; `name` stands
    /// for it among what was published.
    ///
    /// # Errors
    /// As the log answers.
    pub fn write(
        &mut self,
        client: usize,
        name: String,
        len: usize,
        encode: impl FnOnce(Option<u64>, &mut BytesMut),
    ) -> Result<u64, AppendError> {
        let client = &mut self.clients[client];
        let running = client.running.as_mut().expect("a client that runs");
        let ordinal = running.log.append(len, encode)?;
        running.unpromised.push_back((ordinal, name.clone()));
        client.published.push(name);
        Ok(ordinal)
    }

    /// Hands a request to a client, as the facade does.
    pub fn request(&mut self, client: usize, request: Request) {
        let running = self.running_mut(client);
        running.inbox.push_back(request);
        running.wake.notify_one();
    }

    // Running.

    /// Does one thing that can be done now, somewhere. `false` when nothing can.
    pub fn step(&mut self) -> bool {
        let mut moved = false;
        for server in 0..self.servers.len() {
            moved |= self.run_server(server);
        }
        for client in 0..self.clients.len() {
            if self.clients[client].paused {
                continue;
            }
            moved |= self.run_client(client);
            moved |= self.run_store(client);
            self.listen(client);
        }
        let pipes: Vec<_> = self.pipes.keys().copied().collect();
        for pipe in pipes {
            moved |= self.run_pipe(pipe, 0);
            moved |= self.run_pipe(pipe, 1);
        }
        self.pipes.retain(|_, pipe| !pipe.is_over());
        self.steps_at_now += 1;
        assert!(self.steps_at_now < LIVELOCK, "runs in circles at {:?}: {}", self.elapsed(), self.describe());
        moved
    }

    /// Does everything that can be done without time passing.
    pub fn settle_now(&mut self) {
        while self.step() {}
    }

    /// Runs for some virtual time.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle_now();
            match self.next_deadline() {
                Some(at) if at <= end => self.jump(at),
                _ => return self.jump(end),
            }
        }
    }

    /// Runs until something holds.
    ///
    /// # Panics
    /// When it does not within `limit` of virtual time.
    #[track_caller]
    pub fn run_until(&mut self, limit: Duration, mut holds: impl FnMut(&mut Self) -> bool) {
        let end = self.now + limit;
        while !holds(self) {
            if self.step() {
                continue;
            }
            match self.next_deadline() {
                Some(at) if at <= end => self.jump(at),
                _ => panic!("not within {limit:?} of virtual time: {}", self.describe()),
            }
        }
    }

    /// Runs until a client is live.
    #[track_caller]
    pub fn run_live(&mut self, client: usize) {
        self.run_until(Duration::from_secs(120), |pair| pair.is_live(client));
    }

    /// Runs until everything a client published is settled.
    #[track_caller]
    pub fn run_settled(&mut self, client: usize) {
        self.run_until(Duration::from_secs(300), |pair| pair.settled(client));
    }

    fn jump(&mut self, at: Instant) {
        if at > self.now {
            self.now = at;
            self.steps_at_now = 0;
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let awake = self.clients.iter().filter(|client| !client.paused);
        let clients = awake.filter_map(|client| client.running.as_ref()?.deadline());
        let servers = self
            .servers
            .iter()
            .filter(|server| !server.frozen)
            .filter_map(|server| server.engine.as_ref()?.poll_timeout());
        let pipes = self.pipes.values().filter_map(Pipe::arrival);
        clients.chain(servers).chain(pipes).filter(|at| *at > self.now).min()
    }

    fn running(&self, client: usize) -> &Running {
        self.clients[client].running.as_ref().expect("a client that runs")
    }

    fn running_mut(&mut self, client: usize) -> &mut Running {
        self.clients[client].running.as_mut().expect("a client that runs")
    }

    fn listen(&mut self, client: usize) {
        let Client { running, events, promised, .. } = &mut self.clients[client];
        if let Some(running) = running {
            running.listen(self.now, events, promised);
        }
    }

    fn client_pipe(&mut self, client: usize) -> Option<&mut Pipe> {
        match &self.clients[client].running.as_ref()?.link {
            Link::Up { pipe, .. } => self.pipes.get_mut(pipe),
            _ => None,
        }
    }

    fn hang_up(&mut self, pipe: usize, end: usize) {
        if let Some(pipe) = self.pipes.get_mut(&pipe) {
            pipe.open[end] = false;
        }
    }

    fn run_store(&mut self, client: usize) -> bool {
        let client = &mut self.clients[client];
        match &mut client.running {
            Some(running) if !client.store_held => running.work(),
            _ => false,
        }
    }

    fn run_client(&mut self, client: usize) -> bool {
        let now = self.now;
        let Some(mut running) = self.clients[client].running.take() else { return false };
        let done = match &running.link {
            Link::Idle => running.idle(now),
            Link::Dialing(attempt) if attempt.ends.is_some_and(|at| at <= now) => {
                let server = attempt.server;
                self.dialed(client, server, &mut running);
                Some(None)
            }
            Link::Dialing(_) => running.dialing(now).then_some(None),
            Link::Up { pipe, .. } => {
                let pipe = self.pipes.get_mut(pipe).expect("the pipe of an open connection");
                running.pump(now, pipe, self.weather, self.split, &mut self.random)
            }
        };
        match &done {
            Some(Some(Wish::Dial(uri))) => running.link = Link::Dialing(self.dial(client, server_of(uri))),
            Some(Some(Wish::HangUp(pipe))) => self.hang_up(*pipe, 0),
            _ => {}
        }
        self.clients[client].running = Some(running);
        done.is_some()
    }

    fn dial(&mut self, client: usize, server: usize) -> Attempt {
        self.clients[client].attempts.push((self.now, server));
        let silent = self.servers[server].door == Door::Silent;
        Attempt { server, ends: (!silent).then_some(self.now + self.weather.latency) }
    }

    fn dialed(&mut self, client: usize, number: usize, running: &mut Running) {
        let (now, life, lags) = (self.now, self.clients[client].lives, self.lags());
        let server = &mut self.servers[number];
        match &mut server.engine {
            Some(engine) if matches!(server.door, Door::Open | Door::Slams) => {
                let id = engine.accept(now);
                let ends = [End::Client { client, life }, End::Server { server: number, life: server.life, id }];
                let cuts = std::mem::take(&mut server.cuts);
                self.last_pipe += 1;
                let mut pipe = Pipe::new(ends, cuts, lags);
                if server.door == Door::Slams {
                    engine.closed(now, id);
                    pipe.open[1] = false;
                }
                self.pipes.insert(self.last_pipe, pipe);
                running.core.dialed(now);
                running.link = Link::Up { pipe: self.last_pipe, out: Transmit::default(), top: None };
            }
            _ => {
                let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
                running.core.dial_failed(now, amps_ha::error::Cause::Connect(refused.into()));
                running.link = Link::Idle;
            }
        }
    }

    /// How much longer a new connection's bytes travel, each way.
    fn lags(&mut self) -> [Duration; 2] {
        let most = u64::try_from(self.jitter.as_micros()).unwrap_or(u64::MAX);
        [(); 2].map(|()| Duration::from_micros(if most == 0 { 0 } else { self.random.random_range(0..most) }))
    }

    fn run_server(&mut self, number: usize) -> bool {
        let now = self.now;
        if self.servers[number].frozen {
            return false;
        }
        let Some(engine) = &mut self.servers[number].engine else { return false };
        let mut moved = false;
        if engine.poll_timeout().is_some_and(|at| at <= now) {
            engine.handle_timeout(now);
            moved = true;
        }
        while let Some((peer, uri)) = self.server(number).poll_dial(now) {
            moved = true;
            let other = (0..self.servers.len()).find(|other| server::name(*other) == uri).expect("a peer of the pair");
            let cut = self.partitions.contains(&(number.min(other), number.max(other)));
            if cut || self.servers[other].engine.is_none() {
                self.server(number).dial_failed(now, peer);
                continue;
            }
            let ids = [self.server(number).dialed(now, peer), self.server(other).accept(now)];
            let end = |server: usize, id| End::Server { server, life: self.servers[server].life, id };
            let ends = [end(number, ids[0]), end(other, ids[1])];
            self.last_pipe += 1;
            let lags = self.lags();
            self.pipes.insert(self.last_pipe, Pipe::new(ends, [None, None], lags));
        }
        moved
    }

    /// Moves bytes at a server's end of a pipe.
    fn run_pipe(&mut self, number: usize, end: usize) -> bool {
        let now = self.now;
        let Some(pipe) = self.pipes.get_mut(&number) else { return false };
        let End::Server { server, life, id } = pipe.ends[end] else { return false };
        if !pipe.open[end] {
            return false;
        }
        let Server { engine, life: current, frozen, .. } = &mut self.servers[server];
        if *frozen {
            return false;
        }
        let Some(engine) = engine.as_mut().filter(|_| *current == life) else {
            pipe.open[end] = false;
            return true;
        };
        let mut moved = false;
        if pipe.readable(now, end) && engine.wants_read(id) {
            let limit = if self.split { self.random.random_range(1..=5000) } else { 1 << 20 };
            moved = true;
            match pipe.read(now, end, limit) {
                Found::Bytes(bytes) => engine.receive(now, id, &bytes),
                Found::Closed | Found::Broken => {
                    engine.closed(now, id);
                    pipe.open[end] = false;
                    return true;
                }
                Found::Nothing => {}
            }
        }
        if pipe.room(end, self.weather) > 0
            && let Some(bytes) = engine.poll_transmit(id)
        {
            pipe.write(now, end, &bytes, self.weather);
            moved = true;
        }
        if engine.should_close(id) {
            engine.closed(now, id);
            pipe.open[end] = false;
            moved = true;
        }
        moved
    }
}
