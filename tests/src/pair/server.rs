//! One server of a [`Pair`](super::Pair): an engine, and the journal that
//! outlives it.

use std::time::Duration;

use amps_testserver::{Config, Engine, Link, MemoryJournal};

/// How new connections fare at a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Door {
    /// They are accepted.
    #[default]
    Open,
    /// They are refused at once.
    Refuses,
    /// The attempt is never answered.
    Silent,
    /// They are accepted and closed at once.
    Slams,
}

pub(crate) struct Server {
    pub(crate) engine: Option<Engine>,
    pub(crate) journal: MemoryJournal,
    pub(crate) life: u64,
    pub(crate) door: Door,
    /// The whole process stands still. The system accepts connections for it.
    pub(crate) frozen: bool,
    /// For the next connection: bytes after which it dies, to the client and
    /// to the server.
    pub(crate) cuts: [Option<u64>; 2],
    config: Config,
}

impl Server {
    pub(crate) fn new(config: Config) -> Self {
        let mut server = Self {
            engine: None,
            journal: MemoryJournal::new(),
            life: 0,
            door: Door::Open,
            frozen: false,
            cuts: [None, None],
            config,
        };
        server.start();
        server
    }

    /// Sets the wall clock of the next life.
    pub(crate) fn jump(&mut self, seconds: i64) {
        let now = self.config.wall_clock.as_secs().saturating_add_signed(seconds);
        self.config.wall_clock = Duration::from_secs(now);
    }

    /// Starts on the journal, if it is down. Its incarnations are so many apart as
    /// its configuration says, or one.
    pub(crate) fn start(&mut self) {
        if self.engine.is_none() {
            self.life += 1;
            let config = self.config.clone().incarnation(self.config.incarnation.max(1) * self.life);
            self.engine = Some(Engine::new(config, Box::new(self.journal.clone())).expect("a readable journal"));
        }
    }
}

/// The name of a server, and its address as a peer.
pub(crate) fn name(server: usize) -> String {
    format!("s{server}")
}

/// Configurations of `count` servers, each linked to all others.
pub(crate) fn configs(count: usize, link: Option<Link>) -> Vec<Config> {
    (0..count)
        .map(|own| {
            let config = Config::new(name(own)).ack_conflation(Duration::from_millis(20));
            match link {
                Some(link) => {
                    (0..count).filter(|peer| *peer != own).fold(config, |config, peer| config.peer(name(peer), link))
                }
                None => config,
            }
        })
        .collect()
}
