//! Builds the `amps` program and asks cargo where it put it.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::Failure;

/// The part of cargo's messages that matters here (The Cargo Book, "External
/// tools", "JSON messages").
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        target: Target,
        executable: Option<PathBuf>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// How the names of the variables begin by which `cargo run` describes what it
/// runs (The Cargo Book, "Environment Variables").
const ABOUT_THIS_PROGRAM: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_NAME"];

/// The directory of the workspace.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// Builds `amps` in the development profile and returns its path.
///
/// # Errors
/// When it does not build.
pub(crate) fn amps() -> Result<PathBuf, Failure> {
    build(&[("amps-cli", "amps")], "dev", &[])
}

/// Builds a program in the release profile and returns its path.
///
/// # Errors
/// When it does not build.
pub(crate) fn release(package: &str, name: &str) -> Result<PathBuf, Failure> {
    build(&[(package, name)], "release", &[])
}

/// Goes on as this same program, built to be quick and with every check that a
/// build for development has; its option `--built` says so.
pub(crate) fn become_checked() -> Failure {
    become_built(&[OWN], "checked", &[])
}

/// The same with the planted bugs in it, built in a directory of its own.
pub(crate) fn become_planted() -> Failure {
    become_built_planted(&[OWN], "checked")
}

/// The same as [`become_planted`], quickly built, and with an `amps` beside it:
/// [`amps_beside`].
pub(crate) fn become_planted_with_amps() -> Failure {
    become_built_planted(&[("amps-cli", "amps"), OWN], "dev")
}

/// The `amps` that was built with this program.
///
/// # Errors
/// When nobody knows where this program is.
#[cfg_attr(not(planted), expect(dead_code, reason = "planted bugs are only there in a build for them"))]
pub(crate) fn amps_beside() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().map_err(|error| Failure::new(format!("where is this program? {error}")))?;
    Ok(own.with_file_name("amps"))
}

/// The package and the name of this program.
const OWN: (&str, &str) = ("xtask", "xtask");

fn become_built_planted(programs: &[(&str, &str)], profile: &str) -> Failure {
    let target = in_target("planted");
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default() + " --cfg planted";
    let environment: [(&str, &OsStr); 4] = [
        ("CARGO_TARGET_DIR", target.as_os_str()),
        ("RUSTFLAGS", flags.as_ref()),
        ("CARGO_PROFILE_CHECKED_DEBUG", "0".as_ref()),
        ("CARGO_PROFILE_DEV_DEBUG", "0".as_ref()),
    ];
    become_built(programs, profile, &environment)
}

fn become_built(programs: &[(&str, &str)], profile: &str, environment: &[(&str, &OsStr)]) -> Failure {
    match build(programs, profile, environment) {
        Ok(program) => {
            let error = Command::new(program).args(std::env::args_os().skip(1)).arg("--built").exec();
            Failure::new(format!("cannot run the program that was built: {error}"))
        }
        Err(failure) => failure,
    }
}

/// A directory of that name where everything is built.
pub(crate) fn in_target(name: &str) -> PathBuf {
    let target = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.parent()?.join(name)));
    target.unwrap_or_else(|| workspace().join("target").join(name))
}

/// Builds programs, each by its package and its name, and returns the path of the
/// last.
fn build(programs: &[(&str, &str)], profile: &str, environment: &[(&str, &OsStr)]) -> Result<PathBuf, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--profile", profile, "--message-format=json-render-diagnostics"])
        .args(programs.iter().flat_map(|(package, name)| ["--package", package, "--bin", name]))
        .envs(environment.iter().copied());
    let name = programs.last().map_or("", |(_, name)| name);
    // What `cargo run` says of this program is said of no other: build scripts that
    // look at it would run again, and everything behind them be built anew.
    for (name, _) in std::env::vars_os() {
        if ABOUT_THIS_PROGRAM.iter().any(|about| name.as_encoded_bytes().starts_with(about.as_bytes())) {
            command.env_remove(name);
        }
    }
    let output = command
        .current_dir(workspace())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::new(format!("cannot run cargo: {error}")))?;
    if !output.status.success() {
        return Err(Failure::new(format!("the {name} program does not build")));
    }
    executable(&String::from_utf8_lossy(&output.stdout), name)
        .ok_or_else(|| Failure::new(format!("cargo built no {name} program")))
}

fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages.lines().filter_map(|line| serde_json::from_str(line).ok()).find_map(|message| match message {
        Message::CompilerArtifact { target, executable: Some(path) } if target.name == name => Some(path),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_the_messages() {
        let messages = concat!(
            "{\"reason\":\"build-script-executed\",\"package_id\":\"x\"}\n",
            "warning: not JSON\n",
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"amps\"},\"executable\":null}\n",
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"other\"},\"executable\":\"/x/other\"}\n",
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"amps\"},\"executable\":\"/x/amps\"}\n",
            "{\"reason\":\"build-finished\",\"success\":true}\n",
        );
        assert_eq!(executable(messages, "amps"), Some(PathBuf::from("/x/amps")));
        assert_eq!(executable(messages, "spark"), None);
    }
}
