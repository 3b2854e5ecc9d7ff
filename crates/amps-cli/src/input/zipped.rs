//! The files in a zip archive, in the order the archive lists them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::{LONGEST, at};

/// Each file is one message; directories are passed over.
#[derive(Debug)]
pub(super) struct Entries {
    archive: ZipArchive<File>,
    path: PathBuf,
    next: usize,
}

impl Entries {
    /// Reads the archive's list.
    ///
    /// # Errors
    /// When it is no archive.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path).map_err(|error| at(path, &error))?;
        let archive = ZipArchive::new(file).map_err(|error| at(path, &error.into()))?;
        Ok(Self { archive, path: path.to_owned(), next: 0 })
    }

    /// One file; `None` if it is a directory.
    fn entry(&mut self, place: usize) -> io::Result<Option<(Vec<u8>, u64)>> {
        let mut entry = self.archive.by_index(place)?;
        if entry.is_dir() {
            return Ok(None);
        }
        let mut body = Vec::new();
        entry.by_ref().take(LONGEST + 1).read_to_end(&mut body)?;
        match body.len() as u64 > LONGEST {
            true => Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {LONGEST} bytes"))),
            false => Ok(Some((body, entry.compressed_size()))),
        }
    }
}

impl Iterator for Entries {
    type Item = io::Result<(Vec<u8>, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.next < self.archive.len() {
            let place = self.next;
            self.next += 1;
            match self.entry(place) {
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => {}
                Err(error) => {
                    let name = self.archive.name_for_index(place).and_then(Result::ok).unwrap_or_default();
                    let text = format!("{} in {}: {error}", name, self.path.display());
                    return Some(Err(io::Error::new(error.kind(), text)));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::write::{SimpleFileOptions, ZipWriter};

    use super::*;

    #[test]
    fn each_file_is_a_message_whatever_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.zip");
        let mut archive = ZipWriter::new(File::create(&path).unwrap());
        for (name, body) in [("b.json", &b"{\n}\n"[..]), ("sub/a.json", b"[1]"), ("empty", b"")] {
            if name.contains('/') {
                archive.add_directory("sub/", SimpleFileOptions::default()).unwrap();
            }
            archive.start_file(name, SimpleFileOptions::default()).unwrap();
            archive.write_all(body).unwrap();
        }
        archive.finish().unwrap();
        let bodies: Vec<_> = Entries::open(&path).unwrap().map(|entry| entry.unwrap().0).collect();
        assert_eq!(bodies, [&b"{\n}\n"[..], b"[1]", b""]);
    }

    #[test]
    fn what_is_no_archive_or_is_damaged_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.zip");
        std::fs::write(&path, "no zip").unwrap();
        let error = Entries::open(&path).unwrap_err().to_string();
        assert!(error.contains("a.zip"), "{error}");

        let mut archive = ZipWriter::new(File::create(&path).unwrap());
        archive.start_file("one", SimpleFileOptions::default()).unwrap();
        archive.write_all(&[7; 4_096]).unwrap();
        archive.finish().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[35] ^= 0xff;
        std::fs::write(&path, bytes).unwrap();
        let error = Entries::open(&path).unwrap().next().unwrap().unwrap_err().to_string();
        assert!(error.contains("one"), "{error}");
    }
}
