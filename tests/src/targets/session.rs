//! Events, made of bytes, for a session; and the rules of what it may do then.

use std::time::{Duration, Instant};

use amps_core::{Reason, Uri};
use amps_ha::error::Cause;
use amps_ha::event::{ConnectionState, Event};
use amps_ha::reconnect::{ExponentialReconnect, FixedReconnect, ReconnectStrategy};
use amps_ha::server_chooser::{ListChooser, PrimaryChooser, ServerChooser, WeightedChooser};
use amps_ha::session::{Action, Session, SessionConfig};
use arbitrary::{Result, Unstructured};

const OPS_MAX: usize = 300;

/// Whatever happens, at whatever moment: there is one attempt at a time, states
/// follow each other as documented, nothing flows without a connection, and once
/// everything goes well the session is live, unless it was closed or gave up.
pub(super) fn run(bytes: &[u8]) {
    let mut bytes = Unstructured::new(bytes);
    let Ok(mut world) = World::new(&mut bytes) else { return };
    for _ in 0..OPS_MAX {
        if bytes.is_empty() || world.apply(&mut bytes).is_err() {
            break;
        }
        world.look();
    }
    world.heal();
}

struct World {
    session: Session,
    now: Instant,
    recovers: bool,
    /// A dial or a connection is there, as the driver sees it.
    attempt: bool,
    /// The last state that was told.
    state: Option<ConnectionState>,
    probing: Option<Uri>,
    /// What it wants to have answered last.
    wants: Option<Wants>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Wants {
    Dial,
    LogOn,
    Heartbeat,
    Replay,
    Resubscribe,
    Drain,
}

fn uri(number: u8) -> Uri {
    format!("tcp://s{number}:9007/amps/json").parse().expect("a connection string")
}

impl World {
    fn new(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let servers = bytes.int_in_range(1..=4u8)?;
        let uris = (0..servers).map(uri);
        let chooser: Box<dyn ServerChooser> = match bytes.int_in_range(0..=2u8)? {
            0 => Box::new(ListChooser::new(uris)),
            1 => Box::new(PrimaryChooser::new(uri(9), uris).fail_back_after(Duration::from_secs(30))),
            _ => Box::new(
                uris.zip(1u32..).fold(WeightedChooser::new(7), |chooser, (uri, weight)| chooser.server(uri, weight)),
            ),
        };
        let reconnect: Box<dyn ReconnectStrategy> = match bytes.ratio(1, 3u8)? {
            true => Box::new(FixedReconnect::new(Duration::from_millis(bytes.int_in_range(0..=5_000)?), 3)),
            false => Box::new(ExponentialReconnect::new(bytes.arbitrary()?)),
        };
        let recovers = bytes.ratio(3, 4u8)?;
        let config = SessionConfig {
            heartbeats: bytes.arbitrary()?,
            stop_on_auth_failure: bytes.arbitrary()?,
            recovers,
            ..SessionConfig::default()
        };
        let session = Session::new(config, chooser, reconnect);
        let (state, probing, wants) = (None, None, None);
        let mut world = Self { session, now: Instant::now(), recovers, attempt: false, state, probing, wants };
        world.session.start(world.now);
        world.look();
        Ok(world)
    }

    /// Things that can happen at any moment, those at a wrong one too.
    fn apply(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        let (session, now) = (&mut self.session, self.now);
        match bytes.int_in_range(0..=20u8)? {
            0..=3 => self.answer(),
            4 => session.dialed(now),
            5 => session.authenticating(now),
            6 => session.logging_on(now),
            7 => session.logged_on(now),
            8 => session.heartbeat_started(now),
            9 => session.replayed(now),
            10 => session.resubscribed(now),
            11 => session.progressed(),
            12 => session.lost(now, Cause::Closed),
            13 => session.failed(now, cause(bytes)?),
            14 => _ = session.move_to(now, uri(bytes.int_in_range(0..=4)?).into()),
            15 => session.drained(now),
            16 => {
                if let Some(uri) = self.probing.take() {
                    session.probed(now, &uri);
                }
            }
            17 => session.start(now),
            18 => {
                self.now += Duration::from_millis(bytes.int_in_range(0..=40_000)?);
                self.session.timeout(self.now);
            }
            19 => self.wait(),
            _ if bytes.ratio(1, 16u8)? => session.close(now),
            _ => session.timeout(now),
        }
        Ok(())
    }

