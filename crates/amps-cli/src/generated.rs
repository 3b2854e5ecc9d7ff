//! `amps completions` and `amps man`: made from the definition of the command
//! line, so that they are never out of date.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use crate::cli;
use crate::exit::{End, Failure};
use crate::say;

/// Options of `amps completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// Prints the script.
    ///
    /// # Errors
    /// What standard output reports.
    pub(crate) fn run(&self) -> Result<End, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut cli::definition(), "amps", &mut script);
        say::print(&String::from_utf8_lossy(&script)).map(|()| End::Done)
    }
}

/// Options of `amps man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Where to write them; made if it is not there.
    dir: PathBuf,
}

impl Man {
    /// Writes a page for the tool and one for each verb.
    ///
    /// # Errors
    /// What the file system reports.
    pub(crate) fn run(&self) -> Result<End, Failure> {
        let written =
            fs::create_dir_all(&self.dir).and_then(|()| clap_mangen::generate_to(cli::definition(), &self.dir));
        written.map_err(|error| Failure::new(format!("cannot write to {}", self.dir.display()), error))?;
        Ok(End::Done)
    }
}
