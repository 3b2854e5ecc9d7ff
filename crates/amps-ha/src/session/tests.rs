use super::*;
use crate::reconnect::ExponentialReconnect;
use crate::server_chooser::ListChooser;

/// A session and the moment it lives in.
struct Scene {
    session: Session,
    now: Instant,
}

impl Scene {
    fn new(servers: &[&str]) -> Self {
        let chooser: ListChooser = servers.iter().map(|host| uri(host)).collect();
        let reconnect = ExponentialReconnect::new(1).loss_window(Duration::ZERO).jitter(0.0);
        let mut session = Session::new(SessionConfig::default(), Box::new(chooser), Box::new(reconnect));
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
                Action::Notify(Event::State(change)) => format!("{:?}", change.state),
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
    ("replaying", |scene| scene.session.heartbeat_started()),
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

/// Covers 11.4#1.
#[test]
fn waits_grow_until_a_connection_proves_healthy() {
    let mut scene = Scene::new(&["a"]);
    let mut waits = Vec::new();
    for _ in 0..4 {
        // Accepted, recovered, and lost at once.
        scene.reach("live");
        scene.fail();
        waits.push(scene.next_deadline().as_millis());
    }
    assert_eq!(waits, [200, 400, 800, 1600], "being connected is not being healthy");
    scene.reach("live");
    scene.wait(Duration::from_secs(5));
    assert!(scene.fail().contains(&"dial a".to_owned()), "at once after five seconds live");
    scene.fail();
    assert_eq!(scene.next_deadline().as_millis(), 200);
    scene.reach("replaying");
    scene.session.progressed();
    assert!(scene.fail().contains(&"dial a".to_owned()), "at once after progress, at any step");
}

#[test]
fn nothing_follows_a_close() {
    for (step, _) in STEPS {
        let mut scene = Scene::new(&["a"]);
        scene.reach(step);
        scene.session.close();
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
        scene.session.close();
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
