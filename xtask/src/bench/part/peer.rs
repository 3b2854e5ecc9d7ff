//! The peer of all measurements: the least that a client takes for a server.
//!
//! It parses every header, acknowledges cumulatively after each read, sends
//! published messages back to a subscriber, or sends it a fixed number of its
//! own; the same number of records answers a query. One connection, then it ends.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use amps_core::frame::MAX_FRAME_LEN;
use amps_core::message::MessageKind;
use amps_core::{AckType, Field, FrameDecoder, Message};
use bytes::{Bytes, BytesMut};
use clap::Args;

use super::clocks::monotonic;
use super::failed;
use super::feed::{self, Feed};
use super::frames::{self, Header, WRITE_LEN};
use crate::Failure;

/// What it does beside answering.
#[derive(Debug, Clone, Args)]
pub(crate) struct Peer {
    /// Sends so many messages to a subscription; 0 sends back what is published.
    #[arg(long, default_value_t = 0)]
    pub(super) send: u64,
    #[arg(long, value_enum, default_value_t = Header::Short)]
    pub(super) header: Header,
    /// The bytes of a body it sends.
    #[arg(long, default_value_t = 128)]
    pub(super) size: usize,
    /// Answers so many microseconds after each read.
    #[arg(long, default_value_t = 0)]
    pub(super) delay_us: u64,
    /// Hangs up after so many subscriptions, and serves one more connection.
    #[arg(long, default_value_t = 0)]
    pub(super) hang_up_after: u64,
    /// Prints when the first message came, in nanoseconds of the monotonic clock.
    #[arg(long)]
    pub(super) note_first: bool,
    /// Prints in the end how many messages came, or were sent.
    #[arg(long)]
    pub(super) note_total: bool,
}

impl Peer {
    /// Prints its port, and serves one connection to its end.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| failed("listen", error))?;
        let port = listener.local_addr().map_err(|error| failed("listen", error))?.port();
        println!("{port}");
        self.serve_one(&listener)?;
        match self.hang_up_after {
            0 => Ok(()),
            _ => Self { hang_up_after: 0, ..self.clone() }.serve_one(&listener),
        }
    }

    pub(super) fn serve_one(&self, listener: &TcpListener) -> Result<(), Failure> {
        let (mut stream, _) = listener.accept().map_err(|error| failed("accept", error))?;
        stream.set_nodelay(true).map_err(|error| failed("set up the connection", error))?;
        let mut answers = Answers::default();
        let served = self.serve(&mut stream, &mut answers);
        if self.note_total {
            println!("{}", answers.messages);
        }
        match served {
            // A client that ends without reading the rest.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Ok(()),
            ended => ended.map_err(|error| failed("serve the client", error)),
        }
    }

    fn serve(&self, stream: &mut TcpStream, answers: &mut Answers) -> std::io::Result<()> {
        let mut decoder = FrameDecoder::new(MAX_FRAME_LEN);
        let mut buffer = vec![0; WRITE_LEN];
        let mut note_first = self.note_first;
        loop {
            let read = stream.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            decoder.extend(&buffer[..read]);
            while let Some(frame) = decoder.next_frame().map_err(std::io::Error::other)? {
                answers.take(frame).map_err(std::io::Error::other)?;
            }
            if note_first && answers.highest.is_some() {
                println!("{}", monotonic().as_nanos());
                note_first = false;
            }
            if self.delay_us > 0 {
                std::thread::sleep(Duration::from_micros(self.delay_us));
            }
            answers.write(stream)?;
            if let Some(query) = answers.query.take() {
                self.result(stream, &query)?;
            }
            if self.send > 0
                && let Some(subscription) = answers.subscription.take()
            {
                let mut feed = Feed::stream(self.header, &subscription, &frames::body(self.size));
                let fed = feed.send(stream, self.send);
                answers.messages += feed.sent();
                fed?;
            }
            if self.hang_up_after > 0 && answers.subscriptions >= self.hang_up_after {
                return Ok(());
            }
        }
    }

    /// Sends all records, and the end of the query.
    fn result(&self, stream: &mut TcpStream, query: &Query) -> std::io::Result<()> {
        let mut around = BytesMut::new();
        feed::group(&mut around, "group_begin", &query.id);
        stream.write_all(&around)?;
        Feed::records(&query.id, query.batch, &frames::body(self.size)).send(stream, self.send)?;
        around.clear();
        feed::group(&mut around, "group_end", &query.id);
        around.extend_from_slice(&query.completed);
        stream.write_all(&around)
    }
}

