//! Begins a log anew behind entries that a state holds already. Must not know why.

use std::path::Path;
use std::sync::Arc;

use super::{Identity, Vote, Wal, WalOptions};
use crate::disk::Disk;
use crate::{Error, LogPosition};

/// Removes whatever log is in `dir` and leaves an empty one that goes on after `purged` and has
/// `vote`. Interrupted, it can be repeated; until it returns, the directory may hold no whole log.
///
/// # Errors
/// [`Error::Io`] when the disk refuses.
pub fn restart(
    disk: Arc<dyn Disk>,
    dir: &Path,
    identity: Identity,
    options: WalOptions,
    purged: LogPosition,
    vote: Vote,
) -> Result<(), Error> {
    disk.create_dir_all(dir).map_err(Error::io("create", dir))?;
    for name in disk.list(dir).map_err(Error::io("list", dir))? {
        let path = dir.join(name);
        disk.remove(&path).map_err(Error::io("remove", &path))?;
    }
    // Before new files appear: a crash must not bring old ones back beside them.
    disk.sync_dir(dir).map_err(Error::io("sync", dir))?;
    let (wal, mut driver) = Wal::open_driven(disk, dir, identity, options, Arc::new(|| {}))?;
    let (send, receive) = std::sync::mpsc::channel();
    wal.purge(purged);
    wal.save_vote(
        vote,
        Box::new(move |result| {
            // The receiver is below, in this function.
            let _ = send.send(result);
        }),
    );
    wal.close();
    driver.step();
    receive
        .recv()
        .unwrap_or_else(|_| Err(std::io::ErrorKind::BrokenPipe.into()))
        .map_err(Error::io("write a log in", dir))
}
