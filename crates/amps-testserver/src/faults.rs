//! What can be made to go wrong, at run time.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use amps_core::message::MessageKind;

use crate::filter::{Filter, Surroundings};
use crate::topic::TopicPattern;

/// Which connections a fault is for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// Every connection, replication links included.
    All,
    /// The connections of one client, present and future.
    Client(String),
    /// Replication links with one instance, by its name.
    Peer(String),
    /// One connection, by its number.
    Connection(u64),
}

impl Target {
    fn matches(&self, who: Who<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Client(name) => who.client == Some(name),
            Self::Peer(name) => who.peer == Some(name),
            Self::Connection(number) => who.number == *number,
        }
    }
}

/// What a fault can know a connection by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) number: u64,
    pub(crate) client: Option<&'a str>,
    pub(crate) peer: Option<&'a str>,
}

/// How a connection hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stall {
    Reading,
    HalfOpen,
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Log on; the topic is empty.
    Logon,
    /// Subscribe, query, or acknowledge messages of a queue.
    Read,
    /// Publish or delete records.
    Write,
}

/// Who logged on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'c> {
    pub(crate) user: &'c str,
    /// Empty: any.
    pub(crate) message_type: &'c str,
}

/// What a user may read or write of the messages of a topic.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Right {
    None,
    /// Those that match.
    Some(Filter),
    All,
}

impl Right {
    /// What messages have to match. Where nothing may be read there is nothing to
    /// ask that for.
    pub(crate) fn filter(self) -> Option<Filter> {
        if let Self::Some(filter) = self { Some(filter) } else { None }
    }
}

type Entitlement = Box<dyn Fn(&str, Access, &str) -> bool + Send>;
type Content = Box<dyn Fn(&str, Access, &str) -> Option<Filter> + Send>;
type Credentials = Box<dyn Fn(&str, &str) -> bool + Send>;
type Rejecter = Box<dyn Fn(&str, Option<u64>, &[u8]) -> Option<String> + Send>;

/// The faults of one instance. All are off at the start, each is switched on
/// and off by its own method, and what a fault held back goes on when it ends.
///
/// ```
/// use amps_testserver::{Config, Engine, NoJournal};
/// let mut engine = Engine::new(Config::new("A"), Box::new(NoJournal)).unwrap();
/// engine.with_faults(std::time::Instant::now(), |faults| faults.cut_every_messages(Some(20_000)));
/// ```
#[derive(Default)]
pub struct Faults {
    stalls: Vec<(Target, Stall)>,
    cut_received: Vec<(Target, u64)>,
    cut_sent: Vec<(Target, u64)>,
    rejecter: Option<Rejecter>,
    changed: bool,
    ignored: Vec<MessageKind>,
    refused: Vec<(MessageKind, String)>,
    pub(crate) accept_close: bool,
    pub(crate) accept_silence: bool,
    pub(crate) logon_silence: bool,
    pub(crate) logon_refusal: Option<String>,
    pub(crate) challenges: Vec<(String, String)>,
    credentials: Option<Credentials>,
    entitlement: Option<Entitlement>,
    content: Option<Content>,
    pub(crate) ack_delay: Duration,
    pub(crate) withhold_acks: bool,
    pub(crate) withhold_replica_acks: bool,
    pub(crate) cut_every: Option<u64>,
    /// Peers without a link, by name or connection string.
    pub(crate) blocked: BTreeSet<String>,
}

impl Faults {
    /// Everything off, except that partitioned peers stay partitioned.
    pub fn clear(&mut self) {
        let blocked = std::mem::take(&mut self.blocked);
        *self = Self { changed: true, blocked, ..Self::default() };
    }

    /// Stops reading from connections, or reads on. Heartbeats and messages
    /// still go out.
    pub fn stop_reading(&mut self, target: Target, on: bool) {
        self.stall(target, Stall::Reading, on);
    }

    /// Leaves connections open and neither reads nor writes, or goes on.
    pub fn half_open(&mut self, target: Target, on: bool) {
        self.stall(target, Stall::HalfOpen, on);
    }

    /// Closes every new connection at once.
    pub fn accept_then_close(&mut self, on: bool) {
        self.accept_close = on;
    }

    /// Accepts new connections and never reads or writes on them, not even
    /// after the fault is switched off.
    pub fn accept_then_silence(&mut self, on: bool) {
        self.accept_silence = on;
    }

    /// Reads a logon and falls silent on that connection for good.
    pub fn silence_at_logon(&mut self, on: bool) {
        self.logon_silence = on;
    }

