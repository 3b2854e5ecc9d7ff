//! Whether what the documents name is there: links, calls, faults.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::binary::workspace;
use crate::parity;

/// The documents, relative to the workspace.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let crates = fs::read_dir(workspace().join("crates")).unwrap();
    let crates = crates.map(|entry| Path::new("crates").join(entry.unwrap().file_name()));
    let dirs = [PathBuf::new(), "docs".into(), "docs/guide".into()].into_iter().chain(crates);
    for dir in dirs {
        let names = fs::read_dir(workspace().join(&dir)).unwrap().map(|entry| entry.unwrap().file_name());
        found.extend(names.map(|name| dir.join(name)).filter(|path| path.extension().is_some_and(|it| it == "md")));
    }
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a heading is linked to by: its words in small letters, joined by hyphens.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | ' ');
    let slug = |heading: &str| heading.trim_start_matches('#').trim().to_lowercase();
    headings.map(|heading| slug(heading).chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let mut seen = 0;
    for document in documents() {
        let text = read(&document);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            assert!(workspace().join(&target).exists(), "{}: {link} is not there", document.display());
            let found = anchor.is_empty() || anchors(&read(&target)).contains(anchor);
            assert!(found, "{}: {link} has no such heading", document.display());
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} links");
}

#[test]
fn every_chapter_is_in_the_book_and_its_code_compiled() {
    let compiled = read(Path::new("tests/src/documents.rs"));
    let (summary, guide) = (read(Path::new("docs/SUMMARY.md")), read(Path::new("docs/guide.md")));
    for document in documents() {
        let path = document.to_str().unwrap();
        let is_crate = document.starts_with("crates");
        assert!(
            is_crate || !read(&document).contains("```rust") || compiled.contains(&format!("\"{path}\"")),
            "the code of {path} is not compiled"
        );
        if let Some(chapter) = path.strip_prefix("docs/").filter(|chapter| *chapter != "SUMMARY.md") {
            assert!(summary.contains(&format!("]({chapter})")), "{path} is not in docs/SUMMARY.md");
            assert!(
                !chapter.starts_with("guide/") || guide.contains(&format!("]({chapter})")),
                "{path} is not in the guide"
            );
        }
    }
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
}

/// The names that a line of source defines: items, fields, and variants of an enum.
fn defined(line: &str) -> impl Iterator<Item = &str> {
    let keywords = ["fn", "struct", "enum", "trait", "mod", "type", "pub"];
    let items = words(line).zip(words(line).skip(1)).filter(move |(word, _)| keywords.contains(word));
    let variant = words(line).next().filter(|word| word.starts_with(char::is_uppercase));
    items.map(|(_, name)| name).chain(variant)
}

/// The names that code in a document has, without those of the language and of others.
fn names(code: &str) -> impl Iterator<Item = &str> {
    let others = ["await", "clone", "handler", "Option", "seed", "tokio", "true"];
    words(code).filter(move |word| word.starts_with(char::is_alphabetic) && !others.contains(word))
}

#[test]
fn every_call_beside_one_of_python_is_there() {
    let sources = parity::sources().unwrap();
    let known: BTreeSet<_> = sources.iter().flat_map(|source| source.lines()).flat_map(defined).collect();
    let text = read(Path::new("docs/from-python.md"));
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let ours = rows.filter_map(|row| row.split(" | ").nth(1));
    let mut seen = 0;
    for code in ours.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
        for name in names(code) {
            assert!(known.contains(name), "docs/from-python.md names {name}, which no crate has");
            seen += 1;
        }
    }
    assert!(seen > 150, "only {seen} names");
}

#[test]
fn every_fault_of_the_test_server_is_in_its_guide() {
    let guide = fs::read_to_string(workspace().join("docs/testing.md")).unwrap();
    let source = fs::read_to_string(workspace().join("crates/amps-testserver/src/faults.rs")).unwrap();
    let functions = source.lines().filter_map(|line| line.trim_start().strip_prefix("pub fn "));
    let names: Vec<_> = functions.filter_map(|rest| rest.split(['(', '<']).next()).collect();
    assert!(names.len() > 20, "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !guide.contains(&format!("`{name}("))).collect();
    assert!(missing.is_empty(), "docs/testing.md does not have {missing:?}");
}
