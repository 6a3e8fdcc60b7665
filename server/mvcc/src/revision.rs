//! The coordinate of a change.
//!
//! Owns the order of changes. Must not know where they are stored.

/// Which change: `main` counts the store's revisions, `sub` the changes inside one of them.
///
/// The derived order is the order in which changes took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// The store revision, 2 for the first change ever.
    pub main: i64,
    /// Position among the changes of the same store revision, from 0.
    pub sub: u32,
}

impl Revision {
    /// The change `sub` of store revision `main`.
    #[must_use]
    pub const fn new(main: i64, sub: u32) -> Self {
        Self { main, sub }
    }
}

/// Revision of a store nobody has written to.
pub(crate) const FIRST_REVISION: i64 = 1;

/// Compaction revision of a store that was never compacted.
pub(crate) const NEVER_COMPACTED: i64 = -1;
