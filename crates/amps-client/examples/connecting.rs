//! Connection strings, connection parameters, credentials: what a client says to
//! get in, and what it says when it does not.
//!
//! Run it with `cargo run --example connecting`.

use std::error::Error;
use std::time::Duration;

use amps_client::{Cause, Client, ConnectError, SocketConnector, Uri, UriError};
use amps_testserver::TestServer;

async fn story() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let server = TestServer::builder().unix(dir.path().join("amps.sock")).start().await?;
    server.faults(|faults| faults.check_credentials(|user, password| (user, password) == ("ann", "s3cret/")));

    // User and password stand in the connection string, with %2F for a slash.
    let uri = server.uri().replace("tcp://", "tcp://ann:s3cret%2F@");
    // Whatever is shown of it, the password is not.
    assert!(!uri.parse::<Uri>()?.to_string().contains("s3cret"));
    let client = Client::builder("reports-1").server(&uri).connect().await?;
    println!("logged on to AMPS {}", client.server_version().unwrap_or_default());
    client.close(Duration::from_secs(5)).await;

    // Connection parameters come behind a question mark: here everything is
    // compressed, and small segments may wait.
    let compressed = format!("{uri}?compression=zlib&tcp_nodelay=false");
    Client::builder("reports-2").server(compressed).connect().await?;

    // A socket file instead of a port.
    let unix = server.unix_uri().ok_or("no socket")?.replace("unix://", "unix://ann:s3cret%2F@");
    Client::builder("reports-3").server(unix).connect().await?;

    // Limits for each stage, and for all of it.
    let connector = SocketConnector::new().resolve_limit(Duration::from_secs(1)).address_limit(Duration::from_secs(1));
    let builder = Client::builder("reports-4").server(&uri).connector(connector);
    builder.connect_within(Duration::from_secs(10)).connect().await?;

    // What cannot be is said before anything is tried...
    let error = "tcp://host:9007/amps/json?nodelay=1".parse::<Uri>().unwrap_err();
    assert!(matches!(error, UriError::InvalidOption { .. }));
    println!("{error}");

    // ...and what a server refuses is said with the server's reason. By default
    // the client goes on trying, since somebody may mend it.
    let wrong = Client::builder("reports-5").server(server.uri()).stop_on_auth_failure();
    match wrong.connect().await {
        Err(ConnectError::GaveUp { cause, .. }) => {
            assert!(matches!(&cause, Cause::LogonRefused(_)) || cause.to_string().contains("auth failure"));
            println!("{cause}");
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    story().await
}

#[tokio::test]
async fn the_story_is_true() {
    story().await.unwrap();
}
