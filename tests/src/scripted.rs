//! A server that says what a test tells it to, for answers that the test server
//! would not give.

use std::future::Future;
use std::pin::Pin;

use amps_core::header::FrameWriter;
use amps_core::message::MessageKind;
use amps_core::{AckType, AckTypes, Field, FrameDecoder, Message};
use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a script answers to one command.
pub enum Answer {
    /// Frames; each text is a header and, behind its closing brace, a body.
    Frames(Vec<String>),
    /// The same, and then the connection is closed.
    Close(Vec<String>),
    /// Success to every acknowledgement it asks for, one behind the other.
    Usual,
}

impl<const N: usize> From<[&str; N]> for Answer {
    fn from(frames: [&str; N]) -> Self {
        Self::Frames(frames.map(str::to_owned).into())
    }
}

/// Listens, and answers the commands of each connection, one after the other, as
/// `script` says. It is called with the connection's number, from 0. Answers the
/// URI.
///
/// # Panics
/// When it cannot listen.
pub async fn start(script: impl FnMut(usize, &Message) -> Answer + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("tcp://{}/amps/json", listener.local_addr().expect("bound"));
    tokio::spawn(serve(listener, Box::new(script)));
    uri
}

type Script = Box<dyn FnMut(usize, &Message) -> Answer + Send>;

fn serve(listener: TcpListener, mut script: Script) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        for connection in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            // It ends when the client or the script closes it.
            let _ = answer_all(stream, connection, &mut script).await;
        }
    })
}

async fn answer_all(mut stream: TcpStream, connection: usize, script: &mut Script) -> std::io::Result<()> {
    let mut decoder = FrameDecoder::new(1 << 24);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        while let Some(frame) = decoder.next_frame().map_err(std::io::Error::other)? {
            let command = Message::decode(frame).map_err(std::io::Error::other)?;
            let (frames, closes) = match script(connection, &command) {
                Answer::Frames(frames) => (frames, false),
                Answer::Close(frames) => (frames, true),
                Answer::Usual => (usual(&command), false),
            };
            let mut out = BytesMut::new();
            for frame in &frames {
                out.put_u32(frame.len() as u32);
                out.put_slice(frame.as_bytes());
            }
            stream.write_all(&out).await?;
            if closes {
                return stream.shutdown().await;
            }
        }
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            count => decoder.extend(&buffer[..count]),
        }
    }
}

fn usual(command: &Message) -> Vec<String> {
    let asked = command.text(Field::AckType).map(|acks| AckTypes::from_wire(&acks)).unwrap_or_default();
    let kinds = [AckType::Received, AckType::Processed, AckType::Persisted, AckType::Completed, AckType::Stats];
    let acks = kinds.into_iter().filter(|kind| asked.contains(*kind)).map(|kind| {
        let mut out = BytesMut::new();
        let frame = FrameWriter::new(&mut out, "ack").maybe(Field::CommandId, command.command_id());
        let frame = frame.text(Field::AckType, kind.as_str()).text(Field::Status, "success");
        let frame = match command.kind() {
            MessageKind::Logon => frame.number(Field::Sequence, 0).text(Field::Version, "5.3.5.0"),
            _ => frame,
        };
        frame.maybe(Field::SubscriptionId, command.subscription_id()).finish(b"");
        String::from_utf8_lossy(&out[4..]).into_owned()
    });
    acks.collect()
}
