//! The conformance suite on the test server, which passes, and on servers that
//! break a rule each, which do not.

mod faults;
mod tamper;

use std::collections::BTreeSet;
use std::time::Duration;

use amps_conformance::{Check, Options, Totals, Verdict, checks, run};
use amps_core::Uri;
use amps_testserver::{QueueConfig, Readings, TestServer};
use faults::{FAULTS, Fault};
use tamper::tampered;

/// A server with everything that checks need.
async fn server() -> TestServer {
    server_with(Readings::default()).await
}

/// One that reads the documents so where they leave something open.
async fn server_with(readings: Readings) -> TestServer {
    let queue = QueueConfig::new("conformance-queue").max_per_subscription_backlog(10).lease(Duration::from_secs(600));
    let builder = TestServer::builder().ack_conflation(Duration::from_millis(20)).queue(queue);
    let builder = builder.topic_log("^conformance-(sow|log|queue)$").sow("conformance-sow", "/id");
    builder.configure(|config| config.readings = readings).start().await.unwrap()
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

/// What is open is open: no check judges one reading of the documents.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_one_that_reads_the_documents_in_the_other_way() {
    let mut readings = Readings::all_others();
    // By that one checks learn what bookmarks of theirs look like.
    readings.no_bookmark_in_logon = false;
    let server = server_with(readings).await;
    let mut options = options(&server.uri());
    let chapters: BTreeSet<_> = checks().map(Check::chapter).filter(|chapter| *chapter != "heartbeat").collect();
    options.only = chapters.into_iter().map(str::to_owned).collect();
    let (wrong, totals) = suite(&options).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(totals.passed > 200, "{totals:?}");
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

/// Runs the checks that a broken rule concerns; answers those that fail.
async fn seen(fault: &Fault) -> BTreeSet<&'static str> {
    let server = server().await;
    let mut options = options(&tampered(server.addr(), fault.change).await);
    options.timeout = Duration::from_secs(1);
    options.only = fault.seen_by.iter().map(|name| (*name).to_owned()).collect();
    let mut failed = BTreeSet::new();
    run(&options, |finding| {
        if matches!(finding.verdict, Verdict::Fail { .. }) {
            failed.insert(finding.check.name);
        }
    })
    .await
    .unwrap_or_else(|error| panic!("{}: {error}", fault.what));
    server.stop().await;
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_breaks_a_rule_does_not_conform() {
    let mut unseen = Vec::new();
    // Most of the time is spent on waiting for what does not come.
    for faults in FAULTS.chunks(8) {
        let runs: Vec<_> = faults.iter().map(|fault| tokio::spawn(seen(fault))).collect();
        for (fault, run) in faults.iter().zip(runs) {
            let failed = run.await.unwrap();
            let passed: Vec<_> = fault.seen_by.iter().filter(|name| !failed.contains(*name)).collect();
            if !passed.is_empty() {
                unseen.push(format!("{}: passed {passed:?}, failed {failed:?}", fault.what));
            }
        }
    }
    assert!(unseen.is_empty(), "{}", unseen.join("\n"));
}

#[tokio::test]
async fn a_failure_says_what_was_expected_and_what_came() {
    let server = server().await;
    let fault = FAULTS.iter().find(|fault| fault.what == "bodies change").unwrap();
    let mut options = options(&tampered(server.addr(), fault.change).await);
    options.only = vec!["publish/delivered".to_owned()];
    let (wrong, totals) = suite(&options).await;
    assert_eq!((totals.failed, totals.checks()), (1, 1));
    for part in ["expected: \"the body: ", "b> {\\\"c\\\":\\\"subscribe", "b< {\\\"c\\\":\\\"p\\\""] {
        assert!(wrong[0].contains(part), "{part} is not in {}", wrong[0]);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_not_configured() {
    let server = TestServer::builder().no_transaction_log().start().await.unwrap();
    let mut options = options(&server.uri());
    options.only = ["sow/records", "bookmark/epoch", "queue/ack", "bookmark/no-deletions"].map(str::to_owned).into();
    let (wrong, totals) = suite(&options).await;
    assert_eq!((totals.not_configured, totals.checks()), (4, 4), "{wrong:?}");
    server.stop().await;
}

#[tokio::test]
async fn nobody_there_is_no_verdict() {
    let server = server().await;
    let options = options(&server.uri());
    server.faults(|faults| faults.refuse_logon(Some("not today")));
    let error = run(&options, |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("not today"), "{error}");
    server.stop().await;
    let error = run(&options, |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("accepts a connection"), "{error}");
}

#[tokio::test]
async fn nothing_is_left_behind() {
    let server = server().await;
    let mut options = options(&server.uri());
    options.only = ["sow", "sow_delete", "delta_publish", "queue", "oof"].map(str::to_owned).into();
    let (wrong, _) = suite(&options).await;
    assert!(wrong.is_empty(), "{wrong:?}");
    let client = amps_client::Client::builder("looks").server(server.uri()).connect().await.unwrap();
    for topic in ["conformance-sow", "conformance-queue"] {
        assert_eq!(client.count(topic).await.unwrap(), 0, "{topic}");
    }
    client.close(Duration::from_secs(1)).await;
    server.stop().await;
}
