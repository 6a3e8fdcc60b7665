//! The data directory: who owns it, whether it is ours and where the parts lie. Must not know
//! what is in the parts.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Error;
use crate::disk::{Disk, RealDisk};
use crate::recovery;
use crate::wal::Identity;

const LOCK: &str = "LOCK";
const IDENTITY: &str = "IDENTITY";
const IDENTITY_TMP: &str = "IDENTITY.tmp";
const JOIN_TOKEN: &str = "JOIN_TOKEN";
const JOIN_TOKEN_TMP: &str = "JOIN_TOKEN.tmp";
const WAL: &str = "wal";
const STATE: &str = "state.redb";
const STATE_TMP: &str = "state.redb.tmp";
const SPOOL: &str = "snapshot.spool";
/// Put there by file systems, not by people.
const HARMLESS: &[&str] = &["lost+found"];

const MAGIC: &[u8; 8] = b"handfast";
const FORMAT_VERSION: u32 = 1;
const IDENTITY_BYTES: usize = 32;

/// A data directory held by this process until dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: Option<Identity>,
    // Held for the lock on it.
    _lock: File,
    // Last: the lock is gone before an ephemeral directory is removed.
    temporary: Option<TempDir>,
}

impl DataDir {
    /// Takes the directory for this process, creating it (for the owner only) when missing.
    ///
    /// # Errors
    /// One sentence each: held by another process, not writable, foreign, of another version, half
    /// recovered.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let dir = Self::take(path.as_ref(), None)?;
        if dir.is_recovering()? {
            return Err(Error::Recovering { path: dir.path });
        }
        Ok(dir)
    }

    /// Takes a directory that exists, to make its data the start of a new cluster, whether or not
    /// that was begun before.
    ///
    /// # Errors
    /// Those of [`DataDir::open`], and when it is missing or holds no data.
    pub fn open_for_recovery(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        fs::metadata(path).map_err(|source| access(path, "look at", source))?;
        let dir = Self::take(path, None)?;
        if dir.identity.is_none() {
            return Err(Error::ForeignFile {
                path: dir.path,
                expected: "data directory",
                detail: "it holds no data".to_owned(),
            });
        }
        Ok(dir)
    }

    /// A fresh directory in the system's place for temporary files, removed when dropped.
    pub fn ephemeral() -> Result<Self, Error> {
        let root = std::env::temp_dir();
        let temporary = tempfile::Builder::new()
            .prefix("handfast-")
            .tempdir()
            .map_err(Error::io("create a temporary directory in", &root))?;
        let path = temporary.path().to_owned();
        Self::take(&path, Some(temporary))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the directory is removed when this is dropped.
    pub fn is_ephemeral(&self) -> bool {
        self.temporary.is_some()
    }

    /// Directory of the raft log.
    pub fn wal_dir(&self) -> PathBuf {
        self.path.join(WAL)
    }

    /// Path of the state file.
    pub fn state_path(&self) -> PathBuf {
        self.path.join(STATE)
    }

    /// Path of a snapshot that is being received.
    pub fn spool_path(&self) -> PathBuf {
        self.path.join(SPOOL)
    }

    /// Whose data this is; `None` until [`DataDir::set_identity`] was called once.
    pub fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Writes down, atomically and durably, whose data this is. Call it before writing any data.
    ///
    /// # Errors
    /// When the directory already belongs to another member.
    pub fn set_identity(&mut self, identity: Identity) -> Result<(), Error> {
        let path = self.path.join(IDENTITY);
        if let Some(found) = self.identity {
            if found == identity {
                return Ok(());
            }
            return Err(Error::OtherMember {
                path,
                found_cluster: found.cluster_id,
                found_member: found.member_id,
                cluster: identity.cluster_id,
                member: identity.member_id,
            });
        }
        self.replace_identity(identity)
    }

    /// Like [`DataDir::set_identity`], over another one: for a recovery, which replaces the log
    /// and the membership to match.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn replace_identity(&mut self, identity: Identity) -> Result<(), Error> {
        self.write_whole(IDENTITY, IDENTITY_TMP, &encode(identity))?;
        self.identity = Some(identity);
        Ok(())
    }

    /// Leaves the token with which others join where the operator finds it, readable by the owner
    /// only.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_join_token(&self, token: &str) -> Result<(), Error> {
        let line = format!("{token}\n");
        self.write_whole(JOIN_TOKEN, JOIN_TOKEN_TMP, line.as_bytes())
    }

    /// The token that was left there, if any.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn join_token(&self) -> Result<Option<String>, Error> {
        let path = self.path.join(JOIN_TOKEN);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(access(&path, "read", source)),
        }
    }

    /// Removes the token, which is of no use any more.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove_join_token(&self) -> Result<(), Error> {
        recovery::remove_if_there(&RealDisk, &self.path.join(JOIN_TOKEN))
    }

    fn is_recovering(&self) -> Result<bool, Error> {
        let path = self.path.join(recovery::NAME);
        RealDisk
            .exists(&path)
            .map_err(|source| access(&path, "look for", source))
    }

    /// Replaces a small file, atomically and durably.
    fn write_whole(&self, name: &str, temporary: &str, bytes: &[u8]) -> Result<(), Error> {
        let (path, temporary) = (self.path.join(name), self.path.join(temporary));
        write_private(&temporary, bytes).map_err(Error::io("write", &temporary))?;
        fs::rename(&temporary, &path).map_err(Error::io("rename", &temporary))?;
        RealDisk
            .sync_dir(&self.path)
            .map_err(Error::io("sync", &self.path))
    }

    fn take(path: &Path, temporary: Option<TempDir>) -> Result<Self, Error> {
        prepare(path)?;
        refuse_foreign(path)?;
        let lock = lock(path)?;
        let identity = read_identity(path)?;
        Ok(Self {
            path: path.to_owned(),
            identity,
            _lock: lock,
            temporary,
        })
    }
}

