//! `handfast cluster token`: what lets a new member in.
//!
//! Owns where it is read. The server writes it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use handfast_server::config::JoinToken;
use serde_json::json;

use crate::exit::{self, Failure};
use crate::output::Output;

/// File in a member's data folder; only its owner can read it.
const FILE: &str = "JOIN_TOKEN";

/// How long a cluster that has just been founded may take to write it, and how often to look.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Options of `cluster token`.
#[derive(Args, Debug, Clone)]
pub(crate) struct TokenArgs {
    /// Data folder of a member on this machine
    #[arg(long, value_name = "PATH", default_value = "handfast.data")]
    data_dir: PathBuf,
}

pub(super) fn run(args: &TokenArgs, output: &mut Output) -> Result<i32, Failure> {
    wait_for(&args.data_dir);
    let token = read(&args.data_dir)?;
    match output.is_json() {
        true => output.json(&json!({ "token": token.as_str() }))?,
        false => output.line(token.as_str())?,
    }
    Ok(exit::OK)
}

/// Gives a young cluster time, for who pastes two commands is quicker than an election.
fn wait_for(data_dir: &Path) {
    let give_up = Instant::now() + PATIENCE;
    while data_dir.is_dir() && !data_dir.join(FILE).exists() && Instant::now() < give_up {
        std::thread::sleep(LOOK_EVERY);
    }
}

fn read(data_dir: &Path) -> Result<JoinToken, Failure> {
    let path = data_dir.join(FILE);
    let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound if data_dir.is_dir() => Failure::Other(format!(
            "{} has no join token yet: it is written once the cluster has a leader, so start the \
             member and try again",
            data_dir.display()
        )),
        ErrorKind::NotFound => Failure::Usage(format!(
            "there is no folder {}; name the data folder of a member with --data-dir",
            data_dir.display()
        )),
        _ => Failure::Other(format!("{} cannot be read: {error}", path.display())),
    })?;
    text.parse()
        .map_err(|problem| Failure::Other(format!("{}: {problem}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let none = read(&dir.path().join("none")).unwrap_err().to_string();
        assert!(none.contains("there is no folder"), "{none}");
        let early = read(dir.path()).unwrap_err().to_string();
        assert!(early.contains("once the cluster has a leader"), "{early}");
        std::fs::write(dir.path().join(FILE), "nonsense\n").unwrap();
        let broken = read(dir.path()).unwrap_err().to_string();
        assert!(broken.contains("not a join token"), "{broken}");
        let token = format!("{:016x}-{:032x}", 7, 8);
        std::fs::write(dir.path().join(FILE), format!("{token}\n")).unwrap();
        assert_eq!(read(dir.path()).unwrap().as_str(), token);
    }
}
