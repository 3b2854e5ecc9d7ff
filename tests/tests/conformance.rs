//! The conformance suite on the test server, which passes, and on servers that
//! break a rule each, which do not.

use std::time::Duration;

use amps_conformance::{Options, Totals, Verdict, checks, run};
use amps_core::Uri;
use amps_testserver::{QueueConfig, TestServer};

/// A server with everything that checks need.
async fn server() -> TestServer {
    let queue = QueueConfig::new("conformance-queue").max_per_subscription_backlog(10).lease(Duration::from_secs(600));
    let builder = TestServer::builder().ack_conflation(Duration::from_millis(20)).queue(queue);
    let builder = builder.topic_log("^conformance-(sow|log|queue)$").sow("conformance-sow", "/id");
    builder.start().await.unwrap()
}

fn options(uri: &str) -> Options {
    Options::new(uri.parse::<Uri>().unwrap())
}

/// Everything a server gets wrong, and the totals.
async fn suite(options: &Options) -> (Vec<String>, Totals) {
    let mut wrong = Vec::new();
    let totals = run(options, |finding| match &finding.verdict {
        Verdict::Fail { .. } | Verdict::NotConfigured(_) => {
            wrong.push(format!("{}: {:#?}", finding.check.name, finding.verdict));
        }
        Verdict::Observed(what) => println!("{}: {what}", finding.check.name),
        _ => {}
    })
    .await
    .unwrap();
    (wrong, totals)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_test_server_conforms() {
    let server = server().await;
    let (wrong, totals) = suite(&options(&server.uri())).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(totals.passed + totals.observed, checks().count());
    assert_eq!(totals.checks(), checks().count());
    server.stop().await;
}

#[test]
fn every_check_has_a_name_of_its_own_and_a_page() {
    let mut names: Vec<_> = checks().map(|check| check.name).collect();
    let count = names.len();
    assert!(names.iter().all(|name| name.split('/').count() == 2), "{names:?}");
    assert!(checks().all(|check| check.source.starts_with("AMPS ") && check.source.contains('"')));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
