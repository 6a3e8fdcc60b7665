//! Kills the command when this program dies without a chance to do so itself.
//!
//! Owns a small process that waits for our end. Without it a command would run on after `kill -9`
//! of the program that holds its lock, while somebody else gets the lock.

use std::process::Stdio;

use rustix::process::Pid;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The end of our pipe without a line means that we are gone.
const SCRIPT: &str = r#"read -r done || kill -s KILL -- "$0""#;

/// A guard on duty.
pub(crate) struct Guard(tokio::process::Child);

impl Guard {
    /// Watches over the process group led by `pid`, or over that process alone. None when the
    /// system has no shell; the command is then as safe as under any other program.
    pub(crate) fn post(pid: Pid, group: bool) -> Option<Guard> {
        let sign = if group { "-" } else { "" };
        let guard = Command::new("sh")
            .args(["-c", SCRIPT, &format!("{sign}{}", pid.as_raw_nonzero())])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What ends our own group must not end the guard.
            .process_group(0)
            .spawn();
        guard.ok().map(Guard)
    }

    /// Ends the watch: the command is gone.
    pub(crate) async fn dismiss(mut self) {
        if let Some(mut stdin) = self.0.stdin.take() {
            // A guard that is gone needs no word.
            let _ = stdin.write_all(b"done\n").await;
        }
        let _ = self.0.wait().await;
    }
}
