//! Puts the state file's engine on a [`DiskFile`], and its errors into ours. Must not know tables.

use std::io;
use std::path::Path;
use std::sync::Arc;

use redb::StorageBackend;

use crate::Error;
use crate::disk::DiskFile;

/// The engine's view of the state file.
#[derive(Debug)]
pub(super) struct Backend(pub(super) Arc<dyn DiskFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(data, offset)
    }
}

/// A [`Backend`] that promises nothing to survive: for data that is thrown away anyway.
#[derive(Debug)]
pub(super) struct UnsyncedBackend(pub(super) Backend);

impl StorageBackend for UnsyncedBackend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// For `map_err`: turns any error of the engine into one that names the file.
pub(super) fn failed<E: Into<redb::Error>>(path: &Path) -> impl FnOnce(E) -> Error {
    move |error| match error.into() {
        redb::Error::Corrupted(detail) => Error::corrupt(path, 0, detail),
        redb::Error::Io(source) => Error::Io {
            action: "use the state file",
            path: path.to_owned(),
            source,
        },
        redb::Error::UpgradeRequired(found) => Error::FormatVersion {
            path: path.to_owned(),
            found: u32::from(found),
            known: super::tables::SCHEMA_VERSION,
        },
        redb::Error::DatabaseAlreadyOpen => Error::Locked {
            path: path.to_owned(),
            pid: None,
        },
        other => Error::State {
            path: path.to_owned(),
            detail: other.to_string(),
        },
    }
}
