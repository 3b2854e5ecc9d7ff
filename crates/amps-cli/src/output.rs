//! What becomes of messages that come: they are printed, copied if that is
//! wished, and only then done with.

use std::fmt;
use std::io::{self, BufWriter, Stdout};
use std::time::{Duration, Instant};

use amps_client::Message;
use clap::Args;
use serde::Serialize;
use tokio::time::timeout;

use crate::copy::Copy;
use crate::exit::Failure;
use crate::format::{Format, Printer, Shown};
use crate::progress::Progress;
use crate::servers::{Reached, Servers};
use crate::summary::{self, Summary};

/// What waiting for copies may take, once it is to end.
const STOP: Duration = Duration::from_secs(2);

/// Options about what is written.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// What is printed of a message: body, json (with the header fields, one
    /// object a line), table, or a template with tags such as '{bookmark} {data}'.
    #[arg(
        long,
        value_name = "FORM",
        default_value = "body",
        env = "AMPS_FORMAT",
        hide_env_values = true,
        help_heading = "Output"
    )]
    pub(crate) format: Format,
    /// Also publishes each message to these servers, to the topic it came from.
    #[arg(long, value_name = "SERVER,...", value_delimiter = ',', help_heading = "Output")]
    pub(crate) copy: Vec<String>,
    /// A line about it all at the end, on standard error.
    #[arg(long, value_enum, value_name = "FORM", default_value = "none", help_heading = "Output")]
    pub(crate) summary: Summary,
}

/// The last line.
#[derive(Debug, Default, Serialize)]
struct Tally {
    messages: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    copied: Option<u64>,
    reconnects: u64,
    /// Times when messages may be missing.
    gaps: u64,
    seconds: f64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} bytes", summary::counted(self.messages, "message"), self.bytes)?;
        if let Some(copied) = self.copied {
            write!(f, ", {copied} copied")?;
        }
        write!(f, ", {}, ", summary::counted(self.reconnects, "reconnect"))?;
        if self.gaps > 0 {
            write!(f, "{}, ", summary::counted(self.gaps, "gap"))?;
        }
        write!(f, "{} s", self.seconds)
    }
}

/// Messages on their way out.
#[derive(Debug)]
pub(crate) struct Out {
    printer: Printer<BufWriter<Stdout>>,
    copy: Option<Copy>,
    progress: Progress,
    tally: Tally,
    began: Instant,
    form: Summary,
}

/// Nobody reads what is printed any more, as behind `| head`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    There,
    Gone,
}

impl Output {
    /// Begins to write messages of `topic`; `follows` it, or asks once. `delta`:
    /// messages say what changed.
    ///
    /// # Errors
    /// When the servers to copy to cannot be.
    pub(crate) fn open(
        &self,
        topic: &str,
        follows: bool,
        delta: bool,
        servers: &Servers,
        reached: &Reached,
    ) -> Result<Out, Failure> {
        let progress = Progress::receiving();
        Ok(Out {
            printer: Printer::new(BufWriter::new(io::stdout()), &self.format, topic, follows),
            copy: Copy::start(&self.copy, servers, reached, delta, &progress)?,
            progress,
            tally: Tally::default(),
            began: Instant::now(),
            form: self.summary,
        })
    }
}

impl Out {
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether messages go to another server as well.
    pub(crate) fn copies(&self) -> bool {
        self.copy.is_some()
    }

    pub(crate) fn messages(&self) -> u64 {
        self.tally.messages
    }

    /// Messages may be missing.
    pub(crate) fn gap(&mut self) {
        self.tally.gaps += 1;
    }

    /// Prints messages and copies them. When `all` of that has to be safe before
    /// it goes on, waits until the copies are persisted.
    ///
    /// # Errors
    /// When standard output fails, or the copies do.
    pub(crate) async fn write(&mut self, messages: &[Message], all: bool) -> Result<Readers, Failure> {
        let written = messages.iter().try_for_each(|message| self.printer.write(&Shown::from(message)));
        match written.and_then(|()| self.printer.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Readers::Gone),
            Err(error) => return Err(Failure::new("cannot write to standard output", error)),
        }
        if let Some(copy) = &mut self.copy {
            for message in messages {
                copy.publish(message).await?;
            }
            if all {
                copy.persisted().await?;
            }
        }
        self.tally.messages += messages.len() as u64;
        self.tally.bytes += messages.iter().map(|message| message.data().len() as u64).sum::<u64>();
        self.progress.count(self.tally.messages);
        Ok(Readers::There)
    }

    /// Writes what is left, waits for the copies, however long that takes unless
    /// it is to end `soon`, and gives the summary.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(crate) async fn end(mut self, reconnects: u64, soon: bool) -> Result<(), Failure> {
        let copied = match &self.copy {
            Some(copy) => {
                let limit = if soon { STOP } else { Duration::MAX };
                let persisted = match timeout(limit, copy.persisted()).await {
                    Ok(persisted) => persisted,
                    Err(_) => Err(Failure::new("not everything was copied", "it was stopped before")),
                };
                copy.close().await;
                self.tally.copied = Some(copy.copied());
                persisted
            }
            None => Ok(()),
        };
        self.progress.end();
        match self.printer.finish() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => return Err(Failure::new("cannot write to standard output", error)),
        }
        self.tally.reconnects = reconnects;
        self.tally.seconds = summary::seconds(self.began);
        if let Some(line) = self.form.line(&self.tally)? {
            eprintln!("{line}");
        }
        copied
    }
}
