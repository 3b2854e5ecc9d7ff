//! What the official Python client calls something, and where it is here:
//! `docs/surface.tsv`, a name, a path and a test in each line.

use std::collections::BTreeSet;
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

/// The table.
pub(super) fn table(symbols: &[Symbol]) -> String {
    let mut table = "\n## Names\n\nWhat the Python client calls something, from [surface.tsv](surface.tsv).\n\n\
                     | there | here | shown by |\n| --- | --- | --- |\n"
        .to_owned();
    for Symbol { theirs, path, test } in symbols {
        let _ = writeln!(table, "| {theirs} | `{path}` | {test} |");
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
