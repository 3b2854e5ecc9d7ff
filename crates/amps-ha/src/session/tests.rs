use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::*;
use crate::reconnect::ExponentialReconnect;
use crate::server_chooser::{ListChooser, PrimaryChooser, Report};
use amps_core::Reason;

mod measures;
mod outside;
mod together;

/// A session and the moment it lives in.
struct Scene {
    session: Session,
    now: Instant,
}

impl Scene {
    fn new(servers: &[&str]) -> Self {
        Self::with(SessionConfig::default(), servers)
    }

    fn with(config: SessionConfig, servers: &[&str]) -> Self {
        let chooser: ListChooser = servers.iter().map(|host| uri(host)).collect();
        Self::choosing(config, chooser)
    }

    fn choosing(config: SessionConfig, chooser: impl ServerChooser) -> Self {
        let reconnect = ExponentialReconnect::new(1).loss_window(Duration::ZERO).jitter(0.0);
        let mut session = Session::new(config, Box::new(chooser), Box::new(reconnect));
        let now = Instant::now();
        session.start(now);
        Self { session, now }
    }

    /// Everything it wants done now, in short.
    fn actions(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(action) = self.session.poll_action() {
            all.push(match action {
                Action::Dial(uri) => format!("dial {}", uri.host()),
                Action::LogOn(_) => "log on".to_owned(),
                Action::StartHeartbeat => "heartbeat".to_owned(),
                Action::Replay => "replay".to_owned(),
                Action::Resubscribe => "resubscribe".to_owned(),
                Action::HangUp => "hang up".to_owned(),
                Action::Drain => "drain".to_owned(),
                Action::Probe(uri) => format!("probe {}", uri.host()),
                Action::StayDown(_) => "stay down".to_owned(),
                Action::Notify(Event::State(change)) => {
                    assert_eq!(change.at, self.now, "told when it happened");
                    format!("{:?}", change.state)
                }
                Action::Notify(Event::NameContested { kicks, .. }) => format!("contested {kicks}"),
                Action::Notify(Event::Panicked(panicked)) => panicked.to_string(),
                Action::Notify(Event::AttemptFailed { attempt, .. }) => format!("failed {attempt}"),
                Action::Notify(other) => format!("{other:?}"),
            });
        }
        all
    }

    fn wait(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.session.timeout(self.now);
        self.actions()
    }

    /// Waits for the next deadline. Answers how long that took.
    fn next_deadline(&mut self) -> Duration {
        let at = self.session.deadline().expect("something is due");
        let waited = at.saturating_duration_since(self.now);
        self.now = at;
        self.session.timeout(at);
        waited
    }

    /// Goes on until the step of that name is done.
    fn reach(&mut self, step: &str) {
        for (name, act) in STEPS {
            act(self);
            if *name == step {
                break;
            }
        }
        self.actions();
    }

    /// As the heartbeat notices it.
    fn lose(&mut self) -> Vec<String> {
        self.session.failed(self.now, Cause::HeartbeatTimeout(Duration::from_secs(10)));
        self.actions()
    }

    fn fail(&mut self) -> Vec<String> {
        self.session.failed(self.now, Cause::Closed);
        self.actions()
    }
}