/// A query to be answered.
#[derive(Debug)]
struct Query {
    id: String,
    /// Records in a frame.
    batch: u64,
    /// The last frame.
    completed: BytesMut,
}

/// What is to be written after a read.
#[derive(Debug, Default)]
struct Answers {
    out: BytesMut,
    subscription: Option<String>,
    /// How many there were on this connection.
    subscriptions: u64,
    query: Option<Query>,
    highest: Option<u64>,
    /// All that came, or were sent to a subscription.
    messages: u64,
}

impl Answers {
    fn take(&mut self, frame: Bytes) -> Result<(), amps_core::MessageError> {
        let message = Message::decode(frame)?;
        match message.kind() {
            MessageKind::Publish => {
                self.highest = message.sequence().or(self.highest);
                self.messages += 1;
                if let Some(subscription) = &self.subscription {
                    frames::deliver(&mut self.out, Header::Short, "", subscription, message.data());
                }
            }
            MessageKind::Flush => frames::answer(&mut self.out, &message, AckType::Completed),
            MessageKind::Subscribe => {
                let id = message.raw(Field::SubscriptionId).or_else(|| message.command_id());
                self.subscription = id.map(str::to_owned);
                self.subscriptions += 1;
                frames::answer(&mut self.out, &message, AckType::Processed);
            }
            MessageKind::Sow => {
                frames::answer(&mut self.out, &message, AckType::Processed);
                let mut completed = BytesMut::new();
                frames::answer(&mut completed, &message, AckType::Completed);
                let id = message.raw(Field::QueryId).or_else(|| message.command_id()).unwrap_or_default().to_owned();
                self.query = Some(Query { id, batch: message.number(Field::BatchSize).unwrap_or(1), completed });
            }
            // The beat of a heart has no id and no answer.
            _ if message.command_id().is_some() => frames::answer(&mut self.out, &message, AckType::Processed),
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self, stream: &mut TcpStream) -> std::io::Result<()> {
        if let Some(highest) = self.highest.take() {
            frames::persisted(&mut self.out, highest);
        }
        if !self.out.is_empty() {
            stream.write_all(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        Peer {
            send: 0,
            header: Header::Short,
            size: 128,
            delay_us: 0,
            hang_up_after: 0,
            note_first: false,
            note_total: false,
        }
    }

    /// What it answers to these frames.
    fn answers(wire: BytesMut) -> Vec<Message> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        client.write_all(&wire).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        peer().serve(&mut stream, &mut Answers::default()).unwrap();
        drop(stream);
        let mut decoder = FrameDecoder::new(MAX_FRAME_LEN);
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        decoder.extend(&bytes);
        std::iter::from_fn(|| decoder.next_frame().unwrap()).map(|frame| Message::decode(frame).unwrap()).collect()
    }

    #[test]
    fn one_acknowledgement_covers_everything_read() {
        let mut wire = BytesMut::new();
        for sequence in 5..=7 {
            frames::publish(&mut wire, Some(sequence), b"{}");
        }
        let [ack] = &answers(wire)[..] else { panic!("one answer") };
        assert_eq!((ack.ack_type(), ack.sequence()), (Some(AckType::Persisted), Some(7)));
    }

    #[test]
    fn a_subscriber_gets_back_what_it_publishes_and_a_flush_is_answered() {
        let mut wire = BytesMut::new();
        frames::subscribe(&mut wire);
        frames::publish(&mut wire, None, b"{\"n\":1}");
        frames::flush(&mut wire);
        let got = answers(wire);
        let kinds: Vec<_> = got.iter().map(Message::kind).collect();
        assert_eq!(kinds, [MessageKind::Ack, MessageKind::Publish, MessageKind::Ack]);
        assert_eq!(got[1].data(), b"{\"n\":1}");
        assert_eq!(got[2].ack_type(), Some(AckType::Completed));
    }
}
