//! The limit of a durable publish: a log file written by hand.
//!
//! One thread encodes into a buffer. Another takes what has gathered, appends it
//! to the file with its length and CRC, syncs once, and only then sends it.

use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use clap::Args;

use super::clocks::Clocks;
use super::frames::{self, FIRST_SEQUENCE, WRITE_LEN};
use super::publish::{connect, join, read_acks};
use super::{Figures, Load, failed};
use crate::Failure;

/// The most one group holds; as much as one of the client's.
const GROUP_LEN: usize = 8 * 1024 * 1024;

/// Options of the loop.
#[derive(Debug, Args)]
pub(crate) struct LogFile {
    #[command(flatten)]
    pub(super) load: Load,
    /// The file; made anew.
    #[arg(long)]
    pub(super) file: PathBuf,
}

/// What waits to be written.
#[derive(Debug, Default)]
struct Gathered {
    bytes: BytesMut,
    /// No more will come.
    last: bool,
    /// Nobody will take it.
    broken: bool,
}

/// Between the thread that encodes and the one that writes.
#[derive(Debug, Default)]
struct Buffer {
    gathered: Mutex<Gathered>,
    changed: Condvar,
}

impl LogFile {
    pub(super) fn run(&self) -> Result<Figures, Failure> {
        let mut stream = connect(&self.load)?;
        let acks = read_acks(&stream, Some(FIRST_SEQUENCE + self.load.count - 1))?;
        let mut file = File::create(&self.file).map_err(|error| failed("create the log file", error))?;
        let body = frames::body(self.load.size);
        let buffer = Buffer::default();

        let clocks = Clocks::start();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let written = write(&buffer, &mut file, &mut stream);
                buffer.lock().broken = written.is_err();
                buffer.changed.notify_all();
                written
            });
            for number in 0..self.load.count {
                if !buffer.push(FIRST_SEQUENCE + number, &body) {
                    break;
                }
            }
            buffer.lock().last = true;
            buffer.changed.notify_all();
            writer.join().unwrap_or_else(|_| Err(std::io::Error::other("a thread panicked")))
        })
        .map_err(|error| failed("write the log", error))?;
        join(acks)?;
        Ok(clocks.stop(self.load.count, self.load.size))
    }
}

impl Buffer {
    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while a whole group waits. Says whether anybody takes it.
    fn push(&self, sequence: u64, body: &[u8]) -> bool {
        let full = |gathered: &mut Gathered| gathered.bytes.len() >= GROUP_LEN && !gathered.broken;
        let mut gathered = self.changed.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        if gathered.bytes.is_empty() {
            self.changed.notify_all();
        }
        frames::publish(&mut gathered.bytes, Some(sequence), body);
        !gathered.broken
    }

    /// Puts what has gathered in place of `group`; nothing when it was the last.
    fn take(&self, group: &mut BytesMut) -> bool {
        group.clear();
        let nothing = |gathered: &mut Gathered| gathered.bytes.is_empty() && !gathered.last;
        let mut gathered = self.changed.wait_while(self.lock(), nothing).unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut gathered.bytes, group);
        self.changed.notify_all();
        !group.is_empty()
    }
}

fn write(buffer: &Buffer, file: &mut File, stream: &mut TcpStream) -> std::io::Result<()> {
    let mut group = BytesMut::new();
    while buffer.take(&mut group) {
        let mut head = [0; 8];
        head[..4].copy_from_slice(&(group.len() as u32).to_be_bytes());
        head[4..].copy_from_slice(&crc32fast::hash(&group).to_be_bytes());
        file.write_all(&head)?;
        file.write_all(&group)?;
        file.sync_data()?;
        for part in group.chunks(WRITE_LEN) {
            stream.write_all(part)?;
        }
    }
    Ok(())
}
