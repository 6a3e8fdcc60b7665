//! What goes ahead of a snapshot's rows.
//!
//! Owns its content and how it is encoded for another member. Must not know how it is sent.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use handfast_storage::{LogPosition, spool::Offer, state::LeaseRow};

use crate::{
    Alarm, Error,
    cluster::{self, Cluster},
    codec,
    fingerprint::Fingerprint,
};

/// Version of the encoded form; another one is refused.
const VERSION: u32 = 1;

/// All of a snapshot but its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// Last log entry contained.
    pub applied: LogPosition,
    /// The membership at that entry, if there was any yet.
    pub membership: Option<Bytes>,
    /// Store revision at that entry.
    pub revision: i64,
    /// Compaction mark at that entry, -1 when there was none.
    pub compact_revision: i64,
    /// Revision to which a recovery raised the store without writing a row, 0 when none did.
    pub raised: i64,
    /// Compaction mark up to which all unreadable rows are gone.
    pub swept: i64,
    /// Compaction mark up to which unreadable rows may be gone.
    pub sweeping: i64,
    /// All leases.
    pub leases: Vec<LeaseRow>,
    /// All alarms.
    pub alarms: Vec<Alarm>,
    /// The secret of join tokens.
    pub join_secret: Option<Bytes>,
    /// The fingerprint at that entry.
    pub fingerprint: Fingerprint,
}

impl SnapshotHeader {
    /// What a spool has to know to decide whether rows it holds already are still of use.
    #[must_use]
    pub fn offer(&self) -> Offer {
        Offer {
            revision: self.revision,
            compacted: self.compact_revision,
            swept: self.swept,
            sweeping: self.sweeping,
        }
    }

    /// The form for another member, with a checksum. About 16 bytes per lease.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(2048 + 16 * self.leases.len());
        out.put_u32_le(VERSION);
        out.put_u64_le(self.applied.term);
        out.put_u64_le(self.applied.index);
        codec::put_optional(self.membership.as_ref(), &mut out);
        for number in self.numbers() {
            out.put_i64_le(number);
        }
        codec::put_len(self.leases.len(), &mut out);
        for lease in &self.leases {
            out.put_i64_le(lease.id);
            out.put_i64_le(lease.ttl_seconds);
        }
        cluster::put(&self.alarms, self.join_secret.as_ref(), &mut out);
        self.fingerprint.put(&mut out);
        out.put_u32_le(crc32c::crc32c(&out));
        out.freeze()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`Error::Malformed`] for damage and for another version.
    pub fn decode(encoded: &[u8]) -> Result<Self, Error> {
        let (mut bytes, checksum) = encoded
            .split_last_chunk::<4>()
            .ok_or_else(|| Error::Malformed("a snapshot's header is too short".into()))?;
        // Before the checksum: another version may have another layout.
        let version = bytes
            .first_chunk::<4>()
            .map(|bytes| u32::from_le_bytes(*bytes));
        if version != Some(VERSION) {
            return Err(Error::Malformed(format!(
                "a snapshot's header has version {version:?}, this member reads {VERSION}"
            )));
        }
        if crc32c::crc32c(bytes) != u32::from_le_bytes(*checksum) {
            let detail = "a snapshot's header does not match its checksum";
            return Err(Error::Malformed(detail.into()));
        }
        bytes.advance(4);
        let header = Self::take(&mut bytes)?;
        if bytes.is_empty() {
            Ok(header)
        } else {
            Err(Error::Malformed("a snapshot's header is too long".into()))
        }
    }

    pub(crate) fn cluster(&self) -> Cluster {
        Cluster::new(self.alarms.clone(), self.join_secret.clone())
    }

    fn numbers(&self) -> [i64; 5] {
        [
            self.revision,
            self.compact_revision,
            self.raised,
            self.swept,
            self.sweeping,
        ]
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, Error> {
        let number = |bytes: &mut &[u8]| bytes.try_get_i64_le().map_err(codec::cut_off);
        let applied = LogPosition {
            term: bytes.try_get_u64_le().map_err(codec::cut_off)?,
            index: bytes.try_get_u64_le().map_err(codec::cut_off)?,
        };
        let membership = codec::take_optional(bytes)?;
        let mut numbers = [0; 5];
        for place in &mut numbers {
            *place = number(bytes)?;
        }
        let [revision, compact_revision, raised, swept, sweeping] = numbers;
        let mut leases = Vec::new();
        for _ in 0..codec::take_len(bytes)? {
            leases.push(LeaseRow {
                id: number(bytes)?,
                ttl_seconds: number(bytes)?,
            });
        }
        let (alarms, join_secret) = cluster::take(bytes)?;
        Ok(Self {
            applied,
            membership,
            revision,
            compact_revision,
            raised,
            swept,
            sweeping,
            leases,
            alarms,
            join_secret,
            fingerprint: Fingerprint::take(bytes)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SnapshotHeader {
        SnapshotHeader {
            applied: LogPosition { term: 3, index: 99 },
            membership: Some(Bytes::from_static(b"members")),
            revision: 70,
            compact_revision: -1,
            raised: 5,
            swept: -1,
            sweeping: 60,
            leases: (0..3)
                .map(|id| LeaseRow {
                    id: id - 1,
                    ttl_seconds: 10 + id,
                })
                .collect(),
            alarms: vec![Alarm {
                member_id: u64::MAX,
                kind: 2,
            }],
            join_secret: Some(Bytes::from_static(b"secret")),
            fingerprint: Fingerprint::default(),
        }
    }

    #[test]
    fn a_header_survives_encoding_and_damage_is_noticed() {
        let bare = SnapshotHeader {
            membership: None,
            leases: Vec::new(),
            alarms: Vec::new(),
            join_secret: None,
            fingerprint: Fingerprint::unknown(),
            ..sample()
        };
        for header in [sample(), bare] {
            let encoded = header.encode();
            assert_eq!(SnapshotHeader::decode(&encoded).unwrap(), header);
            for bit in 0..encoded.len() * 8 {
                let mut flipped = encoded.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(SnapshotHeader::decode(&flipped).is_err(), "bit {bit}");
            }
            for cut in 0..encoded.len() {
                assert!(SnapshotHeader::decode(&encoded[..cut]).is_err());
            }
        }
        let mut newer = sample().encode().to_vec();
        newer[0] = 9;
        let error = SnapshotHeader::decode(&newer).unwrap_err().to_string();
        assert!(error.contains("version Some(9)"), "{error}");
    }
}