    /// Refuses every logon with a reason, then closes.
    pub fn refuse_logon(&mut self, reason: Option<&str>) {
        self.logon_refusal = reason.map(str::to_owned);
    }

    /// Answers the logons of a connection with `retry`, one after another with
    /// each of these users and passwords, before one is looked at.
    pub fn challenge_logon(&mut self, challenges: &[(&str, &str)]) {
        self.challenges = challenges.iter().map(|(user, password)| (user.to_string(), password.to_string())).collect();
    }

    /// Refuses logons whose user and password the rule does not take, as
    /// `auth failure`.
    pub fn check_credentials(&mut self, rule: impl Fn(&str, &str) -> bool + Send + 'static) {
        self.credentials = Some(Box::new(rule));
    }

    /// Refuses as `not entitled` what the rule does not allow a user to do with
    /// a topic. Of a pattern it is asked for each topic that matches, when something
    /// of it would be sent or deleted, and what it does not allow is passed over (AMPS
    /// User Guide, "Entitlement"). What is subscribed already goes on.
    pub fn entitle(&mut self, rule: impl Fn(&str, Access, &str) -> bool + Send + 'static) {
        self.entitlement = Some(Box::new(rule));
    }

    /// Lets a user read and write only some messages of a topic (AMPS User
    /// Guide, "Entitlement"): those that match the filter the rule answers for
    /// user, access and topic; all of them when it answers none.
    ///
    /// Messages that do not match are not delivered, neither live nor from the
    /// SOW or the log, and are refused as `not entitled` when they are
    /// published. The rule is asked with the message's own topic, also for a
    /// subscription to a pattern, and by a subscription once for each topic:
    /// what it has asked for already goes on.
    ///
    /// ```
    /// use amps_testserver::{Access, Config, Engine, Filter, NoJournal};
    /// let eu: Filter = "/region = 'eu'".parse()?;
    /// let mut engine = Engine::new(Config::new("A"), Box::new(NoJournal)).unwrap();
    /// engine.with_faults(std::time::Instant::now(), |faults| {
    ///     faults.entitle_content(move |user, access, _| {
    ///         (user == "eva" && access == Access::Read).then(|| eu.clone())
    ///     });
    /// });
    /// # Ok::<(), amps_testserver::FilterError>(())
    /// ```
    pub fn entitle_content(&mut self, rule: impl Fn(&str, Access, &str) -> Option<Filter> + Send + 'static) {
        self.content = Some(Box::new(rule));
    }

    /// Sends conflated persisted acks later by this much.
    pub fn delay_acks(&mut self, delay: Duration) {
        self.changed = true;
        self.ack_delay = delay;
    }

    /// Sends no persisted ack to clients, neither success nor failure.
    pub fn withhold_acks(&mut self, on: bool) {
        self.changed = true;
        self.withhold_acks = on;
    }

    /// Takes replicated messages without acknowledging them to the peer.
    pub fn withhold_replication_acks(&mut self, on: bool) {
        self.withhold_replica_acks = on;
    }

    /// Rejects publishes: for a topic, the sequence (if any) and the body the
    /// function answers the reason, or `None` to let it pass. A rejected
    /// message is not logged and does not count as seen. Duplicates are
    /// dropped before it is asked.
    pub fn reject_writes(&mut self, rejecter: impl Fn(&str, Option<u64>, &[u8]) -> Option<String> + Send + 'static) {
        self.rejecter = Some(Box::new(rejecter));
    }

    /// Rejects publishes to one topic; replaces what was rejected before.
    pub fn reject_topic(&mut self, topic: &str, reason: &str) {
        let (topic, reason) = (topic.to_owned(), reason.to_owned());
        self.reject_writes(move |t, _, _| (t == topic).then(|| reason.clone()));
    }

    /// Rejects publishes with one sequence, of any publisher; replaces what
    /// was rejected before.
    pub fn reject_sequence(&mut self, sequence: u64, reason: &str) {
        let reason = reason.to_owned();
        self.reject_writes(move |_, s, _| (s == Some(sequence)).then(|| reason.clone()));
    }

    /// Rejects no publish any more.
    pub fn accept_writes(&mut self) {
        self.rejecter = None;
    }

    /// Cuts the next matching connection that has received this many bytes
    /// since it was opened; not one byte more is processed. Once: set it again
    /// for another cut.
    pub fn cut_after_received(&mut self, target: Target, bytes: u64) {
        self.cut_received.push((target, bytes));
    }

    /// Cuts the next matching connection that was sent this many bytes since
    /// it was opened; not one byte more is sent. Once: set it again for
    /// another cut.
    pub fn cut_after_sent(&mut self, target: Target, bytes: u64) {
        self.cut_sent.push((target, bytes));
    }

