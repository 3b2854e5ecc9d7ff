//! A program on a terminal that nobody sits at.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::num::NonZero;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::sync::watch;
use vt100::{Parser, Screen};

use crate::Failure;

const LIMIT: Duration = Duration::from_secs(60);
const ROWS: NonZero<u16> = NonZero::new(9).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(112).unwrap();

/// The terminal and what runs on it, which ends with it.
pub(super) struct Terminal {
    child: Child,
    _master: File,
    screen: Arc<Mutex<Parser>>,
    /// Counts what was written.
    written: watch::Receiver<u64>,
}

impl Terminal {
    pub(super) fn run(program: &Path, args: &[&str]) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("no terminal for {}: {error}", program.display()));
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).map_err(|error| failed(error.into()))?;
        grantpt(&master).and_then(|()| unlockpt(&master)).map_err(|error| failed(error.into()))?;
        let path = ptsname(&master, Vec::new()).map_err(|error| failed(error.into()))?;
        let flags = OFlags::NOCTTY.bits().cast_signed();
        let path = path.to_string_lossy().into_owned();
        let slave = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).map_err(failed)?;
        let size = Winsize { ws_row: ROWS.get(), ws_col: COLUMNS.get(), ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size).map_err(|error| failed(error.into()))?;
        let end = || slave.try_clone().map(Stdio::from).map_err(failed);
        let child = Command::new(program).args(args).stdin(end()?).stdout(end()?).stderr(end()?).spawn();
        let child = child.map_err(failed)?;
        let master = File::from(master);
        let screen = Arc::new(Mutex::new(Parser::new(ROWS, COLUMNS, 0)));
        let (count, written) = watch::channel(0);
        let (mut reader, into) = (master.try_clone().map_err(failed)?, Arc::clone(&screen));
        thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                into.lock().unwrap_or_else(PoisonError::into_inner).process(&buffer[..length]);
                count.send_modify(|count| *count += 1);
            }
        });
        Ok(Self { child, _master: master, screen, written })
    }

    /// What is to be seen.
    pub(super) fn screen(&self) -> Screen {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).screen().clone()
    }

    /// Waits until this is to be seen.
    pub(super) async fn shows(&self, text: &str) -> Result<(), Failure> {
        let mut written = self.written.clone();
        let shown = written.wait_for(|_| self.screen().contents().contains(text));
        match tokio::time::timeout(LIMIT, shown).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Failure::new(format!("never to be seen: {text:?}, but\n{}", self.screen().contents()))),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
