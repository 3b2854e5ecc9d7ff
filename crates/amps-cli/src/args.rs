//! The command line. One struct a subcommand; each stands with its command.

use clap::{Parser, Subcommand};

use crate::{bench, generated, ping, publish, queue, sow, sow_delete, store_dir, subscribe, testserver, watch};

/// A client for AMPS that survives dead servers, and a server to try it on.
#[derive(Debug, Parser)]
#[command(name = "amps", version)]
pub(crate) struct Cli {
    /// The profile of the configuration file whose options count unless they are
    /// given here or in the environment.
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "AMPS_PROFILE",
        hide_env_values = true,
        help_heading = "Profile"
    )]
    pub(crate) profile: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(crate) enum Command {
    /// Logs on to a server and says whether it answers.
    Ping(ping::Ping),
    /// Publishes messages from files or standard input.
    Publish(publish::Publish),
    /// Publishes what changed of records: `publish` with `--delta`.
    #[command(alias = "delta-publish")]
    DeltaPublish(publish::Publish),
    /// Prints the messages of a topic.
    Subscribe(subscribe::Subscribe),
    /// Prints what changes of the records of a topic: `subscribe` with `--delta`.
    #[command(alias = "delta-subscribe")]
    DeltaSubscribe(subscribe::Subscribe),
    /// Prints the records of a SOW topic.
    Sow(sow::Sow),
    /// Prints the records of a SOW topic, and then the messages that change them.
    #[command(alias = "sow-and-subscribe")]
    SowAndSubscribe(subscribe::SowAndSubscribe),
    /// Prints the records of a SOW topic, and then what changes of them:
    /// `sow_and_subscribe` with `--delta`.
    #[command(alias = "sow-and-delta-subscribe")]
    SowAndDeltaSubscribe(subscribe::SowAndSubscribe),
    /// Deletes records of a SOW topic, and says how many there were.
    #[command(alias = "sow-delete")]
    SowDelete(sow_delete::SowDelete),
    /// Works off the messages of a queue.
    #[command(subcommand)]
    Queue(queue::Queue),
    /// Shows the records of a SOW topic as a table that stays current.
    Watch(watch::Watch),
    /// Measures how fast messages are published and received.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Looks at the directory of a store, checks it, salvages it.
    #[command(subcommand)]
    Store(store_dir::StoreDir),
    /// Checks whether a server keeps to the AMPS protocol.
    Conformance(amps_conformance::Args),
    /// Runs a server for tests and demos. Not for production.
    Testserver(testserver::Testserver),
    /// Prints what makes a shell complete the words of this command.
    Completions(generated::Completions),
    /// Writes the manual pages, one a verb, to a directory.
    Man(generated::Man),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Command;

    use crate::cli;

    const DOCUMENT: &str = include_str!("../../../docs/tool.md");

    #[test]
    fn the_definition_is_sound() {
        cli::definition().debug_assert();
    }

    /// Verbs with what they stand under, and all options.
    fn names(definition: &Command, above: &str, verbs: &mut Vec<String>, options: &mut BTreeSet<String>) {
        let shown = definition.get_arguments().filter(|argument| !argument.is_hide_set());
        options.extend(shown.filter_map(|argument| argument.get_long().map(str::to_owned)));
        for verb in definition.get_subcommands() {
            let name = format!("{above} {}", verb.get_name());
            names(verb, &name, verbs, options);
            verbs.push(name);
        }
    }

    /// So that it does not fall behind.
    #[test]
    fn the_document_names_every_verb_and_option_and_no_others() {
        let (mut verbs, mut options) = (Vec::new(), BTreeSet::new());
        names(&cli::definition(), "amps", &mut verbs, &mut options);
        for verb in &verbs {
            // The probes of `bench` and the parts of `store` stand in one chapter.
            let (chapter, part) = match verb.split(' ').collect::<Vec<_>>()[..] {
                [amps, group @ ("bench" | "store"), part] => (format!("{amps} {group}"), format!("`{part}`")),
                [amps, "queue"] => (format!("{amps} queue consume"), String::new()),
                _ => (verb.clone(), String::new()),
            };
            let begin = DOCUMENT.find(&format!("### `{chapter}`\n")).unwrap_or_else(|| panic!("no chapter for {verb}"));
            let chapter = DOCUMENT[begin + 4..].split("\n### ").next().unwrap();
            assert!(chapter.contains(&part), "{verb}");
        }
        let is_of_name = |char: char| char.is_ascii_lowercase() || char == '-';
        let named: BTreeSet<_> = DOCUMENT
            .split("`--")
            .skip(1)
            .map(|rest| rest.split(|char| !is_of_name(char)).next().unwrap().to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        let missing: Vec<_> = options.difference(&named).filter(|name| *name != "help" && *name != "version").collect();
        assert!(missing.is_empty(), "not in docs/tool.md: {missing:?}");
        let unknown: Vec<_> = named.difference(&options).collect();
        assert!(unknown.is_empty(), "options that do not exist: {unknown:?}");
    }

    #[test]
    fn the_document_has_every_variable_and_exit_code() {
        fn variables(definition: &Command, found: &mut BTreeSet<String>) {
            let named = definition.get_arguments().filter_map(|argument| argument.get_env());
            found.extend(named.map(|name| name.to_string_lossy().into_owned()));
            definition.get_subcommands().for_each(|verb| variables(verb, found));
        }
        let mut found = BTreeSet::from(["AMPS_CONFIG".to_owned(), crate::password::VARIABLE.to_owned()]);
        variables(&cli::definition(), &mut found);
        for name in &found {
            assert!(DOCUMENT.contains(&format!("`{name}`")), "{name}");
        }
        for line in crate::exit::CODES.lines().skip(1) {
            let (code, meaning) = line.trim().split_once(' ').unwrap();
            let begin = meaning.trim().split([';', ',']).next().unwrap();
            assert!(DOCUMENT.contains(&format!("| {code} | {begin}")), "{line}");
        }
    }
}
