//! What a scenario can do to servers and to the network.

use std::time::Duration;

use amps_testserver::{Engine, MemoryJournal};

use super::network::End;
use super::{Door, Pair};

impl Pair {
    /// How many servers there are.
    pub fn servers(&self) -> usize {
        self.servers.len()
    }

    /// A server's engine.
    ///
    /// # Panics
    /// When it is down.
    pub fn server(&mut self, server: usize) -> &mut Engine {
        self.servers[server].engine.as_mut().expect("a server that runs")
    }

    /// Ends a server as a crash would. Bytes it has sent are on their way.
    pub fn crash_server(&mut self, server: usize) {
        self.servers[server].engine = None;
    }

    /// Starts a server on its journal, if it is down.
    pub fn start_server(&mut self, server: usize) {
        self.servers[server].start();
    }

    /// Starts a server with an empty journal.
    pub fn wipe_server(&mut self, server: usize) {
        self.crash_server(server);
        self.servers[server].journal = MemoryJournal::new();
        self.start_server(server);
    }

    /// How new connections fare at a server.
    pub fn door(&mut self, server: usize, door: Door) {
        self.servers[server].door = door;
    }

    /// The next connection of a client to this server dies when so many bytes
    /// have reached the client, or the server.
    pub fn cut_next(&mut self, server: usize, to_client: Option<u64>, to_server: Option<u64>) {
        self.servers[server].cuts = [to_client, to_server];
    }

    /// Cuts a client's connection now. Bytes on their way are lost.
    pub fn cut(&mut self, client: usize) -> bool {
        self.client_pipe(client).map(|pipe| pipe.broken = true).is_some()
    }

    /// The same, until the client is live again.
    pub fn cut_and_back(&mut self, client: usize) {
        self.cut(client);
        self.run_until(Duration::from_secs(60), |pair| !pair.is_live(client));
        self.run_live(client);
    }

    /// A client's connection swallows everything from now on.
    pub fn black_hole(&mut self, client: usize) -> bool {
        self.client_pipe(client).map(|pipe| pipe.swallows = [true, true]).is_some()
    }

    /// A client's connection swallows what goes to the server from now on, or
    /// what goes to the client; the other direction works.
    pub fn one_way(&mut self, client: usize, to_server: bool) -> bool {
        self.client_pipe(client).map(|pipe| pipe.swallows[usize::from(to_server)] = true).is_some()
    }

    /// The links there are between two servers swallow what one sends the other.
    pub fn mute(&mut self, from: usize, to: usize) -> bool {
        let mut found = false;
        for pipe in self.pipes.values_mut() {
            for end in 0..2 {
                if let [End::Server { server: x, .. }, End::Server { server: y, .. }] =
                    [pipe.ends[1 - end], pipe.ends[end]]
                    && (x, y) == (from, to)
                {
                    pipe.swallows[end] = true;
                    found = true;
                }
            }
        }
        found
    }

    /// Cuts the connections of all clients to a server.
    pub fn cut_clients_of(&mut self, server: usize) {
        for pipe in self.pipes.values_mut() {
            if matches!(pipe.ends, [End::Client { .. }, End::Server { server: at, .. }] if at == server) {
                pipe.broken = true;
            }
        }
    }

    /// A client's process stands still, as with SIGSTOP, or goes on.
    pub fn pause(&mut self, client: usize, paused: bool) {
        self.clients[client].paused = paused;
    }

    /// A server's process stands still, as with SIGSTOP, or goes on.
    pub fn freeze(&mut self, server: usize, frozen: bool) {
        self.servers[server].frozen = frozen;
    }

    /// A server's disk takes so many more writes; of the next it keeps so many
    /// records, and fails. `None`: it works.
    pub fn fail_journal(&mut self, server: usize, after: Option<(u64, usize)>) {
        self.servers[server].journal.fail_commit(after);
    }

    /// A server's wall clock jumps; its next life sees it.
    pub fn server_clock(&mut self, server: usize, seconds: i64) {
        self.servers[server].jump(seconds);
    }

    /// Bytes the server has received on a client's connection.
    pub fn bytes_out(&mut self, client: usize) -> u64 {
        self.client_pipe(client).map_or(0, |pipe| pipe.delivered(1))
    }

    /// Cuts the links between two servers and keeps them down, or not.
    pub fn partition(&mut self, a: usize, b: usize, on: bool) {
        let both = (a.min(b), a.max(b));
        if !on {
            self.partitions.remove(&both);
            return;
        }
        self.partitions.insert(both);
        for pipe in self.pipes.values_mut() {
            if let [End::Server { server: x, .. }, End::Server { server: y, .. }] = pipe.ends
                && (x.min(y), x.max(y)) == both
            {
                pipe.broken = true;
            }
        }
    }
}
