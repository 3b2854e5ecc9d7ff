//! Which test covers which bullet, as the sources say it: a line
//! `/// Covers 11.3#2, 11.3#5.` in the documentation of the test.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::bullets::is_id;
use crate::failure::Failure;

/// Where tests may stand.
const ROOTS: &[&str] = &["crates", "tests", "xtask"];

/// A test and the bullets it says it covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cover {
    pub(crate) id: String,
    /// Relative to the workspace, with slashes.
    pub(crate) file: String,
    /// The test function's name.
    pub(crate) test: String,
}

/// Everything the sources below `root` say, in order of id.
pub(crate) fn covers(root: &Path) -> Result<Vec<Cover>, Failure> {
    let mut files = Vec::new();
    for below in ROOTS {
        sources(&root.join(below), &mut files)
            .map_err(|error| Failure::new(format!("cannot list the sources in {below}: {error}")))?;
    }
    let mut covers = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path)
            .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))?;
        let parts: Vec<_> =
            path.strip_prefix(root).unwrap_or(&path).iter().map(|part| part.to_string_lossy()).collect();
        covers.extend(in_source(&parts.join("/"), &text)?);
    }
    covers.sort();
    Ok(covers)
}

/// The texts of the crates' sources.
pub(crate) fn texts(root: &Path) -> Result<Vec<String>, Failure> {
    let mut files = Vec::new();
    let found = sources(&root.join("crates"), &mut files);
    let texts = found.and_then(|()| files.iter().map(fs::read_to_string).collect());
    texts.map_err(|error| Failure::new(format!("cannot read the sources in crates: {error}")))
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                sources(&path, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

fn in_source(file: &str, text: &str) -> Result<Vec<Cover>, Failure> {
    let mut covers = Vec::new();
    let mut ids: Vec<String> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: &str| Failure::new(format!("{file}:{}: {what}", number + 1));
        if let Some(list) = line.trim_start().strip_prefix("/// Covers ") {
            for id in list.trim_end().trim_end_matches('.').split(", ") {
                if !is_id(id) {
                    return Err(wrong(&format!("'{id}' is no id of a bullet")));
                }
                ids.push(id.to_owned());
            }
        } else if let Some(name) = function(line) {
            covers.extend(ids.drain(..).map(|id| Cover { id, file: file.to_owned(), test: name.to_owned() }));
        } else if !ids.is_empty() && line.trim().is_empty() {
            return Err(wrong("a line about what is covered belongs to no test"));
        }
    }
    Ok(covers)
}

/// The name of the function that a line begins.
fn function(line: &str) -> Option<&str> {
    let mut line = line.trim_start();
    for word in ["pub ", "pub(crate) ", "pub(super) ", "async "] {
        line = line.strip_prefix(word).unwrap_or(line);
    }
    let rest = line.strip_prefix("fn ")?;
    rest.split(['(', '<']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written with another mark, or the sources of this test would say it.
    fn read(source: &str) -> Result<Vec<Cover>, Failure> {
        in_source("a.rs", &source.replace("//!", "///"))
    }

    #[test]
    fn a_line_in_the_documentation_of_a_test_says_what_it_covers() {
        let source = "\
//! It waits.
//!
//! Covers 11.3#1, 11.3#2.
#[tokio::test(start_paused = true)]
async fn it_waits() {}

    //! Covers 5.9#1.
    #[test]
    fn it_ends(seed in 0..1) {}
";
        let covers = read(source).unwrap();
        let short: Vec<_> = covers.iter().map(|cover| (cover.id.as_str(), cover.test.as_str())).collect();
        assert_eq!(short, [("11.3#1", "it_waits"), ("11.3#2", "it_waits"), ("5.9#1", "it_ends")]);
    }

    #[test]
    fn a_line_without_a_test_or_an_id_is_an_error() {
        for source in ["//! Covers 1#1.\n\nfn later() {}\n", "//! Covers everything.\nfn f() {}\n"] {
            assert!(read(source).is_err(), "{source}");
        }
    }
}
