//! One connection, frame by frame.

use std::collections::VecDeque;
use std::time::Duration;

use amps_core::command::CommandKind;
use amps_core::frame::{FrameDecoder, MAX_FRAME_LEN};
use amps_core::message::MessageKind;
use amps_core::{AckType, AckTypes, Command, Field, Message, Status, Transport};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use crate::exchange::{Exchange, shown};
use crate::judge::{Judged, Stop, fail, success};

/// Messages that wait to be asked for at most.
const INBOX: usize = 100_000;

/// What there is to read.
enum Heard {
    Message(Message),
    /// Nothing until the wait was over.
    Nothing,
    /// The other side closed, or the stream is no protocol any more; why.
    Closed(String),
}

/// A connection to the server, whatever it says kept until it is asked for.
pub(crate) struct Wire {
    stream: Box<dyn Transport>,
    decoder: FrameDecoder,
    inbox: VecDeque<Message>,
    exchange: Exchange,
    label: String,
    pub(crate) patience: Duration,
    last_id: u64,
}

impl Wire {
    pub(crate) fn new(stream: Box<dyn Transport>, exchange: Exchange, label: &str, patience: Duration) -> Self {
        let decoder = FrameDecoder::new(MAX_FRAME_LEN);
        Self { stream, decoder, inbox: VecDeque::new(), exchange, label: label.to_owned(), patience, last_id: 0 }
    }

    /// A command id that was not used on this connection.
    pub(crate) fn id(&mut self) -> String {
        self.last_id += 1;
        format!("{}{}", self.label, self.last_id)
    }

    /// Sends a command as it is.
    pub(crate) async fn send(&mut self, command: &Command) -> Judged {
        let mut frame = BytesMut::new();
        command.encode(&mut frame);
        self.send_frames(&frame).await
    }

    /// Sends whole frames, in one write.
    pub(crate) async fn send_frames(&mut self, frames: &[u8]) -> Judged {
        self.note_sent(frames);
        self.write(frames).await
    }

    /// Sends a frame made of this header and body, whatever they are.
    pub(crate) async fn send_text(&mut self, header: &str, body: &str) -> Judged {
        self.send_frames(&frame(header, body)).await
    }

    /// Notes frames that are written piece by piece.
    pub(crate) fn note_sent(&self, frames: &[u8]) {
        let mut decoder = FrameDecoder::new(MAX_FRAME_LEN);
        decoder.extend(frames);
        while let Ok(Some(frame)) = decoder.next_frame() {
            let text = match Message::decode(frame.clone()) {
                Ok(message) => shown(&message),
                Err(_) => format!("{:?} (no message)", String::from_utf8_lossy(&frame)),
            };
            self.exchange.note(format!("{}> {text}", self.label));
        }
    }

