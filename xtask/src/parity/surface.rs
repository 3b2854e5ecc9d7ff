//! What the official Python client calls something, and where it is here:
//! `docs/surface.tsv`, a name, a path and a test in each line. `docs/names.tsv` is
//! the checklist of all names; those for which nothing stands here have a row in
//! `docs/differences.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::failure::Failure;

/// Where one name of theirs is here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Symbol {
    pub(super) theirs: String,
    pub(super) path: String,
    pub(super) test: String,
}

/// Reads the file.
pub(super) fn symbols(text: &str) -> Result<Vec<Symbol>, Failure> {
    let line = |(number, line): (usize, &str)| match line.split('\t').collect::<Vec<_>>()[..] {
        [theirs, path, test] => Ok(Symbol { theirs: theirs.into(), path: path.into(), test: test.into() }),
        _ => Err(Failure::new(format!("docs/surface.tsv:{}: not a name, a path and a test", number + 1))),
    };
    text.lines().enumerate().map(line).collect()
}

/// The names without anything here, and why, from the table below that heading of
/// `docs/differences.md`.
pub(super) fn absent(markdown: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut absent = BTreeMap::new();
    let table = markdown.split("\n## Names that are not here\n").nth(1).unwrap_or_default();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    for row in rows.filter(|row| row.contains(": ")) {
        let cells: Vec<_> = row.split(" | ").map(str::trim).collect();
        let [name, why] = cells[..] else {
            return Err(Failure::new(format!("docs/differences.md: not a name and why: {row}")));
        };
        if why.is_empty() || absent.insert(name.to_owned(), why.to_owned()).is_some() {
            return Err(Failure::new(format!("docs/differences.md: '{name}' is there twice, or does not say why")));
        }
    }
    Ok(absent)
}

/// What is wrong between the checklist, the names that are here and those that are
/// not: each name of the list is in one of the two, and nothing else is.
pub(super) fn unaccounted(names: &str, symbols: &[Symbol], absent: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<_> = names.lines().filter(|line| !line.is_empty()).collect();
    let here: BTreeSet<_> = symbols.iter().flat_map(|symbol| each(&symbol.theirs)).collect();
    let gone: BTreeSet<_> = absent.keys().map(String::as_str).collect();
    let mut wrong = Vec::new();
    for name in &names {
        match (here.contains(*name), gone.contains(name)) {
            (false, false) => wrong.push(format!("nothing accounts for the name '{name}'")),
            (true, true) => wrong.push(format!("the name '{name}' is in docs/surface.tsv and said to be not here")),
            _ => {}
        }
    }
    let known = |name: &str| names.contains(name);
    let unknown = here.iter().map(String::as_str).chain(gone).filter(|name| !known(name));
    wrong.extend(unknown.map(|name| format!("the name '{name}' is not in docs/names.tsv")));
    wrong
}

/// The names of a line such as `Client: connect, logon`.
fn each(theirs: &str) -> Vec<String> {
    let (group, names) = theirs.split_once(": ").unwrap_or(("", theirs));
    names.split(", ").map(|name| format!("{group}: {name}")).collect()
}

/// The table.
pub(super) fn table(symbols: &[Symbol], absent: &BTreeMap<String, String>) -> String {
    let mut table = "\n## Names\n\nWhat the Python client calls something, from [surface.tsv](surface.tsv).\n\n\
                     | there | here | shown by |\n| --- | --- | --- |\n"
        .to_owned();
    for Symbol { theirs, path, test } in symbols {
        let _ = writeln!(table, "| {theirs} | `{path}` | {test} |");
    }
    for name in absent.keys() {
        let _ = writeln!(table, "| {name} | not here: see [differences.md](differences.md) | |");
    }
    table
}

