//! From the command line, the environment and a profile to what is to be done.

use std::ffi::OsString;

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::{ArgAction, Command, CommandFactory, FromArgMatches};

use crate::args::Cli;
use crate::exit::{CODES, Failure};
use crate::profile::Profile;
use crate::{argv, password};

/// How options may be written.
const SPELLING: &str = "\
Options may be written as spark writes them: -server localhost:9007 -type json -topn 5.
The file docs/tool.md has an example of every verb, profiles, and the variables of the environment.";

/// Options that are on or off, and may be given a value, so that a profile can
/// turn them on and the command line off again. Only of verbs that take nothing
/// but options: there a word behind one can be nothing else.
const SWITCHES: [&str; 4] = ["ack", "ask-password", "delta", "secure"];

/// The whole command line with its help.
pub(crate) fn definition() -> Command {
    complete(Cli::command()).after_help(format!("{SPELLING}\n\n{CODES}"))
}

fn complete(definition: Command) -> Command {
    let definition = definition.after_help(CODES).mut_args(|argument| {
        let is_switch = argument.get_long().is_some_and(|name| SWITCHES.contains(&name));
        match is_switch {
            false => argument,
            true => argument
                .action(ArgAction::Set)
                .num_args(0..=1)
                .value_name("BOOL")
                .value_parser(BoolishValueParser::new())
                .default_value("false")
                .default_missing_value("true")
                .hide_default_value(true)
                .hide_possible_values(true),
        }
    });
    definition.mut_subcommands(complete)
}

/// What this process was asked to do. Ends the process when help was asked for,
/// or the command line is wrong.
///
/// # Errors
/// When a profile is wrong, or a password stands on the command line.
pub(crate) fn read() -> Result<Cli, Failure> {
    let definition = definition();
    let arguments = argv::normalised(std::env::args_os(), &definition);
    let shows_help = |kind| {
        matches!(
            kind,
            ErrorKind::DisplayHelp
                | ErrorKind::DisplayVersion
                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                | ErrorKind::MissingSubcommand
        )
    };
    // Whatever may be wrong with a profile.
    if let Err(error) = definition.clone().try_get_matches_from(&arguments)
        && shows_help(error.kind())
    {
        error.exit();
    }
    let profile = Profile::load(&arguments, &definition)?;
    parse(&arguments, profile.apply(definition))
}

fn parse(arguments: &[OsString], definition: Command) -> Result<Cli, Failure> {
    let matches = definition.try_get_matches_from(arguments).unwrap_or_else(|error| error.exit());
    password::refuse_on_the_command_line(&matches)?;
    Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
}