type Step = (&'static str, fn(&mut Scene));

const STEPS: &[Step] = &[
    ("dialing", |_| {}),
    ("logging on", |scene| scene.session.dialed(scene.now)),
    ("starting heartbeat", |scene| scene.session.logged_on(scene.now)),
    ("replaying", |scene| scene.session.heartbeat_started(scene.now)),
    ("resubscribing", |scene| scene.session.replayed(scene.now)),
    ("live", |scene| scene.session.resubscribed(scene.now)),
];

fn uri(host: &str) -> Uri {
    format!("tcp://{host}:9007/amps/json").parse().unwrap()
}

#[test]
fn recovery_goes_in_its_order() {
    let mut scene = Scene::new(&["a"]);
    assert_eq!(scene.actions(), ["dial a"]);
    for (step, expected) in STEPS[1..].iter().zip([
        vec!["Connected", "log on"],
        vec!["LoggedOn", "heartbeat"],
        vec!["HeartbeatInitiated", "replay"],
        vec!["PublishReplayed", "resubscribe"],
        vec!["Resubscribed"],
    ]) {
        (step.1)(&mut scene);
        assert_eq!(scene.actions(), expected, "{}", step.0);
    }
    assert!(scene.session.is_live());
}

#[test]
fn a_failure_at_any_step_leads_to_the_next_server() {
    for (step, _) in STEPS {
        let mut scene = Scene::new(&["a", "b"]);
        scene.reach(step);
        let expected: &[&str] = match *step {
            "dialing" => &["hang up", "failed 1", "dial b"],
            _ => &["hang up", "Disconnected", "failed 1", "dial b"],
        };
        assert_eq!(scene.fail(), expected, "{step}");
        assert!(scene.fail().len() > 1, "the next attempt can fail too");
    }
}

/// Covers 5.5.2#2.
#[test]
fn two_detectors_of_one_loss_report_it_once() {
    let mut scene = Scene::new(&["a"]);
    scene.reach("live");
    assert_eq!(scene.fail(), ["hang up", "Disconnected", "failed 1"]);
    assert_eq!(scene.fail(), [""; 0]);
}

/// Covers 11.6#3.
#[test]
fn every_step_that_waits_for_the_server_has_a_limit() {
    for (step, limit) in [
        ("dialing", Some(5)),
        ("logging on", Some(5)),
        ("starting heartbeat", Some(5)),
        ("replaying", None),
        ("resubscribing", Some(10)),
    ] {
        let mut scene = Scene::new(&["a", "b"]);
        scene.reach(step);
        let Some(limit) = limit.map(Duration::from_secs) else {
            // As long as it takes; the heartbeat watches the server meanwhile.
            assert_eq!(scene.session.deadline(), None);
            continue;
        };
        assert_eq!(scene.wait(limit - Duration::from_millis(1)), [""; 0], "{step}");
        assert!(scene.wait(Duration::from_millis(1)).contains(&"dial b".to_owned()), "{step}");
    }
}

#[test]
fn attempts_are_counted_since_the_last_healthy_connection() {
    let mut scene = Scene::new(&["a"]);
    let mut failed = |lasts: Duration| {
        scene.reach("live");
        scene.wait(lasts);
        let told = scene.lose();
        if !told.contains(&"dial a".to_owned()) {
            scene.next_deadline();
        }
        told.into_iter().find(|action| action.starts_with("failed")).unwrap()
    };
    let (short, long) = (Duration::from_secs(4), Duration::from_secs(6));
    assert_eq!(
        [short, short, long, short, short].map(&mut failed),
        ["failed 1", "failed 2", "failed 3", "failed 1", "failed 2"]
    );
}

/// Covers 11.4#1.
#[test]
fn waits_grow_until_a_connection_proves_healthy() {
    let mut scene = Scene::new(&["a"]);
    let mut waits = Vec::new();
    for _ in 0..4 {
        // Accepted, recovered, and lost at once.
        scene.reach("live");
        scene.lose();
        waits.push(scene.next_deadline().as_millis());
    }
    assert_eq!(waits, [200, 400, 800, 1600], "being connected is not being healthy");
    scene.reach("live");
    scene.wait(Duration::from_secs(5));
    assert!(scene.lose().contains(&"dial a".to_owned()), "at once after five seconds live");
    scene.lose();
    assert_eq!(scene.next_deadline().as_millis(), 200);
    scene.reach("replaying");
    scene.session.progressed();
    assert!(scene.lose().contains(&"dial a".to_owned()), "at once after progress, at any step");
}

/// Told to the strategy of each attempt, whether it follows a loss.
struct Told(Arc<Mutex<Vec<bool>>>);

impl ReconnectStrategy for Told {
    fn next_delay(&mut self, context: &AttemptContext<'_>) -> Delay {
        self.0.lock().unwrap().push(context.after_loss);
        Delay::Wait(Duration::ZERO)
    }

    fn healthy(&mut self, _: &str) {}
}

/// Only clients that were live return together, however short that was.
#[test]
fn what_was_live_is_lost_and_what_was_not_has_failed() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut scene = Scene::new(&["a"]);
    let chooser: ListChooser = [uri("a")].into_iter().collect();
    scene.session = Session::new(SessionConfig::default(), Box::new(chooser), Box::new(Told(Arc::clone(&told))));
    scene.session.start(scene.now);
    for step in ["dialing", "replaying", "live", "resubscribing"] {
        scene.wait(Duration::ZERO);
        scene.reach(step);
        scene.fail();
    }
    assert_eq!(*told.lock().unwrap(), [false, false, false, true, false]);
}

