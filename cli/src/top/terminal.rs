//! The terminal, taken over and given back.
//!
//! Owns its modes, and that they are restored however the command ends. It must not know what is
//! drawn.

use std::io::{self, Stdout};
use std::mem::ManuallyDrop;

use crossterm::cursor::Show;
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::backend::CrosstermBackend;
use ratatui::{Frame, Terminal};

use crate::exit::Failure;

/// A terminal that shows nothing but what is drawn on it, until it is dropped.
pub(super) struct Screen {
    /// Its own end panics when the terminal is gone, and would do what ours does.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn open() -> Result<Screen, Failure> {
        enable_raw_mode().map_err(unusable)?;
        // From here on dropping it restores everything.
        let restore = Restore;
        execute!(io::stdout(), EnterAlternateScreen).map_err(unusable)?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout())).map_err(unusable)?;
        std::mem::forget(restore);
        let terminal = ManuallyDrop::new(terminal);
        Ok(Screen { terminal })
    }

    /// Draws what has changed.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> Result<(), Failure> {
        self.terminal.draw(draw).map_err(unusable)?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        drop(Restore);
    }
}

/// Gives the terminal back when dropped.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing restored.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

fn unusable(error: io::Error) -> Failure {
    Failure::Other(format!(
        "cannot draw on this terminal ({error}); use --once or --json"
    ))
}
