//! What ends a check before it has passed, and the ways to say so.

use std::fmt::{Debug, Display};

use amps_core::{Field, Message, Status};

use crate::exchange::shown;

/// Why a check ends early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    Fail { expected: String, came: String },
    NotConfigured(String),
}

pub(crate) type Judged = Result<(), Stop>;
pub(crate) type Probed = Result<String, Stop>;

/// A failure: what the documents let expect, and what came.
pub(crate) fn fail(expected: impl Into<String>, came: impl Into<String>) -> Stop {
    Stop::Fail { expected: expected.into(), came: came.into() }
}

/// Fails unless it holds.
pub(crate) fn expect(holds: bool, expected: impl Into<String>, came: impl Display) -> Judged {
    if holds { Ok(()) } else { Err(fail(expected, came.to_string())) }
}

/// Fails unless what came is what was expected. `what` names it.
pub(crate) fn equal<T: PartialEq + Debug>(what: impl Display, came: T, expected: T) -> Judged {
    expect(came == expected, format!("{what}: {expected:?}"), format!("{came:?}"))
}

/// Fails unless a field has this value.
pub(crate) fn field(message: &Message, field: Field, expected: &str) -> Judged {
    let came = message.text(field);
    expect(came.as_deref() == Some(expected), format!("\"{}\" is {expected:?}", field.key()), shown(message))
}

/// Fails unless an ack says success.
pub(crate) fn success(ack: &Message) -> Judged {
    expect(ack.raw(Field::Status).is_some_and(is_success), "status success", shown(ack))
}

/// Fails unless an ack says failure, and why.
pub(crate) fn refused(ack: &Message, what: &str) -> Judged {
    let tells = ack.status() == Status::Failure && ack.raw(Field::Reason).is_some_and(|reason| !reason.is_empty());
    expect(tells, format!("status failure with a reason: {what}"), shown(ack))
}

fn is_success(status: &str) -> bool {
    Status::from_wire(status) == Status::Success
}

/// How an ack ended, in words.
pub(crate) fn outcome(ack: &Message) -> String {
    let reason = ack.text(Field::Reason).map_or_else(String::new, |reason| format!(", reason \"{reason}\""));
    format!("{}{reason}", ack.raw(Field::Status).unwrap_or("no status"))
}
