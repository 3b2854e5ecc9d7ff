//! What clients send to the test server.

use std::time::{Duration, Instant};

use amps_core::{FrameDecoder, Message};
use amps_testserver::{Config, ConnId, Engine, MemoryJournal, QueueConfig};

/// Lines: `1` or `2` and a frame, header and body, for that connection; `+` and
/// seconds to wait; anything else reconnects the first. The server answers in
/// whole messages and comes to rest.
pub(super) fn run(bytes: &[u8]) {
    let config = Config::new("A").sow("sow", "/id").sow("more", "/id,/site/name");
    let config = config.queue(QueueConfig::new("queue").lease(Duration::from_secs(5)));
    let engine = Engine::new(config, Box::new(MemoryJournal::new())).expect("nothing to recover");
    let mut world = World { engine, now: Instant::now(), clients: Vec::new() };
    for _ in 0..2 {
        let client = world.connection();
        world.clients.push(client);
    }
    for line in bytes.split(|byte| *byte == b'\n').take(200) {
        match line.split_first() {
            Some((number @ (b'1' | b'2'), frame)) => world.send(usize::from(number - b'1'), frame),
            Some((b'+', seconds)) => {
                let seconds = std::str::from_utf8(seconds).ok().and_then(|text| text.parse::<u16>().ok());
                world.wait(Duration::from_secs(seconds.unwrap_or(1).into()));
            }
            _ => {
                world.engine.closed(world.now, world.clients[0].0);
                world.clients[0] = world.connection();
            }
        }
        world.read();
    }
    world.wait(Duration::from_secs(60));
}

struct World {
    engine: Engine,
    now: Instant,
    clients: Vec<(ConnId, FrameDecoder)>,
}

impl World {
    fn connection(&mut self) -> (ConnId, FrameDecoder) {
        (self.engine.accept(self.now), FrameDecoder::new(1 << 24))
    }

    fn send(&mut self, client: usize, frame: &[u8]) {
        let wire = [&(frame.len() as u32).to_be_bytes()[..], frame].concat();
        self.engine.receive(self.now, self.clients[client].0, &wire);
    }

    fn read(&mut self) {
        for client in 0..self.clients.len() {
            let (id, decoder) = &mut self.clients[client];
            let mut answers = 0;
            while let Some(bytes) = self.engine.poll_transmit(*id) {
                decoder.extend(&bytes);
                while let Some(frame) = decoder.next_frame().expect("answers within the limit") {
                    Message::decode(frame).expect("an answer is a message");
                    answers += 1;
                    assert!(answers < 1_000_000, "the server answers without end");
                }
            }
            assert_eq!(decoder.buffered(), 0, "answers are whole");
            if self.engine.should_close(*id) {
                self.engine.closed(self.now, *id);
                self.clients[client] = self.connection();
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..100_000 {
            match self.engine.poll_timeout() {
                Some(at) if at <= end => {
                    self.now = self.now.max(at);
                    self.engine.handle_timeout(self.now);
                    self.read();
                }
                _ => return self.now = end,
            }
        }
        panic!("the server does not come to rest");
    }
}
