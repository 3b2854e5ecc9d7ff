//! Where passwords come from: a file, the terminal, the environment. Never the
//! command line, which every user of the machine can read.

use std::fmt;
use std::fs;
use std::path::Path;

use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::exit::Failure;

/// The variable that holds one.
pub(crate) const VARIABLE: &str = "AMPS_PASSWORD";
/// The options whose values are connection strings.
const SERVERS: [&str; 2] = ["server", "copy"];

/// A password, or none. `Debug` does not show it.
#[derive(Clone, Default)]
pub(crate) struct Password(Option<String>);

impl Password {
    /// Asks on the terminal, or reads the file, or takes it from the environment,
    /// whichever of them is the first that is wanted or there.
    ///
    /// # Errors
    /// When the file cannot be read, or there is no terminal to ask on.
    pub(crate) fn get(file: Option<&Path>, ask: bool, user: Option<&str>) -> Result<Self, Failure> {
        if ask {
            let prompt = user.map_or_else(|| "Password: ".to_owned(), |user| format!("Password of {user}: "));
            let asked = rpassword::prompt_password(prompt);
            let hint = "where there is no terminal, use --password-file or the environment variable AMPS_PASSWORD";
            let failed = |error| Failure::usage(format!("cannot ask for a password: {error}")).hint(hint.to_owned());
            return asked.map(|password| Self(Some(password))).map_err(failed);
        }
        if let Some(path) = file {
            let text = fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("cannot read the password in {}: {error}", path.display())))?;
            return match text.lines().next().filter(|line| !line.is_empty()) {
                Some(password) => Ok(password.into()),
                None => Err(Failure::usage(format!("the first line of {} is empty, and no password", path.display()))),
            };
        }
        match std::env::var(VARIABLE) {
            Ok(password) if !password.is_empty() => Ok(Self(Some(password))),
            Ok(_) | Err(std::env::VarError::NotPresent) => Ok(Self(None)),
            Err(std::env::VarError::NotUnicode(_)) => Err(Failure::usage(format!("{VARIABLE} is not UTF-8"))),
        }
    }

    pub(crate) fn secret(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl From<&str> for Password {
    fn from(password: &str) -> Self {
        Self(Some(password.to_owned()))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "***" } else { "none" })
    }
}

/// Refuses a password in a connection string on the command line; in the
/// environment and in a profile it may stand.
///
/// # Errors
/// When there is one.
pub(crate) fn refuse_on_the_command_line(matches: &ArgMatches) -> Result<(), Failure> {
    if let Some((_, verb)) = matches.subcommand() {
        return refuse_on_the_command_line(verb);
    }
    for option in SERVERS {
        let known = matches.try_contains_id(option).is_ok();
        if !known || matches.value_source(option) != Some(ValueSource::CommandLine) {
            continue;
        }
        let values = matches.get_raw(option).into_iter().flatten();
        if values.filter_map(|value| value.to_str()).any(has_password) {
            let hint = format!(
                "leave it out, as in --{option} me@localhost:9007, and give it with --password-file FILE, with\n\
                 --ask-password, in the environment variable {VARIABLE}, or in a profile"
            );
            return Err(Failure::usage(format!(
                "--{option}: a password on the command line can be read by every user of this machine"
            ))
            .hint(hint));
        }
    }
    Ok(())
}

/// Whether a connection string, whole or not, has one. In the user's name a colon
/// is written `%3A`.
fn has_password(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let user = rest.rsplit_once('@').map(|(user, _)| user);
    user.and_then(|user| user.split_once(':')).is_some_and(|(_, password)| !password.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_seen_wherever_it_stands() {
        for text in ["tcp://me:x@h:1/amps", "me:x@h:1", "tcp://me:a/b@h:1", "tcp://:x@h:1", "tcp://h:1/amps?a:b@c"] {
            assert!(has_password(text), "{text}");
        }
        for text in ["tcp://h:1/amps", "h:1", "me@h:1", "tcp://me@h:1/amps", "me:@h:1", "tcp://a%3Ab@h:1"] {
            assert!(!has_password(text), "{text}");
        }
    }

    #[test]
    fn a_file_has_it_in_its_first_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "pass word \r\nsecond\n").unwrap();
        let password = Password::get(Some(file.path()), false, None).unwrap();
        assert_eq!(password.secret(), Some("pass word "));
        assert!(!format!("{password:?}").contains("pass"));
        fs::write(file.path(), "\n").unwrap();
        assert!(Password::get(Some(file.path()), false, None).is_err());
        assert!(Password::get(Some(Path::new("/no/such/file")), false, None).is_err());
    }
}
