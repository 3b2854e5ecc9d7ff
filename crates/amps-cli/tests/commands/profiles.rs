//! Profiles, the environment, and where passwords come from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use amps_testserver::TestServer;
use tempfile::TempDir;

use crate::harness::{amps, publish, server, stderr, stdout};

/// A directory with a configuration file.
struct Config {
    dir: TempDir,
}

impl Config {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("amps")).unwrap();
        fs::write(dir.path().join("amps/config.toml"), text).unwrap();
        Self { dir }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("amps").join(name)
    }

    fn amps(&self, args: &[&str]) -> Command {
        let mut command = amps(args);
        command.env("XDG_CONFIG_HOME", self.dir.path());
        command
    }
}

fn said(command: &mut Command) -> (Option<i32>, String, String) {
    let output: Output = command.output().unwrap();
    (output.status.code(), stdout(&output), stderr(&output))
}

#[test]
fn a_flag_counts_before_the_environment_and_that_before_the_profile() {
    let (_server, uri) = server("127.0.0.1:0", &["--sow", "t:/id"]);
    publish(&uri, "t", &["{\"id\":1}"]);
    let config = Config::new(&format!(
        "default = \"dev\"\n\n[profile.dev]\nserver = [\"{uri}\"]\ntopic = \"t\"\nformat = \"{{topic}}\"\n\n\
         [profile.other]\nserver = \"tcp://127.0.0.1:1/amps/json,{uri}\"\nformat = \"table\"\n"
    ));
    let ask = |args: &[&str], variables: &[(&str, &str)]| {
        let (code, out, err) = said(config.amps(&[&["sow"], args].concat()).envs(variables.iter().copied()));
        assert_eq!(code, Some(0), "{args:?}: {err}");
        out
    };
    assert_eq!(ask(&[], &[]), "t\n", "the default profile");
    assert_eq!(ask(&[], &[("AMPS_FORMAT", "{length}")]), "8\n");
    assert_eq!(ask(&["--format", "body"], &[("AMPS_FORMAT", "{length}")]), "{\"id\":1}\n");
    let table = "id\n--\n 1\n";
    assert_eq!(ask(&["--topic", "t", "--profile", "other"], &[]), table);
    assert_eq!(ask(&["--topic", "t"], &[("AMPS_PROFILE", "other")]), table);
    assert_eq!(ask(&["--topic", "t", "-profile=other"], &[("AMPS_PROFILE", "dev")]), table);
    // Another file.
    let elsewhere = config.file("elsewhere.toml");
    fs::write(&elsewhere, format!("[profile.x]\nserver = \"{uri}\"\ntopic = \"t\"\n")).unwrap();
    assert_eq!(ask(&["--profile", "x"], &[("AMPS_CONFIG", elsewhere.to_str().unwrap())]), "{\"id\":1}\n");
}

#[test]
fn a_profile_that_is_not_there_or_wrong_is_refused_and_help_is_still_there() {
    let config = Config::new("[profile.dev]\nservr = \"h:1\"\n");
    for (args, part) in [
        (&["sow", "--topic", "t", "--profile", "dev"][..], "servr is no option"),
        (&["sow", "--topic", "t", "--profile", "prod"], "no profile prod; it has dev"),
    ] {
        let (code, _, err) = said(&mut config.amps(args));
        assert!(code == Some(2) && err.contains(part), "{err}");
    }
    assert_eq!(said(&mut config.amps(&["sow", "--help", "--profile", "dev"])).0, Some(0));
    let (code, _, err) = said(&mut amps(&["sow", "--topic", "t", "--profile", "dev"]));
    assert!(code == Some(2) && err.contains("no profile dev"), "{err}");
    let (code, _, err) = said(amps(&["sow", "--topic", "t"]).env("AMPS_CONFIG", "/no/such/file"));
    assert!(code == Some(2) && err.contains("/no/such/file"), "{err}");
}

/// What was given, as `user:password`.
type Seen = Arc<Mutex<Vec<String>>>;

