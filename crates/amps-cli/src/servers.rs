//! Which servers, and how they are reached: the options that every verb with a
//! connection has.

use std::fmt;
use std::path::PathBuf;

use amps_client::tls::Tls;
use amps_client::{SocketConnector, mask};
use clap::Args;
use url::Url;

use crate::exit::Failure;
use crate::password::Password;

/// Where the options stand in the help.
const HEADING: &str = "Connection";
/// The authenticator `spark` uses unless told otherwise: user and password of the
/// connection string.
const DEFAULT_AUTHENTICATOR: &str = "com.crankuptheamps.spark.DefaultAuthenticatorFactory";

/// The servers of a client that goes on when one of them dies.
#[derive(Args)]
pub(crate) struct Servers {
    /// The servers, tried in turn: connection strings such as
    /// tcp://localhost:9007/amps/json, or localhost:9007 with `--type json`.
    #[arg(long, value_name = "SERVER,...", value_delimiter = ',', env = "AMPS_SERVER", hide_env_values = true, help_heading = HEADING)]
    server: Vec<String>,
    /// The message type of servers whose connection string does not say one, such
    /// as json, nvfix or fix.
    #[arg(long = "type", value_name = "TYPE", env = "AMPS_TYPE", hide_env_values = true, help_heading = HEADING)]
    message_type: Option<String>,
    /// The protocol of servers that are given as HOST:PORT. Only amps is spoken.
    #[arg(long = "proto", alias = "prot", value_name = "PROTOCOL", default_value = "amps", help_heading = HEADING)]
    protocol: String,
    /// TLS for servers that are given as HOST:PORT: tcps instead of tcp.
    #[arg(long, env = "AMPS_SECURE", hide_env_values = true, help_heading = HEADING)]
    secure: bool,
    /// The transport of servers that are given as HOST:PORT: tcp, tcps or unix.
    #[arg(long, alias = "urischeme", value_name = "SCHEME", help_heading = HEADING)]
    uri_scheme: Option<String>,
    /// Connection parameters for all servers, such as tcp_sndbuf=65536.
    #[arg(long, alias = "uriopts", value_name = "NAME=VALUE&...", help_heading = HEADING)]
    uri_opts: Option<String>,
    /// Taken for the sake of `spark`; only its default can be given.
    #[arg(long, value_name = "FACTORY", hide = true, help_heading = HEADING)]
    authenticator: Option<String>,
    /// Who logs on; else the user of the connection string.
    #[arg(long, value_name = "NAME", env = "AMPS_USER", hide_env_values = true, help_heading = HEADING)]
    user: Option<String>,
    /// The first line of this file is the password. Without it AMPS_PASSWORD is, if
    /// that is set.
    #[arg(long, value_name = "FILE", env = "AMPS_PASSWORD_FILE", hide_env_values = true, help_heading = HEADING)]
    password_file: Option<PathBuf>,
    /// Asks for the password on the terminal.
    #[arg(long, help_heading = HEADING)]
    ask_password: bool,
    /// Trusts the certificates in this PEM file, and no others, when TLS is spoken.
    #[arg(long, value_name = "FILE", env = "AMPS_CA_FILE", hide_env_values = true, help_heading = HEADING)]
    ca_file: Option<PathBuf>,
    /// Shows the servers this certificate chain, a PEM file.
    #[arg(long, value_name = "FILE", requires = "key_file", help_heading = HEADING)]
    cert_file: Option<PathBuf>,
    /// The private key of that certificate, a PEM file.
    #[arg(long, value_name = "FILE", requires = "cert_file", help_heading = HEADING)]
    key_file: Option<PathBuf>,
    /// Heartbeat interval in seconds; a server silent for twice as long counts as
    /// dead. 0 switches heartbeats off.
    #[arg(long, value_name = "SECS", default_value_t = 5, env = "AMPS_HEARTBEAT", hide_env_values = true, help_heading = HEADING, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub(crate) heartbeat: u64,
}

/// What [`Servers`] come to.
pub(crate) struct Reached {
    /// Whole connection strings, with user and password.
    pub(crate) uris: Vec<String>,
    /// `None`: the client's own.
    pub(crate) connector: Option<SocketConnector>,
    password: Password,
}

impl Servers {
    /// The servers without their passwords.
    pub(crate) fn shown(&self) -> String {
        self.server.iter().map(|text| mask(text)).collect::<Vec<_>>().join(",")
    }

