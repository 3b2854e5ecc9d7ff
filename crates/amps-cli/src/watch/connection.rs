//! What the client's events say of its connection.

use std::time::{Duration, Instant};

use amps_client::{Cause, ConnectionState, Event, Uri};

/// The connection, as it is told in one line.
#[derive(Debug)]
pub(super) struct Connection {
    server: Option<String>,
    live: bool,
    /// How often it came back, as the client counts.
    pub(super) recovered: u64,
    /// Since when it is as it is.
    since: Instant,
    /// The latest failure since it was lost: which attempt, where, and why.
    attempt: Option<(u64, String, String)>,
    /// Why the connection was last lost, and when.
    last: Option<(String, Instant)>,
}

impl Connection {
    pub(super) fn new(now: Instant) -> Self {
        Self { server: None, live: false, recovered: 0, since: now, attempt: None, last: None }
    }

    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    pub(super) fn apply(&mut self, event: &Event, now: Instant) {
        match event {
            Event::State(change) => self.stands(change.state, change.uri.as_ref(), change.cause.as_ref(), now),
            Event::AttemptFailed { uri, attempt, cause } => {
                self.attempt = Some((*attempt, place(uri), cause.to_string()));
            }
            _ => {}
        }
    }

    /// The connection has this state now.
    pub(super) fn stands(&mut self, state: ConnectionState, uri: Option<&Uri>, cause: Option<&Cause>, now: Instant) {
        match state {
            ConnectionState::Resubscribed => {
                self.server = uri.map(place);
                (self.live, self.since, self.attempt) = (true, now, None);
            }
            ConnectionState::Disconnected | ConnectionState::Shutdown if self.live => {
                let cause = cause.map_or_else(|| "closed".to_owned(), ToString::to_string);
                (self.live, self.since, self.last) = (false, now, Some((cause, now)));
            }
            _ => {}
        }
    }

    /// The server and how often it was another, or what became of the attempts;
    /// the latest failure.
    pub(super) fn line(&self, now: Instant) -> String {
        let mut line = match (&self.server, self.live) {
            (Some(server), true) => format!("at {server}"),
            (Some(server), false) => format!("lost {server} {} ago", age(now, self.since)),
            (None, _) => format!("no connection for {}", age(now, self.since)),
        };
        if self.recovered > 0 {
            let times = if self.recovered == 1 { "once".to_owned() } else { format!("{} times", self.recovered) };
            line.push_str(&format!(", recovered {times}"));
        }
        match (&self.attempt, &self.last) {
            (Some((attempt, uri, cause)), _) => line.push_str(&format!("; attempt {attempt} at {uri}: {cause}")),
            (None, Some((cause, at))) => line.push_str(&format!("; last loss {} ago: {cause}", age(now, *at))),
            (None, None) => {}
        }
        line
    }
}

/// Where a server is, as far as a line has room for it; a socket file as a whole.
fn place(uri: &Uri) -> String {
    let text = uri.to_string();
    match text.split_once("://") {
        Some((scheme, rest)) if scheme != "unix" => {
            let authority = rest.split('/').next().unwrap_or_default();
            authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_owned()
        }
        _ => text,
    }
}

/// A duration as short as it is told to people.
fn age(now: Instant, then: Instant) -> String {
    match now.saturating_duration_since(then) {
        age if age < Duration::from_secs(60) => format!("{} s", age.as_secs()),
        age if age < Duration::from_secs(3_600) => format!("{} min", age.as_secs() / 60),
        age => format!("{} h", age.as_secs() / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "tcp://a:9007/amps/json";
    const B: &str = "tcps://me:secret@[::1]:9007/amps/json";

    fn stands(connection: &mut Connection, state: ConnectionState, uri: &str, cause: Option<Cause>, now: Instant) {
        connection.stands(state, uri.parse().ok().as_ref(), cause.as_ref(), now);
    }

    #[test]
    fn the_line_says_where_how_often_and_why() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut connection = Connection::new(start);
        assert_eq!(connection.line(at(3)), "no connection for 3 s");
        let failed = |uri: &str| Event::AttemptFailed { uri: uri.parse().unwrap(), attempt: 2, cause: Cause::Closed };
        connection.apply(&failed(A), at(3));
        let line = "no connection for 4 s; attempt 2 at a:9007: the server closed the connection";
        assert_eq!(connection.line(at(4)), line);
        stands(&mut connection, ConnectionState::Resubscribed, A, None, at(5));
        assert_eq!((connection.line(at(70)), connection.is_live()), ("at a:9007".to_owned(), true));
        stands(&mut connection, ConnectionState::Disconnected, A, Some(Cause::Closed), at(100));
        let line = "lost a:9007 20 s ago; last loss 20 s ago: the server closed the connection";
        assert_eq!((connection.line(at(120)), connection.is_live()), (line.to_owned(), false));
        connection.apply(&failed(A), at(121));
        // An attempt that fails later is no loss of its own.
        stands(&mut connection, ConnectionState::Disconnected, B, Some(Cause::NotAccepted), at(122));
        stands(&mut connection, ConnectionState::Resubscribed, B, None, at(130));
        connection.recovered = 1;
        let line = "at [::1]:9007, recovered once; last loss 2 min ago: the server closed the connection";
        assert_eq!(connection.line(at(230)), line);
        let socket = "unix://localhost:0/amps/json?path=/run/amps";
        assert_eq!(place(&socket.parse().unwrap()), socket);
    }
}
