//! What `cluster recover` needs of raft: the membership of a cluster of one.

use bytes::Bytes;
use handfast_mvcc::LogEntry;
use handfast_proto::command::{self, MemberInfo};
use handfast_storage::{LogPosition, wal};
use openraft::Membership;

use crate::{machine, types};

/// What an entry of the log tells the store.
///
/// # Errors
/// When it cannot be read.
pub fn entries(entry: wal::Entry) -> std::io::Result<Vec<LogEntry>> {
    let entry = types::from_wal_entry(entry)?;
    let mut entries = Vec::new();
    machine::expand(entry.log_id, entry.payload, &mut entries)?;
    Ok(entries)
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
