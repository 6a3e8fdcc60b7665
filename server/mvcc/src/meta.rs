//! The store's small values in the state file.
//!
//! Owns their names and form. Must not know when they are written.

use bytes::Bytes;
use handfast_storage::state::View;

use crate::{
    Error,
    cluster::Cluster,
    fingerprint::Fingerprint,
    revision::{FIRST_REVISION, NEVER_COMPACTED},
};

pub(crate) const META_REVISION: &str = "revision";
pub(crate) const META_COMPACTED: &str = "compacted";
pub(crate) const META_SWEPT: &str = "swept";
pub(crate) const META_SWEEPING: &str = "sweeping";
pub(crate) const META_RAISED: &str = "raised";
pub(crate) const META_CLUSTER: &str = "cluster";
pub(crate) const META_FINGERPRINT: &str = "fingerprint";

/// The store revision a flush wrote.
pub(crate) fn revision(view: &View) -> Result<i64, Error> {
    Ok(number(view, META_REVISION)?.unwrap_or(FIRST_REVISION))
}

/// The compaction mark a flush wrote.
pub(crate) fn compacted(view: &View) -> Result<i64, Error> {
    Ok(number(view, META_COMPACTED)?.unwrap_or(NEVER_COMPACTED))
}

/// The compaction mark up to which sweeps were finished.
pub(crate) fn swept(view: &View) -> Result<i64, Error> {
    Ok(number(view, META_SWEPT)?.unwrap_or(NEVER_COMPACTED))
}

/// The compaction mark up to which a sweep may have deleted rows.
pub(crate) fn sweeping(view: &View) -> Result<i64, Error> {
    match number(view, META_SWEEPING)? {
        Some(sweeping) => Ok(sweeping.max(swept(view)?)),
        None => compacted(view),
    }
}

/// The revision to which a recovery raised the store, 0 when none did.
pub(crate) fn raised(view: &View) -> Result<i64, Error> {
    Ok(number(view, META_RAISED)?.unwrap_or(0))
}

/// Alarms and join secret.
pub(crate) fn cluster(view: &View) -> Result<Cluster, Error> {
    view.meta(META_CLUSTER)?
        .map_or_else(|| Ok(Cluster::default()), |bytes| Cluster::decode(&bytes))
}

/// The fingerprint of what the file holds.
pub(crate) fn fingerprint(view: &View) -> Result<Fingerprint, Error> {
    match view.meta(META_FINGERPRINT)? {
        Some(bytes) => Fingerprint::take(&mut &bytes[..]),
        None if view.applied()?.is_none() => Ok(Fingerprint::default()),
        None => Ok(Fingerprint::unknown()),
    }
}

/// A number as the state file has it.
pub(crate) fn encode(number: i64) -> Bytes {
    Bytes::copy_from_slice(&number.to_le_bytes())
}

/// Reads what [`encode`] wrote.
fn decode(name: &str, bytes: &[u8]) -> Result<i64, Error> {
    let number = bytes.try_into().map(i64::from_le_bytes);
    number.map_err(|_| Error::Malformed(format!("{name} has {} bytes, not 8", bytes.len())))
}

fn number(view: &View, name: &str) -> Result<Option<i64>, Error> {
    view.meta(name)?
        .map(|bytes| decode(name, &bytes))
        .transpose()
}