#[test]
fn nothing_follows_a_close() {
    for (step, _) in STEPS {
        let mut scene = Scene::new(&["a"]);
        scene.reach(step);
        scene.session.close(scene.now);
        let expected: &[&str] = match *step {
            "dialing" => &["hang up", "Shutdown"],
            _ => &["hang up", "Disconnected", "Shutdown"],
        };
        assert_eq!(scene.actions(), expected, "{step}");
        for (_, act) in STEPS {
            act(&mut scene);
        }
        scene.session.failed(scene.now, Cause::Closed);
        scene.session.progressed();
        scene.session.close(scene.now);
        assert_eq!(scene.wait(Duration::from_secs(60)), [""; 0], "{step}");
        assert_eq!(scene.session.deadline(), None);
    }
}

#[test]
fn a_chooser_without_servers_ends_the_session_and_says_why() {
    let mut scene = Scene::new(&[]);
    assert_eq!(scene.actions(), ["Shutdown"]);
    assert!(scene.session.is_closed());
}

/// The loss of a connection, and `close` while the next is waited for.
///
/// Covers 5.9#1.
#[test]
fn a_close_while_reconnecting_is_disconnected_and_then_shutdown() {
    let mut scene = Scene::new(&["a"]);
    scene.reach("live");
    assert_eq!(scene.fail(), ["hang up", "Disconnected", "failed 1"]);
    scene.session.close(scene.now);
    assert_eq!(scene.actions(), ["Shutdown"]);
    assert_eq!(scene.wait(Duration::from_secs(60)), [""; 0]);
}

/// Connected, and the logon refused.
///
/// Covers 5.9#1.
#[test]
fn a_refused_logon_is_disconnected_and_the_next_server() {
    let mut scene = Scene::new(&["a", "b"]);
    assert_eq!(scene.actions(), ["dial a"]);
    scene.session.dialed(scene.now);
    assert_eq!(scene.actions(), ["Connected", "log on"]);
    scene.session.lost(scene.now, Cause::LogonRefused(Reason::AuthFailure));
    assert_eq!(scene.actions(), ["hang up", "Disconnected", "failed 1", "dial b"]);
}

/// Covers 11.2#5.
#[test]
fn a_refused_logon_ends_it_only_if_that_was_asked_for() {
    let config = SessionConfig { stop_on_auth_failure: true, ..SessionConfig::default() };
    let mut scene = Scene::with(config, &["a", "b"]);
    let refuse = |scene: &mut Scene, reason| {
        scene.reach("logging on");
        scene.session.lost(scene.now, Cause::LogonRefused(reason));
        scene.actions()
    };
    assert!(refuse(&mut scene, Reason::NameInUse).contains(&"dial b".to_owned()), "that may pass");
    assert_eq!(refuse(&mut scene, Reason::AuthFailure), ["hang up", "Disconnected", "failed 2", "Shutdown"]);
    assert!(scene.session.is_closed());
}

#[test]
fn the_authenticator_has_a_limit_for_each_answer_and_the_logon_one_of_its_own() {
    let mut scene = Scene::new(&["a", "b"]);
    scene.reach("logging on");
    let almost = Duration::from_millis(4_999);
    for _ in 0..3 {
        scene.session.authenticating(scene.now);
        assert_eq!(scene.wait(almost), [""; 0]);
        scene.session.logging_on(scene.now);
        assert_eq!(scene.wait(almost), [""; 0]);
    }
    scene.session.authenticating(scene.now);
    assert!(scene.wait(Duration::from_secs(5)).contains(&"dial b".to_owned()));
}

