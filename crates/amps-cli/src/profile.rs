//! Profiles: what options are unless the command line or the environment says
//! otherwise.
//!
//! ```toml
//! default = "dev"
//!
//! [profile.dev]
//! server = ["localhost:9007", "localhost:9008"]
//! type = "json"
//! ```
//!
//! Keys are names of options, of any verb; a verb takes those that it has. The
//! parser gets them as the options' defaults, so that a flag counts before the
//! environment, the environment before the profile, and the profile before what
//! is built in.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Command;
use serde::Deserialize;
use toml::Value;

use crate::exit::Failure;
use crate::password;

/// Where the file is, instead of in the user's configuration directory.
const CONFIG: &str = "AMPS_CONFIG";
/// The profile's name, unless the command line says one.
const PROFILE: &str = "AMPS_PROFILE";
/// Options that name files, which are looked for beside the configuration file.
const FILES: [&str; 4] = ["password-file", "ca-file", "cert-file", "key-file"];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The profile that counts when none is named.
    default: Option<String>,
    #[serde(default)]
    profile: BTreeMap<String, toml::Table>,
}

/// The options of one profile, by their names; empty if there is none.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Profile(BTreeMap<String, Vec<String>>);

impl Profile {
    /// Reads the profile that the arguments, the environment or the file name.
    ///
    /// # Errors
    /// When it is named and is not there, or when it cannot be read.
    pub(crate) fn load(arguments: &[OsString], definition: &Command) -> Result<Self, Failure> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let named = named(arguments).or_else(|| variable(PROFILE)?.into_string().ok());
        let path = match (variable(CONFIG), directory(variable)) {
            (Some(path), _) => PathBuf::from(path),
            (None, Some(directory)) => directory.join("amps").join("config.toml"),
            (None, None) => return missing(named.as_deref(), "there is no HOME to look for a configuration file in"),
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && variable(CONFIG).is_none() => {
                return missing(named.as_deref(), &format!("there is no {}", path.display()));
            }
            Err(error) => return Err(Failure::usage(format!("cannot read {}: {error}", path.display()))),
        };
        let mut profile = Self::read(&text, &path, named.as_deref(), definition)?;
        if variable(password::VARIABLE).is_some() {
            // The environment counts before a profile.
            profile.0.retain(|option, _| !matches!(option.as_str(), "password-file" | "ask-password"));
        }
        Ok(profile)
    }

    fn read(text: &str, path: &Path, named: Option<&str>, definition: &Command) -> Result<Self, Failure> {
        let wrong = |what: String| Failure::usage(format!("{}: {what}", path.display()));
        let mut file: File = toml::from_str(text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        let Some(name) = named.or(file.default.as_deref()).map(str::to_owned) else { return Ok(Self::default()) };
        let Some(table) = file.profile.remove(&name) else {
            let there: Vec<_> = file.profile.keys().map(String::as_str).collect();
            let there =
                if there.is_empty() { "it has none".to_owned() } else { format!("it has {}", there.join(", ")) };
            return Err(wrong(format!("there is no profile {name}; {there}")));
        };
        let mut options = BTreeMap::new();
        for (key, value) in table {
            let wrong = |what: String| wrong(format!("profile {name}: {what}"));
            let option = long_name(&key.replace('_', "-"), definition).ok_or_else(|| match key.as_str() {
                "password" => wrong("a password stands in a file of its own: name it with password-file".to_owned()),
                _ => wrong(format!("{key} is no option of any verb; keys are options without their dashes")),
            })?;
            let values =
                values(value).ok_or_else(|| wrong(format!("{key} is no text, number, truth value or list")))?;
            let values = match FILES.contains(&option.as_str()) {
                true => values.into_iter().map(|value| beside(path, &value)).collect(),
                false => values,
            };
            options.insert(option, values);
        }
        Ok(Self(options))
    }

    /// Makes the profile's values the defaults of the options, in all verbs. What
    /// has to be chosen among several options has no default.
    pub(crate) fn apply(&self, definition: Command) -> Command {
        if self.0.is_empty() {
            return definition;
        }
        let choices: Vec<_> = definition
            .get_groups()
            .filter(|group| group.is_required_set())
            .flat_map(|group| group.get_args().cloned().collect::<Vec<_>>())
            .collect();
        let definition = definition.mut_args(|argument| {
            let values = argument.get_long().and_then(|name| self.0.get(name));
            match values {
                Some(values) if !choices.contains(argument.get_id()) => {
                    argument.required(false).default_values(values.clone()).hide_default_value(true)
                }
                _ => argument,
            }
        });
        definition.mut_subcommands(|verb| self.apply(verb))
    }
}

/// The profile that the arguments name.
fn named(arguments: &[OsString]) -> Option<String> {
    let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy()).take_while(|text| text != "--");
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix("--profile") {
            Some("") => return arguments.next().map(|name| name.into_owned()),
            Some(rest) if rest.starts_with('=') => return Some(rest[1..].to_owned()),
            _ => {}
        }
    }
    None
}

/// The user's configuration directory (XDG Base Directory Specification).
fn directory(variable: impl Fn(&'static str) -> Option<OsString>) -> Option<PathBuf> {
    let own = variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    own.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".config")))
}

