use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Waker;

use amps_ha::error::CommandError;
use amps_ha::view::{Change, Step, View};
use tokio::sync::watch;

use super::changes::{Listener, ViewEvent};
use super::state::ViewState;

/// What a view, its task and its listeners share.
pub(super) struct Shared<K, V> {
    inside: RwLock<Inside<K, V>>,
    /// Set while `inside` is locked, so that listeners have it in order.
    state: watch::Sender<ViewState>,
    /// Events that wait for a listener at most.
    bound: usize,
}

pub(super) struct Inside<K, V> {
    pub(super) view: View<K, V>,
    /// Each locked after this.
    pub(super) listeners: Vec<Arc<Mutex<Listener<K, V>>>>,
}

impl<K, V> Shared<K, V> {
    pub(super) fn state(&self) -> ViewState {
        self.state.borrow().clone()
    }

    pub(super) fn inside(&self) -> RwLockReadGuard<'_, Inside<K, V>> {
        self.inside.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn inside_mut(&self) -> RwLockWriteGuard<'_, Inside<K, V>> {
        self.inside.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn bound(&self) -> usize {
        self.bound
    }

    pub(super) async fn current(&self) -> Result<(), CommandError> {
        let mut state = self.state.subscribe();
        match state.wait_for(|state| state.is_current() || state.is_ended()).await.as_deref() {
            Ok(ViewState::Ended(error)) => Err(error.clone().unwrap_or(CommandError::Closed)),
            Ok(_) => Ok(()),
            Err(_) => Err(CommandError::Closed),
        }
    }
}

impl<K: Ord + Clone, V: PartialEq> Shared<K, V> {
    pub(super) fn new(bound: usize) -> Self {
        let inside = Inside { view: View::new(), listeners: Vec::new() };
        Self { inside: RwLock::new(inside), state: watch::Sender::new(ViewState::Loading), bound: bound.max(1) }
    }

    /// Does what a step says. `changes` is empty, before and after.
    pub(super) fn apply(&self, step: Step<'_, K, V>, changes: &mut Vec<Change<K, V>>) {
        let mut inside = self.inside_mut();
        inside.view.apply(step, changes);
        let wakers = match changes.is_empty() {
            true => Vec::new(),
            false => inside.tell(changes.iter().map(ViewEvent::from)),
        };
        drop(inside);
        wakers.into_iter().for_each(Waker::wake);
        // Behind the lock: what it held last is dropped here, by code of the
        // application's.
        changes.clear();
    }

    /// Says how the view stands, unless it stands so, or has ended.
    pub(super) fn set(&self, state: ViewState) {
        let mut inside = self.inside_mut();
        let same = std::mem::discriminant(&*self.state.borrow()) == std::mem::discriminant(&state);
        if same || self.state.borrow().is_ended() {
            return;
        }
        tracing::debug!(?state, "a live view changes its state");
        self.state.send_replace(state.clone());
        let wakers = inside.tell([ViewEvent::State(state)]);
        drop(inside);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl<K: Clone, V> Inside<K, V> {
    /// Hands events to whoever listens. Answers who has to be woken.
    fn tell(&mut self, events: impl IntoIterator<Item = ViewEvent<K, V>> + Clone) -> Vec<Waker> {
        self.listeners.retain(|listener| Arc::strong_count(listener) > 1);
        let listeners = self.listeners.iter();
        listeners.filter_map(|listener| lock(listener).push(events.clone())).collect()
    }
}

pub(super) fn lock<K, V>(listener: &Mutex<Listener<K, V>>) -> std::sync::MutexGuard<'_, Listener<K, V>> {
    listener.lock().unwrap_or_else(PoisonError::into_inner)
}
