//! An in-memory disk that forgets unsynced writes, for crash tests. Must not know any file
//! format.
//!
//! Until they are synced, writes, lengths and names live apart from what is durable. When the
//! simulated machine stops, a seed decides for every 512-byte sector how many of the unsynced
//! writes to it reached the disk, and how many of the unsynced name changes did.

mod image;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

use self::image::{Dice, Node};
use crate::disk::{Disk, DiskFile};

/// What happens to unsynced data when the machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of it is lost.
    Everything,
    /// Every sector decides for itself, as if the disk had reordered the writes.
    Sectors,
    /// All of it is kept, except that the last write to each file ends within a page.
    LastTorn,
}

impl Loss {
    /// All models.
    pub const ALL: [Self; 3] = [Self::Everything, Self::Sectors, Self::LastTorn];
}

/// A disk in memory; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    nodes: HashMap<u64, Node>,
    next_node: u64,
    dirs: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    journal: Vec<NameChange>,
    /// Handles of an earlier life of the machine are dead.
    life: u64,
    stopped: bool,
    operations: u64,
    stop_at: Option<u64>,
    fail_syncs: bool,
    capacity: Option<u64>,
    unsynced_stops: u64,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(PathBuf, u64),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Link(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Unlink(path) => {
                names.remove(path);
            }
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }

    fn is_in(&self, dir: &Path) -> bool {
        let (Self::Link(path, _) | Self::Unlink(path) | Self::Rename(path, _)) = self;
        path.parent() == Some(dir)
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of changing operations (writes, syncs, names) so far.
    pub fn operations(&self) -> u64 {
        self.inner.lock().operations
    }

    /// Stops the machine within the changing operation of this number; the first one is 1. A
    /// write that is stopped counts as issued but unsynced, a sync that is stopped as undone.
    pub fn stop_at(&self, operation: u64) {
        self.inner.lock().stop_at = Some(operation);
    }

    /// Stops the machine now: every operation fails until [`SimDisk::restart`].
    pub fn stop(&self) {
        self.inner.lock().stopped = true;
    }

    /// Whether the machine has stopped.
    pub fn is_stopped(&self) -> bool {
        self.inner.lock().stopped
    }

    /// Starts the machine again with what its disk kept. Earlier handles stay dead.
    pub fn restart(&self, loss: Loss, seed: u64) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let mut dice = Dice::new(seed);
        let unsynced = inner.nodes.values().any(Node::is_dirty) || !inner.journal.is_empty();
        inner.unsynced_stops += u64::from(unsynced);
        let kept = match loss {
            Loss::Everything => 0,
            Loss::Sectors => dice.below(inner.journal.len() as u64 + 1) as usize,
            Loss::LastTorn => inner.journal.len(),
        };
        for change in inner.journal.drain(..).take(kept) {
            change.apply(&mut inner.durable_names);
        }
        inner.names = inner.durable_names.clone();
        let live: BTreeSet<u64> = inner.names.values().copied().collect();
        inner.nodes.retain(|node, _| live.contains(node));
        // In a fixed order, or the same seed would give another image.
        for node in live {
            if let Some(node) = inner.nodes.get_mut(&node) {
                node.stop(loss, &mut dice);
            }
        }
        inner.life += 1;
        inner.stopped = false;
        inner.stop_at = None;
    }

    /// How often [`SimDisk::restart`] found unsynced data: a crash test in which this stays 0
    /// proves nothing.
    pub fn unsynced_stops(&self) -> u64 {
        self.inner.lock().unsynced_stops
    }

    /// Makes every sync fail with an I/O error, or succeed again.
    pub fn fail_syncs(&self, fail: bool) {
        self.inner.lock().fail_syncs = fail;
    }

    /// Lets files grow only to this many bytes in total.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.inner.lock().capacity = bytes;
    }

    /// Flips a bit of a file, as a decaying disk does; false when there is no such byte.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) -> bool {
        let mut inner = self.inner.lock();
        let Some(node) = inner.names.get(path).copied() else {
            return false;
        };
        inner
            .nodes
            .get_mut(&node)
            .is_some_and(|node| node.flip(offset, bit))
    }

    /// The content of a file as programs see it now.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let inner = self.inner.lock();
        let node = inner.names.get(path)?;
        inner.nodes.get(node).map(|node| node.current().to_vec())
    }

    /// Puts a file there, durably.
    pub fn put(&self, path: &Path, content: &[u8]) {
        let mut inner = self.inner.lock();
        let node = inner.next_node;
        inner.next_node += 1;
        inner.nodes.insert(node, Node::durable(content.to_vec()));
        inner.names.insert(path.to_owned(), node);
        inner.durable_names.insert(path.to_owned(), node);
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let inner = self.inner.lock();
        if inner.stopped {
            Err(dead())
        } else {
            Ok(inner)
        }
    }

    fn change_name(&self, change: NameChange) -> io::Result<()> {
        let mut inner = self.alive()?;
        change.apply(&mut inner.names);
        inner.journal.push(change);
        inner.count()
    }

    fn handle(&self, inner: &Inner, node: u64) -> Arc<dyn DiskFile> {
        let locked = AtomicBool::new(false);
        Arc::new(SimFile {
            disk: self.clone(),
            node,
            life: inner.life,
            locked,
        })
    }
}

