//! What a cluster keeps beside keys and leases: its alarms and its join secret.
//!
//! Owns both, how commands change them, and their stored form. Must not know what an alarm forbids
//! or how a member joins.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use handfast_proto::command;

use crate::{Error, codec};

/// An alarm that is raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alarm {
    /// The member it is about.
    pub member_id: u64,
    /// Its kind, by etcd's numbers: 1 is NOSPACE, 2 is CORRUPT.
    pub kind: i32,
}

/// Kinds that [`Cluster::kinds`] has a bit for.
const KINDS: i32 = 32;

/// The replicated values themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cluster {
    alarms: BTreeSet<Alarm>,
    secret: Option<Bytes>,
    /// Not written to the state file yet.
    pub(crate) changed: bool,
}

impl Cluster {
    pub(crate) fn new(alarms: Vec<Alarm>, secret: Option<Bytes>) -> Self {
        Self {
            alarms: alarms.into_iter().collect(),
            secret,
            changed: false,
        }
    }

    /// Raises or clears an alarm. Returns it, if it is raised now or was until now.
    pub(crate) fn alarm(&mut self, command: &command::Alarm) -> Option<Alarm> {
        let alarm = Alarm {
            member_id: command.member_id,
            kind: command.kind,
        };
        if alarm.kind == 0 {
            return None;
        }
        let changed = if command.raise {
            self.alarms.insert(alarm)
        } else {
            self.alarms.remove(&alarm)
        };
        self.changed |= changed;
        (changed || command.raise).then_some(alarm)
    }

    /// Keeps the first secret. One without bytes is none.
    pub(crate) fn join_secret(&mut self, command: &command::JoinSecret) {
        if self.secret.is_none() && !command.secret.is_empty() {
            // A copy, for the command may be a slice of a whole segment of the log.
            self.secret = Some(Bytes::copy_from_slice(&command.secret));
            self.changed = true;
        }
    }

    /// All alarms, ascending.
    pub(crate) fn alarms(&self) -> Vec<Alarm> {
        self.alarms.iter().copied().collect()
    }

    pub(crate) fn secret(&self) -> Option<Bytes> {
        self.secret.clone()
    }

    /// A bit for each kind of alarm that is raised.
    pub(crate) fn kinds(&self) -> u32 {
        let kinds = self.alarms.iter().map(|alarm| alarm.kind);
        kinds.fold(0, |bits, kind| bits | bit(kind))
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        put(&self.alarms(), self.secret.as_ref(), &mut out);
        out.freeze()
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, Error> {
        let (alarms, secret) = take(&mut bytes)?;
        Ok(Self::new(alarms, secret))
    }
}

/// The bit of a kind in [`Cluster::kinds`].
pub(crate) fn bit(kind: i32) -> u32 {
    if (0..KINDS).contains(&kind) {
        1 << kind
    } else {
        0
    }
}

/// The stored form.
pub(crate) fn put(alarms: &[Alarm], secret: Option<&Bytes>, out: &mut BytesMut) {
    codec::put_len(alarms.len(), out);
    for alarm in alarms {
        out.put_u64_le(alarm.member_id);
        out.put_i32_le(alarm.kind);
    }
    codec::put_optional(secret, out);
}

/// Reads what [`put`] wrote.
pub(crate) fn take(bytes: &mut &[u8]) -> Result<(Vec<Alarm>, Option<Bytes>), Error> {
    let mut alarms = Vec::new();
    for _ in 0..codec::take_len(bytes)? {
        alarms.push(Alarm {
            member_id: bytes.try_get_u64_le().map_err(codec::cut_off)?,
            kind: bytes.try_get_i32_le().map_err(codec::cut_off)?,
        });
    }
    Ok((alarms, codec::take_optional(bytes)?))
}
