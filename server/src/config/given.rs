//! What was given for a setting, and by whose habits it is read.
//!
//! Owns two plain types. It must not know what becomes of them.

/// Whose defaults apply where the two differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preset {
    /// Data in `handfast.data`.
    #[default]
    Handfast,
    /// Data in `<name>.etcd`: for programs that start us under the name `etcd`.
    Etcd,
}

/// Where a value came from, and the value.
pub(super) struct Given {
    pub(super) origin: String,
    pub(super) value: String,
}
