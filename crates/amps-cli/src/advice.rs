//! What to do about errors that people meet.

use std::io::ErrorKind;

use amps_client::kv::KvError;
use amps_client::{Cause, CommandError, ConnectError, OpenError, Reason, StoreError};
use amps_testserver::Filter;
use unicode_width::UnicodeWidthStr;

/// What to do about an attempt to connect that failed, or a connection that was
/// lost.
pub(crate) fn about_attempt(cause: &Cause) -> Option<&'static str> {
    Some(match cause {
        Cause::Connect(error) => return about_connecting(error.kind(), &error.to_string()),
        Cause::ConnectTimeout(_) => {
            "the host does not answer: is the address right, and does a firewall let this port through?"
        }
        Cause::LogonTimeout(_) => {
            "something listens there and does not answer as AMPS does: is this the port of an amps transport,\n\
             and does it want TLS (--secure, tcps://)?"
        }
        Cause::LogonRefused(Reason::AuthFailure | Reason::NotEntitled) => {
            "say who you are: --user NAME, with --password-file, --ask-password or AMPS_PASSWORD"
        }
        Cause::LogonRefused(Reason::NameInUse) => "another client has this name: give each its own with --client-name",
        Cause::LogonRefused(_) => "has the transport at this port the message type that --type or the URI names?",
        Cause::Frame(_) | Cause::Message(_) => {
            "what answers there does not speak as AMPS does: is this the port of an amps transport, and does it\n\
             want TLS (--secure, tcps://)?"
        }
        Cause::PublishLog(_) => {
            "this server lacks messages that another one has acknowledged: start that one, or let them replicate\n\
             synchronously; nothing is published here until it has them"
        }
        _ => return None,
    })
}

fn about_connecting(kind: ErrorKind, text: &str) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::ConnectionRefused => {
            "nothing listens there: is the server running, and is this the port of its amps transport?"
        }
        ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            "the host does not answer: is the address right, and does a firewall let this port through?"
        }
        ErrorKind::NotFound => "there is no such socket file: is the server running?",
        _ if text.contains("lookup") => "no such host is known: is its name right?",
        _ if text.contains("certificate") || text.contains("UnknownIssuer") => {
            "--ca-file FILE trusts the certificate authority of your own servers"
        }
        _ if text.contains("TLS") => "does the server speak TLS at this port? Without TLS it is tcp://",
        _ => return None,
    })
}

/// What to do when no connection came about: one piece of advice for each kind
/// of failure.
pub(crate) fn about_connect(error: &ConnectError) -> Option<String> {
    let attempts = match error {
        ConnectError::TimedOut { attempts, .. } | ConnectError::GaveUp { attempts, .. } => attempts,
        ConnectError::Open(error) => return about_open(error).map(str::to_owned),
        _ => return None,
    };
    let mut advice: Vec<&str> = attempts.iter().filter_map(|(_, _, cause)| about_attempt(cause)).collect();
    advice.dedup();
    (!advice.is_empty()).then(|| advice.join("\n"))
}

/// What to do when a client cannot be started.
pub(crate) fn about_open(error: &OpenError) -> Option<&'static str> {
    let damaged =
        "`amps store verify DIR` says what is wrong with it, `amps store repair DIR --into NEW` saves what is whole";
    match error {
        OpenError::PublishStore(StoreError::Damaged { .. } | StoreError::Kv(KvError::Damaged { .. })) => Some(damaged),
        OpenError::BookmarkStore { source, .. } if source.to_string().contains("damaged") => Some(damaged),
        _ => None,
    }
}

/// What to do about a command that the server refused. Servers do not say where a
/// filter is wrong; where this program's own reading of it goes wrong is shown.
pub(crate) fn about_command(error: &CommandError, filter: Option<&str>) -> Option<String> {
    match error {
        CommandError::Refused { reason, .. } => about_reason(reason, filter),
        CommandError::BookmarkStore(_) => Some("`amps store verify DIR` says what is wrong with it".to_owned()),
        _ => None,
    }
}

/// What to do about a reason of a server.
pub(crate) fn about_reason(reason: &Reason, filter: Option<&str>) -> Option<String> {
    let advice = match reason {
        Reason::BadFilter => return filter.map(wrong_filter),
        Reason::InvalidTopic => {
            "the topic does not do this: queries and deltas need a SOW, bookmarks a transaction log, in the\n\
             server's configuration"
        }
        Reason::BadRegexTopic => "a topic with characters such as ^ . * is a regular expression",
        Reason::NotEntitled => "the server's entitlements do not give this user this topic",
        Reason::InvalidOptions => {
            "the server's version may not know an option; `--options` takes them as AMPS writes them"
        }
        Reason::InvalidOrderBy => "an order is written as in --order-by '/price DESC, /id'",
        _ => return None,
    };
    Some(advice.to_owned())
}

/// Where a filter is wrong.
fn wrong_filter(filter: &str) -> String {
    let Err(error) = filter.parse::<Filter>() else {
        return format!("the filter was: {filter}\nthe server's log says what it does not like about it");
    };
    let said = error.to_string();
    let what = said.split_once(": ").map_or(said.as_str(), |(_, what)| what);
    let before = filter.get(..error.at()).map_or(0, UnicodeWidthStr::width);
    match filter.contains(char::is_control) {
        true => format!("the filter at byte {}: {what}", error.at()),
        false => format!("{filter}\n{:before$}^ {what}", ""),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_filter_is_pointed_at_where_it_goes_wrong() {
        let advice = wrong_filter("/naïve = = 1");
        let (filter, pointer) = advice.split_once('\n').unwrap();
        assert_eq!(filter, "/naïve = = 1");
        assert_eq!(pointer.find('^'), Some(9), "{advice}");
        assert!(wrong_filter("/a = 1").contains("server's log"));
    }

    #[test]
    fn a_refused_connection_asks_whether_the_server_runs() {
        let refused = Cause::Connect(Arc::new(io::Error::from(ErrorKind::ConnectionRefused)));
        assert!(about_attempt(&refused).unwrap().contains("is the server running"));
        let attempts = vec![("a".to_owned(), 1, refused.clone()), ("b".to_owned(), 2, refused)];
        let both = about_connect(&ConnectError::TimedOut { after: std::time::Duration::ZERO, attempts }).unwrap();
        assert_eq!(both.lines().count(), 1, "said once: {both}");
    }
}
