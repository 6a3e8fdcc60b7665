//! What raft is told about our types, and how they lie in the log.
//!
//! Owns the payload encoding of a log entry. Knows nothing of what a command means.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
};

use bytes::{BufMut, Bytes, BytesMut};
use handfast_proto::{Message, command};
use handfast_storage::{LogPosition, wal};
use openraft::{
    EntryPayload,
    impls::leader_id_std,
    type_config::alias::{DefaultEntryOf, LogIdOf, StoredMembershipOf, VoteOf},
};

/// A member as raft's address book knows it.
pub(crate) type Member = command::MemberInfo;

openraft::declare_raft_types!(
    pub(crate) TypeConfig:
        D = Proposal,
        R = Replies,
        NodeId = u64,
        Node = Member,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = crate::runtime::Runtime,
);

pub(crate) type LogId = LogIdOf<TypeConfig>;
pub(crate) type RaftEntry = DefaultEntryOf<TypeConfig>;
pub(crate) type RaftVote = VoteOf<TypeConfig>;
pub(crate) type RaftMembership = StoredMembershipOf<TypeConfig>;
type Membership = openraft::Membership<u64, Member>;

const KIND_BLANK: u8 = 0;
const KIND_COMMANDS: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;
/// Like `KIND_COMMANDS`, with the proposer's name for it after the kind byte.
const KIND_NAMED_COMMANDS: u8 = 3;
/// Bytes of the kind, the proposer and the serial.
const NAMED_HEADER: usize = 17;

/// A batch of commands, as one log entry: the kind byte, who proposed it under which serial, then
/// each command behind its length.
#[derive(Clone)]
pub(crate) struct Proposal(Bytes);

/// By what a member knows a proposal of its own again when it applies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProposalName {
    /// The member that proposed it.
    pub(crate) proposer: u64,
    /// Its number among that member's; begins anywhere at each start of the member.
    pub(crate) serial: u64,
}

/// That a proposal was applied; what became of its commands goes to whoever proposed them.
pub(crate) struct Replies;

/// Collects commands into one proposal.
pub(crate) struct ProposalWriter(BytesMut);

impl ProposalWriter {
    pub(crate) fn new(proposer: u64, serial: u64) -> Self {
        let mut buffer = BytesMut::with_capacity(1024);
        buffer.put_u8(KIND_NAMED_COMMANDS);
        buffer.put_u64_le(proposer);
        buffer.put_u64_le(serial);
        Self(buffer)
    }

    pub(crate) fn push(&mut self, command: &command::Command) {
        let length = command.encoded_len();
        self.0.reserve(length + 4);
        self.0
            .put_u32_le(u32::try_from(length).expect("request limits keep a command below 4 GiB"));
        command.encode(&mut self.0).expect("the space was reserved");
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn finish(self) -> Proposal {
        Proposal(self.0.freeze())
    }
}

impl Proposal {
    /// A proposal as another member sent it.
    pub(crate) fn received(encoded: &[u8]) -> io::Result<Self> {
        let proposal = Self(Bytes::copy_from_slice(encoded));
        if encoded.first() != Some(&KIND_NAMED_COMMANDS) || encoded.len() < NAMED_HEADER {
            return Err(damaged("a proposal without a name"));
        }
        proposal.commands()?;
        Ok(proposal)
    }

    /// The proposal as it is sent to the leader.
    pub(crate) fn encoded(&self) -> Bytes {
        self.0.clone()
    }