/// The paths whose last names are not defined in `sources`, each the text of a
/// file; a method in none that has an `impl` of its type, or is its
/// trait's.
pub(super) fn undefined<'a>(symbols: &'a [Symbol], sources: &[String]) -> Vec<&'a str> {
    let files: Vec<(_, BTreeSet<_>)> =
        sources.iter().map(|text| (text, text.lines().filter_map(defined).collect())).collect();
    let is_defined = |symbol: &&Symbol| {
        let mut path = symbol.path.rsplit("::");
        let (last, above) = (path.next().unwrap_or_default(), path.next().unwrap_or_default());
        let is_type = above.starts_with(|letter: char| letter.is_uppercase());
        files.iter().any(|(text, names)| names.contains(last) && (!is_type || is_of(text, above)))
    };
    symbols.iter().filter(|symbol| !is_defined(symbol)).map(|symbol| symbol.path.as_str()).collect()
}

/// Whether a file has what belongs to a type, with or without parameters.
fn is_of(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        let after = line.strip_prefix("impl").and_then(past_parameters).or_else(|| line.strip_prefix("pub trait "));
        let after = after.and_then(|rest| rest.trim_start().strip_prefix(name));
        after.is_some_and(|rest| !rest.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_'))
    })
}

/// What follows the parameters of an `impl`, if it has some; nested ones
/// (`<T: Into<X>>`) included.
fn past_parameters(rest: &str) -> Option<&str> {
    if !rest.starts_with('<') {
        return rest.strip_prefix(' ');
    }
    let mut depth = 0;
    let end = rest.find(|letter| {
        depth += i32::from(letter == '<') - i32::from(letter == '>');
        depth == 0
    })?;
    Some(&rest[end + 1..])
}

/// The public name that a line of source defines.
fn defined(line: &str) -> Option<&str> {
    let mut rest = line.trim_start().strip_prefix("pub ")?;
    for word in ["const ", "async "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let name = ["fn ", "struct ", "enum ", "trait ", "type "].into_iter().find_map(|word| rest.strip_prefix(word))?;
    name.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_whose_name_is_gone_is_found() {
        let symbols = symbols("a\tx::Client::publish\tt\nb\tx::Client\tt\nc\tx::Client::sow\tt\n").unwrap();
        let source = "pub struct Client;\nimpl Client {\n    pub async fn publish(&self) {}\n    fn sow(&self) {}\n}";
        let other = "impl Other {\n    pub fn sow(&self) {}\n}";
        assert_eq!(undefined(&symbols, &[source.to_owned(), other.to_owned()]), ["x::Client::sow"]);
        assert!(super::symbols("a\tb\n").is_err());
    }

    #[test]
    fn every_name_of_the_list_is_here_or_said_not_to_be() {
        let symbols = symbols("C: a, b\tx::A\tt\nC: a\tx::B\tt\nC: odd\tx::C\tt\n").unwrap();
        let markdown = "# D\n| 1#1 | so: so | because |\n\n## Names that are not here\n\n| name | why not |\n| --- | --- |\n\
                        | C: c | not needed: never |\n| C: b | twice |\n| C: odder | who knows |\n";
        let absent = absent(markdown).unwrap();
        let wrong = unaccounted("C: a\nC: b\nC: c\nC: d\n", &symbols, &absent);
        assert_eq!(
            wrong,
            [
                "the name 'C: b' is in docs/surface.tsv and said to be not here",
                "nothing accounts for the name 'C: d'",
                "the name 'C: odd' is not in docs/names.tsv",
                "the name 'C: odder' is not in docs/names.tsv",
            ]
        );
        assert!(super::absent("\n## Names that are not here\n| C: c |  |\n").is_err());
        assert!(super::absent("\n## Names that are not here\n| C: c | a | b |\n").is_err());
    }

    #[test]
    fn a_type_may_have_parameters() {
        for source in
            ["impl Delete<'_> {", "impl<'a> Delete<'a> {", "impl<T: Into<X>> Delete<T> {", "pub trait Delete {"]
        {
            assert!(is_of(source, "Delete"), "{source}");
        }
        for source in ["impl Deleted {", "impl<T: Delete> Other<T> {", "struct Delete;"] {
            assert!(!is_of(source, "Delete"), "{source}");
        }
    }
}
