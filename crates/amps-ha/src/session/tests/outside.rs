//! The application's chooser and strategy: what they are told, and when they
//! misbehave.

use super::*;
use crate::reconnect::FixedReconnect;
use crate::server_chooser::Times;

/// What a chooser was told.
pub(super) type Calls = Arc<Mutex<Vec<String>>>;

/// A list that notes what it is asked and told.
pub(super) struct Watched {
    calls: Calls,
    list: ListChooser,
    reports: Vec<Report>,
}

impl Watched {
    pub(super) fn new(calls: &Calls, hosts: &[&str]) -> Self {
        Self { calls: Arc::clone(calls), list: hosts.iter().map(|host| uri(host)).collect(), reports: Vec::new() }
    }
}

impl ServerChooser for Watched {
    fn current(&mut self) -> Option<Server> {
        let server = self.list.current()?;
        self.calls.lock().unwrap().push(format!("current {}", server.uri().host()));
        Some(server)
    }
    fn report_failure(&mut self, report: &Report, cause: &Cause) {
        self.calls.lock().unwrap().push(format!("failure {} {}: {cause}", report.uri.host(), report.attempt));
        self.reports.push(report.clone());
        self.list.report_failure(report, cause);
    }
    fn report_success(&mut self, report: &Report) {
        self.calls.lock().unwrap().push(format!("success {} {}", report.uri.host(), report.attempt));
        self.list.report_success(report);
    }
    fn error(&self) -> String {
        self.list.error()
    }
}

/// Covers 11.2#1.
#[test]
fn every_attempt_has_one_report_and_the_list_is_walked_in_order() {
    let calls = Calls::default();
    let mut scene = Scene::choosing(SessionConfig::default(), Watched::new(&calls, &["a", "b", "c"]));
    for _ in 0..3 {
        scene.session.failed(scene.now, Cause::Closed);
        if scene.session.attempt.is_none() {
            scene.next_deadline();
        }
    }
    scene.session.failed(scene.now, Cause::LogonRefused(Reason::AuthFailure));
    scene.next_deadline();
    scene.reach("live");
    let closed = "the server closed the connection";
    let expected = [
        "current a".to_owned(),
        format!("failure a 1: {closed}"),
        "current b".to_owned(),
        format!("failure b 2: {closed}"),
        "current c".to_owned(),
        format!("failure c 3: {closed}"),
        "current a".to_owned(),
        "failure a 4: the server refused the logon: auth failure".to_owned(),
        "current b".to_owned(),
        "success b 5".to_owned(),
    ];
    assert_eq!(calls.lock().unwrap()[..], expected);
}

/// Notes the times of each failure.
struct Timed(Arc<Mutex<Vec<Times>>>);

impl ServerChooser for Timed {
    fn current(&mut self) -> Option<Server> {
        Some(uri("a").into())
    }
    fn report_failure(&mut self, report: &Report, _: &Cause) {
        self.0.lock().unwrap().push(report.times);
    }
    fn report_success(&mut self, report: &Report) {
        self.0.lock().unwrap().push(report.times);
    }
    fn error(&self) -> String {
        String::new()
    }
}

#[test]
fn a_report_says_how_long_each_stage_took() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let mut scene = Scene::choosing(SessionConfig::default(), Timed(Arc::clone(&times)));
    scene.fail();
    scene.next_deadline();
    scene.actions();
    for (milliseconds, (_, act)) in [0, 10, 20, 0, 0, 30].into_iter().zip(STEPS) {
        scene.now += Duration::from_millis(milliseconds);
        act(&mut scene);
        scene.actions();
    }
    scene.now += Duration::from_millis(40);
    scene.fail();
    let milliseconds = |value| Some(Duration::from_millis(value));
    let reached = Times {
        waited: Duration::from_millis(200),
        connect: milliseconds(10),
        logon: milliseconds(20),
        recovery: milliseconds(30),
        live: milliseconds(0),
    };
    let lost = Times { live: milliseconds(40), ..reached };
    assert_eq!(times.lock().unwrap()[..], [Times::default(), reached, lost]);
}

/// Panics in the call of that name.
struct Panics(&'static str, ListChooser);

impl Panics {
    fn at(&self, call: &str) {
        assert!(self.0 != call, "on purpose");
    }
}

impl ServerChooser for Panics {
    fn current(&mut self) -> Option<Server> {
        self.at("current");
        self.1.current()
    }
    fn report_failure(&mut self, report: &Report, cause: &Cause) {
        self.1.report_failure(report, cause);
        self.at("failure");
    }
    fn report_success(&mut self, report: &Report) {
        self.1.report_success(report);
        self.at("success");
    }
    fn error(&self) -> String {
        self.1.error()
    }
    fn accepts(&mut self, _: &LogonInfo) -> bool {
        self.at("accepts");
        true
    }
}

/// Covers 11.4#5.
#[test]
fn a_chooser_that_panics_is_told_of_and_ends_only_what_needs_its_answer() {
    let scene =
        |call| Scene::choosing(SessionConfig::default(), Panics(call, [uri("a"), uri("b")].into_iter().collect()));
    let told = "the server chooser panicked: on purpose".to_owned();

    let mut current = scene("current");
    assert_eq!(current.actions(), [told.as_str(), "Shutdown"]);
    assert!(current.session.is_closed());

    let mut failure = scene("failure");
    let actions = failure.fail();
    assert!(actions.contains(&told) && actions.contains(&"dial b".to_owned()), "{actions:?}");

    let mut success = scene("success");
    for (_, act) in STEPS {
        act(&mut success);
    }
    assert!(success.session.is_live() && success.actions().contains(&told));

    let mut accepts = scene("accepts");
    let logon = LogonInfo { uri: uri("a"), version: None, sequence: 0, acknowledged: 0 };
    assert!(!accepts.session.accepts(&logon), "no answer is no");
    assert!(accepts.actions().contains(&told));
}

struct PanickingDelay;

impl ReconnectStrategy for PanickingDelay {
    fn next_delay(&mut self, _: &AttemptContext<'_>) -> Delay {
        panic!("on purpose")
    }
    fn healthy(&mut self, _: &str) {}
}

#[test]
fn a_strategy_that_panics_gives_up() {
    let chooser = ListChooser::new([uri("a")]);
    let session = Session::new(SessionConfig::default(), Box::new(chooser), Box::new(PanickingDelay));
    let mut scene = Scene { session, now: Instant::now() };
    scene.session.start(scene.now);
    assert_eq!(scene.actions(), ["the reconnect strategy panicked: on purpose", "Shutdown"]);
}

#[test]
fn a_strategy_that_gives_up_ends_the_session_with_its_reason() {
    let chooser = ListChooser::new([uri("a")]);
    let strategy = FixedReconnect::new(Duration::from_secs(1), 1).max_retry_time(Duration::from_secs(2));
    let session = Session::new(SessionConfig::default(), Box::new(chooser), Box::new(strategy));
    let mut scene = Scene { session, now: Instant::now() };
    scene.session.start(scene.now);
    for _ in 0..5 {
        scene.session.failed(scene.now, Cause::Closed);
        if scene.session.is_closed() {
            break;
        }
        scene.next_deadline();
    }
    let mut last = None;
    while let Some(action) = scene.session.poll_action() {
        if let Action::Notify(Event::State(change)) = action {
            last = change.cause.map(|cause| cause.to_string());
        }
    }
    let reason = last.unwrap();
    assert!(reason.contains("gave up") && reason.contains("a:9007"), "{reason}");
}
