use amps_core::Uri;

use crate::error::Cause;
use crate::event::Event;
use crate::server_chooser::Server;

/// What the session wants done.
#[derive(Debug)]
pub enum Action {
    /// Open a transport; answer with [`Session::dialed`](super::Session::dialed) or
    /// [`Session::failed`](super::Session::failed).
    Dial(Uri),
    /// Send the logon; answer with [`Session::logged_on`](super::Session::logged_on). If that needs an
    /// authenticator, say so with [`Session::authenticating`](super::Session::authenticating).
    LogOn(Server),
    /// Start heartbeats; answer with [`Session::heartbeat_started`](super::Session::heartbeat_started).
    StartHeartbeat,
    /// Let the publish log flow; answer with [`Session::replayed`](super::Session::replayed) when
    /// everything that was in it as of the logon is sent.
    Replay,
    /// Enter all subscriptions; answer with [`Session::resubscribed`](super::Session::resubscribed).
    Resubscribe,
    /// Send and have answered what there is so far, and nothing newer; then
    /// call [`Session::drained`](super::Session::drained).
    Drain,
    /// See whether a server takes connections, beside the one there is; answer
    /// with [`Session::probed`](super::Session::probed) if so.
    Probe(Uri),
    /// Drop the transport, or the attempt to open it.
    HangUp,
    /// The connection is lost, and nothing follows until [`Session::start`](super::Session::start).
    StayDown(Cause),
    /// Tell whoever listens.
    Notify(Event),
}