    /// What it waits for goes well.
    fn answer(&mut self) {
        let now = self.now;
        match self.wants.take() {
            Some(Wants::Dial) => self.session.dialed(now),
            Some(Wants::LogOn) => self.session.logged_on(now),
            Some(Wants::Heartbeat) => self.session.heartbeat_started(now),
            Some(Wants::Replay) => self.session.replayed(now),
            Some(Wants::Resubscribe) => self.session.resubscribed(now),
            Some(Wants::Drain) => self.session.drained(now),
            None => self.wait(),
        }
    }

    fn wait(&mut self) {
        if let Some(at) = self.session.deadline() {
            self.now = self.now.max(at);
            self.session.timeout(self.now);
        }
    }

    /// Takes what it wants done, and checks it.
    fn look(&mut self) {
        while let Some(action) = self.session.poll_action() {
            assert_ne!(self.state, Some(ConnectionState::Shutdown), "nothing follows the shutdown: {action:?}");
            match action {
                Action::Dial(_) => {
                    assert!(!self.attempt, "one attempt at a time");
                    self.attempt = true;
                    self.wants = Some(Wants::Dial);
                }
                Action::HangUp => {
                    assert!(self.attempt, "there is something to hang up");
                    self.attempt = false;
                    self.wants = None;
                }
                Action::LogOn(_) => self.wants(Wants::LogOn, ConnectionState::Connected),
                Action::StartHeartbeat => self.wants(Wants::Heartbeat, ConnectionState::LoggedOn),
                Action::Replay => {
                    let told = [ConnectionState::LoggedOn, ConnectionState::HeartbeatInitiated];
                    assert!(self.state.is_some_and(|state| told.contains(&state)), "{:?}", self.state);
                    self.wants = Some(Wants::Replay);
                }
                Action::Resubscribe => self.wants(Wants::Resubscribe, ConnectionState::PublishReplayed),
                Action::Drain => self.wants(Wants::Drain, ConnectionState::Resubscribed),
                Action::Probe(uri) => self.probing = Some(uri),
                Action::StayDown(_) => assert!(!self.recovers && !self.attempt),
                Action::Notify(Event::State(change)) => self.told(change.state),
                Action::Notify(_) => {}
            }
        }
        let connected = !matches!(self.state, None | Some(ConnectionState::Disconnected | ConnectionState::Shutdown));
        assert!(!connected || self.attempt, "{:?} without a connection", self.state);
        assert_eq!(self.session.uri().is_some(), self.attempt);
        assert!(!self.session.may_publish() || connected);
        let live = self.session.is_live() || self.session.is_draining();
        assert_eq!(live, self.state == Some(ConnectionState::Resubscribed), "{:?}", self.session);
        let waits_for_nobody = self.session.is_idle() || self.session.is_closed();
        assert!(waits_for_nobody || self.session.deadline().is_some() || self.wants == Some(Wants::Replay) || live);
    }

    fn wants(&mut self, wants: Wants, state: ConnectionState) {
        assert_eq!(self.state, Some(state), "{wants:?}");
        self.wants = Some(wants);
    }

    /// States come in their order, `Disconnected` only after `Connected`.
    fn told(&mut self, state: ConnectionState) {
        use ConnectionState as S;
        let down = matches!(self.state, None | Some(S::Disconnected));
        let fits = match state {
            S::Connected => down,
            S::LoggedOn => self.state == Some(S::Connected),
            S::HeartbeatInitiated => self.state == Some(S::LoggedOn),
            S::PublishReplayed => matches!(self.state, Some(S::LoggedOn | S::HeartbeatInitiated)),
            S::Resubscribed => self.state == Some(S::PublishReplayed),
            S::Disconnected => !down,
            S::Shutdown => down,
            other => panic!("a state this does not know: {other:?}"),
        };
        assert!(fits, "{state:?} after {:?}", self.state);
        self.state = Some(state);
    }

    /// From now on everything goes well.
    fn heal(&mut self) {
        for _ in 0..1_000 {
            if self.session.is_idle() {
                self.session.start(self.now);
            }
            self.look();
            if self.session.is_closed() {
                return assert_eq!(self.state, Some(ConnectionState::Shutdown));
            }
            if self.session.is_live() {
                return;
            }
            // A timeout may have come between the question and its answer.
            self.answer();
        }
        panic!("not live although everything goes well: {:?}", self.session);
    }
}

fn cause(bytes: &mut Unstructured<'_>) -> Result<Cause> {
    Ok(match bytes.int_in_range(0..=3u8)? {
        0 => Cause::Closed,
        1 => Cause::LogonRefused(Reason::AuthFailure),
        2 => Cause::LogonRefused(Reason::NameInUse),
        _ => Cause::HeartbeatTimeout(Duration::from_secs(10)),
    })
}