/// A server that takes the password `right` only.
async fn strict() -> (TestServer, Seen) {
    let server = TestServer::builder().start().await.unwrap();
    let seen = Seen::default();
    let notes = Arc::clone(&seen);
    server.faults(|faults| {
        faults.check_credentials(move |user, password| {
            notes.lock().unwrap().push(format!("{user}:{password}"));
            password == "right"
        });
    });
    (server, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_come_from_a_file_or_the_environment_or_a_profile() {
    let (server, seen) = strict().await;
    let (uri, with_user) = (server.uri(), server.uri().replace("tcp://", "tcp://me@"));
    let with_password = server.uri().replace("tcp://", "tcp://me:right@");
    let config = Config::new(&format!(
        "[profile.file]\nserver = \"{uri}\"\nuser = \"me\"\npassword-file = \"secret\"\n\n\
         [profile.uri]\nserver = \"{with_password}\"\n"
    ));
    fs::write(config.file("secret"), "right\n").unwrap();
    fs::write(config.file("wrong"), "wrong\n").unwrap();
    let (right, wrong) = (config.file("secret"), config.file("wrong"));
    let (right, wrong) = (right.to_str().unwrap(), wrong.to_str().unwrap());
    for (args, variables) in [
        (&["--server", &uri, "--user", "me", "--password-file", right][..], &[][..]),
        (&["--server", &with_user, "--password-file", right], &[]),
        (&["--server", &with_user], &[("AMPS_PASSWORD", "right")]),
        (&[], &[("AMPS_SERVER", with_password.as_str())]),
        (&["--server", &uri], &[("AMPS_USER", "me"), ("AMPS_PASSWORD_FILE", right)]),
        (&["--profile", "file"], &[]),
        (&["--profile", "uri"], &[]),
        // A flag counts before the environment, and that before a profile.
        (&["--server", &with_user, "--password-file", right], &[("AMPS_PASSWORD", "wrong")]),
        (&["--profile", "file"], &[("AMPS_PASSWORD", "right"), ("AMPS_FORMAT", "body")]),
    ] {
        let ping = [&["ping", "--timeout", "5"], args].concat();
        let (code, out, err) = said(config.amps(&ping).envs(variables.iter().copied()));
        assert_eq!(code, Some(0), "{args:?} {variables:?}: {err}");
        assert!(!format!("{out}{err}").contains("right"), "{out}{err}");
        assert_eq!(seen.lock().unwrap().pop().as_deref(), Some("me:right"), "{args:?}");
    }
    fs::write(config.file("secret"), "wrong\n").unwrap();
    assert_eq!(said(config.amps(&["ping", "--profile", "file"]).env("AMPS_PASSWORD", "right")).0, Some(0));

    let refused = ["ping", "--timeout", "3", "--server", &with_user, "--password-file", wrong];
    let (code, _, err) = said(&mut config.amps(&refused));
    assert!(code == Some(1) && err.contains("--password-file, --ask-password or AMPS_PASSWORD"), "{err}");
    assert!(!err.contains("wrong\n") && !err.contains(":wrong"), "{err}");
}

#[test]
fn a_password_on_the_command_line_is_refused_and_not_repeated() {
    for args in [
        &["ping", "--server", "tcp://me:SECRET@h:1/amps/json"][..],
        &["subscribe", "-server", "me:SECRET@h:1", "-topic", "t"],
        &["sow", "-topic", "t", "-server=h:1,me:SECRET@h:2"],
        &["sow", "--topic", "t", "--server", "h:1", "--copy", "me:SECRET@h:1"],
        &["bench", "sow", "--server", "tcp://me:SECRET@h:1/amps/json"],
        &["queue", "ack", "--all", "--topic", "t", "--server", "tcp://me:SECRET@h:1/amps/json"],
    ] {
        let (code, out, err) = said(&mut amps(args));
        assert_eq!(code, Some(2), "{args:?}: {err}");
        assert!(err.contains("AMPS_PASSWORD") && !format!("{out}{err}").contains("SECRET"), "{err}");
    }
    let (code, _, err) =
        said(&mut amps(&["ping", "--server", "tcp://a@h:1/amps,tcp://b@h:2/amps", "--timeout", "0.1"]));
    assert_eq!(code, Some(1), "users are no passwords: {err}");
}

#[test]
fn without_a_terminal_nobody_is_asked() {
    let mut command = Command::new("setsid");
    command.args(["--wait", env!("CARGO_BIN_EXE_amps"), "ping", "--server", "h:1", "--ask-password"]);
    let (code, _, err) = said(command.stdin(std::process::Stdio::null()));
    assert!(code == Some(2) && err.contains("--password-file"), "{err}");
}

#[test]
fn a_password_needs_a_user_and_a_file_that_can_be_read() {
    let (code, _, err) = said(amps(&["ping", "--server", "h:1"]).env("AMPS_PASSWORD", "SECRET"));
    assert!(code == Some(2) && err.contains("--user") && !err.contains("SECRET"), "{err}");
    let (code, _, err) = said(&mut amps(&["ping", "--server", "h:1", "--password-file", "/no/such/file"]));
    assert!(code == Some(2) && err.contains("/no/such/file"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_with_whom_the_certificates_say() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/tls");
    let pem = |name: &str| data.join(name).to_str().unwrap().to_owned();
    let read = |name: &str| fs::read(pem(name)).unwrap();
    let builder = TestServer::builder().tls(read("server.pem"), read("server.key"));
    let server = builder.tls_client_roots(read("ca.pem")).start().await.unwrap();
    let uri: amps_client::Uri = server.tls_uri().unwrap().parse().unwrap();
    let host = format!("localhost:{}", uri.port());
    let ping = |more: &[&str]| {
        let args = ["ping", "--server", &host, "--type", "json", "--secure", "--timeout", "3"];
        said(&mut amps(&[&args[..], more].concat()))
    };
    let (ca, cert, key) = (pem("ca.pem"), pem("client.pem"), pem("client.key"));
    let (code, out, err) = ping(&["--ca-file", &ca, "--cert-file", &cert, "--key-file", &key]);
    assert!(code == Some(0) && out.starts_with(&format!("tcps://{host}/amps/json answered")), "{out}{err}");
    let other = pem("other-ca.pem");
    let (code, _, err) = ping(&["--ca-file", &other, "--cert-file", &cert, "--key-file", &key]);
    assert!(code == Some(1) && err.contains("--ca-file FILE trusts"), "{err}");
    let (code, _, err) = ping(&["--ca-file", "/no/such/file"]);
    assert!(code == Some(2) && err.contains("/no/such/file"), "{err}");
    assert_eq!(ping(&["--cert-file", &cert]).0, Some(2), "without its key");
}
