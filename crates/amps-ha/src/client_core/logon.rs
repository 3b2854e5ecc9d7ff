use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use amps_core::connection::command_id;
use amps_core::{AckType, Command, CommandKind, Field, Message, Status};

use super::connection::encode;
use super::recovery::reason_of;
use super::{ClientCore, SideTask, Waiter};
use crate::authenticator::{Answer, Authenticator, Challenge, Credentials, LogonRequest, Question, completed};
use crate::error::Cause;
use crate::event::Event;
use crate::server_chooser::{LogonInfo, Server};

/// How often a server may ask for other credentials in one logon.
const RETRIES: u32 = 3;

/// A logon that is not answered yet.
#[derive(Debug)]
pub(super) struct Logon {
    request: LogonRequest,
    /// How often the server asked for other credentials.
    retries: u32,
    /// The id of the first command of it, which the others have too: a server may
    /// answer with either.
    id: Option<u64>,
}

/// An authenticator, if there is one.
#[derive(Default)]
pub(super) struct OfClient(pub(super) Option<Arc<dyn Authenticator>>);

impl fmt::Debug for OfClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authenticator").field(&self.0.is_some()).finish()
    }
}

impl ClientCore {
    pub(super) fn log_on(&mut self, now: Instant, server: &Server) {
        self.authenticating = OfClient(server.authenticator_or(self.authenticator.0.as_ref()));
        let request = LogonRequest { uri: server.uri().clone(), client_name: self.config.name.clone() };
        let credentials = Credentials::maybe(request.uri.user(), request.uri.password());
        self.ask_or_send(now, Logon { request, retries: 0, id: None }, None, &credentials);
    }

    /// Asks the authenticator, or sends the logon with what there is.
    fn ask_or_send(&mut self, now: Instant, logon: Logon, challenge: Option<Challenge>, otherwise: &Credentials) {
        let Some(authenticator) = self.authenticating.0.clone() else {
            return self.send_logon(now, logon, otherwise);
        };
        let (number, request) = (self.id(), logon.request.clone());
        let question = Question { authenticator, logon: request, challenge, number };
        self.side_tasks.push_back(SideTask::Authenticate(question));
        self.unanswered = Some((number, logon));
        self.session.authenticating(now);
    }

    /// The authenticator has answered, perhaps for an attempt that is over.
    pub(super) fn authenticator_answered(&mut self, now: Instant, answer: Answer) {
        let Some((_, logon)) = self.unanswered.take_if(|(number, _)| *number == answer.number) else { return };
        match answer.credentials {
            Ok(credentials) => self.send_logon(now, logon, &credentials),
            Err(cause) => self.session.failed(now, cause),
        }
    }

    fn send_logon(&mut self, now: Instant, mut logon: Logon, credentials: &Credentials) {
        let id = logon.id.unwrap_or_else(|| self.id());
        logon.id = Some(id);
        let conflation = self.config.ack_conflation.map(|time| format!("ack_conflation={}ms", time.as_millis().max(1)));
        let pretty = (logon.request.uri.options().pretty == Some(true)).then(|| "pretty=true".to_owned());
        let options: Vec<_> = conflation.into_iter().chain(pretty).collect();
        let command = Command::new(CommandKind::Logon)
            .id(command_id(id))
            .text(Field::ClientName, &self.config.name)
            .maybe(Field::MessageType, logon.request.uri.message_type())
            .maybe(Field::UserId, credentials.user())
            .maybe(Field::Password, credentials.password())
            .maybe(Field::CorrelationId, self.config.logon_correlation.as_deref())
            .maybe(Field::Options, (!options.is_empty()).then(|| options.join(",")))
            .text(Field::Version, concat!("rust:", env!("CARGO_PKG_VERSION")))
            .acks(AckType::Processed);
        self.pending.insert(id, None, Waiter::LogOn(logon));
        self.outbox.urgent.push_back(encode(&command));
        self.session.logging_on(now);
    }

    /// The answer to a logon.
    pub(super) fn logon_answered(&mut self, now: Instant, ack: &Message, mut logon: Logon) -> Result<(), Cause> {
        match ack.status() {
            Status::Retry if logon.retries == RETRIES => Err(Cause::TooManyChallenges(RETRIES)),
            Status::Retry => {
                logon.retries += 1;
                let credentials =
                    Credentials::maybe(ack.text(Field::UserId).as_deref(), ack.text(Field::Password).as_deref());
                let reason = ack.text(Field::Reason).map(Into::into);
                let challenge = Challenge { credentials: credentials.clone(), reason };
                self.ask_or_send(now, logon, Some(challenge), &credentials);
                Ok(())
            }
            Status::Success => self.logon_accepted(now, ack, &logon),
            _ => Err(Cause::LogonRefused(reason_of(ack))),
        }
    }

    fn logon_accepted(&mut self, now: Instant, ack: &Message, logon: &Logon) -> Result<(), Cause> {
        if let Some(authenticator) = &self.authenticating.0
            && let Err(panicked) = completed(&**authenticator, &logon.request, ack.text(Field::Reason).as_deref())
        {
            // Nothing depends on it; the logon stands.
            self.notify(Event::Panicked(panicked));
        }
        let uri = logon.request.uri.clone();
        let version = ack.text(Field::Version).map(std::borrow::Cow::into_owned);
        let sequence = ack.sequence().unwrap_or(0);
        let acknowledged = self.log.peek(|log| log.persisted_through());
        let info = LogonInfo { uri: uri.clone(), version: version.clone(), sequence, acknowledged };
        if !self.session.accepts(&info) {
            return Err(Cause::NotAccepted);
        }
        let policy = self.config.on_publish_gap;
        let report = self.log.with(|log| log.logged_on(sequence, policy))?;
        self.server_version.clone_from(&version);
        let name_hash = ack.bookmark().map(|bookmark| bookmark.publisher);
        self.summary.send_modify(|summary| {
            summary.server_version = version;
            summary.name_hash = name_hash.or(summary.name_hash);
        });
        self.report_logon(uri, report);
        self.replay_end = report.replay_end;
        if report.already_there > 0 {
            self.session.progressed();
        }
        self.session.logged_on(now);
        Ok(())
    }
}