    /// Cuts every client connection behind each `every`-th publish it carries,
    /// which is still processed. `None` ends it.
    pub fn cut_every_messages(&mut self, every: Option<u64>) {
        self.cut_every = every.filter(|every| *every > 0);
    }

    /// Drops commands of a kind without an answer, or no longer.
    pub fn ignore(&mut self, kind: MessageKind, on: bool) {
        self.ignored.retain(|ignored| *ignored != kind);
        if on {
            self.ignored.push(kind);
        }
    }

    /// Answers commands of a kind with a failure, or no longer. For publishes
    /// use [`reject_writes`](Self::reject_writes).
    pub fn refuse(&mut self, kind: MessageKind, reason: Option<&str>) {
        self.refused.retain(|(refused, _)| *refused != kind);
        self.refused.extend(reason.map(|reason| (kind, reason.to_owned())));
    }

    pub(crate) fn ignores(&self, kind: MessageKind) -> bool {
        self.ignored.contains(&kind)
    }

    pub(crate) fn refusal(&self, kind: MessageKind) -> Option<String> {
        self.refused.iter().find(|(refused, _)| *refused == kind).map(|(_, reason)| reason.clone())
    }

    pub(crate) fn rejects(&self, topic: &str, sequence: Option<u64>, body: &[u8]) -> Option<String> {
        self.rejecter.as_ref().and_then(|rejecter| rejecter(topic, sequence, body))
    }

    pub(crate) fn takes_credentials(&self, user: &str, password: &str) -> bool {
        self.credentials.as_ref().is_none_or(|rule| rule(user, password))
    }

    pub(crate) fn entitled(&self, user: &str, access: Access, topic: &str) -> bool {
        self.entitlement.as_ref().is_none_or(|rule| rule(user, access, topic))
    }

    /// What somebody may read or write of a topic that a pattern named, or something
    /// that was checked by its name.
    pub(crate) fn right(
        &self,
        whose: Reader<'_>,
        access: Access,
        topic: &str,
        pattern: &TopicPattern,
        about: &Surroundings,
    ) -> Right {
        let Reader { user, message_type } = whose;
        match pattern {
            TopicPattern::Regex(_) if !about.sees(message_type, topic) => Right::None,
            TopicPattern::Regex(_) if !self.entitled(user, access, topic) => Right::None,
            _ => self.content(|| user, access, topic).map_or(Right::All, Right::Some),
        }
    }

    /// What messages of a topic have to match for a user.
    pub(crate) fn content<'a>(&self, user: impl FnOnce() -> &'a str, access: Access, topic: &str) -> Option<Filter> {
        self.content.as_ref().and_then(|rule| rule(user(), access, topic))
    }

    pub(crate) fn stops_reading(&self, who: Who<'_>) -> bool {
        self.stalls.iter().any(|(target, _)| target.matches(who))
    }

    pub(crate) fn is_half_open(&self, who: Who<'_>) -> bool {
        self.stalls.iter().any(|(target, stall)| *stall == Stall::HalfOpen && target.matches(who))
    }

    /// How many of `more` bytes received still count when the connection is
    /// cut among them. The cut is used up.
    pub(crate) fn received_before_cut(&mut self, who: Who<'_>, before: u64, more: usize) -> Option<usize> {
        take_cut(&mut self.cut_received, who, before, more)
    }

    /// The same for bytes sent.
    pub(crate) fn sent_before_cut(&mut self, who: Who<'_>, before: u64, more: usize) -> Option<usize> {
        take_cut(&mut self.cut_sent, who, before, more)
    }

    /// Whether something changed that holds acks back, since the last call.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn stall(&mut self, target: Target, stall: Stall, on: bool) {
        self.stalls.retain(|(t, s)| *t != target || *s != stall);
        if on {
            self.stalls.push((target, stall));
        }
    }
}

fn take_cut(cuts: &mut Vec<(Target, u64)>, who: Who<'_>, before: u64, more: usize) -> Option<usize> {
    let at = cuts.iter().position(|(target, bytes)| target.matches(who) && before + more as u64 >= *bytes)?;
    let (_, bytes) = cuts.remove(at);
    Some(bytes.saturating_sub(before) as usize)
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults")
            .field("stalls", &self.stalls)
            .field("cut_received", &self.cut_received)
            .field("cut_sent", &self.cut_sent)
            .field("rejects_writes", &self.rejecter.is_some())
            .field("ignored", &self.ignored)
            .field("refused", &self.refused)
            .field("blocked", &self.blocked)
            .finish_non_exhaustive()
    }
}
