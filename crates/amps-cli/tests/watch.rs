//! `amps watch` as a person has it: on a terminal, and as other programs do:
//! without one.

use std::num::NonZero;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use amps_client::Client;
use amps_tests::terminal::Terminal;
use amps_testserver::{Link, TestServer};

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

/// `amps` on a terminal.
fn terminal(args: &[&str]) -> Terminal {
    Terminal::run(&mut amps(args), (ROWS, COLUMNS)).unwrap()
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
    let mut terminal = terminal(&["watch", "prices", "--server", &servers]);
    let at = |server: &TestServer| format!("current  at {}", server.addr());
    terminal.shows(&format!("prices  2 records  by symbol\n{}\nsymbol  bid\nACME     10\nINIT     20\n", at(&first)));
    assert!(terminal.screen().alternate_screen());
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
        let mut terminal = terminal(&["watch", "prices", "--server", &uri]);
        terminal.shows("ACME");
        match keys {
            b"" => terminal.terminate(),
            keys => terminal.types(keys),
        }
        assert_eq!(terminal.ends(), Some(0), "{keys:?}");
    }
    let terminal = terminal(&["watch", "prices", "--server", &uri, "--filter", "/bid = "]);
    terminal.shows("bad filter");
    assert_eq!(terminal.ends(), Some(1));
}