    /// By what its proposer knows it; logs of a lone member of version 0.1 have none.
    pub(crate) fn name(&self) -> Option<ProposalName> {
        let number = |at: usize| {
            let bytes = self.0.get(at..at + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        if self.0.first() != Some(&KIND_NAMED_COMMANDS) {
            return None;
        }
        Some(ProposalName {
            proposer: number(1)?,
            serial: number(9)?,
        })
    }

    /// The commands, each a slice of the entry's one buffer.
    pub(crate) fn commands(&self) -> io::Result<Vec<Bytes>> {
        let mut commands = Vec::new();
        let named = self.0.first() == Some(&KIND_NAMED_COMMANDS);
        let mut at = if named { NAMED_HEADER } else { 1 };
        while at < self.0.len() {
            let header = self
                .0
                .get(at..at + 4)
                .ok_or_else(|| damaged("a length is cut off"))?;
            let length = u32::from_le_bytes(header.try_into().expect("four bytes")) as usize;
            at += 4;
            if self.0.len() - at < length {
                return Err(damaged("a command is cut off"));
            }
            commands.push(self.0.slice(at..at + length));
            at += length;
        }
        Ok(commands)
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal({} bytes)", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

pub(crate) fn position(id: &LogId) -> LogPosition {
    LogPosition {
        term: id.leader_id.term,
        index: id.index,
    }
}

pub(crate) fn log_id(position: LogPosition) -> LogId {
    LogId::new(position.term.into(), position.index)
}

pub(crate) fn to_wal_vote(vote: &RaftVote) -> wal::Vote {
    wal::Vote {
        term: vote.leader_id.term,
        node_id: vote.leader_id.voted_for,
        committed: vote.committed,
    }
}

pub(crate) fn from_wal_vote(vote: wal::Vote) -> RaftVote {
    RaftVote {
        leader_id: leader_id_std::LeaderId {
            term: vote.term,
            voted_for: vote.node_id,
        },
        committed: vote.committed,
    }
}

pub(crate) fn to_wal_entry(entry: RaftEntry) -> wal::Entry {
    let payload = match entry.payload {
        EntryPayload::Blank => Bytes::from_static(&[KIND_BLANK]),
        EntryPayload::Normal(proposal) => proposal.0,
        EntryPayload::Membership(membership) => {
            let mut buffer = BytesMut::new();
            buffer.put_u8(KIND_MEMBERSHIP);
            encode_membership(&membership)
                .encode(&mut buffer)
                .expect("the buffer grows as needed");
            buffer.freeze()
        }
    };
    wal::Entry {
        position: position(&entry.log_id),
        payload,
    }
}

pub(crate) fn from_wal_entry(entry: wal::Entry) -> io::Result<RaftEntry> {
    let payload = match entry.payload.first() {
        Some(&KIND_BLANK) => EntryPayload::Blank,
        Some(&KIND_COMMANDS | &KIND_NAMED_COMMANDS) => {
            EntryPayload::Normal(Proposal(entry.payload))
        }
        Some(&KIND_MEMBERSHIP) => {
            let encoded = command::Membership::decode(entry.payload.slice(1..))
                .map_err(|error| damaged(&error.to_string()))?;
            EntryPayload::Membership(decode_membership(encoded)?)
        }
        Some(kind) => return Err(damaged(&format!("unknown kind {kind}"))),
        None => return Err(damaged("an empty payload")),
    };
    Ok(RaftEntry {
        log_id: log_id(entry.position),
        payload,
    })
}

/// The form in which the membership is kept beside the applied state.
pub(crate) fn encode_stored(id: &LogId, membership: &Membership) -> Bytes {
    let stored = command::StoredMembership {
        term: id.leader_id.term,
        index: id.index,
        membership: Some(encode_membership(membership)),
    };
    stored.encode_to_vec().into()
}

pub(crate) fn decode_stored(encoded: Option<Bytes>) -> io::Result<RaftMembership> {
    let decoded = encoded.map(command::StoredMembership::decode).transpose();
    from_stored_message(decoded.map_err(|error| damaged(&error.to_string()))?)
}

/// The membership as a message; `None` before there is one.
pub(crate) fn stored_message(stored: &RaftMembership) -> Option<command::StoredMembership> {
    let id = stored.log_id().as_ref()?;
    Some(command::StoredMembership {
        term: id.leader_id.term,
        index: id.index,
        membership: Some(encode_membership(stored.membership())),
    })
}

pub(crate) fn from_stored_message(
    stored: Option<command::StoredMembership>,
) -> io::Result<RaftMembership> {
    let Some(stored) = stored else {
        return Ok(RaftMembership::default());
    };
    let position = LogPosition {
        term: stored.term,
        index: stored.index,
    };
    let membership = decode_membership(stored.membership.unwrap_or_default())?;
    Ok(RaftMembership::new(Some(log_id(position)), membership))
}

/// Every member, with `is_learner` as the voter sets say.
pub(crate) fn members(membership: &Membership) -> Vec<Member> {
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    let learner = |id: &u64| !voters.contains(id);
    membership
        .nodes()
        .map(|(id, member)| Member {
            id: *id,
            is_learner: learner(id),
            ..member.clone()
        })
        .collect()
}

fn encode_membership(membership: &Membership) -> command::Membership {
    let voter_set = |ids: &BTreeSet<u64>| command::VoterSet {
        ids: ids.iter().copied().collect(),
    };
    command::Membership {
        voter_sets: membership
            .get_joint_config()
            .iter()
            .map(voter_set)
            .collect(),
        members: members(membership),
    }
}

fn decode_membership(encoded: command::Membership) -> io::Result<Membership> {
    let voters = encoded
        .voter_sets
        .into_iter()
        .map(|set| set.ids.into_iter().collect())
        .collect();
    let nodes: BTreeMap<u64, Member> = encoded
        .members
        .into_iter()
        .map(|member| (member.id, member))
        .collect();
    Membership::new(voters, nodes).map_err(|error| damaged(&error.to_string()))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a log entry cannot be read: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(payload: EntryPayload<Proposal, u64, Member>) -> RaftEntry {
        RaftEntry {
            log_id: log_id(LogPosition { term: 3, index: 9 }),
            payload,
        }
    }

    #[test]
    fn commands_come_back_from_the_log_in_order() {
        let put = |value: &'static [u8]| command::Command {
            op: Some(command::command::Op::Put(
                handfast_proto::etcdserverpb::PutRequest {
                    key: Bytes::from_static(b"k"),
                    value: Bytes::from_static(value),
                    ..Default::default()
                },
            )),
        };
        let mut writer = ProposalWriter::new(7, 1);
        writer.push(&put(b"one"));
        writer.push(&put(b""));
        let stored = to_wal_entry(entry(EntryPayload::Normal(writer.finish())));
        let EntryPayload::Normal(read) = from_wal_entry(stored).unwrap().payload else {
            panic!("not a proposal");
        };
        let commands: Vec<_> = read
            .commands()
            .unwrap()
            .into_iter()
            .map(|bytes| command::Command::decode(bytes).unwrap())
            .collect();
        assert_eq!(commands, [put(b"one"), put(b"")]);
    }

    #[test]
    fn a_cut_off_command_is_refused() {
        let proposal = Proposal(Bytes::from_static(&[KIND_COMMANDS, 9, 0, 0, 0, 1]));
        assert!(proposal.commands().is_err());
        let proposal = Proposal(Bytes::from_static(&[KIND_COMMANDS, 9, 0]));
        assert!(proposal.commands().is_err());
    }

    #[test]
    fn membership_comes_back_with_its_learners() {
        let member = |id| Member {
            id,
            name: format!("m{id}"),
            ..Default::default()
        };
        let nodes: BTreeMap<u64, Member> = [(1, member(1)), (2, member(2))].into();
        let membership = Membership::new(vec![[1].into()], nodes).unwrap();
        let stored = to_wal_entry(entry(EntryPayload::Membership(membership)));
        let EntryPayload::Membership(read) = from_wal_entry(stored).unwrap().payload else {
            panic!("not a membership");
        };
        let learners: Vec<_> = members(&read)
            .into_iter()
            .map(|m| (m.id, m.is_learner))
            .collect();
        assert_eq!(learners, [(1, false), (2, true)]);
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let entry = wal::Entry {
            position: LogPosition { term: 1, index: 1 },
            payload: Bytes::from_static(&[77]),
        };
        assert!(
            from_wal_entry(entry)
                .unwrap_err()
                .to_string()
                .contains("unknown kind 77")
        );
    }
}
