//! `cargo xtask parity`: which test shows which rule, as a table.
//!
//! `docs/acceptance.tsv` and `docs/lessons.tsv` have the rules. Each is covered by tests that say so
//! (see the module `covers`), or `docs/differences.md` says how this client differs.
//! `docs/parity.md` is written from these, and from `docs/surface.tsv`, which has the names of the
//! Python client. Each name of `docs/names.tsv` has to be there, or among those that
//! `docs/differences.md` says are not here.

mod bullets;
mod covers;
mod listed;
mod surface;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use bullets::{bullets, differences};
use covers::{Cover, covers};
use listed::Listed;

use crate::binary::workspace;
use crate::failure::Failure;

/// What the table begins with.
const HEAD: &str = "\
# Parity

Written by `cargo xtask parity` from [acceptance.tsv](acceptance.tsv) (AMPS's public guides) and
[lessons.tsv](lessons.tsv) (what other clients of message servers got wrong), from what the tests say they cover, and from
[differences.md](differences.md); not to be edited. Below, where each name of the Python client is here.

";

/// Settings of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Writes nothing; fails when a rule is unaccounted for, when a test that
    /// is named does not exist, and when the table is not up to date.
    #[arg(long)]
    check: bool,
}

/// Writes or checks the table.
pub(crate) fn parity(args: &Args) -> Result<(), Failure> {
    let root = &workspace();
    let covers = covers(root)?;
    let symbols = surface::symbols(&read(root, "docs/surface.tsv")?)?;
    let table = table(root, &covers)? + &names(root, &symbols)?;
    if !args.check {
        let path = root.join("docs/parity.md");
        return fs::write(&path, table).map_err(|error| Failure::new(format!("{}: {error}", path.display())));
    }
    up_to_date(root, &table)?;
    let listed = Listed::ask(root)?;
    let missing: BTreeSet<_> = covers.iter().filter(|cover| !listed.has(root, cover)).map(named).collect();
    let unshown = symbols.iter().filter(|symbol| !listed.has_named(&symbol.test));
    let missing: BTreeSet<_> = missing.into_iter().chain(unshown.map(|symbol| symbol.test.clone())).collect();
    if !missing.is_empty() {
        return Err(complaint("`cargo test -- --list` does not print", missing));
    }
    let undefined = surface::undefined(&symbols, &covers::texts(root)?);
    match undefined.is_empty() {
        true => Ok(()),
        false => Err(complaint("docs/surface.tsv names what is not public", undefined.into_iter().map(str::to_owned))),
    }
}

/// The texts of the crates' sources.
#[cfg(test)]
pub(crate) fn sources() -> Result<Vec<String>, Failure> {
    covers::texts(&workspace())
}

/// The table of names, if every one is accounted for.
fn names(root: &Path, symbols: &[surface::Symbol]) -> Result<String, Failure> {
    let absent = surface::absent(&read(root, "docs/differences.md")?)?;
    let wrong = surface::unaccounted(&read(root, "docs/names.tsv")?, symbols, &absent);
    match wrong.is_empty() {
        true => Ok(surface::table(symbols, &absent)),
        false => Err(complaint("not every name fits", wrong)),
    }
}

fn named(cover: &Cover) -> String {
    format!("{} in {}", cover.test, cover.file)
}

fn complaint(what: &str, items: impl IntoIterator<Item = String>) -> Failure {
    let items: Vec<_> = items.into_iter().collect();
    Failure::new(format!("{what}:\n  {}", items.join("\n  ")))
}

fn read(root: &Path, name: &str) -> Result<String, Failure> {
    fs::read_to_string(root.join(name)).map_err(|error| Failure::new(format!("{name}: {error}")))
}

fn up_to_date(root: &Path, table: &str) -> Result<(), Failure> {
    match read(root, "docs/parity.md")? == table {
        true => Ok(()),
        false => Err(Failure::new("docs/parity.md is not up to date: run `cargo xtask parity`")),
    }
}

/// The document, if everything is accounted for.
fn table(root: &Path, covers: &[Cover]) -> Result<String, Failure> {
    let mut all = Vec::new();
    for name in ["docs/acceptance.tsv", "docs/lessons.tsv"] {
        all.extend(bullets(name, &read(root, name)?)?);
    }
    let bullets = all;
    let differences = differences(&read(root, "docs/differences.md")?)?;
    let mut wrong = Vec::new();

    let known: BTreeSet<_> = bullets.iter().map(|bullet| bullet.id.as_str()).collect();
    let unknown = covers.iter().filter(|cover| !known.contains(cover.id.as_str()));
    wrong.extend(unknown.map(|cover| format!("{} covers {}, which there is not", named(cover), cover.id)));
    let unknown = differences.iter().filter(|id| !known.contains(id.as_str()));
    wrong.extend(unknown.map(|id| format!("docs/differences.md speaks of {id}, which there is not")));

    let (mut rows, mut tested, mut differ) = (String::new(), 0, 0);
    for bullet in &bullets {
        let mut by: Vec<_> = covers
            .iter()
            .filter(|cover| cover.id == bullet.id)
            .map(|cover| format!("[{}](../{})", cover.test, cover.file))
            .collect();
        tested += u32::from(!by.is_empty());
        if differences.contains(&bullet.id) {
            differ += 1;
            by.push("differs: see [differences.md](differences.md)".to_owned());
        }
        if by.is_empty() {
            wrong.push(format!("nothing accounts for {}: {}", bullet.id, bullet.text));
        }
        let text = bullet.text.replace('|', "\\|");
        let _ = writeln!(rows, "| {} | {text} | {} |", bullet.id, by.join("<br>"));
    }
    if !wrong.is_empty() {
        return Err(complaint("not everything fits", wrong));
    }
    Ok(format!(
        "{HEAD}{} rules: {tested} shown by tests, {differ} where this client differs.\n\n\
         | id | rule | shown by |\n| --- | --- | --- |\n{rows}",
        bullets.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rest of the check, whether the tests exist, is `cargo xtask parity
    /// --check`: it needs every test program built.
    ///
    /// Covers 17#1.
    #[test]
    fn every_rule_is_accounted_for_and_the_table_is_up_to_date() {
        let root = &workspace();
        let table = table(root, &covers(root).unwrap()).unwrap_or_else(|failure| panic!("{failure}"));
        let symbols = surface::symbols(&read(root, "docs/surface.tsv").unwrap()).unwrap();
        let table = table + &names(root, &symbols).unwrap_or_else(|failure| panic!("{failure}"));
        up_to_date(root, &table).unwrap_or_else(|failure| panic!("{failure}"));
    }
}