impl Inner {
    /// Counts a changing operation; an error when the machine stops within it.
    fn count(&mut self) -> io::Result<()> {
        self.operations += 1;
        if self.stop_at == Some(self.operations) {
            self.stopped = true;
            return Err(dead());
        }
        Ok(())
    }

    fn check_space(&self, node: u64, len: u64) -> io::Result<()> {
        let Some(capacity) = self.capacity else {
            return Ok(());
        };
        let others = self.nodes.iter().filter(|&(&id, _)| id != node);
        let others: u64 = others.map(|(_, node)| node.current().len() as u64).sum();
        let grows = self
            .nodes
            .get(&node)
            .is_some_and(|node| len > node.current().len() as u64);
        if grows && others + len > capacity {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "no space left on device",
            ));
        }
        Ok(())
    }
}

fn dead() -> io::Error {
    io::Error::other("the simulated machine has stopped")
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        format!("no file {}", path.display()),
    )
}

impl Disk for SimDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let inner = self.alive()?;
        let node = inner
            .names
            .get(path)
            .copied()
            .ok_or_else(|| missing(path))?;
        Ok(self.handle(&inner, node))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let node = {
            let mut inner = self.alive()?;
            if inner.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let node = inner.next_node;
            inner.next_node += 1;
            inner.nodes.insert(node, Node::default());
            node
        };
        self.change_name(NameChange::Link(path.to_owned(), node))?;
        Ok(self.handle(&*self.alive()?, node))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if !self.exists(from)? {
            return Err(missing(from));
        }
        self.change_name(NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.exists(path)? {
            return Err(missing(path));
        }
        self.change_name(NameChange::Unlink(path.to_owned()))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let inner = self.alive()?;
        let inside = inner.names.keys().filter(|path| path.parent() == Some(dir));
        let names = inside.filter_map(|path| path.file_name());
        Ok(names
            .map(|name| name.to_string_lossy().into_owned())
            .collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let inner = self.alive()?;
        Ok(inner.names.contains_key(path) || inner.dirs.contains(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut inner = self.alive()?;
        inner.count()?;
        if inner.fail_syncs {
            return Err(io::Error::other("simulated sync failure"));
        }
        let journal = std::mem::take(&mut inner.journal);
        let (durable, rest): (Vec<_>, Vec<_>) =
            journal.into_iter().partition(|change| change.is_in(dir));
        inner.journal = rest;
        for change in durable {
            change.apply(&mut inner.durable_names);
        }
        Ok(())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut inner = self.alive()?;
        inner.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    node: u64,
    life: u64,
    locked: AtomicBool,
}

impl SimFile {
    fn with<T>(&self, run: impl FnOnce(&mut Inner) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.disk.alive()?;
        if inner.life != self.life {
            return Err(dead());
        }
        run(&mut inner)
    }

    fn node<'a>(&self, inner: &'a mut Inner) -> io::Result<&'a mut Node> {
        inner.nodes.get_mut(&self.node).ok_or_else(dead)
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|inner| Ok(self.node(inner)?.current().len() as u64))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|inner| {
            let content = self.node(inner)?.current();
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let wanted = start.saturating_add(buffer.len());
            let bytes = content
                .get(start..wanted)
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|inner| {
            inner.check_space(self.node, offset + bytes.len() as u64)?;
            self.node(inner)?.write(offset, bytes);
            inner.count()
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|inner| {
            inner.check_space(self.node, len)?;
            self.node(inner)?.set_len(len);
            inner.count()
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|inner| {
            inner.count()?;
            if inner.fail_syncs {
                return Err(io::Error::other("simulated sync failure"));
            }
            self.node(inner)?.sync();
            Ok(())
        })
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.with(|inner| {
            let taken = std::mem::replace(&mut self.node(inner)?.locked, true);
            if !taken {
                self.locked.store(true, Ordering::Relaxed);
            }
            Ok(!taken)
        })
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if self.locked.load(Ordering::Relaxed) {
            // A dead handle has nothing to unlock.
            let _ = self.with(|inner| {
                self.node(inner)?.locked = false;
                Ok(())
            });
        }
    }
}
