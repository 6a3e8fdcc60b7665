//! The name before each line of a member.
//!
//! Owns its colour. It must not know what the lines say.

use std::io::{IsTerminal, Write};

use super::place::Layout;

/// Codes of colours that can be read on light and dark, one for each member in turn.
const COLOURS: [u8; 6] = [36, 33, 35, 32, 34, 31];

/// The name before each line of a member.
pub(super) struct Prefix(String);

impl Prefix {
    pub(super) fn new(index: usize) -> Prefix {
        let name = Layout::name(index);
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match std::io::stderr().is_terminal() && !plain {
            true => {
                let colour = COLOURS[index % COLOURS.len()];
                Prefix(format!("\u{1b}[{colour}m{name} │\u{1b}[0m"))
            }
            false => Prefix(format!("{name} │")),
        }
    }

    /// One whole line, so that members do not write into each other's.
    pub(super) fn show(&self, line: &str) {
        let text = format!("{} {line}\n", self.0);
        // Nobody reads it: the members go on all the same.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}
