//! The one error type of this crate: what was wrong, where, and what to do about it. Must not
//! name types of the database behind the state file.

use std::io;
use std::path::{Path, PathBuf};

/// Why storage refused. Every message names the file and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was attempted, as an infinitive.
        action: &'static str,
        /// The file or directory concerned.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another process holds the data directory.
    #[error("{path} is in use by {}; stop it or choose another data directory", holder(.pid))]
    Locked {
        /// The locked file or directory.
        path: PathBuf,
        /// Process id the holder wrote down, when it could be read.
        pid: Option<u32>,
    },
    /// A directory that holds something, but no data of this server.
    #[error(
        "{path} is not empty and is no handfast data directory (it holds {found:?}); \
             choose an empty or a new directory"
    )]
    ForeignDirectory {
        /// The directory.
        path: PathBuf,
        /// One name that does not belong there.
        found: String,
    },
    /// A directory in which this process may not write.
    #[error(
        "{path} is not writable by this user ({source}); change its owner or choose \
             another data directory"
    )]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file of another program, or one cut to nothing.
    #[error(
        "{path} is not a handfast {expected} ({detail}); move it away or choose another \
             data directory"
    )]
    ForeignFile {
        /// The file.
        path: PathBuf,
        /// Which kind of file belongs there.
        expected: &'static str,
        /// What was found instead.
        detail: String,
    },
    /// Written by a version whose format this one does not read.
    #[error(
        "{path} has format version {found}, this handfast reads version {known}; \
             start it with the handfast version that wrote it"
    )]
    FormatVersion {
        /// The file.
        path: PathBuf,
        /// Version in the file.
        found: u32,
        /// Version this program reads.
        known: u32,
    },
    /// The file belongs to another cluster or member.
    #[error(
        "{path} belongs to member {found_member:x} of cluster {found_cluster:x}, not to \
             member {member:x} of cluster {cluster:x}; check the data directory and the member's \
             name"
    )]
    OtherMember {
        /// The file.
        path: PathBuf,
        /// Cluster id in the file.
        found_cluster: u64,
        /// Member id in the file.
        found_member: u64,
        /// Cluster id that was expected.
        cluster: u64,
        /// Member id that was expected.
        member: u64,
    },
    /// A recovery of this data was begun and not finished.
    #[error(
        "a recovery of {path} was interrupted; finish it by running `handfast cluster recover` \
             again"
    )]
    Recovering {
        /// The data directory.
        path: PathBuf,
    },
    /// Data that had been acknowledged is damaged or gone.
    #[error(
        "{path} is damaged at byte {offset}: {detail}; nothing was changed, restore this \
             member from its peers or from a snapshot"
    )]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where the damage starts.
        offset: u64,
        /// What was found.
        detail: String,
    },
    /// The state file's engine refused an operation.
    #[error("state file {path}: {detail}; restart the server, it recovers from the log")]
    State {
        /// The state file.
        path: PathBuf,
        /// The engine's answer.
        detail: String,
    },
    /// A part of a snapshot from another member that cannot be used.
    #[error("a part of a snapshot is refused: {detail}; the sender has to send it again")]
    BadChunk {
        /// What is wrong with it.
        detail: String,
    },
    /// Rows handed to a flush do not ascend behind those already stored.
    #[error("revision {main}.{sub} does not follow the last stored one; this is a bug")]
    UnorderedRow {
        /// Main part of the offending revision.
        main: i64,
        /// Sub part of the offending revision.
        sub: u32,
    },
}

fn holder(pid: &Option<u32>) -> String {
    match pid {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

impl Error {
    /// For `map_err`: names the attempted action and the file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    pub(crate) fn corrupt(path: &Path, offset: u64, detail: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            offset,
            detail: detail.into(),
        }
    }
}
