//! The tests there are, as the test programs themselves list them.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::covers::Cover;
use crate::failure::Failure;

/// The names of all tests, by the source file their program begins with.
#[derive(Debug, Default)]
pub(crate) struct Listed(BTreeMap<PathBuf, Vec<String>>);

impl Listed {
    /// Asks every test program of the workspace what `--list` prints. Builds
    /// nothing that `cargo test --workspace` has built already.
    pub(crate) fn ask(root: &Path) -> Result<Self, Failure> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["test", "--workspace", "--no-run", "--message-format=json"]).current_dir(root);
        let built = run(&mut build)?;
        let mut listed = Self::default();
        for line in String::from_utf8_lossy(&built.stdout).lines() {
            let Some((source, program)) = test_program(line) else { continue };
            let list = run(Command::new(&program).args(["--list", "--format", "terse"]).current_dir(root))?;
            let names = String::from_utf8_lossy(&list.stdout);
            let tests = names.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned);
            listed.0.entry(source).or_default().extend(tests);
        }
        Ok(listed)
    }

    /// Whether a test of this name is listed anywhere.
    pub(crate) fn has_named(&self, name: &str) -> bool {
        self.0.values().flatten().any(|test| test.rsplit("::").next() == Some(name))
    }

    /// Whether the test a source file speaks of is listed by the program that
    /// the file belongs to.
    pub(crate) fn has(&self, root: &Path, cover: &Cover) -> bool {
        let file = root.join(&cover.file);
        let programs = self.0.iter().filter_map(|(first, tests)| Some((module(first, &file)?, tests)));
        programs.into_iter().any(|(module, tests)| tests.iter().any(|test| is_in(test, &module, &cover.test)))
    }
}

fn run(command: &mut Command) -> Result<Output, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |why: String| Failure::new(format!("{program}: {why}"));
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

/// The first source file and the path of the test program that a line of
/// `--message-format=json` tells of.
fn test_program(line: &str) -> Option<(PathBuf, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let of_tests = message["profile"]["test"].as_bool() == Some(true);
    let program = message["executable"].as_str().filter(|_| of_tests)?;
    Some((message["target"]["src_path"].as_str()?.into(), program.into()))
}

/// The module that `file` is in a program that begins with `first`.
fn module(first: &Path, file: &Path) -> Option<Vec<String>> {
    if first == file {
        return Some(Vec::new());
    }
    let mut parts: Vec<_> =
        file.strip_prefix(first.parent()?).ok()?.with_extension("").iter().map(Into::into).collect();
    if parts.last().is_some_and(|part: &std::ffi::OsString| part == "mod") {
        parts.pop();
    }
    parts.into_iter().map(|part| part.into_string().ok()).collect()
}

/// Whether a listed name is that of a test in a module, or in one inside it.
fn is_in(listed: &str, module: &[String], test: &str) -> bool {
    let (path, name) = listed.rsplit_once("::").unwrap_or(("", listed));
    let mut path = path.split("::");
    name == test && module.iter().all(|name| path.next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_found_by_its_file_and_name() {
        let root = Path::new("/w");
        let mut listed = Listed::default();
        let tests = ["session::tests::it_waits", "tests::it_ends", "session::guard::tests::it_counts"];
        listed.0.insert("/w/crates/a/src/lib.rs".into(), tests.map(str::to_owned).to_vec());
        listed.0.insert("/w/tests/tests/links.rs".into(), vec!["it_links".to_owned()]);
        let has = |file: &str, test: &str| {
            listed.has(root, &Cover { id: String::new(), file: file.to_owned(), test: test.to_owned() })
        };
        assert!(has("crates/a/src/session/tests.rs", "it_waits"));
        assert!(has("crates/a/src/session.rs", "it_waits"), "in a module inside the file");
        assert!(has("crates/a/src/session/guard.rs", "it_counts"));
        assert!(has("crates/a/src/lib.rs", "it_ends"));
        assert!(has("tests/tests/links.rs", "it_links"));
        assert!(!has("crates/a/src/session/guard.rs", "it_waits"), "another module's");
        assert!(!has("crates/b/src/session.rs", "it_waits"), "another crate's");
        assert!(!has("tests/tests/links.rs", "it_waits"));
    }

    #[test]
    fn only_test_programs_are_asked() {
        let line = |test| {
            format!(r#"{{"profile":{{"test":{test}}},"executable":"/t/a-1","target":{{"src_path":"/w/src/lib.rs"}}}}"#)
        };
        assert_eq!(test_program(&line(true)), Some(("/w/src/lib.rs".into(), "/t/a-1".into())));
        assert_eq!(test_program(&line(false)), None);
        assert_eq!(test_program("   Compiling a"), None);
    }
}
