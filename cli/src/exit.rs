//! Exit codes, and how an error becomes one.
//!
//! Owns the numbers scripts rely on. It must not print: the caller decides where a message goes.

use std::io;

use handfast_core::ErrorKind;

/// It worked.
pub(crate) const OK: i32 = 0;
/// The server refused, or something went wrong that is none of the below.
pub(crate) const FAILED: i32 = 1;
/// The command line is wrong.
pub(crate) const USAGE: i32 = 2;
/// No server could be reached in time, or it has no leader; trying again later may help.
pub(crate) const UNREACHABLE: i32 = 3;
/// The lock or leadership was not acquired (held by someone else, or waited too long).
pub(crate) const NOT_ACQUIRED: i32 = 75;
/// The lock or leadership was lost, and the command was stopped because of it.
pub(crate) const LOST: i32 = 76;
/// The command exists but could not be started.
pub(crate) const NOT_EXECUTABLE: i32 = 126;
/// The command does not exist.
pub(crate) const NOT_FOUND: i32 = 127;
/// Added to the number of the signal that ended the command.
pub(crate) const SIGNAL_BASE: i32 = 128;

/// The table of exit codes in the help text.
pub(crate) const HELP: &str = "\
Exit codes:
  0    it worked
  1    the server refused, what was asked about is not there, or something else went wrong
  2    the command line is wrong
  3    no server could be reached in time; trying again may help
  75   not acquired: held by somebody else for as long as was waited (lock, elect, once), no item
       came (queue pop, queue work), the id is taken (service register)
  76   lost, while it was held or before it could be given back: the lock, the leadership (lock,
       elect, once), the claim of an item (queue pop, queue work); a command that ran was stopped
  126  the command could not be started
  127  the command was not found
  128 + N  ended by signal N, as 130 by Ctrl-C
  What runs a command (lock, elect, once, queue work, service register, config run) exits otherwise
  as that did; queue work only when a command is not to be run again.";

/// Why a command did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Failure {
    /// The command line asks for something impossible.
    #[error("{0}")]
    Usage(String),
    /// A call to the server failed.
    #[error("{0}")]
    Call(#[from] handfast_core::Error),
    /// No server answered; the text says what and what to do.
    #[error("{0}")]
    Unreachable(String),
    /// Something else; the text says what and what to do.
    #[error("{0}")]
    Other(String),
    /// The lock or leadership was not acquired.
    #[error("{0}")]
    NotAcquired(String),
    /// The lock or leadership was lost.
    #[error("{0}")]
    Lost(String),
    /// The child command could not be started.
    #[error("cannot run `{command}`: {error}")]
    Spawn {
        /// The program as given.
        command: String,
        /// What the system said.
        error: io::Error,
    },
    /// Nobody reads our output any more, as with `| head`; not worth a message.
    #[error("the output was closed")]
    OutputClosed,
}

impl Failure {
    /// Says how to come to a server, to somebody who did not name one.
    pub(crate) fn with_hint(self, named: bool) -> Failure {
        match self {
            Failure::Call(error) if error.kind() == ErrorKind::Connect && !named => {
                let hint = "`handfast serve` starts one, and --endpoints names others";
                Failure::Unreachable(format!("{error}; {hint}"))
            }
            other => other,
        }
    }

    pub(crate) fn code(&self) -> i32 {
        match self {
            Failure::Usage(_) => USAGE,
            Failure::Call(error) if unreachable(error.kind()) => UNREACHABLE,
            Failure::Unreachable(_) => UNREACHABLE,
            Failure::Call(_) | Failure::Other(_) => FAILED,
            Failure::NotAcquired(_) => NOT_ACQUIRED,
            Failure::Lost(_) => LOST,
            Failure::Spawn { error, .. } if error.kind() == io::ErrorKind::NotFound => NOT_FOUND,
            Failure::Spawn { .. } => NOT_EXECUTABLE,
            Failure::OutputClosed => OK,
        }
    }
}

impl From<io::Error> for Failure {
    /// For errors of writing our own output only.
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Other(format!("cannot write the output: {error}")),
        }
    }
}

fn unreachable(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Connect
            | ErrorKind::Unavailable
            | ErrorKind::Timeout
            | ErrorKind::NoLeader
            | ErrorKind::LeaderChanged
            | ErrorKind::ServerStopped
            | ErrorKind::TooManyRequests
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOK: &str = include_str!("../../docs/book/src/command.md");

    #[test]
    fn every_code_is_named_in_the_help_and_in_the_book() {
        let used = include_str!("exit.rs").lines().filter_map(|line| {
            let (name, code) = line
                .strip_prefix("pub(crate) const ")?
                .split_once(": i32 = ")?;
            Some((name, code.trim_end_matches(';')))
        });
        let used: Vec<(&str, &str)> = used.collect();
        assert!(used.len() >= 9, "{used:?}");
        for (name, code) in used {
            let code = match name {
                "SIGNAL_BASE" => format!("{code} + N"),
                _ => code.to_owned(),
            };
            let told = |line: &str| line.trim_start().starts_with(&format!("{code} "));
            assert!(HELP.lines().any(told), "{name} is not in the help");
            assert!(
                BOOK.contains(&format!("| {code} |")),
                "{name} is not in the book"
            );
        }
    }

    #[test]
    fn who_named_no_server_and_finds_none_is_told_how_to_come_to_one() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let refused = || {
            let port = handfast_ports::free_port();
            let client = handfast_core::Client::builder()
                .endpoints([format!("127.0.0.1:{port}")])
                .timeout(std::time::Duration::from_millis(100));
            let read = async { client.build().unwrap().get("x").await };
            Failure::Call(runtime.block_on(read).unwrap_err())
        };
        let (named, unnamed) = (refused().with_hint(true), refused().with_hint(false));
        assert!(!named.to_string().contains("handfast serve"));
        assert!(unnamed.to_string().contains("handfast serve"));
        assert_eq!([named.code(), unnamed.code()], [UNREACHABLE; 2]);
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.code(), OK);
    }

    #[test]
    fn commands_that_do_not_start_follow_the_shells() {
        let spawn = |kind| Failure::Spawn {
            command: "x".into(),
            error: io::Error::from(kind),
        };
        assert_eq!(spawn(io::ErrorKind::NotFound).code(), 127);
        assert_eq!(spawn(io::ErrorKind::PermissionDenied).code(), 126);
    }
}
