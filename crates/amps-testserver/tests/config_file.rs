//! The configuration file: the documented example, and what is wrong with others.

use std::time::Duration;

use amps_testserver::{Delivery, Fairness, Leasing, MessageType, Readings, TestServerBuilder};

/// The error for a file with this text.
fn error(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server.toml");
    std::fs::write(&path, text).unwrap();
    let error = TestServerBuilder::from_file(&path).unwrap_err().to_string();
    assert!(error.contains("server.toml"), "{error}");
    error
}

#[tokio::test]
async fn the_example_is_a_server() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/testserver.toml");
    let server = TestServerBuilder::from_file(path).unwrap().start().await.unwrap();
    let config = server.config();
    assert_eq!((config.name.as_str(), config.ack_conflation), ("A", Duration::from_millis(50)));
    assert_eq!((config.topic_log.len(), config.outbox_limit, config.history_limit), (3, 64 << 20, 16_384));
    let [weather, sessions] = &config.sow[..] else { panic!("{:?}", config.sow) };
    assert_eq!(weather.key.as_deref(), Some("/station"));
    let history = weather.history.unwrap();
    assert_eq!((history.window, history.granularity), (Duration::from_secs(86_400), Duration::from_secs(3_600)));
    assert_eq!((sessions.key.as_deref(), sessions.expiration), (None, Some(Duration::from_secs(300))));
    let [queue] = &config.queues[..] else { panic!("{:?}", config.queues) };
    assert_eq!((queue.delivery, queue.leasing), (Delivery::AtLeastOnce, Leasing::Sublet));
    assert_eq!((queue.fairness, queue.lease), (Some(Fairness::Proportional), Some(Duration::from_secs(30))));
    assert_eq!((queue.max_backlog, queue.max_per_subscription_backlog), (Some(1_000), 10));
    assert_eq!((queue.max_deliveries, queue.max_cancels), (Some(5), Some(3)));
    assert_eq!((queue.expiration, queue.priority.as_deref()), (Some(Duration::from_secs(3_600)), Some("/urgency")));
    let types: Vec<_> = config.message_types.iter().map(|(topic, _)| topic.as_str()).collect();
    assert_eq!(types, ["fills", "trades", "quotes"]);
    assert_eq!(config.message_types[1].1, MessageType::CompositeLocal(vec![MessageType::Json, MessageType::Binary]));
    assert_eq!(config.message_types[2].1, MessageType::CompositeGlobal(vec![MessageType::Json, MessageType::Nvfix]));
    assert_eq!(config.readings, Readings::default());
    assert!(queue.barrier.as_ref().unwrap().matches(br#"{"kind":"barrier"}"#));
}

#[tokio::test]
async fn a_server_is_what_its_file_says_and_otherwise_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let write = |text: &str| {
        let path = dir.path().join("server.toml");
        std::fs::write(&path, text).unwrap();
        TestServerBuilder::from_file(&path).unwrap()
    };
    let plain = write("").start().await.unwrap();
    assert_eq!((plain.config().name.as_str(), plain.config().topic_log.len()), ("test", 1));
    let uri = plain.uri();
    let text = format!(
        "name = \"B\"\ntopic_log = []\nunix = {:?}\n[[queue]]\ntopic = \"q\"\n[[peer]]\nuri = \"{uri}\"\n",
        dir.path().join("socket")
    );
    let error = write(&text).start().await.unwrap_err();
    assert!(error.to_string().contains("the queue 'q'"), "what only the server can know is its error: {error}");
    let text = text
        .replace("topic_log = []", "topic_log = [\"^q\"]\n[readings]\nraw_patterns = true")
        .replace("unix", "# unix");
    let linked = write(&text).start().await.unwrap();
    let config = linked.config();
    assert_eq!((config.queues.len(), config.peers.len()), (1, 1), "both at once");
    assert!(config.readings.raw_patterns && !config.readings.null_predicates);
    let text = format!("name = \"B\"\ntopic_log = []\nunix = {:?}\n", dir.path().join("socket"))
        + &format!("[[peer]]\nuri = \"{uri}\"\n");
    let text = text.replace(&format!("{uri}\""), &format!("{uri}\"\nlink = \"async\""));
    let server = write(&text).start().await.unwrap();
    assert!(server.config().topic_log.is_empty() && server.unix_uri().is_some());
    assert_eq!(server.config().peers[0].link, amps_testserver::Link::Async);
}

