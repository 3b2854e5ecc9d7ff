use std::time::Duration;

use amps_core::Uri;
use amps_ha::publish_log::MemoryPart;
use amps_ha::warning::ConfigWarning;

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
        (client().logon_correlation_id("two words"), "logon_correlation_id: is not made of"),
        (client().command_timeout(Duration::ZERO), "command_timeout: it is zero"),
        (client().connect_within(Duration::ZERO), "connect_within: it is zero"),
        (client().resubscribe_timeout(Duration::ZERO), "resubscribe_timeout: it is zero"),
        (client().attempt_timeouts(Duration::ZERO, Duration::from_secs(1)), "attempt_timeouts: it is zero"),
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

/// Every warning, by what causes it.
#[tokio::test]
async fn settings_that_lose_messages_are_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let client = || Client::builder("me").server(URI);
    let sled = |name: &str| Client::builder(name).server(URI).publish_store(PublishStore::sled(dir.path().join("s")));
    let uuid = "gateway-1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";
    let second = Duration::from_secs(1);
    let first: Uri = URI.parse().unwrap();
    for (builder, expected) in [
        (client(), vec![]),
        (client().heartbeat(second, second * 2), vec![]),
        (client().heartbeat(second, second), vec![ConfigWarning::TightHeartbeat { interval: second, timeout: second }]),
        (client().no_heartbeat(), vec![ConfigWarning::NoHeartbeat]),
        (client().server(URI), vec![ConfigWarning::DuplicateServer { uri: first }]),
        (client().on_publish_gap(OnPublishGap::Continue), vec![]),
        (
            client().server("tcp://other:9007/amps/json").on_publish_gap(OnPublishGap::Continue),
            vec![ConfigWarning::ContinuesOverPublishGap],
        ),
        (
            Client::builder("me").server("tcp://one@a:1/amps/json").server("tcp://two@b:1/amps/json"),
            vec![ConfigWarning::UsersDiffer { first: "one".into(), other: "two".into() }],
        ),
        (sled("gateway-1"), vec![]),
        (sled(uuid), vec![ConfigWarning::UnstableName { name: uuid.into() }]),
        (Client::builder(uuid).server(URI), vec![]),
        (client().no_recovery(), vec![ConfigWarning::StoreWithoutRecovery]),
        (Client::plain("me").server(URI), vec![]),
    ] {
        assert_eq!(builder.check().unwrap(), expected);
    }
    let name = format!("gateway-{}", std::process::id());
    // A small number may well be the number of something else.
    let expected = (std::process::id() > 999).then(|| ConfigWarning::UnstableName { name: name.clone() });
    assert_eq!(sled(&name).check().unwrap(), Vec::from_iter(expected));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was created");
    let started = client().no_heartbeat().start().unwrap();
    assert_eq!(started.warnings(), [ConfigWarning::NoHeartbeat], "a client keeps them");
}

/// A subscription that would go on where the last process stopped, with a store
/// that forgets it.
#[tokio::test]
async fn a_subscription_that_forgets_its_place_is_warned_of() {
    let server = amps_testserver::TestServer::builder().start().await.unwrap();
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    let mut events = client.events();
    client.subscribe(crate::Subscribe::to("t").bookmark(crate::StartAt::Epoch)).await.unwrap();
    client.subscribe(crate::Subscribe::to("u").bookmark(crate::StartAt::MostRecent)).await.unwrap();
    let Some(Event::Warning(warning)) = events.next().await else { panic!("a warning") };
    assert_eq!(warning, ConfigWarning::BookmarksForgotten { topic: "u".into() });
    client.close(Duration::ZERO).await;
}
