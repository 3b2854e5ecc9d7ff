//! What is published: whether each crate says what it is, and what building it takes.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::binary::workspace;

/// Crates that build C, C++ or assembly, or look for what was built.
const C_TOOLS: &[&str] = &["bindgen", "cc", "cmake", "nasm-rs", "pkg-config", "vcpkg"];

fn cargo(args: &[&str]) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    let output = cargo.args(args).args(["--offline", "--locked"]).current_dir(workspace()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The crates of the workspace, by what cargo knows of them.
fn packages() -> Vec<Value> {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let mut metadata: Value = serde_json::from_str(&metadata).unwrap();
    let Value::Array(packages) = metadata["packages"].take() else { panic!("no packages") };
    packages
}

/// The names in what building a crate needs, its own included.
fn needed(package: &str, features: &str) -> BTreeSet<String> {
    let mut args = vec!["tree", "--package", package, "--edges", "normal,build", "--prefix", "none"];
    args.extend(features.split_whitespace());
    let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
    cargo(&args).lines().filter_map(name).collect()
}

/// Covers 2#2.
#[test]
fn without_tls_nothing_needs_a_c_compiler() {
    for (package, features) in [
        ("amps-client", "--no-default-features --features websocket,msgpack,bson"),
        ("amps-ha", "--no-default-features"),
        ("amps-core", "--no-default-features --features websocket"),
    ] {
        let needed = needed(package, features);
        assert!(needed.len() > 10 && needed.contains(package), "{needed:?}");
        let tools: Vec<_> = C_TOOLS.iter().filter(|tool| needed.contains(**tool)).collect();
        assert!(tools.is_empty(), "{package} needs {tools:?}");
    }
    assert!(needed("amps-client", "").contains("cc"), "TLS no longer needs one: docs/differences.md says it does");
}

#[test]
fn every_published_crate_says_what_it_is_and_its_readme_has_every_feature() {
    let mut published = BTreeSet::new();
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        if package["publish"] == Value::Array(Vec::new()) {
            continue;
        }
        for field in ["description", "license", "documentation", "readme", "rust_version"] {
            assert!(package[field].is_string(), "{name} has no {field}");
        }
        for (field, most) in [("keywords", 5), ("categories", 5)] {
            let count = package[field].as_array().unwrap().len();
            assert!((1..=most).contains(&count), "{name}: {count} {field}");
        }
        let readme = workspace().join("crates").join(name).join("README.md");
        let readme = fs::read_to_string(&readme).unwrap_or_else(|error| panic!("{}: {error}", readme.display()));
        for feature in package["features"].as_object().unwrap().keys().filter(|feature| *feature != "default") {
            assert!(readme.contains(&format!("`{feature}`")), "{name}'s README does not have {feature}");
        }
        published.insert(name.to_owned());
    }
    let all = ["amps-cli", "amps-client", "amps-conformance", "amps-core", "amps-ha", "amps-testserver"];
    assert_eq!(published, BTreeSet::from(all.map(str::to_owned)));
}
