//! Where snapshots are kept.
//!
//! Owns the seam between the recipe and the disk, and how a file is replaced without ever being
//! half there. Knows nothing of what is in it.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    future::Future,
    io::{self, Write},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use bytes::Bytes;

/// What a store's methods return.
pub type SnapshotFuture<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// A place for one snapshot: a file, or whatever a platform has instead.
///
/// What is loaded need not be sound: it is verified.
pub trait SnapshotStore: fmt::Debug + Send + Sync + 'static {
    /// What was saved last; `None` if nothing was.
    fn load(&self) -> SnapshotFuture<Option<Bytes>>;

    /// Replaces what was saved, as a whole or not at all.
    fn save(&self, snapshot: Bytes) -> SnapshotFuture<()>;
}

/// A snapshot in a file.
#[derive(Debug, Clone)]
pub(super) struct SnapshotFile(Arc<PathBuf>);

impl SnapshotFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(Arc::new(path))
    }
}

impl SnapshotStore for SnapshotFile {
    fn load(&self) -> SnapshotFuture<Option<Bytes>> {
        let path = Arc::clone(&self.0);
        elsewhere(move || match fs::read(&*path) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(named(&path, &error)),
        })
    }

    fn save(&self, snapshot: Bytes) -> SnapshotFuture<()> {
        let path = Arc::clone(&self.0);
        elsewhere(move || replace(&path, &snapshot).map_err(|error| named(&path, &error)))
    }
}

/// A disk that hangs must not hang the runtime.
fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> SnapshotFuture<T> {
    Box::pin(async move {
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(io::Error::other)?
    })
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Writes beside the file, and puts it in its place when it is on the disk.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    // Another process may keep its snapshot here, too.
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = parent.join(beside);
    let written = write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What cannot be removed either is overwritten next time.
        let _ = fs::remove_file(&beside);
    }
    written?;
    sync_directory(parent)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    // Configuration may hold secrets.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Elsewhere directories cannot be opened, and renames are on the disk by themselves.
#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_replaced_as_a_whole_and_nothing_stays_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot");
        let file = SnapshotFile::new(path.clone());
        assert_eq!(file.load().await.unwrap(), None);
        for text in ["a longer one", "short"] {
            file.save(Bytes::from(text)).await.unwrap();
            assert_eq!(file.load().await.unwrap().unwrap(), text);
        }
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_written_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let file = SnapshotFile::new(dir.path().join("no/such/place"));
        let error = file.save(Bytes::new()).await.unwrap_err();
        assert!(error.to_string().contains("no/such/place"), "{error}");
    }
}
