//! What a person gives a command to read: a file, or standard input.
//!
//! Owns the meaning of `-`. It must not know what is done with what was read.

use std::io::{self, IsTerminal, Read};
use std::path::Path;

use crate::output::tell;

/// The whole of a file, or of standard input for `-`.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path.as_os_str() != "-" {
        return std::fs::read(path);
    }
    let mut stdin = io::stdin().lock();
    if stdin.is_terminal() {
        tell!("reading what you type, until Ctrl-D");
    }
    let mut bytes = Vec::new();
    stdin.read_to_end(&mut bytes)?;
    Ok(bytes)
}
