//! What is wrong with a builder's settings, and what may surprise.

use amps_core::Uri;
use amps_ha::publish_log::{Durability, OnPublishGap};
use amps_ha::warning::ConfigWarning;

use crate::builder::ClientBuilder;
use crate::error::OpenError;
use crate::stores::{BookmarkStore, PublishStore};
use crate::write::check_alphabet;

impl ClientBuilder {
    /// Checks the settings without doing anything; starting a client does so
    /// too. What works but may lose messages is a warning, which
    /// [`Client::warnings`](crate::Client::warnings) keeps, and the log has.
    ///
    /// # Errors
    /// [`OpenError`] for settings that cannot work.
    pub fn check(&self) -> Result<Vec<ConfigWarning>, OpenError> {
        self.check_name()?;
        self.check_stores()?;
        check_alphabet("logon_correlation_id", self.logon_correlation.as_deref())?;
        self.check_times()?;
        let servers = self.servers.iter().map(|(uri, _)| uri.parse()).collect::<Result<Vec<Uri>, _>>()?;
        if servers.is_empty() && self.chooser.is_none() {
            return Err(OpenError::NoServer);
        }
        let message_type = |uri: &Uri| uri.message_type().unwrap_or_default().to_owned();
        if let Some((first, other)) = differing(&servers, message_type) {
            return Err(OpenError::MessageTypes { first, other });
        }
        Ok(self.warnings(&servers))
    }

    fn check_name(&self) -> Result<(), OpenError> {
        let wrong = |rule| Err(OpenError::Name { name: self.name.clone(), rule });
        if self.name.is_empty() && !matches!(self.store, PublishStore::None) {
            return wrong("is empty: a publisher with a store needs one that stays the same across restarts");
        }
        if self.name.chars().any(|c| c.is_control() || c == '[' || c == ']') {
            return wrong("contains a control character or a square bracket");
        }
        Ok(())
    }

    fn check_stores(&self) -> Result<(), OpenError> {
        let wrong = |setting, rule| Err(OpenError::Setting { setting, rule });
        if let (PublishStore::Hybrid(..), Some(Durability::ProcessCrash | Durability::PowerLoss)) =
            (&self.store, self.durability)
        {
            return wrong("durability", "a hybrid store promises no more than `Memory`; take `PublishStore::sled`");
        }
        if let (PublishStore::Sled(publish) | PublishStore::Hybrid(publish, _), BookmarkStore::Sled(bookmarks)) =
            (&self.store, &self.bookmark_store)
            && publish == bookmarks
        {
            return wrong("bookmark_store", "it is the publish store's directory; give it one of its own");
        }
        if self.limits.bytes == 0 || self.limits.messages == 0 {
            return wrong("store_bound", "it is zero: no message would ever fit");
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), OpenError> {
        let wrong = |setting, rule| Err(OpenError::Setting { setting, rule });
        let never = "it is zero: nothing would ever be in time";
        let session = &self.session;
        if session.connect_timeout.is_zero() || session.logon_timeout.is_zero() {
            return wrong("attempt_timeouts", never);
        }
        if session.resubscribe_timeout.is_zero() {
            return wrong("resubscribe_timeout", never);
        }
        if self.command_timeout.is_zero() {
            return wrong("command_timeout", never);
        }
        if self.connect_within.is_some_and(|limit| limit.is_zero()) {
            return wrong("connect_within", never);
        }
        match self.heartbeat {
            Some((interval, _)) if interval.is_zero() => {
                wrong("heartbeat", "the interval is zero; call no_heartbeat to turn heartbeats off")
            }
            Some((interval, timeout)) if timeout < interval => {
                wrong("heartbeat", "the timeout is shorter than the interval")
            }
            _ => Ok(()),
        }
    }

    fn warnings(&self, servers: &[Uri]) -> Vec<ConfigWarning> {
        let mut warnings = Vec::new();
        let mut warn = |warning| warnings.push(warning);
        let several = servers.len() > 1 || self.chooser.is_some();
        if several && self.on_publish_gap == OnPublishGap::Continue && !matches!(self.store, PublishStore::None) {
            warn(ConfigWarning::ContinuesOverPublishGap);
        }
        match self.heartbeat {
            None => warn(ConfigWarning::NoHeartbeat),
            Some((interval, timeout)) if timeout < interval * 2 => {
                warn(ConfigWarning::TightHeartbeat { interval, timeout });
            }
            Some(_) => {}
        }
        for (_, uri) in servers.iter().enumerate().filter(|(index, uri)| servers[..*index].contains(uri)) {
            warn(ConfigWarning::DuplicateServer { uri: uri.clone() });
        }
        let user = |uri: &Uri| uri.user().unwrap_or_default().to_owned();
        let by_strings = self.authenticator.is_none() && self.servers.iter().all(|(_, own)| own.is_none());
        if by_strings && let Some((first, other)) = differing(servers, user) {
            warn(ConfigWarning::UsersDiffer { first, other });
        }
        let on_disk = !matches!(self.store, PublishStore::None | PublishStore::Memory)
            || !matches!(self.bookmark_store, BookmarkStore::Memory);
        if on_disk && looks_generated(&self.name) {
            warn(ConfigWarning::UnstableName { name: self.name.clone() });
        }
        if !self.session.recovers && !matches!(self.store, PublishStore::None) {
            warn(ConfigWarning::StoreWithoutRecovery);
        }
        warnings
    }
}

/// The first server's property, and one that differs from it.
fn differing(servers: &[Uri], property: impl Fn(&Uri) -> String) -> Option<(String, String)> {
    let mut all = servers.iter().map(property);
    let first = all.next()?;
    let other = all.find(|other| *other != first)?;
    Some((first, other))
}

/// Whether a name contains this process's number or a UUID.
fn looks_generated(name: &str) -> bool {
    let process = std::process::id().to_string();
    // A small number may well be the number of something else.
    let has_process = process.len() > 3 && name.split(|c: char| !c.is_ascii_digit()).any(|digits| digits == process);
    has_process || name.as_bytes().windows(36).any(is_uuid)
}

fn is_uuid(text: &[u8]) -> bool {
    text.iter().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}
