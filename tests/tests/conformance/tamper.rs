//! Servers that break a rule: the test server behind a link that changes what
//! goes over it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use amps_core::frame::MAX_FRAME_LEN;
use amps_core::{FrameDecoder, Message};
use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// A frame on its way.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) from_server: bool,
    pub(crate) header: String,
    pub(crate) body: Bytes,
}

impl Frame {
    /// Whether it is this command, of the server or of a client.
    pub(crate) fn is(&self, command: &str) -> bool {
        self.header.starts_with(&format!("{{\"c\":\"{command}\""))
    }

    /// The same with a part of its header written differently.
    pub(crate) fn with(mut self, part: &str, other: &str) -> Self {
        self.header = self.header.replace(part, other);
        self
    }

    /// The same without a text field.
    pub(crate) fn without(mut self, key: &str) -> Self {
        let lead = format!(",\"{key}\":\"");
        if let Some(start) = self.header.find(&lead) {
            let value = start + lead.len();
            let len = self.header[value..].find('"').unwrap();
            self.header.replace_range(start..=value + len, "");
        }
        self
    }

    /// The same with one more field.
    pub(crate) fn and(mut self, field: &str) -> Self {
        self.header.insert_str(self.header.len() - 1, &format!(",{field}"));
        self
    }
}

/// What a connection remembers of what passed.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) count: u64,
    pub(crate) held: Vec<Frame>,
}

/// What becomes of a frame.
pub(crate) type Change = fn(&mut Memory, Frame) -> Vec<Frame>;

/// Where a changed server is reached.
pub(crate) async fn tampered(server: SocketAddr, change: Change) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("tcp://{}/amps/json", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(server).await else { return };
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let memory = Arc::new(Mutex::new(Memory::default()));
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            tokio::spawn(carry(from_client, to_server, false, change, Arc::clone(&memory)));
            tokio::spawn(carry(from_server, to_client, true, change, memory));
        }
    });
    uri
}

/// Until either side is gone.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    from_server: bool,
    change: Change,
    memory: Arc<Mutex<Memory>>,
) {
    let mut decoder = FrameDecoder::new(MAX_FRAME_LEN);
    while matches!(from.read_buf(decoder.buffer_mut()).await, Ok(1..)) {
        let mut out = BytesMut::new();
        while let Ok(Some(frame)) = decoder.next_frame() {
            let Ok(message) = Message::decode(frame.clone()) else {
                write(&mut out, &frame, b"");
                continue;
            };
            let header = message.header().to_owned();
            let body = frame.slice(header.len()..);
            let frame = Frame { from_server, header, body };
            for frame in change(&mut memory.lock().unwrap(), frame) {
                write(&mut out, frame.header.as_bytes(), &frame.body);
            }
        }
        if to.write_all(&out).await.is_err() {
            return;
        }
    }
}

fn write(out: &mut BytesMut, header: &[u8], body: &[u8]) {
    out.put_u32((header.len() + body.len()) as u32);
    out.put_slice(header);
    out.put_slice(body);
}