    /// Puts the connection strings together, and reads or asks for the password.
    ///
    /// # Errors
    /// When there is no server, options contradict each other, or a file cannot be
    /// read.
    pub(crate) fn reach(&self) -> Result<Reached, Failure> {
        if self.server.is_empty() {
            let hint = "give --server HOST:PORT or --server tcp://HOST:PORT/amps/json, set AMPS_SERVER, or name a \
                        profile with --profile";
            return Err(Failure::usage("no server is given").hint(hint.to_owned()));
        }
        if let Some(other) = self.authenticator.as_deref().filter(|name| *name != DEFAULT_AUTHENTICATOR) {
            let hint = "--user with --password-file, --ask-password or AMPS_PASSWORD says who logs on";
            let what = format!("--authenticator {other}: authenticators of spark are Java classes");
            return Err(Failure::usage(what).hint(hint.to_owned()));
        }
        let password = Password::get(self.password_file.as_deref(), self.ask_password, self.user.as_deref())?;
        let reached = Reached { uris: Vec::new(), connector: self.connector()?, password };
        Ok(Reached { uris: self.uris(&self.server, &reached.password)?, ..reached })
    }

    /// As [`reach`](Self::reach) for other servers, with the same settings.
    pub(crate) fn reach_others(&self, servers: &[String], reached: &Reached) -> Result<Reached, Failure> {
        let uris = self.uris(servers, &reached.password)?;
        Ok(Reached { uris, connector: self.connector()?, password: reached.password.clone() })
    }

    fn uris(&self, servers: &[String], password: &Password) -> Result<Vec<String>, Failure> {
        let uri = |text: &String| {
            let whole = self.uri(text, password);
            whole.map_err(|why| Failure::usage(format!("--server {}: {why}", mask(text))))
        };
        servers.iter().map(uri).collect()
    }

    /// The connection string of one server.
    fn uri(&self, text: &str, password: &Password) -> Result<String, String> {
        let plain = self.uri_scheme.as_deref().unwrap_or(if self.secure { "tcps" } else { "tcp" });
        if self.secure && matches!(plain, "tcp" | "ws") {
            return Err(format!("--secure and --uri-scheme {plain} contradict each other"));
        }
        let whole = match (text.contains("://"), text.contains('/')) {
            (true, _) => text.to_owned(),
            (false, true) => format!("{plain}://{text}"),
            (false, false) => format!("{plain}://{text}/{}", self.protocol),
        };
        let mut url =
            Url::parse(&whole).map_err(|error| format!("{error}; expected HOST:PORT or a connection string"))?;
        if self.secure && matches!(url.scheme(), "tcp" | "ws") {
            return Err(format!("--secure and {}:// contradict each other: write {0}s://", url.scheme()));
        }
        if let Some(scheme) = self.uri_scheme.as_deref().filter(|scheme| *scheme != url.scheme()) {
            return Err(format!("--uri-scheme {scheme} and {}:// contradict each other", url.scheme()));
        }
        if let Some(message_type) = &self.message_type
            && url.path().trim_matches('/') == "amps"
        {
            url.set_path(&format!("/amps/{message_type}"));
        }
        if let Some(more) = &self.uri_opts {
            let query = url.query().map_or_else(|| more.clone(), |query| format!("{query}&{more}"));
            url.set_query(Some(&query));
        }
        self.log_on_as(&mut url, password)?;
        let whole = String::from(url);
        whole.parse::<amps_client::Uri>().map(|_| whole).map_err(|error| error.to_string())
    }

    /// Sets user and password where they are given.
    fn log_on_as(&self, url: &mut Url, password: &Password) -> Result<(), String> {
        let impossible = |()| "it cannot have a user".to_owned();
        if let Some(user) = self.user.as_deref().filter(|user| !is_user(url, user)) {
            url.set_username(user).map_err(impossible)?;
            // It was somebody else's.
            url.set_password(None).map_err(impossible)?;
        }
        if let Some(secret) = password.secret() {
            if url.username().is_empty() {
                return Err("there is a password and no user: give --user".to_owned());
            }
            url.set_password(Some(secret)).map_err(impossible)?;
        }
        Ok(())
    }

    fn connector(&self) -> Result<Option<SocketConnector>, Failure> {
        if self.ca_file.is_none() && self.cert_file.is_none() {
            return Ok(None);
        }
        let mut tls = Tls::builder();
        if let Some(roots) = &self.ca_file {
            tls = tls.roots_file(roots);
        }
        if let (Some(chain), Some(key)) = (&self.cert_file, &self.key_file) {
            tls = tls.client_certificate_files(chain, key);
        }
        let tls = tls.build().map_err(|error| Failure::usage(format!("TLS cannot be set up: {error}")))?;
        Ok(Some(SocketConnector::new().tls(tls)))
    }
}

