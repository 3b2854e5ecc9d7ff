//! A program on a terminal that nobody sits at.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::num::NonZero;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use vt100::{Parser, Screen};

const LIMIT: Duration = Duration::from_secs(60);

/// The terminal and what runs on it, which ends with it.
pub struct Terminal {
    master: File,
    slave: File,
    before: Termios,
    child: Child,
    shown: Arc<Shown>,
}

/// What a person would see.
struct Shown {
    screen: Mutex<Parser>,
    changed: Condvar,
}

impl Shown {
    fn screen(&self) -> MutexGuard<'_, Parser> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Terminal {
    /// Runs a program on a terminal with so many rows and columns.
    ///
    /// # Errors
    /// The system gives no terminal, or does not run the program.
    pub fn run(command: &mut Command, (rows, columns): (NonZero<u16>, NonZero<u16>)) -> io::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let path = PathBuf::from(ptsname(&master, Vec::new())?.to_string_lossy().into_owned());
        let flags = OFlags::NOCTTY.bits().cast_signed();
        let slave = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        tcsetwinsize(&slave, Winsize { ws_row: rows.get(), ws_col: columns.get(), ws_xpixel: 0, ws_ypixel: 0 })?;
        let before = tcgetattr(&slave)?;
        let end = || slave.try_clone().map(Stdio::from);
        let child = command.stdin(end()?).stdout(end()?).stderr(end()?).spawn()?;
        let master = File::from(master);
        let shown = Arc::new(Shown { screen: Mutex::new(Parser::new(rows, columns, 0)), changed: Condvar::new() });
        let (mut reader, into) = (master.try_clone()?, Arc::clone(&shown));
        thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                into.screen().process(&buffer[..length]);
                into.changed.notify_all();
            }
        });
        Ok(Self { master, slave, before, child, shown })
    }

    /// What is to be seen.
    pub fn screen(&self) -> Screen {
        self.shown.screen().screen().clone()
    }

    /// Waits until this is to be seen.
    ///
    /// # Panics
    /// When it never is.
    pub fn shows(&self, text: &str) {
        self.waits_for(text, |screen| {
            let contents = screen.contents();
            let lines: Vec<_> = contents.lines().map(str::trim_end).collect();
            lines.join("\n").contains(text)
        });
    }

    fn waits_for(&self, what: &str, condition: impl Fn(&Screen) -> bool) {
        let waiting = self.shown.screen();
        let waited = self.shown.changed.wait_timeout_while(waiting, LIMIT, |parser| !condition(parser.screen()));
        let (parser, late) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!late.timed_out(), "never came: {what}\n{}", parser.screen().contents());
    }

    /// Presses keys.
    ///
    /// # Panics
    /// The terminal is gone.
    pub fn types(&mut self, keys: &[u8]) {
        self.master.write_all(keys).expect("a terminal");
    }

    /// Asks the program to end.
    ///
    /// # Panics
    /// It has ended.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("a program that runs");
    }

    /// Waits for the program's end: its exit code.
    ///
    /// # Panics
    /// It does not end, or does not leave the terminal as it was.
    pub fn ends(mut self) -> Option<i32> {
        let pid = Pid::from_child(&self.child);
        let (ended, late) = mpsc::channel::<()>();
        let watchdog = thread::spawn(move || {
            if late.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = kill_process(pid, Signal::KILL);
                return true;
            }
            false
        });
        let status = self.child.wait().expect("a program that was started");
        drop(ended);
        assert!(!watchdog.join().expect("it only waits"), "it does not end");
        self.waits_for("the first screen and its cursor", |screen| !screen.alternate_screen() && !screen.hide_cursor());
        let after = tcgetattr(&self.slave).expect("a terminal");
        let modes = |termios: &Termios| (termios.input_modes, termios.output_modes, termios.local_modes);
        assert_eq!(modes(&after), modes(&self.before), "raw mode stays");
        status.code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