fn missing(named: Option<&str>, why: &str) -> Result<Profile, Failure> {
    match named {
        None => Ok(Profile::default()),
        Some(name) => Err(Failure::usage(format!("there is no profile {name}: {why}"))),
    }
}

/// The name of the option that has this name or alias.
fn long_name(name: &str, definition: &Command) -> Option<String> {
    let is = |argument: &&clap::Arg| {
        argument.get_long() == Some(name) || argument.get_all_aliases().is_some_and(|all| all.contains(&name))
    };
    let own = definition.get_arguments().find(is).and_then(|argument| argument.get_long().map(str::to_owned));
    own.or_else(|| definition.get_subcommands().find_map(|verb| long_name(name, verb)))
}

fn values(value: Value) -> Option<Vec<String>> {
    match value {
        Value::Array(values) => values.into_iter().map(scalar).collect(),
        value => scalar(value).map(|value| vec![value]),
    }
}

fn scalar(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

/// A file that the configuration file names.
fn beside(config: &Path, file: &str) -> String {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let path = match (file.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => config.parent().map_or_else(|| PathBuf::from(file), |directory| directory.join(file)),
    };
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgGroup};

    use super::*;

    const FILE: &str = "default = \"dev\"\n\n[profile.dev]\nserver = [\"a:1\", \"b:2\"]\ntop_n = 5\n\n\
                        [profile.prod]\nserver = \"c:3\"\npassword-file = \"secret\"\ntopn = 7\nfilter = \"/x = 1\"\n";

    fn definition() -> Command {
        let sow = Command::new("sow").arg(Arg::new("topn").long("top-n").alias("topn").default_value("1"));
        let delete = Command::new("delete")
            .args([Arg::new("filter").long("filter"), Arg::new("all").long("all").num_args(0)])
            .group(ArgGroup::new("records").args(["filter", "all"]).required(true));
        let server = Arg::new("server").long("server").required(true).num_args(1).action(clap::ArgAction::Append);
        Command::new("amps")
            .args([server.clone(), Arg::new("password-file").long("password-file")])
            .subcommand(sow.arg(server))
            .subcommand(delete)
    }

    fn read(named: Option<&str>) -> Result<Profile, Failure> {
        Profile::read(FILE, Path::new("/etc/amps.toml"), named, &definition())
    }

    #[test]
    fn the_file_names_the_profile_unless_somebody_does() {
        let Profile(dev) = read(None).unwrap();
        assert_eq!((dev["server"].len(), &dev["top-n"]), (2, &vec!["5".to_owned()]));
        let Profile(prod) = read(Some("prod")).unwrap();
        assert_eq!((prod["server"][0].as_str(), prod["top-n"][0].as_str()), ("c:3", "7"));
        assert_eq!(prod["password-file"], ["/etc/secret"]);
        let error = read(Some("test")).unwrap_err().to_string();
        assert!(error.contains("no profile test; it has dev, prod"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("[profile.x]\nservr = \"a\"", "servr is no option"),
            ("[profile.x]\npassword = \"a\"", "password-file"),
            ("[profile.x]\nserver = { a = 1 }", "server is no text"),
            ("[x]\nserver = \"a\"", "unknown field `x`"),
            ("default = ", "line 1, column"),
        ] {
            let error = Profile::read(text, Path::new("f"), Some("x"), &definition()).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_flag_counts_before_the_profile_and_the_profile_before_what_is_built_in() {
        let definition = read(None).unwrap().apply(definition());
        let matches = definition.clone().get_matches_from(["amps", "sow"]);
        let (_, sow) = matches.subcommand().unwrap();
        assert_eq!(sow.get_one::<String>("topn").unwrap(), "5");
        assert_eq!(sow.get_many::<String>("server").unwrap().collect::<Vec<_>>(), ["a:1", "b:2"]);
        let matches = definition.get_matches_from(["amps", "sow", "--top-n", "9", "--server", "d:4"]);
        let (_, sow) = matches.subcommand().unwrap();
        assert_eq!(sow.get_one::<String>("topn").unwrap(), "9");
        assert_eq!(sow.get_many::<String>("server").unwrap().collect::<Vec<_>>(), ["d:4"]);
    }

    /// Or a profile would delete what nobody named.
    #[test]
    fn a_choice_that_has_to_be_made_is_not_made_by_a_profile() {
        let definition = read(Some("prod")).unwrap().apply(definition());
        assert!(definition.clone().try_get_matches_from(["amps", "delete"]).is_err());
        let matches = definition.get_matches_from(["amps", "delete", "--all"]);
        assert!(!matches.subcommand().unwrap().1.contains_id("filter"));
    }

    #[test]
    fn the_name_is_found_among_the_arguments() {
        let named = |arguments: &[&str]| named(&arguments.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(named(&["amps", "--profile", "a", "sow"]).as_deref(), Some("a"));
        assert_eq!(named(&["amps", "sow", "--profile=b"]).as_deref(), Some("b"));
        assert_eq!(named(&["amps", "sow", "--", "--profile", "c"]), None);
        assert_eq!(named(&["amps", "sow"]), None);
    }
}
