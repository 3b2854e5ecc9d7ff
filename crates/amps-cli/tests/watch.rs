//! `amps watch` as a person has it: on a terminal, and as other programs do:
//! without one.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use amps_client::Client;
use amps_testserver::{Link, TestServer};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use vt100::Parser;

const LIMIT: Duration = Duration::from_secs(60);
const ROWS: NonZero<u16> = NonZero::new(12).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(100).unwrap();

fn amps(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amps"));
    // Not what whoever runs the tests has set.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AMPS_")) {
        command.env_remove(name);
    }
    command.env("XDG_CONFIG_HOME", "/nonexistent").env_remove("HOME").env_remove("RUST_LOG").args(args);
    command
}

/// A terminal, and `amps watch` on it.
struct Terminal {
    master: File,
    slave: File,
    before: Termios,
    child: Child,
    /// What a person would see.
    screen: Arc<Mutex<Parser>>,
}

impl Terminal {
    fn run(args: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = PathBuf::from(ptsname(&master, Vec::new()).unwrap().into_string().unwrap());
        let flags = OFlags::NOCTTY.bits().cast_signed();
        let slave = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).unwrap();
        tcsetwinsize(&slave, Winsize { ws_row: ROWS.get(), ws_col: COLUMNS.get(), ws_xpixel: 0, ws_ypixel: 0 })
            .unwrap();
        let before = tcgetattr(&slave).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = amps(args).stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let master = File::from(master);
        let screen = Arc::new(Mutex::new(Parser::new(ROWS, COLUMNS, 0)));
        let (mut reader, into) = (master.try_clone().unwrap(), Arc::clone(&screen));
        thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                into.lock().unwrap().process(&buffer[..count]);
            }
        });
        Self { master, slave, before, child, screen }
    }

    /// Waits until this is to be seen.
    fn shows(&self, text: &str) {
        self.waits_for(text, |screen| {
            let contents = screen.contents();
            let lines: Vec<_> = contents.lines().map(str::trim_end).collect();
            lines.join("\n").contains(text)
        });
    }

    fn waits_for(&self, what: &str, condition: impl Fn(&vt100::Screen) -> bool) {
        let end = Instant::now() + LIMIT;
        while !condition(self.screen.lock().unwrap().screen()) {
            let contents = self.screen.lock().unwrap().screen().contents();
            assert!(Instant::now() < end, "never came: {what}\n{contents}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn types(&mut self, keys: &[u8]) {
        self.master.write_all(keys).unwrap();
    }

    fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Waits for its end: the exit code. The terminal is as it was.
    fn ends(mut self) -> Option<i32> {
        let end = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "it does not end");
            thread::sleep(Duration::from_millis(10));
        };
        self.waits_for("the first screen and its cursor", |screen| !screen.alternate_screen() && !screen.hide_cursor());
        let after = tcgetattr(&self.slave).unwrap();
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

async fn server() -> TestServer {
    TestServer::builder().sow("prices", "/symbol").ack_conflation(Duration::from_millis(5)).start().await.unwrap()
}

async fn publish(server: &TestServer, bodies: &[&str]) {
    let client = Client::builder("feed").server(server.uri()).connect().await.unwrap();
    for body in bodies {
        client.publish("prices", body).await.unwrap();
    }
    client.close(LIMIT).await;
}

/// Runs to its end, while the servers of this process serve.
async fn output(args: &[&str]) -> Output {
    let mut command = amps(args);
    command.stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_terminal_it_prints_the_table_once() {
    let server = server().await;
    publish(&server, &[r#"{"bid":10.5,"symbol":"INIT"}"#, r#"{"bid":9,"symbol":"ACME"}"#, "{\"symbol\":\"X\\u001b\"}"])
        .await;
    let uri = server.uri();
    let got = output(&["watch", "prices", "--server", &uri]).await;
    let expected = "symbol   bid\nACME        9\nINIT     10.5\nX\\u{1b}\n";
    assert_eq!(String::from_utf8_lossy(&got.stdout), expected, "{got:?}");
    assert!(got.status.success() && String::from_utf8_lossy(&got.stderr).contains("3 records of prices"), "{got:?}");
    let some = ["watch", "--topic", "prices", "--server", &uri, "--filter", "/bid > 0", "--columns", "bid,symbol"];
    let got = output(&[&some[..], &["--sort", "/symbol DESC", "--once"]].concat()).await;
    assert_eq!(String::from_utf8_lossy(&got.stdout), "bid   symbol\n10.5  INIT\n   9  ACME\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_watched_is_an_error() {
    let server = server().await;
    let uri = server.uri();
    let got = output(&["watch", "prices", "--server", &uri, "--filter", "/bid = "]).await;
    let error = String::from_utf8_lossy(&got.stderr).into_owned();
    assert!(
        got.status.code() == Some(1) && error.contains("cannot read prices") && error.contains("bad filter"),
        "{error}"
    );
    server.stop().await;
    let got = output(&["watch", "prices", "--server", &uri, "--timeout", "0"]).await;
    let error = String::from_utf8_lossy(&got.stderr).into_owned();
    assert!(got.status.code() == Some(1) && error.contains("cannot connect"), "{error}");
    let got = output(&["watch", "--server", &uri]).await;
    assert_eq!(got.status.code(), Some(2), "no topic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_terminal_the_table_survives_a_failover() {
    let second = server().await;
    let builder = TestServer::builder().sow("prices", "/symbol").ack_conflation(Duration::from_millis(5));
    let first = builder.name("first").peer(second.uri(), Link::Sync).start().await.unwrap();
    publish(&first, &[r#"{"symbol":"ACME","bid":10}"#, r#"{"symbol":"INIT","bid":20}"#]).await;
    let servers = format!("{},{}", first.uri(), second.uri());
    let mut terminal = Terminal::run(&["watch", "prices", "--server", &servers]);
    let at = |server: &TestServer| format!("current  at {}", server.addr());
    terminal.shows(&format!("prices  2 records  by symbol\n{}\nsymbol  bid\nACME     10\nINIT     20\n", at(&first)));
    assert!(terminal.screen.lock().unwrap().screen().alternate_screen());
    publish(&first, &[r#"{"symbol":"LIVE","bid":30}"#, r#"{"symbol":"ACME","bid":11}"#]).await;
    terminal.shows("ACME     11\nINIT     20\nLIVE     30\n");
    terminal.shows("1 new, 1 changed, 0 gone");
    first.stop().await;
    terminal.shows(&format!("{}, recovered once; last loss", at(&second)));
    publish(&second, &[r#"{"symbol":"NEXT","bid":40}"#]).await;
    terminal.shows("NEXT     40\n");
    terminal.types(b"s");
    terminal.shows("by bid\n");
    terminal.types(b"q");
    assert_eq!(terminal.ends(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_terminal_is_given_back_on_every_way_out() {
    let server = server().await;
    publish(&server, &[r#"{"symbol":"ACME","bid":10}"#]).await;
    let uri = server.uri();
    for keys in [&b"q"[..], b"\x1b", b"\x03", b""] {
        let mut terminal = Terminal::run(&["watch", "prices", "--server", &uri]);
        terminal.shows("ACME");
        match keys {
            b"" => terminal.terminate(),
            keys => terminal.types(keys),
        }
        assert_eq!(terminal.ends(), Some(0), "{keys:?}");
    }
    let terminal = Terminal::run(&["watch", "prices", "--server", &uri, "--filter", "/bid = "]);
    terminal.shows("bad filter");
    assert_eq!(terminal.ends(), Some(1));
}
