//! What `cluster recover` needs of raft: the membership of a cluster of one.

use bytes::Bytes;
use handfast_proto::command::{self, MemberInfo};
use handfast_storage::LogPosition;
use openraft::Membership;

use crate::types;

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