#[test]
fn an_error_names_the_place_and_what_was_expected() {
    for (text, parts) in [
        ("name = \"A\"\nlisten_on = \"x\"", ["line 2, column 1", "unknown field `listen_on`, expected one of `name`"]),
        ("[[sow]]\nkey = \"/id\"", ["line 1", "missing field `topic`"]),
        ("[[sow]]\ntopic = \"s\"\nkey = \"id\"", ["line 3, column 7", "expected paths such as \"/id\""]),
        ("ack_conflation = \"soon\"", ["line 1, column 18", "expected an interval"]),
        ("ack_conflation = 50", ["line 1, column 18", "expected a string"]),
        (
            "\n\n[[queue]]\ntopic = \"q\"\ndelivery = \"maybe\"",
            ["line 5, column 12", "expected `at-least-once` or `at-most-once`"],
        ),
        ("[[queue]]\ntopic = \"q\"\nbarrier = \"/a >\"", ["line 3, column 11", "expected a value, found the end"]),
        ("topic_log = [\"^a\", \"b(\"]", ["line 1, column 13", "unclosed group"]),
        ("[[peer]]\nuri = \"nothing\"", ["line 2, column 7", "nothing"]),
        ("[readings]\nodd = true", ["line 2, column 1", "unknown field `odd`, expected one of `long_publish`"]),
        ("[[topic]]\ntopic = \"t\"\nmessage_type = \"yaml\"", ["line 3, column 16", "unknown message type `yaml`"]),
        ("[[topic]]\ntopic = \"t\"\nmessage_type = 5", ["line 3, column 16", "expected a message type"]),
        (
            "[[topic]]\ntopic = \"t\"\nmessage_type = { composite-global = [\"yaml\"] }",
            ["line 3, column 16", "unknown message type `yaml`"],
        ),
        (
            "[[topic]]\ntopic = \"t\"\nmessage_type = { composite = [\"json\"] }",
            ["line 3, column 16", "or { composite-global = [...] }"],
        ),
        ("name = ", ["line 1, column 8", "string values must be quoted"]),
        ("[limits]\nlog = -1", ["line 2, column 7", "expected usize"]),
    ] {
        let error = error(text);
        for part in parts {
            assert!(error.contains(part), "{text:?}\nlacks {part:?}:\n{error}");
        }
    }
}

#[test]
fn a_file_that_is_missing_is_named() {
    let error = TestServerBuilder::from_file("no such file.toml").unwrap_err().to_string();
    assert!(error.starts_with("cannot read no such file.toml: "), "{error}");
    let error = error_of_missing_chain();
    assert!(error.contains("chain.pem"), "{error}");
}

fn error_of_missing_chain() -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server.toml");
    std::fs::write(&path, "[tls]\nchain = \"chain.pem\"\nkey = \"key.pem\"\n").unwrap();
    TestServerBuilder::from_file(&path).unwrap_err().to_string()
}

/// A text is bounded in length, and in how deep it goes.
#[test]
fn a_file_is_neither_too_long_nor_too_deep() {
    let with = |len: usize| format!("name = \"{}\"\n", "x".repeat(len - "name = \"\"\n".len()));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server.toml");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        TestServerBuilder::from_file(&path).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(read(&with(1 << 20)), Ok(()));
    assert!(read(&with((1 << 20) + 1)).unwrap_err().contains("longer than 1 MiB"));
    assert!(TestServerBuilder::check_toml(&with((1 << 20) + 1)).unwrap_err().contains("longer than 1 MiB"));
    for deep in ["x = ".to_owned() + &"[".repeat(200_000), "a.".repeat(200_000) + "a = 1", "[".repeat(200_000)] {
        assert!(!TestServerBuilder::check_toml(&deep).unwrap_err().is_empty());
    }
}
