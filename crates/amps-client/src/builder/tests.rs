use std::time::Duration;

use amps_ha::publish_log::MemoryPart;

use super::*;

const URI: &str = "tcp://h:9007/amps/json";

/// What is wrong with these settings.
async fn refused(builder: ClientBuilder) -> String {
    builder.start().expect_err("refused").to_string()
}

/// Covers 3.1#3, 3.1#4.
#[tokio::test]
async fn wrong_settings_are_named_before_anything_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let client = || Client::builder("me").server(URI);
    for (builder, expected) in [
        (Client::builder("me"), "no server"),
        (Client::builder("").server(URI), "is empty"),
        (Client::builder("a[b]").server(URI), "square bracket"),
        (Client::builder("a\nb").server(URI), "control character"),
        (client().server("tcp://h/amps"), "a port is missing"),
        (client().server("tcp://h:1/amps/fix"), "'json' and 'fix'"),
        (client().heartbeat(Duration::ZERO, Duration::from_secs(1)), "no_heartbeat"),
        (client().heartbeat(Duration::from_secs(2), Duration::from_secs(1)), "shorter than the interval"),
        (client().store_bound(0), "store_bound"),
        (
            client()
                .publish_store(PublishStore::hybrid(dir.path().join("s"), MemoryPart::default()))
                .durability(Durability::ProcessCrash),
            "PublishStore::sled",
        ),
        (client().store_bound_messages(0), "would ever fit"),
        (
            client()
                .publish_store(PublishStore::sled(dir.path().join("s")))
                .bookmark_store(BookmarkStore::sled(dir.path().join("s"))),
            "one of its own",
        ),
    ] {
        let error = refused(builder).await;
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was created");
}

#[tokio::test]
async fn a_subscriber_needs_no_name() {
    Client::builder("").server(URI).publish_store(PublishStore::None).start().unwrap();
}

#[test]
fn without_a_runtime_the_error_says_so() {
    let error = Client::builder("me").server(URI).start().unwrap_err();
    assert!(matches!(error, OpenError::NoRuntime), "{error}");
}

#[test]
fn a_builder_shows_no_password() {
    let builder = Client::builder("me").server("tcp://u:SECRET@h:1/amps");
    assert!(!format!("{builder:?}").contains("SECRET"));
}
