//! Lines of a file that another process is appending to.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use crate::Failure;

/// Reads what was appended since the last look.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    read: u64,
    /// The begun line that has no end yet.
    rest: Vec<u8>,
}

impl Tail {
    /// A file that is not there yet is an empty one.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, read: 0, rest: Vec::new() }
    }

    /// Hands each whole line there is by now to `each`, with its end. A torn last
    /// line stays out: if its writer was killed, it was not written.
    ///
    /// # Errors
    /// When the file cannot be read, or `each` refuses a line.
    pub(crate) fn poll<E: std::fmt::Display>(
        &mut self,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::new(format!("cannot read {}: {error}", self.path.display()));
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        file.seek(SeekFrom::Start(self.read)).map_err(failed)?;
        self.read += file.read_to_end(&mut self.rest).map_err(failed)? as u64;
        let whole = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        for line in self.rest[..whole].split_inclusive(|&byte| byte == b'\n') {
            each(line).map_err(|bad| Failure::new(format!("{}: {bad}", self.path.display())))?;
        }
        self.rest.drain(..whole);
        Ok(())
    }
}
