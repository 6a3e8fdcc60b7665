//! Kills the command when this program dies without a chance to do so itself.
//!
//! Owns a small process that waits for our end. Without it a command would run on after `kill -9`
//! of the program that holds its lock, while somebody else gets the lock.

use std::fs::File;
use std::io::Write;
use std::process::Stdio;

use rustix::process::Pid;
use tokio::process::{Child, Command};

/// The first line says whom to kill. The end of our pipe without another means that we are gone.
const SCRIPT: &str = r#"read -r whom || exit; read -r done || kill -s KILL -- "$whom""#;

/// A guard on duty.
pub(crate) struct Guard {
    process: Child,
    pipe: File,
}

impl Guard {
    /// Gets ready before there is a command, so that it is never without a guard. None when the
    /// system has no shell; the command is then as safe as under any other program.
    pub(crate) fn post() -> Option<Guard> {
        let mut process = Command::new("sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What ends our own group must not end the guard.
            .process_group(0)
            .spawn()
            .ok()?;
        let pipe = process.stdin.take()?.into_owned_fd().ok()?;
        let pipe = File::from(pipe);
        Some(Guard { process, pipe })
    }

    /// Watches over the process group led by `pid`, or over that process alone.
    pub(crate) fn watch(&mut self, pid: Pid, group: bool) {
        let sign = if group { "-" } else { "" };
        self.say(&format!("{sign}{}", pid.as_raw_nonzero()));
    }

    fn say(&mut self, line: &str) {
        // It fits into the pipe. A guard that is gone needs no word.
        let _ = self.pipe.write_all(format!("{line}\n").as_bytes());
    }

    /// Ends the watch: the command is gone.
    pub(crate) async fn dismiss(mut self) {
        self.say("done");
        drop(self.pipe);
        let _ = self.process.wait().await;
    }
}
