//! What an operator sees: health for a probe, metrics for Prometheus, and a report
//! for a person, over HTTP, while a server dies.
//!
//! Run it with `cargo run -p amps-client --features metrics --example operations`,
//! and look at `/health`, `/metrics` and `/report` of the address it prints.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use amps_client::{Client, ConnectionState, LastHeaders, SocketConnector, Subscribe};
use amps_testserver::{Link, TestServer};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Answers one request after another.
async fn serve(listener: TcpListener, client: Client, metrics: PrometheusHandle) -> std::io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let mut request = String::new();
        BufReader::new(&mut stream).read_line(&mut request).await?;
        let (status, kind, body) = answer(request.split(' ').nth(1), &client, &metrics);
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await?;
    }
}

fn answer(path: Option<&str>, client: &Client, metrics: &PrometheusHandle) -> (&'static str, &'static str, String) {
    match path {
        // Neither waits for anything, whatever the client is at.
        Some("/health") => match client.health() {
            health if health.is_ready() => ("200 OK", "text/plain", health.to_string()),
            health => ("503 Service Unavailable", "text/plain", health.to_string()),
        },
        Some("/report") => ("200 OK", "text/plain", client.dump()),
        Some("/metrics") => {
            // Otherwise depths and ages are up to a second old.
            client.record_metrics();
            ("200 OK", "text/plain; version=0.0.4", metrics.render())
        }
        _ => ("404 Not Found", "text/plain", "/health, /report, /metrics".to_owned()),
    }
}

async fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn story(seconds: u64) -> Result<(), Box<dyn Error>> {
    // Before any client is started. An application does the upkeep now and then,
    // as the exporter's documents say.
    let metrics = PrometheusBuilder::new().install_recorder()?;

    let stand_in = TestServer::builder().name("stand-in").start().await?;
    let primary = TestServer::builder().name("primary").peer(stand_in.uri(), Link::Sync).start().await?;
    let headers = LastHeaders::new(20);
    let client = Client::builder("gateway")
        .servers([primary.uri(), stand_in.uri()].map(|uri| uri.replace("tcp://", "tcp://trader:secret@")))
        .connector(SocketConnector::new().tap(headers.tap()))
        .connect()
        .await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!("http://{address}/health, /metrics, /report");
    let serving = tokio::spawn(serve(listener, client.clone(), metrics));

    let mut orders = client.subscribe(Subscribe::to("orders").id("desk")).await?;
    client.publish("orders", "1").await?;
    client.flush().await?;
    orders.next_message().await?;
    assert!(get(address, "/health").await?.ends_with("ready"));

    // A server dies. Each look says what the client is at.
    let mut state = client.state();
    state.latest();
    primary.stop().await;
    while state.changed().await.ok_or("the client ended")?.state != ConnectionState::Disconnected {}
    let health = get(address, "/health").await?;
    println!("\n{health}");
    client.connected().await?;
    assert!(get(address, "/health").await?.ends_with("ready"));

    let figures = get(address, "/metrics").await?;
    figures.lines().filter(|line| line.starts_with("amps_")).for_each(|line| println!("{line}"));
    for line in [
        r#"amps_connected{client="gateway"} 1"#,
        r#"amps_recover_seconds_count{client="gateway",reason="loss"} 1"#,
        r#"amps_unacknowledged_messages{client="gateway"} 0"#,
    ] {
        assert!(figures.lines().any(|other| other == line), "{line} in {figures}");
    }
    let report = get(address, "/report").await?;
    println!("\n{report}");
    assert!(report.contains("1 reconnect") && report.contains("last headers:"));
    assert!(![health, figures, report].concat().contains("secret"));

    // For whoever looks with a browser.
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    serving.abort();
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    story(60).await
}

#[tokio::test]
async fn the_story_is_true() {
    story(0).await.unwrap();
}