fn prepare(path: &Path) -> Result<(), Error> {
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => {
            return Err(Error::ForeignFile {
                path: path.to_owned(),
                expected: "data directory",
                detail: "it is a file".to_owned(),
            });
        }
        Ok(found) => {
            let mode = found.permissions().mode();
            // Others must not read keys; a directory that cannot be closed may be a mounted one.
            if mode & 0o077 != 0
                && fs::set_permissions(path, Permissions::from_mode(0o700)).is_err()
            {
                tracing::warn!(path = %path.display(), "the data directory is open to other users");
            }
            return Ok(());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(access(path, "look at", source)),
    }
    RealDisk
        .create_dir_all(path)
        .map_err(|source| access(path, "create", source))
}

fn access(path: &Path, action: &'static str, source: io::Error) -> Error {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    let path = path.to_owned();
    match source.kind() {
        PermissionDenied | ReadOnlyFilesystem => Error::NotWritable { path, source },
        _ => Error::Io {
            action,
            path,
            source,
        },
    }
}

/// Runs before anything is written: a foreign directory is left exactly as it was.
fn refuse_foreign(path: &Path) -> Result<(), Error> {
    let mut names = RealDisk
        .list(path)
        .map_err(|source| access(path, "list", source))?;
    names.sort();
    if names.iter().any(|name| name == IDENTITY) {
        return Ok(());
    }
    let ours = [LOCK, IDENTITY_TMP];
    let stray = names
        .into_iter()
        .find(|name| !ours.contains(&name.as_str()) && !HARMLESS.contains(&name.as_str()));
    match stray {
        None => Ok(()),
        Some(name) if [WAL, STATE, STATE_TMP].contains(&name.as_str()) => {
            Err(Error::ForeignDirectory {
                path: path.to_owned(),
                found: format!("{name} without {IDENTITY}"),
            })
        }
        Some(found) => Err(Error::ForeignDirectory {
            path: path.to_owned(),
            found,
        }),
    }
}

fn lock(path: &Path) -> Result<File, Error> {
    let name = path.join(LOCK);
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    let mut file = options
        .open(&name)
        .map_err(|source| access(path, "lock", source))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let read = file.read_to_string(&mut text);
            let pid = read.ok().and_then(|_| text.trim().parse().ok());
            return Err(Error::Locked {
                path: path.to_owned(),
                pid,
            });
        }
        Err(TryLockError::Error(source)) => return Err(access(path, "lock", source)),
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|source| access(path, "write the lock file in", source))?;
    Ok(file)
}

fn read_identity(path: &Path) -> Result<Option<Identity>, Error> {
    let name = path.join(IDENTITY);
    let bytes = match fs::read(&name) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(access(&name, "read", source)),
    };
    decode(&bytes, &name).map(Some)
}

fn encode(identity: Identity) -> [u8; IDENTITY_BYTES] {
    let mut bytes = [0; IDENTITY_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&identity.cluster_id.to_le_bytes());
    bytes[20..28].copy_from_slice(&identity.member_id.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..28]);
    bytes[28..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8], path: &Path) -> Result<Identity, Error> {
    let foreign = |detail: &str| Error::ForeignFile {
        path: path.to_owned(),
        expected: "identity file",
        detail: detail.to_owned(),
    };
    let Some((magic, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(foreign("it is too short"));
    };
    if magic != MAGIC {
        return Err(foreign("it starts with other bytes"));
    }
    let Some((version, rest)) = rest.split_first_chunk::<4>() else {
        return Err(foreign("it is too short"));
    };
    // Before the length and the checksum: another version may have another layout.
    let found = u32::from_le_bytes(*version);
    if found != FORMAT_VERSION {
        return Err(Error::FormatVersion {
            path: path.to_owned(),
            found,
            known: FORMAT_VERSION,
        });
    }
    let Ok(rest) = <[u8; 20]>::try_from(rest) else {
        return Err(Error::corrupt(path, 0, "its length is wrong"));
    };
    let [cluster @ .., _, _, _, _, _, _, _, _, _, _, _, _] = rest;
    let [_, _, _, _, _, _, _, _, member @ .., _, _, _, _] = rest;
    let [.., a, b, c, d] = rest;
    if crc32c::crc32c(&bytes[..28]) != u32::from_le_bytes([a, b, c, d]) {
        return Err(Error::corrupt(path, 0, "its checksum does not match"));
    }
    Ok(Identity {
        cluster_id: u64::from_le_bytes(cluster),
        member_id: u64::from_le_bytes(member),
    })
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
