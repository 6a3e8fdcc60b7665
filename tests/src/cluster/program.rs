//! Which server binary the members of a cluster run.
//!
//! Knows where programs are. Must not know how they are started.

use std::path::{Path, PathBuf};

use crate::{Result, harness::Subject};

/// A server binary and the flags it understands.
#[derive(Clone, Debug)]
pub struct Program {
    /// Whose flags it takes.
    pub subject: Subject,
    /// The binary.
    pub path: PathBuf,
    /// What comes before the flags.
    pub first: Vec<String>,
}

impl Program {
    /// The binary of `subject` on this machine; handfast's is built if need be.
    ///
    /// # Errors
    /// When it cannot be found or built.
    pub fn of(subject: Subject) -> Result<Self> {
        let (path, first) = subject.command()?;
        let first = first.iter().map(|&word| word.to_owned()).collect();
        Ok(Self {
            subject,
            path,
            first,
        })
    }

    /// The binary at `path`, which takes the flags of `subject`.
    #[must_use]
    pub fn at(subject: Subject, path: &Path) -> Self {
        let first = match subject {
            Subject::Handfast => vec!["serve".to_owned()],
            Subject::Etcd => Vec::new(),
        };
        Self {
            subject,
            path: path.to_path_buf(),
            first,
        }
    }
}