/// What is said too early changes nothing: a logon needs a connection.
#[test]
fn a_session_that_dials_is_not_logging_on() {
    let mut scene = Scene::new(&["a"]);
    scene.actions();
    scene.session.logging_on(scene.now);
    scene.session.logged_on(scene.now);
    assert_eq!(scene.actions(), [""; 0]);
    scene.session.dialed(scene.now);
    assert_eq!(scene.actions(), ["Connected", "log on"]);
}

/// Covers 5.5.3#4.
#[test]
fn without_recovery_a_loss_is_the_end_until_somebody_starts_it_again() {
    let calls = outside::Calls::default();
    let config = SessionConfig { recovers: false, ..SessionConfig::default() };
    let chooser = outside::Watched::new(&calls, &["a", "b"]);
    let mut scene = Scene::choosing(config, chooser);
    assert!(scene.fail().contains(&"dial b".to_owned()), "an attempt that fails is followed by another");
    scene.reach("live");
    calls.lock().unwrap().clear();
    assert_eq!(scene.fail(), ["hang up", "Disconnected", "stay down"]);
    assert_eq!(scene.wait(Duration::from_secs(3600)), [""; 0]);
    assert!(calls.lock().unwrap().is_empty(), "{calls:?}");
    scene.session.start(scene.now);
    scene.wait(Duration::from_secs(60));
    scene.reach("live");
    assert!(scene.session.is_live());
}

/// A connection that is closed soon after its logon, three times: told, and
/// waits grow although each connection lasts for a while.
///
/// Covers 3.1#1.
#[test]
fn a_name_that_somebody_else_uses_is_told_and_backed_off() {
    let mut scene = Scene::new(&["a"]);
    let mut told = 0;
    let mut waits = Vec::new();
    for _ in 0..12 {
        scene.reach("live");
        // As long as another client with the same waits leaves it alone.
        let life = waits.last().map_or(Duration::from_secs(1), |wait: &Duration| (*wait).max(Duration::from_secs(1)));
        scene.wait(life);
        told += scene.fail().iter().filter(|action| *action == "contested 3").count();
        waits.push(scene.next_deadline());
    }
    assert!(told >= 1);
    assert_eq!(waits.last().unwrap().as_secs(), 20, "{waits:?}");
    scene.reach("live");
    scene.wait(Duration::from_secs(31));
    assert!(scene.fail().contains(&"dial a".to_owned()), "at once after half a calm minute");
}

/// The client asks it before it publishes, enters subscriptions and moves.
#[test]
fn it_says_what_it_is_at() {
    let at = |session: &Session| {
        [
            ("publishing", session.may_publish()),
            ("resubscribing", session.is_resubscribing()),
            ("live", session.is_live()),
            ("draining", session.is_draining()),
            ("idle", session.is_idle()),
            ("closed", session.is_closed()),
        ]
        .into_iter()
        .filter_map(|(name, is_at)| is_at.then_some(name))
        .collect::<Vec<_>>()
    };
    for (step, _) in STEPS {
        let mut scene = Scene::with(SessionConfig { recovers: false, ..SessionConfig::default() }, &["a", "b"]);
        scene.reach(step);
        let expected: &[&str] = match *step {
            "replaying" => &["publishing"],
            "resubscribing" => &["publishing", "resubscribing"],
            "live" => &["publishing", "live"],
            _ => &[],
        };
        assert_eq!(at(&scene.session), expected, "{step}");
        if *step == "live" {
            scene.session.move_to(scene.now, uri("b").into());
            assert_eq!(at(&scene.session), ["publishing", "draining"]);
            scene.fail();
            assert_eq!(at(&scene.session), ["idle"]);
        }
        scene.session.close(scene.now);
        assert_eq!(at(&scene.session), ["closed"], "{step}");
    }
}

