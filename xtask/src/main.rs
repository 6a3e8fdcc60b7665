//! The house-keeping of handfast: `cargo xtask test`, `tidy` and `bench`.
//!
//! Owns what is run, in which order, and what the machine needs for it. Must not know what the
//! product does; the tests themselves are in the crates.

mod bench;
mod failures;
mod metadata;
mod node;
mod parity;
mod programs;
mod provide;
mod python;
mod report;
mod sim;
mod snippets;
mod test;
mod tidy;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// What a command gives back: any error is printed, and the exit code is 1.
type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const USAGE: &str = "\
cargo xtask test [STEP…]     everything that CI runs, or only the named steps
cargo xtask tidy             the rules of the house
cargo xtask bench [--record] instruction counts against the recorded ones, or record them anew
cargo xtask sim [OPTION…]    whole clusters in virtual time; `--seed N` replays one
cargo xtask node-package     the packages for Node as they are published, in target/npm
cargo xtask python-wheel     the wheel as it is published, in target/published, and its size
cargo xtask snippets         the commands and programs of README.md
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["test", steps @ ..] => test::run(steps),
        ["tidy"] => tidy::run(),
        ["bench"] => bench::run(bench::Mode::Compare),
        ["bench", "--record"] => bench::run(bench::Mode::Record),
        ["sim", options @ ..] => sim::run(options),
        ["node-package"] => node::package(),
        ["python-wheel"] => python::wheel(),
        ["snippets"] => snippets::run().map(drop),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The top of the working tree.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
