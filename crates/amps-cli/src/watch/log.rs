//! Standard error while the screen is taken: what is written waits, and comes
//! when the screen is given back.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// Bytes that wait at most; of more the beginning is kept.
const WAITING_MAX: usize = 64 * 1024;

static HELD: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// Standard error, for the log.
pub(crate) fn stderr() -> Stderr {
    Stderr
}

/// See [`stderr`].
#[derive(Debug)]
pub(crate) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match HELD.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(held) => {
                let room = WAITING_MAX.saturating_sub(held.len());
                held.extend_from_slice(&bytes[..bytes.len().min(room)]);
                Ok(bytes.len())
            }
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The screen is taken.
pub(super) fn hold() {
    HELD.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
}

/// The screen is free again.
pub(super) fn release() {
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(held) = held {
        let _ = io::stderr().write_all(&held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_while_the_screen_is_taken_waits_and_is_bounded() {
        hold();
        for _ in 0..3 {
            assert_eq!(stderr().write(&vec![b'x'; WAITING_MAX / 2]).unwrap(), WAITING_MAX / 2);
        }
        let held = HELD.lock().unwrap().take();
        assert_eq!(held.map(|held| held.len()), Some(WAITING_MAX));
        assert_eq!(stderr().write(b"").unwrap(), 0, "to standard error again");
    }
}
