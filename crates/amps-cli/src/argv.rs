//! Options as `spark` spells them.
//!
//! 60East's command-line client has long options behind a single dash
//! (`-server`, `-topic`; AMPS User Guide, "spark"), and words of some are joined
//! or have underscores. Before the command line is parsed, such an option becomes
//! the one of this program: a dash is added, and underscores become hyphens, if
//! that makes an option that some verb has. A longer word that is no option gets
//! its dash, too, so that the parser can say which option it is like. Other names
//! of options are aliases where the option stands. Everything behind `--` stays as
//! it is.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::Command;

/// Rewrites the arguments, the program's name first.
pub(crate) fn normalised(arguments: impl IntoIterator<Item = OsString>, definition: &Command) -> Vec<OsString> {
    let mut known = BTreeSet::from(["help".to_owned(), "version".to_owned()]);
    note(definition, &mut known);
    let mut verbatim = false;
    let rewritten = arguments.into_iter().enumerate().map(|(place, argument)| {
        verbatim |= argument == "--";
        match argument.to_str() {
            Some(text) if place > 0 && !verbatim => option(text, &known).map_or(argument, OsString::from),
            _ => argument,
        }
    });
    rewritten.collect()
}

/// The names of all long options, of all verbs.
fn note(definition: &Command, known: &mut BTreeSet<String>) {
    for argument in definition.get_arguments() {
        known.extend(argument.get_long_and_visible_aliases().into_iter().flatten().map(str::to_owned));
        known.extend(argument.get_aliases().into_iter().flatten().map(str::to_owned));
    }
    for verb in definition.get_subcommands() {
        note(verb, known);
    }
}

/// The argument as this program spells it, if that is another way.
fn option(argument: &str, known: &BTreeSet<String>) -> Option<String> {
    let single = argument.strip_prefix('-')?;
    let text = single.strip_prefix('-').unwrap_or(single);
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let name = name.replace('_', "-");
    // One letter is a short option, and two may be two of them.
    let is_option = known.contains(&name) || text == single && is_word(&name);
    if name.len() < 2 || !is_option {
        return None;
    }
    let value = value.map_or_else(String::new, |value| format!("={value}"));
    let spelled = format!("--{name}{value}");
    (spelled != argument).then_some(spelled)
}

/// Whether it can only be meant as an option.
fn is_word(name: &str) -> bool {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    name.len() > 2 && name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.bytes().all(part)
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn normalised(arguments: &[&str]) -> Vec<String> {
        let verb = Command::new("sow").arg(Arg::new("n").long("top-n").alias("topn"));
        let definition = Command::new("amps").arg(Arg::new("server").long("server")).subcommand(verb);
        let arguments = ["amps"].iter().chain(arguments).map(OsString::from);
        let all = super::normalised(arguments, &definition).into_iter().skip(1);
        all.map(|argument| argument.into_string().unwrap()).collect()
    }

    #[test]
    fn options_may_have_one_dash_and_underscores() {
        assert_eq!(
            normalised(&["-server", "h:1", "-topn=3", "--top_n", "4", "-top_n=5_6"]),
            ["--server", "h:1", "--topn=3", "--top-n", "4", "--top-n=5_6"]
        );
    }

    #[test]
    fn what_is_no_option_stays_as_it_is() {
        let same = ["--server", "-h", "-hV", "-5", "-1e5", "--so_me", "/a = '-server'", "-", "--", "-server"];
        assert_eq!(normalised(&same), same);
    }

    #[test]
    fn a_misspelt_option_can_be_recognised_by_the_parser() {
        assert_eq!(normalised(&["-sever", "h"]), ["--sever", "h"]);
    }
}
