//! What `cluster recover` needs of raft: the membership of a cluster of one.

use bytes::Bytes;
use handfast_mvcc::Store;
use handfast_proto::command::{self, MemberInfo};
use handfast_storage::{LogPosition, wal::Wal};
use openraft::Membership;

use crate::{machine, types};

/// Bytes of log entries that are read at once.
const REPLAY_BYTES: usize = 4 << 20;

/// Applies every entry that the log holds behind the state, also those that no majority is known
/// to have: one of them may have been acknowledged. Blocks.
///
/// # Errors
/// When the log cannot be read, or the store does not take an entry.
pub fn replay(wal: &Wal, store: &Store) -> std::io::Result<()> {
    loop {
        let start = store.applied().map_or(0, |applied| applied.index + 1);
        let read = wal.read(start..u64::MAX, REPLAY_BYTES)?;
        if read.is_empty() {
            return Ok(());
        }
        let mut entries = Vec::with_capacity(read.len());
        for entry in read {
            let entry = types::from_wal_entry(entry)?;
            machine::expand(entry.log_id, entry.payload, &mut entries)?;
        }
        let answers = store.apply(entries);
        let failure = answers
            .iter()
            .find_map(|applied| machine::store_failure(&applied.result));
        if let Some(failure) = failure {
            return Err(std::io::Error::other(failure.to_string()));
        }
    }
}

/// The membership of a cluster whose only member is `member`, as the store keeps it; set by the
/// log entry at `position`.
///
/// # Errors
/// Never for a member with an id.
pub fn single_member(member: MemberInfo, position: LogPosition) -> std::io::Result<Bytes> {
    let id = member.id;
    let member = MemberInfo {
        is_learner: false,
        voter_intent: false,
        ..member
    };
    let membership = Membership::new(
        vec![[id].into()],
        std::collections::BTreeMap::from([(id, member)]),
    )
    .map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(types::encode_stored(&types::log_id(position), &membership))
}

/// The members of a stored membership, by ascending id.
///
/// # Errors
/// When it cannot be read.
pub fn members(stored: Option<Bytes>) -> std::io::Result<Vec<command::MemberInfo>> {
    let stored = types::decode_stored(stored)?;
    let mut members = types::members(stored.membership());
    members.sort_by_key(|member| member.id);
    Ok(members)
}
