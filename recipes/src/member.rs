//! Who is in a queue, as shown to people and programs.
//!
//! Owns what is told of a member. Knows nothing of keys and of how a queue is read.

use std::fmt;

use bytes::Bytes;
use handfast_core::session::{SessionRecord, lease_hex};

/// Somebody in a queue.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Member {
    /// The key in the queue.
    pub key: Bytes,
    /// The lease of the session.
    pub lease: i64,
    /// The create revision of the key: the fencing token once it holds.
    pub token: i64,
    /// The place in the queue; 1 holds.
    pub position: usize,
    /// The value of the key: of a candidate, what it proposes.
    pub value: Bytes,
    /// The key is on no lease: it does not go away by itself.
    pub immortal: bool,
    /// Who the session says it is; `None` for other programs, or when it was not read.
    pub session: Option<SessionRecord>,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.session {
            Some(SessionRecord { app, host, pid, .. }) => {
                write!(
                    f,
                    "{app} (pid {pid} on {host}, session {})",
                    lease_hex(self.lease)
                )
            }
            None => write!(f, "session {}", lease_hex(self.lease)),
        }?;
        if self.immortal {
            f.write_str(", whose key is on no lease and must be broken by hand")?;
        }
        Ok(())
    }
}

/// The own place while waiting.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Waiting {
    /// The name of the queue: of several locks, the one that is waited for.
    pub name: Bytes,
    /// The place in the queue; 1 would hold.
    pub position: usize,
    /// Who holds, without its session record.
    pub holder: Option<Member>,
}
