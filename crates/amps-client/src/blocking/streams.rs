use std::sync::Arc;
use std::time::Duration;

use amps_ha::event::{Event, StateChange};

use super::runtime::Runtime;
use crate::any_error::Error;
use crate::events::{self, Stray};
use crate::state;

/// What happens to a client, in order: an iterator that waits for each event. See
/// [`Events`](crate::Events).
#[derive(Debug)]
pub struct Events {
    events: events::Events,
    runtime: Arc<Runtime>,
}

impl Events {
    pub(super) fn new(events: events::Events, runtime: &Arc<Runtime>) -> Self {
        Self { events, runtime: Arc::clone(runtime) }
    }

    /// The next event, waiting for so long at most; `None` behind the last.
    ///
    /// # Errors
    /// [`Error::NothingYet`] when the time is over; [`Error::WouldDeadlock`].
    pub fn next_within(&mut self, limit: Duration) -> Result<Option<Event>, Error> {
        self.runtime.wait_within(limit, self.events.next())
    }
}

impl Iterator for Events {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.wait_for(self.events.next()).transpose()
    }
}

/// The latest connection state; see [`StateWatch`](crate::StateWatch).
#[derive(Debug, Clone)]
pub struct StateWatch {
    state: state::StateWatch,
    runtime: Arc<Runtime>,
}

impl StateWatch {
    pub(super) fn new(state: state::StateWatch, runtime: &Arc<Runtime>) -> Self {
        Self { state, runtime: Arc::clone(runtime) }
    }

    /// The latest change; `None` before the first.
    pub fn latest(&mut self) -> Option<StateChange> {
        self.state.latest()
    }

    /// Waits for a change that was not seen yet; `None` once the client is gone.
    ///
    /// # Errors
    /// [`Error::WouldDeadlock`].
    pub fn changed(&mut self) -> Result<Option<StateChange>, Error> {
        self.runtime.wait_for(self.state.changed())
    }

    /// The same, for so long at most.
    ///
    /// # Errors
    /// [`Error::NothingYet`] when the time is over; [`Error::WouldDeadlock`].
    pub fn changed_within(&mut self, limit: Duration) -> Result<Option<StateChange>, Error> {
        self.runtime.wait_within(limit, self.state.changed())
    }
}

/// Messages that reach no stream, in order: an iterator that waits for each. See
/// [`Strays`](crate::Strays).
#[derive(Debug)]
pub struct Strays {
    strays: events::Strays,
    runtime: Arc<Runtime>,
}

impl Strays {
    pub(super) fn new(strays: events::Strays, runtime: &Arc<Runtime>) -> Self {
        Self { strays, runtime: Arc::clone(runtime) }
    }

    /// The next message, waiting for so long at most; `None` behind the last.
    ///
    /// # Errors
    /// [`Error::NothingYet`] when the time is over; [`Error::WouldDeadlock`].
    pub fn next_within(&mut self, limit: Duration) -> Result<Option<Stray>, Error> {
        self.runtime.wait_within(limit, self.strays.next())
    }
}

impl Iterator for Strays {
    type Item = Result<Stray, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.wait_for(self.strays.next()).transpose()
    }
}
