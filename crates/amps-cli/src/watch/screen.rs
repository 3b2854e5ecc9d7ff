//! The terminal: taken, and given back whatever happens.

use std::io;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ratatui::DefaultTerminal;

use super::state::State;
use super::{draw, log};

/// Whether the terminal is taken. It is given back once: to do so again would move
/// the cursor over what was written since.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal while it is taken. It is given back when this is dropped, and
/// before a panic says what it has to say.
pub(super) struct Screen(DefaultTerminal);

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It will not be one.
    pub(super) fn open() -> io::Result<Self> {
        log::hold();
        TAKEN.store(true, Ordering::Relaxed);
        match ratatui::try_init() {
            Ok(terminal) => {
                let print = panic::take_hook();
                panic::set_hook(Box::new(move |info| {
                    give_back();
                    print(info);
                }));
                Ok(Self(terminal))
            }
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Draws the state.
    ///
    /// # Errors
    /// The terminal is gone, or was given back because of a panic.
    pub(super) fn draw(&mut self, state: &mut State, now: Instant) -> io::Result<()> {
        if !TAKEN.load(Ordering::Relaxed) {
            return Err(io::Error::other("it was given back because something panicked"));
        }
        state.height = draw::height(self.0.size()?);
        self.0.draw(|frame| draw::draw(state, now, frame.area(), frame.buffer_mut()))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    if TAKEN.swap(false, Ordering::Relaxed) {
        ratatui::restore();
    }
    log::release();
}