/// Whether a connection string names this user.
fn is_user(url: &Url, user: &str) -> bool {
    let mut other = url.clone();
    other.set_username(user).is_ok() && other.username() == url.username()
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

#[cfg(test)]
mod tests {
    use clap::{FromArgMatches, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        servers: Servers,
    }

    fn uri_with(options: &[&str], password: &Password) -> Result<String, String> {
        let matches = <Line as clap::CommandFactory>::command().get_matches_from(["t"].iter().chain(options));
        let Line { servers } = Line::from_arg_matches(&matches).unwrap();
        servers.uri(&servers.server[0], password)
    }

    fn uri(options: &[&str]) -> Result<String, String> {
        uri_with(options, &Password::default())
    }

    #[test]
    fn user_and_password_may_have_any_characters() {
        let odd = "p@s:w/r?d#100%é";
        let whole = uri_with(&["--server", "h:1", "--user", odd], &Password::from(odd)).unwrap();
        let parsed: amps_client::Uri = whole.parse().unwrap();
        assert_eq!((parsed.user(), parsed.password(), parsed.host()), (Some(odd), Some(odd), "h"), "{whole}");
    }

    #[test]
    fn a_password_belongs_to_its_user() {
        let server = "tcp://me:mine@h:1/amps";
        assert_eq!(uri(&["--server", server, "--user", "me"]).as_deref(), Ok(server));
        assert_eq!(uri(&["--server", server, "--user", "you"]).as_deref(), Ok("tcp://you@h:1/amps"));
        let given = uri_with(&["--server", server], &Password::from("given"));
        assert_eq!(given.as_deref(), Ok("tcp://me:given@h:1/amps"));
        assert!(uri_with(&["--server", "h:1"], &Password::from("given")).is_err());
    }

    #[test]
    fn a_host_and_port_become_a_connection_string_as_spark_has_it() {
        for (options, expected) in [
            (&["--server", "h:1"][..], "tcp://h:1/amps"),
            (&["--server", "h:1", "--type", "json"], "tcp://h:1/amps/json"),
            (&["--server", "h:1", "--proto", "json"], "tcp://h:1/json"),
            (&["--server", "[::1]:1", "--type", "json"], "tcp://[::1]:1/amps/json"),
            (&["--server", "h:1/amps/nvfix", "--type", "json"], "tcp://h:1/amps/nvfix"),
            (&["--server", "h:1", "--type", "fix", "--secure"], "tcps://h:1/amps/fix"),
            (&["--server", "h:1", "--uri-scheme", "tcps"], "tcps://h:1/amps"),
            (&["--server", "me:pw@h:1", "--type", "json"], "tcp://me:pw@h:1/amps/json"),
            (&["--server", "h:1", "--user", "a/b"], "tcp://a%2Fb@h:1/amps"),
            (&["--server", "h:1", "--uri-opts", "tcp_nodelay=true"], "tcp://h:1/amps?tcp_nodelay=true"),
        ] {
            assert_eq!(uri(options).as_deref(), Ok(expected), "{options:?}");
        }
    }

    #[test]
    fn what_a_connection_string_says_stays() {
        let whole = "tcp://me@h:1/amps/nvfix?tcp_nodelay=true";
        assert_eq!(uri(&["--server", whole, "--type", "json"]).as_deref(), Ok(whole));
        assert_eq!(uri(&["--server", "tcp://h:1/amps", "--type", "json"]).as_deref(), Ok("tcp://h:1/amps/json"));
        let more = uri(&["--server", whole, "--uri-opts", "tcp_rcvbuf=65536"]).unwrap();
        assert_eq!(more, format!("{whole}&tcp_rcvbuf=65536"));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for options in [
            &["--server", "tcp://h:1/amps", "--secure"][..],
            &["--server", "h:1", "--uri-scheme", "tcp", "--secure"],
            &["--server", "tcps://h:1/amps", "--uri-scheme", "tcp"],
            &["--server", "h"],
            &["--server", "h:1", "--proto", "fix"],
            &["--server", "http://h:1/amps"],
        ] {
            assert!(uri(options).is_err(), "{options:?}");
        }
    }
}
