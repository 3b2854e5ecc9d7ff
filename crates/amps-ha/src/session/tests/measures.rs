//! What is measured of attempts and recoveries.

use super::*;
use crate::measure::{Observer, RecoveryPhase};

/// What was measured, in short, and durations in milliseconds.
#[derive(Default)]
struct Noted(Mutex<Vec<String>>);

impl Observer for Noted {
    fn measured(&self, measure: &Measure<'_>) {
        let text = match measure {
            Measure::Attempt { server, failed } => {
                format!("attempt {} {}", server.host(), failed.map_or("live", Cause::name))
            }
            Measure::Phase { phase, took } => format!("{} {}", phase.as_str(), took.as_millis()),
            Measure::Recovered { reason, took } => format!("{} {}", reason.as_str(), took.as_millis()),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(text);
    }
}

impl Scene {
    fn noted(&mut self) -> Arc<Noted> {
        let noted = Arc::new(Noted::default());
        self.session.observed(Span::none(), Measures(Some(Arc::clone(&noted) as Arc<dyn Observer>)));
        noted
    }

    /// Every step takes a second.
    fn recover_in_seconds(&mut self) {
        for (_, step) in &STEPS[1..] {
            self.wait(Duration::from_secs(1));
            step(self);
            self.actions();
        }
    }
}

impl Noted {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[test]
fn the_phases_of_a_recovery_are_all_of_its_time_and_each_attempt_is_told_once() {
    let mut scene = Scene::new(&["a", "b"]);
    let noted = scene.noted();
    scene.recover_in_seconds();
    let first = ["connect 1000", "logon 1000", "heartbeat 1000", "replay 1000", "resubscribe 1000"];
    assert_eq!(noted.take(), [&first[..], &["start 5000", "attempt a live"]].concat());

    scene.lose();
    assert_eq!(noted.take(), ["wait 0"], "a loss is no attempt");
    // The next server is not there, the one after it falls silent on the way.
    scene.wait(Duration::from_millis(300));
    scene.session.failed(scene.now, Cause::ConnectTimeout(Duration::from_millis(300)));
    let waited = scene.next_deadline();
    scene.wait(Duration::from_millis(50));
    scene.session.dialed(scene.now);
    scene.actions();
    let limit = scene.next_deadline();
    scene.actions();
    let again = scene.next_deadline();
    scene.recover_in_seconds();
    let told = noted.take();
    let expected = [
        "connect 300".to_owned(),
        "attempt b connect_timeout".to_owned(),
        format!("wait {}", waited.as_millis()),
        "connect 50".to_owned(),
        format!("logon {}", limit.as_millis()),
        "attempt a logon_timeout".to_owned(),
        format!("wait {}", again.as_millis()),
    ];
    let whole = 350 + (waited + limit + again).as_millis() + 5_000;
    let last = [format!("loss {whole}"), "attempt b live".to_owned()];
    assert_eq!(told, [&expected[..], &first.map(str::to_owned), &last].concat());
}

#[test]
fn a_planned_move_is_no_loss_and_what_is_given_up_is_no_recovery() {
    let mut scene = Scene::new(&["a", "b"]);
    scene.reach("live");
    let noted = scene.noted();
    assert!(scene.session.move_to(scene.now, uri("b").into()));
    scene.session.drained(scene.now);
    scene.actions();
    scene.recover_in_seconds();
    assert_eq!(noted.take().last_chunk(), Some(&["move 5000".to_owned(), "attempt b live".to_owned()]));

    scene.fail();
    scene.session.close(scene.now);
    assert_eq!(noted.take(), ["wait 0"], "closed on the way");

    let mut scene = Scene::with(SessionConfig { recovers: false, ..SessionConfig::default() }, &["a"]);
    scene.reach("live");
    let noted = scene.noted();
    assert_eq!(scene.fail().last().unwrap(), "stay down");
    assert_eq!(noted.take(), [""; 0], "nothing is recovered from");
    scene.session.start(scene.now);
    scene.actions();
    scene.recover_in_seconds();
    assert_eq!(noted.take().last_chunk(), Some(&["start 5000".to_owned(), "attempt a live".to_owned()]));
}

/// Labels and dashboards hang on them.
#[test]
fn what_recovery_is_at_is_told_when_it_changes() {
    let mut scene = Scene::new(&["a"]);
    let at = |scene: &mut Scene| scene.session.recovering_changed().map(|at| at.map(|at| at.phase.as_str()));
    assert_eq!(at(&mut scene), Some(Some("connect")));
    assert_eq!(at(&mut scene), None, "it has not changed");
    scene.session.dialed(scene.now);
    scene.session.authenticating(scene.now);
    scene.session.logging_on(scene.now);
    let recovering = scene.session.recovering_changed().flatten().unwrap();
    assert_eq!((recovering.phase, recovering.server.host(), recovering.attempt), (RecoveryPhase::Logon, "a", 1));
    scene.session.logged_on(scene.now);
    assert_eq!(at(&mut scene), Some(Some("heartbeat")));
    scene.session.heartbeat_started(scene.now);
    scene.session.replayed(scene.now);
    assert_eq!(at(&mut scene), Some(Some("resubscribe")), "only the latest is of interest");
    scene.session.resubscribed(scene.now);
    assert_eq!(at(&mut scene), Some(None));
    let names: Vec<_> = RecoveryPhase::ALL.map(RecoveryPhase::as_str).into();
    assert_eq!(names, ["wait", "connect", "logon", "heartbeat", "replay", "resubscribe"]);
}

/// A wait is for the attempt behind it.
#[test]
fn a_wait_is_told_with_the_server_and_the_attempt_it_is_for() {
    let mut scene = Scene::new(&["a", "b"]);
    for _ in ["a", "b"] {
        scene.fail();
    }
    let at = scene.session.recovering_changed().flatten().unwrap();
    assert_eq!((at.phase, at.server.host(), at.attempt), (RecoveryPhase::Wait, "a", 3));
}

/// An authenticator's answers are part of the logon; who moves while it waits waits
/// for another server.
#[test]
fn a_phase_goes_on_through_an_authenticator_and_ends_with_another_server() {
    let second = Duration::from_secs(1);
    let mut scene = Scene::new(&["a", "b"]);
    let noted = scene.noted();
    scene.session.dialed(scene.now);
    scene.actions();
    scene.wait(second);
    scene.session.authenticating(scene.now);
    scene.wait(second);
    scene.session.logging_on(scene.now);
    scene.wait(second);
    scene.session.logged_on(scene.now);
    scene.actions();
    assert_eq!(noted.take(), ["connect 0", "logon 3000"]);

    scene.fail();
    scene.fail();
    noted.take();
    scene.session.move_to(scene.now, uri("b").into());
    let at = scene.session.recovering_changed().flatten().unwrap();
    assert_eq!((at.phase, at.server.host()), (RecoveryPhase::Connect, "b"));
    assert_eq!(noted.take(), ["wait 0", "wait 0"], "for one server, and for the other");
}
