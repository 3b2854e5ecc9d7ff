//! Every input under `fuzz/corpus` keeps its target's rules, those that once did
//! not too.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use amps_tests::targets;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_input_of_the_corpus_keeps_the_rules() {
    for target in targets::ALL {
        let files = files(&corpus().join(target.name));
        assert!(files.len() >= 5, "{} has {} inputs", target.name, files.len());
        for file in files {
            let bytes = fs::read(&file).unwrap();
            if catch_unwind(|| (target.run)(&bytes)).is_err() {
                panic!("target {} panics for {}", target.name, file.display());
            }
        }
    }
}

/// A target without inputs, or inputs without a target, would go unnoticed.
#[test]
fn every_target_is_a_binary_and_has_inputs() {
    let names = |dir: &Path| -> BTreeSet<String> {
        files(dir).iter().map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
    };
    let targets: BTreeSet<_> = targets::ALL.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names(&corpus()), targets);
    assert_eq!(names(&corpus().with_file_name("fuzz_targets")), targets);
}

/// What fails is seen.
#[test]
#[should_panic(expected = "no target")]
fn a_target_that_is_not_there_is_an_error() {
    targets::run("nothing", b"");
}
