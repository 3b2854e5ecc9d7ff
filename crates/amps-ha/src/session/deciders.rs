use std::time::Duration;

use amps_core::Uri;

use crate::error::Cause;
use crate::reconnect::{AttemptContext, Delay, ReconnectStrategy};
use crate::server_chooser::{LogonInfo, Report, Server, ServerChooser};
use crate::user_code::{Panicked, contain};

/// The application's server chooser and reconnect strategy. What panics in
/// them is contained and kept to be told.
pub(super) struct Deciders {
    chooser: Box<dyn ServerChooser>,
    reconnect: Box<dyn ReconnectStrategy>,
    pub(super) panics: Vec<Panicked>,
}

impl Deciders {
    pub(super) fn new(chooser: Box<dyn ServerChooser>, reconnect: Box<dyn ReconnectStrategy>) -> Self {
        Self { chooser, reconnect, panics: Vec::new() }
    }

    /// The next server, or why there is none.
    pub(super) fn server(&mut self) -> Result<Server, String> {
        match self.chooser(|chooser| chooser.current()) {
            Ok(Some(server)) => Ok(server),
            Ok(None) => Err(self.chooser(|chooser| chooser.error()).unwrap_or_else(|panicked| panicked.to_string())),
            Err(panicked) => Err(panicked.to_string()),
        }
    }

    pub(super) fn delay(&mut self, context: &AttemptContext<'_>) -> Delay {
        self.reconnect(|strategy| strategy.next_delay(context))
            .unwrap_or_else(|panicked| Delay::GiveUp { reason: panicked.to_string() })
    }

    pub(super) fn healthy(&mut self, uri: &Uri) {
        let _ = self.reconnect(|strategy| strategy.healthy(&uri.to_string()));
    }

    pub(super) fn failed(&mut self, report: &Report, cause: &Cause) {
        let _ = self.chooser(|chooser| chooser.report_failure(report, cause));
    }

    pub(super) fn succeeded(&mut self, report: &Report) {
        let _ = self.chooser(|chooser| chooser.report_success(report));
    }

    /// No, if it panics.
    pub(super) fn accepts(&mut self, logon: &LogonInfo) -> bool {
        self.chooser(|chooser| chooser.accepts(logon)).unwrap_or(false)
    }

    pub(super) fn better(&mut self, connected: &Uri) -> Option<(Server, Duration)> {
        self.chooser(|chooser| chooser.better(connected)).unwrap_or(None)
    }

    fn chooser<R>(&mut self, call: impl FnOnce(&mut dyn ServerChooser) -> R) -> Result<R, Panicked> {
        let result = contain("server chooser", || call(&mut *self.chooser));
        self.panics.extend(result.as_ref().err().cloned());
        result
    }

    fn reconnect<R>(&mut self, call: impl FnOnce(&mut dyn ReconnectStrategy) -> R) -> Result<R, Panicked> {
        let result = contain("reconnect strategy", || call(&mut *self.reconnect));
        self.panics.extend(result.as_ref().err().cloned());
        result
    }
}
