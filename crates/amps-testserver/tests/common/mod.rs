//! Helpers for tests at the engine: a wire, decoded answers, virtual time.
#![allow(dead_code)]

pub(crate) mod fabric;
pub(crate) mod group;

use std::time::{Duration, Instant};

use amps_core::batch::records;
use amps_core::message::MessageKind;
use amps_core::{AckType, AckTypes, Command, CommandKind, Field, FrameDecoder, Message};
use amps_testserver::{Config, ConnId, Engine, Journal, NoJournal};
use bytes::BytesMut;

/// An engine with its virtual time.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) now: Instant,
}

/// A connection's client end.
pub(crate) struct Wire {
    pub(crate) id: ConnId,
    decoder: FrameDecoder,
}

pub(crate) fn bench(config: Config) -> Bench {
    bench_on(config, NoJournal)
}

pub(crate) fn bench_on(config: Config, journal: impl Journal + 'static) -> Bench {
    Bench { engine: Engine::new(config, Box::new(journal)).unwrap(), now: Instant::now() }
}

impl Bench {
    pub(crate) fn connect(&mut self) -> Wire {
        Wire { id: self.engine.accept(self.now), decoder: FrameDecoder::new(1 << 30) }
    }

    pub(crate) fn send(&mut self, wire: &Wire, command: Command) {
        let mut bytes = BytesMut::new();
        command.encode(&mut bytes);
        self.engine.receive(self.now, wire.id, &bytes);
    }

    pub(crate) fn send_raw(&mut self, wire: &Wire, header: &str) {
        let mut bytes = (header.len() as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        self.engine.receive(self.now, wire.id, &bytes);
    }

    /// Everything the server has to say now.
    pub(crate) fn drain(&mut self, wire: &mut Wire) -> Vec<Message> {
        while let Some(bytes) = self.engine.poll_transmit(wire.id) {
            wire.decoder.extend(&bytes);
        }
        let mut messages = Vec::new();
        while let Some(frame) = wire.decoder.next_frame().unwrap() {
            messages.push(Message::decode(frame).unwrap());
        }
        messages
    }

    /// The same as one line a message.
    pub(crate) fn lines(&mut self, wire: &mut Wire) -> Vec<String> {
        self.drain(wire).iter().map(line).collect()
    }

    /// Lets time pass, doing what is due at each moment.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.engine.handle_timeout(self.now);
            assert!(self.engine.poll_timeout().is_none_or(|next| next > self.now), "a timer that never ends");
        }
        self.now = end;
    }

    pub(crate) fn logon(&mut self, name: &str) -> Wire {
        let mut wire = self.connect();
        self.send(&wire, logon(name));
        let answer = self.drain(&mut wire);
        assert_eq!(answer[0].ack_type(), Some(AckType::Processed), "{answer:?}");
        assert_eq!(answer[0].status(), amps_core::Status::Success, "{answer:?}");
        wire
    }

    /// The logon ack's sequence for a name; the connection ends.
    pub(crate) fn logon_sequence(&mut self, name: &str) -> u64 {
        let mut wire = self.connect();
        self.send(&wire, logon(name));
        let sequence = self.drain(&mut wire)[0].sequence().unwrap();
        self.engine.closed(self.now, wire.id);
        sequence
    }

    pub(crate) fn sequences(&self, publisher: &str) -> Vec<u64> {
        let log = self.engine.log();
        log.iter().filter(|message| message.client_name == publisher).map(|message| message.sequence).collect()
    }
}

pub(crate) fn logon(name: &str) -> Command {
    Command::new(CommandKind::Logon).id("logon").text(Field::ClientName, name).acks(AckType::Processed)
}

pub(crate) fn publish(topic: &str, sequence: u64) -> Command {
    let body = format!("{{\"n\":{sequence}}}");
    Command::new(CommandKind::Publish)
        .topic(topic)
        .number(Field::Sequence, sequence)
        .acks(AckType::Persisted)
        .body(body)
}

/// A message or a record of its key.
pub(crate) fn record(topic: &str, sequence: u64, body: &str) -> Command {
    Command::new(CommandKind::Publish).topic(topic).number(Field::Sequence, sequence).body(body.to_owned())
}

pub(crate) fn deletion(topic: &str, sequence: u64, body: &str) -> Command {
    Command::new(CommandKind::SowDelete).topic(topic).number(Field::Sequence, sequence).body(body.to_owned())
}

/// Messages and records in order: `+` for a record, `-` and why for one out of
/// focus, and the body.
pub(crate) fn told(messages: &[Message]) -> Vec<String> {
    let mut lines = Vec::new();
    for message in messages {
        let body = |message: &Message| String::from_utf8_lossy(message.data()).into_owned();
        match message.kind() {
            MessageKind::Publish => lines.push(body(message)),
            MessageKind::Oof => lines.push(format!("-{} {}", message.text(Field::Reason).unwrap(), body(message))),
            MessageKind::Sow => lines.extend(records(message).into_iter().map(|record| format!("+{}", body(&record)))),
            _ => {}
        }
    }
    lines
}

pub(crate) fn subscribe(id: &str, topic: &str, acks: impl Into<AckTypes>) -> Command {
    Command::new(CommandKind::Subscribe).id(id).topic(topic).acks(acks)
}

/// A message in short: what a test compares.
pub(crate) fn line(message: &Message) -> String {
    let mut out = match message.kind() {
        MessageKind::Ack => format!("ack {}", message.raw(Field::AckType).unwrap_or_default()),
        MessageKind::Publish => format!("p {}", message.topic().unwrap_or_default()),
        kind => format!("{kind:?}"),
    };
    for (name, field) in [
        ("cid", Field::CommandId),
        ("s", Field::Sequence),
        ("bm", Field::Bookmark),
        ("sids", Field::SubscriptionIds),
        ("query", Field::QueryId),
        ("bs", Field::BatchSize),
    ] {
        if let Some(value) = message.raw(field) {
            out += &format!(" {name}={value}");
        }
    }
    if message.raw(Field::Status) == Some("failure") {
        out += &format!(" failure={}", message.raw(Field::Reason).unwrap_or_default());
    }
    if message.kind() == MessageKind::Publish {
        out += &format!(" {}", String::from_utf8_lossy(message.data()));
    }
    out
}

impl Wire {
    pub(crate) fn of(id: ConnId) -> Self {
        Self { id, decoder: FrameDecoder::new(1 << 30) }
    }
}