/// A planned move: what is on its way is awaited, nobody is blamed, nothing is
/// waited for.
#[test]
fn a_move_drains_and_goes_to_its_server_at_once() {
    let calls = outside::Calls::default();
    let mut scene = Scene::choosing(SessionConfig::default(), outside::Watched::new(&calls, &["a", "b"]));
    scene.reach("live");
    calls.lock().unwrap().clear();
    assert!(scene.session.move_to(scene.now, uri("b").into()));
    assert_eq!(scene.actions(), ["drain"]);
    assert!(scene.session.may_publish() && !scene.session.is_live());
    scene.now += Duration::from_secs(1);
    scene.session.drained(scene.now);
    assert_eq!(scene.actions(), ["hang up", "Disconnected", "dial b"]);
    assert!(calls.lock().unwrap().is_empty(), "{calls:?}");
    scene.session.lost(scene.now, Cause::Closed);
    scene.reach("live");
    assert_eq!(calls.lock().unwrap()[..], ["success b 2"], "the old connection's end is nobody's failure");
    assert!(!scene.session.move_to(scene.now, uri("b").into()), "it is there");
    assert_eq!(scene.actions(), [""; 0]);
}

#[test]
fn a_move_is_not_held_up_by_what_cannot_be_drained_or_is_not_live() {
    let mut scene = Scene::new(&["a", "b"]);
    scene.reach("live");
    scene.session.move_to(scene.now, uri("b").into());
    scene.actions();
    let (nearly, rest) = (Duration::from_millis(9_999), Duration::from_millis(1));
    assert_eq!(scene.wait(nearly), [""; 0], "what may be drained is awaited for ten seconds");
    assert_eq!(scene.wait(rest), ["hang up", "Disconnected", "dial b"]);
    for (step, _) in STEPS[..STEPS.len() - 1].iter() {
        let mut scene = Scene::new(&["a", "b"]);
        scene.reach(step);
        scene.session.move_to(scene.now, uri("b").into());
        let expected: &[&str] = match *step {
            "dialing" => &["hang up", "dial b"],
            _ => &["hang up", "Disconnected", "dial b"],
        };
        assert_eq!(scene.actions(), expected, "{step}");
    }
    let mut waiting = Scene::new(&["a", "b"]);
    waiting.reach("live");
    waiting.fail();
    waiting.fail();
    assert_eq!(waiting.actions(), [""; 0], "it waits");
    waiting.session.move_to(waiting.now, uri("b").into());
    assert_eq!(waiting.actions(), ["dial b"]);
}

#[test]
fn after_a_move_that_fails_the_chooser_goes_on_where_it_was() {
    let mut scene = Scene::new(&["a", "b", "c"]);
    scene.reach("live");
    scene.session.move_to(scene.now, uri("c").into());
    scene.session.drained(scene.now);
    scene.actions();
    assert_eq!(scene.fail(), ["hang up", "failed 2"]);
    scene.next_deadline();
    assert_eq!(scene.actions(), ["dial a"]);
}

/// A connection that is lost while it is drained is a loss, and the move goes
/// on.
#[test]
fn a_loss_while_draining_is_a_loss_and_the_move_goes_on() {
    let mut scene = Scene::new(&["a", "b", "c"]);
    scene.reach("live");
    scene.session.move_to(scene.now, uri("c").into());
    scene.actions();
    assert_eq!(scene.fail(), ["hang up", "Disconnected", "failed 1", "dial c"]);
}

/// Covers 11.4#6.
#[test]
fn a_client_leaves_the_stand_in_once_the_primary_takes_connections_again() {
    let chooser = PrimaryChooser::new(uri("a"), [uri("b")]).fail_back_after(Duration::from_secs(30));
    let mut scene = Scene::choosing(SessionConfig::default(), chooser);
    scene.actions();
    assert!(scene.fail().contains(&"dial b".to_owned()));
    scene.reach("live");
    let half = Duration::from_secs(15);
    for _ in 0..3 {
        assert_eq!(scene.wait(half), [""; 0]);
        assert_eq!(scene.wait(half), ["probe a"], "again and again");
    }
    scene.session.probed(scene.now, &uri("a"));
    assert_eq!(scene.actions(), ["drain"]);
    scene.session.drained(scene.now);
    assert_eq!(scene.actions(), ["hang up", "Disconnected", "dial a"]);
    scene.reach("live");
    assert_eq!(scene.wait(Duration::from_secs(3600)), [""; 0], "nothing is better than the primary");
}
