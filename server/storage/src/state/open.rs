//! Opening and creating the state file, and saying clearly why one is refused. Must not write
//! rows.

use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Builder, Database, ReadableDatabase};

use super::StateOptions;
use super::backend::{Backend, UnsyncedBackend, failed};
use super::tables::{LEASE, META, META_SCHEMA, REV, SCHEMA_VERSION};
use crate::Error;
use crate::disk::{Disk, DiskFile};

const KIND: &str = "state file";
const ENGINE_MAGIC: &[u8] = b"redb";

pub(super) fn open(
    disk: &dyn Disk,
    path: &Path,
    options: &StateOptions,
) -> Result<(Database, Arc<dyn DiskFile>), Error> {
    if disk.exists(path).map_err(Error::io("look for", path))? {
        return open_existing(disk, path, options);
    }
    create(disk, path, options)
}

fn open_existing(
    disk: &dyn Disk,
    path: &Path,
    options: &StateOptions,
) -> Result<(Database, Arc<dyn DiskFile>), Error> {
    let file = disk.open(path).map_err(Error::io("open", path))?;
    if !file.try_lock().map_err(Error::io("lock", path))? {
        return Err(Error::Locked {
            path: path.to_owned(),
            pid: None,
        });
    }
    let mut magic = [0; ENGINE_MAGIC.len()];
    let readable = file.read_at(&mut magic, 0).is_ok();
    if !readable || magic != ENGINE_MAGIC {
        let detail = if readable {
            "it starts with other bytes"
        } else {
            "it is too short"
        };
        return Err(Error::ForeignFile {
            path: path.to_owned(),
            expected: KIND,
            detail: detail.to_owned(),
        });
    }
    let db = engine(path, &file, options)?;
    check_schema(&db, path)?;
    Ok((db, file))
}

/// Builds the file under another name first: a crash never leaves half a file at `path`.
fn create(
    disk: &dyn Disk,
    path: &Path,
    options: &StateOptions,
) -> Result<(Database, Arc<dyn DiskFile>), Error> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    if disk
        .exists(&temporary)
        .map_err(Error::io("look for", &temporary))?
    {
        disk.remove(&temporary)
            .map_err(Error::io("remove", &temporary))?;
    }
    let file = disk
        .create(&temporary)
        .map_err(Error::io("create", &temporary))?;
    if !file.try_lock().map_err(Error::io("lock", &temporary))? {
        return Err(Error::Locked {
            path: temporary,
            pid: None,
        });
    }
    let db = engine(&temporary, &file, options)?;
    write_schema(&db, path)?;
    disk.rename(&temporary, path)
        .map_err(Error::io("rename", &temporary))?;
    let parent = path.parent().unwrap_or(Path::new("."));
    disk.sync_dir(parent).map_err(Error::io("sync", parent))?;
    Ok((db, file))
}

fn engine(
    path: &Path,
    file: &Arc<dyn DiskFile>,
    options: &StateOptions,
) -> Result<Database, Error> {
    let backend = Backend(Arc::clone(file));
    let mut builder = Builder::new();
    builder.set_cache_size(options.cache_bytes);
    let sync = options.sync;
    // The engine panics on some damaged files; nothing of it survives the unwinding.
    let opened = panic::catch_unwind(AssertUnwindSafe(move || {
        if sync {
            builder.create_with_backend(backend)
        } else {
            builder.create_with_backend(UnsyncedBackend(backend))
        }
    }));
    match opened {
        Ok(opened) => opened.map_err(failed(path)),
        Err(_) => Err(Error::corrupt(path, 0, "the engine cannot read its pages")),
    }
}

fn write_schema(db: &Database, path: &Path) -> Result<(), Error> {
    let mut txn = db.begin_write().map_err(failed(path))?;
    txn.set_quick_repair(true);
    {
        txn.open_table(REV).map_err(failed(path))?;
        txn.open_table(LEASE).map_err(failed(path))?;
        let mut meta = txn.open_table(META).map_err(failed(path))?;
        let version = SCHEMA_VERSION.to_le_bytes();
        meta.insert(META_SCHEMA, version.as_slice())
            .map_err(failed(path))?;
    }
    txn.commit().map_err(failed(path))
}

fn check_schema(db: &Database, path: &Path) -> Result<(), Error> {
    let txn = db.begin_read().map_err(failed(path))?;
    let foreign = |detail: String| Error::ForeignFile {
        path: path.to_owned(),
        expected: KIND,
        detail,
    };
    let meta = match txn.open_table(META) {
        Ok(meta) => meta,
        Err(redb::TableError::Storage(error)) => return Err(failed(path)(error)),
        Err(error) => return Err(foreign(format!("a database of another program: {error}"))),
    };
    let stored = meta.get(META_SCHEMA).map_err(failed(path))?;
    let version = stored.and_then(|guard| guard.value().try_into().ok());
    match version.map(u32::from_le_bytes) {
        None => Err(foreign("a database of another program".to_owned())),
        Some(SCHEMA_VERSION) => Ok(()),
        Some(found) => Err(Error::FormatVersion {
            path: path.to_owned(),
            found,
            known: SCHEMA_VERSION,
        }),
    }
}