    /// Writes bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Judged {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let came = match timeout_at(Instant::now() + self.patience, writing).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => format!("writing failed: {error}"),
            Err(_) => format!("it took nothing for {:?}", self.patience),
        };
        self.exchange.note(format!("{}. {came}", self.label));
        Err(fail("the server takes a command", came))
    }

    /// Sends a command under an id of its own and with these acks asked for;
    /// answers the id.
    pub(crate) async fn start(&mut self, command: Command, acks: impl Into<AckTypes>) -> Result<String, Stop> {
        let id = self.id();
        self.send(&command.id(&id).acks(acks)).await?;
        Ok(id)
    }

    /// The ack of this kind for the command with this id.
    pub(crate) async fn ack(&mut self, id: &str, kind: AckType) -> Result<Message, Stop> {
        let expected = format!("a {} ack for command {id}", kind.as_str());
        self.take(&expected, |message| is_ack(message, kind) && message.command_id() == Some(id)).await
    }

    /// Sends a command, and answers its ack of that kind, however it ended.
    pub(crate) async fn ask(&mut self, command: Command, kind: AckType) -> Result<Message, Stop> {
        let id = self.start(command, kind).await?;
        self.ack(&id, kind).await
    }

    /// Sends a command that the server has to process; answers its processed ack.
    pub(crate) async fn done(&mut self, command: Command) -> Result<Message, Stop> {
        let ack = self.ask(command, AckType::Processed).await?;
        success(&ack)?;
        Ok(ack)
    }

    /// A successful persisted ack that covers this sequence. A failure of it ends
    /// the check.
    pub(crate) async fn persisted(&mut self, sequence: u64) -> Result<Message, Stop> {
        let expected = format!("a persisted ack that covers sequence {sequence}");
        let covers = |ack: &Message| {
            let failed = ack.status() != Status::Success;
            let number = ack.sequence().unwrap_or_default();
            is_ack(ack, AckType::Persisted) && (number == sequence || number > sequence && !failed)
        };
        let ack = self.take(&expected, covers).await?;
        success(&ack)?;
        Ok(ack)
    }

    /// Waits until everything sent so far on this connection is processed (AMPS
    /// Command Reference, "flush").
    pub(crate) async fn fence(&mut self) -> Judged {
        let ack = self.ask(Command::new(CommandKind::Flush), AckType::Completed).await?;
        success(&ack)
    }

    /// The first message that came, or comes, and is so. Others stay where they are.
    pub(crate) async fn take(
        &mut self,
        expected: &str,
        mut wanted: impl FnMut(&Message) -> bool,
    ) -> Result<Message, Stop> {
        if let Some(at) = self.inbox.iter().position(&mut wanted) {
            return self.inbox.remove(at).ok_or_else(|| fail(expected, "nothing"));
        }
        let until = Instant::now() + self.patience;
        loop {
            match self.read(until).await {
                Heard::Message(message) if wanted(&message) => return Ok(message),
                Heard::Message(message) => self.keep(message)?,
                Heard::Nothing => return Err(fail(expected, format!("no such thing within {:?}", self.patience))),
                Heard::Closed(why) => return Err(fail(expected, why)),
            }
        }
    }

    /// The next published message.
    pub(crate) async fn message(&mut self) -> Result<Message, Stop> {
        self.take("a message of the subscription", |message| message.kind() == MessageKind::Publish).await
    }

    /// The next published messages.
    pub(crate) async fn messages(&mut self, count: usize) -> Result<Vec<Message>, Stop> {
        let mut messages = Vec::new();
        while messages.len() < count {
            messages.push(self.message().await?);
        }
        Ok(messages)
    }

    /// Whatever comes within that time, with what came before.
    pub(crate) async fn listen(&mut self, wait: Duration) -> Result<Vec<Message>, Stop> {
        let until = Instant::now() + wait;
        loop {
            match self.read(until).await {
                Heard::Message(message) => self.keep(message)?,
                Heard::Nothing => return Ok(self.heard()),
                Heard::Closed(why) => return Err(fail("the connection stays open", why)),
            }
        }
    }

    /// What came and was not asked for.
    pub(crate) fn heard(&mut self) -> Vec<Message> {
        self.inbox.drain(..).collect()
    }

    /// Whether the server closes the connection within that time; what came
    /// before is kept.
    pub(crate) async fn closes_within(&mut self, wait: Duration) -> Result<bool, Stop> {
        let until = Instant::now() + wait;
        loop {
            match self.read(until).await {
                Heard::Message(message) => self.keep(message)?,
                Heard::Nothing => return Ok(false),
                Heard::Closed(_) => return Ok(true),
            }
        }
    }

    /// The same within the usual time.
    pub(crate) async fn closes(&mut self) -> Result<bool, Stop> {
        self.closes_within(self.patience).await
    }

    fn keep(&mut self, message: Message) -> Judged {
        if self.inbox.len() == INBOX {
            return Err(fail("what was asked for", format!("{INBOX} other messages")));
        }
        self.inbox.push_back(message);
        Ok(())
    }

    async fn read(&mut self, until: Instant) -> Heard {
        loop {
            let heard = match self.decoder.next_frame() {
                Ok(Some(frame)) => Some(self.decode(frame)),
                Ok(None) => None,
                Err(error) => Some(Heard::Closed(format!("the server broke the framing: {error}"))),
            };
            if let Some(heard) = heard {
                return heard;
            }
            let heard = match timeout_at(until, self.stream.read_buf(self.decoder.buffer_mut())).await {
                Err(_) => return Heard::Nothing,
                Ok(Ok(0)) => "the server closed the connection".to_owned(),
                Ok(Err(error)) => format!("the connection was lost: {error}"),
                Ok(Ok(_)) => continue,
            };
            self.exchange.note(format!("{}. {heard}", self.label));
            return Heard::Closed(heard);
        }
    }

    fn decode(&self, frame: Bytes) -> Heard {
        match Message::decode(frame.clone()) {
            Ok(message) => {
                self.exchange.note(format!("{}< {}", self.label, shown(&message)));
                Heard::Message(message)
            }
            Err(error) => {
                let text = String::from_utf8_lossy(&frame[..frame.len().min(200)]).into_owned();
                self.exchange.note(format!("{}< {text:?}", self.label));
                Heard::Closed(format!("the server sent what is no message: {error}"))
            }
        }
    }
}

/// Whether a message is an ack of that kind.
pub(crate) fn is_ack(message: &Message, kind: AckType) -> bool {
    message.kind() == MessageKind::Ack && message.ack_type() == Some(kind)
}

/// A frame made of this header and body.
pub(crate) fn frame(header: &str, body: &str) -> Vec<u8> {
    let len = u32::try_from(header.len() + body.len()).unwrap_or(u32::MAX);
    [&len.to_be_bytes()[..], header.as_bytes(), body.as_bytes()].concat()
}

/// The subscriptions a message is for.
pub(crate) fn subscriptions(message: &Message) -> Vec<&str> {
    let mut ids: Vec<_> = message.subscription_ids().collect();
    ids.sort_unstable();
    ids
}

/// The body as text.
pub(crate) fn body(message: &Message) -> String {
    String::from_utf8_lossy(message.data()).into_owned()
}

/// A field that a message has to have.
pub(crate) fn need(message: &Message, field: Field) -> Result<String, Stop> {
    let value = message.text(field).filter(|value| !value.is_empty());
    value.map(|value| value.into_owned()).ok_or_else(|| fail(format!("\"{}\" is there", field.key()), shown(message)))
}
