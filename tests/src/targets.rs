//! What is fuzzed: a plain function for everything that parses bytes from
//! outside, and for the state machines, which get operations made of bytes.
//!
//! A function returns when its rules hold for an input and panics when one does
//! not. `tests/fuzz` calls them with a fuzzer, `tests/corpus.rs` with the inputs
//! under `tests/fuzz/corpus`, and `cargo xtask fuzz` with those inputs changed at
//! random.

mod batch;
mod bookmark;
mod config;
mod engine;
mod filter;
mod frames;
mod header;
mod histories;
mod options;
mod payload;
mod session;
mod sled_files;
mod stores;
mod uri;

/// One function and its name, which is also that of its directory of inputs.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name.
    pub name: &'static str,
    /// Panics when a rule does not hold.
    pub run: fn(&[u8]),
}

/// All of them.
pub const ALL: &[Target] = &[
    Target { name: "batch", run: batch::run },
    Target { name: "bookmark", run: bookmark::run },
    Target { name: "bookmark_store", run: stores::bookmark_store },
    Target { name: "bookmarks", run: histories::bookmarks },
    Target { name: "composite", run: payload::composite },
    Target { name: "config", run: config::run },
    Target { name: "engine", run: engine::run },
    Target { name: "filter", run: filter::text },
    Target { name: "filter_value", run: filter::value },
    Target { name: "fix", run: payload::fix },
    Target { name: "frames", run: frames::run },
    Target { name: "header", run: header::run },
    Target { name: "nvfix", run: payload::nvfix },
    Target { name: "options", run: options::run },
    Target { name: "publish_log", run: histories::publish_log },
    Target { name: "publish_store", run: stores::publish_store },
    Target { name: "session", run: session::run },
    Target { name: "sled_files", run: sled_files::run },
    Target { name: "uri", run: uri::run },
];

/// The names of those that get bytes as they come from outside; the others get
/// operations made of bytes.
pub const DECODERS: &[&str] =
    &["batch", "bookmark", "composite", "config", "filter", "fix", "frames", "header", "nvfix", "options", "uri"];

/// Runs the target of that name.
///
/// # Panics
/// When a rule does not hold for these bytes, or there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    let target = ALL.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("there is no target '{name}'")).run)(bytes);
}
