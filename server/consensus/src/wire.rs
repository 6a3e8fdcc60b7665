//! Raft's messages as members send them to each other, and back.
//!
//! Owns the translation only; what a message means is raft's affair.

use bytes::Bytes;
use handfast_proto::peer;
use handfast_storage::{LogPosition, wal};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderRequest, VoteRequest, VoteResponse,
};

use crate::types::{
    LogId, RaftVote, TypeConfig, from_wal_entry, from_wal_vote, log_id, position, to_wal_entry,
    to_wal_vote,
};

/// Why a message of a peer cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("a peer sent a message without {0}")]
pub(crate) struct Incomplete(pub(crate) &'static str);

pub(crate) fn encode_log_id(id: &LogId) -> peer::LogId {
    let position = position(id);
    peer::LogId {
        term: position.term,
        index: position.index,
    }
}

pub(crate) fn decode_log_id(id: peer::LogId) -> LogId {
    log_id(LogPosition {
        term: id.term,
        index: id.index,
    })
}

pub(crate) fn encode_vote(vote: &RaftVote) -> peer::Vote {
    let vote = to_wal_vote(vote);
    peer::Vote {
        term: vote.term,
        node_id: vote.node_id,
        committed: vote.committed,
    }
}

pub(crate) fn decode_vote(vote: Option<peer::Vote>) -> Result<RaftVote, Incomplete> {
    let vote = vote.ok_or(Incomplete("a vote"))?;
    Ok(from_wal_vote(wal::Vote {
        term: vote.term,
        node_id: vote.node_id,
        committed: vote.committed,
    }))
}

pub(crate) fn encode_append(request: AppendEntriesRequest<TypeConfig>) -> peer::Append {
    let entries = request.entries.into_iter().map(|entry| {
        let entry = to_wal_entry(entry);
        peer::Entry {
            id: Some(peer::LogId {
                term: entry.position.term,
                index: entry.position.index,
            }),
            payload: entry.payload,
        }
    });
    peer::Append {
        vote: Some(encode_vote(&request.vote)),
        previous: request.prev_log_id.as_ref().map(encode_log_id),
        entries: entries.collect(),
        commit: request.leader_commit.as_ref().map(encode_log_id),
    }
}

/// Errors are those of a damaged message.
pub(crate) fn decode_append(
    append: peer::Append,
) -> Result<AppendEntriesRequest<TypeConfig>, std::io::Error> {
    let incomplete = |what| std::io::Error::other(Incomplete(what));
    let entry = |entry: peer::Entry| {
        let id = entry.id.ok_or_else(|| incomplete("a log id"))?;
        from_wal_entry(wal::Entry {
            position: LogPosition {
                term: id.term,
                index: id.index,
            },
            // The log keeps the payload, so it must not hold on to the whole message's buffer.
            payload: Bytes::copy_from_slice(&entry.payload),
        })
    };
    Ok(AppendEntriesRequest {
        vote: decode_vote(append.vote).map_err(std::io::Error::other)?,
        prev_log_id: append.previous.map(decode_log_id),
        entries: append
            .entries
            .into_iter()
            .map(entry)
            .collect::<Result<_, _>>()?,
        leader_commit: append.commit.map(decode_log_id),
    })
}

/// What the receiver of an append that ended at `last` answers.
pub(crate) fn encode_appended(
    response: AppendEntriesResponse<TypeConfig>,
    previous: Option<LogId>,
    last: Option<LogId>,
) -> peer::Appended {
    match response.into_stream_result(previous, last) {
        Ok(matched) => peer::Appended {
            matched: matched.as_ref().map(encode_log_id),
            ..Default::default()
        },
        Err(StreamAppendError::Conflict(at)) => peer::Appended {
            conflict: Some(encode_log_id(&at)),
            ..Default::default()
        },
        Err(StreamAppendError::HigherVote(vote)) => peer::Appended {
            higher_vote: Some(encode_vote(&vote)),
            ..Default::default()
        },
    }
}

pub(crate) fn decode_appended(appended: peer::Appended) -> StreamAppendResult<TypeConfig> {
    if let Ok(vote) = decode_vote(appended.higher_vote) {
        return Err(StreamAppendError::HigherVote(vote));
    }
    if let Some(conflict) = appended.conflict {
        return Err(StreamAppendError::Conflict(decode_log_id(conflict)));
    }
    Ok(appended.matched.map(decode_log_id))
}

/// The answer to one append that was not part of a stream.
pub(crate) fn single(result: StreamAppendResult<TypeConfig>) -> AppendEntriesResponse<TypeConfig> {
    match result {
        Ok(matched) => AppendEntriesResponse::PartialSuccess(matched),
        Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
        Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
    }
}

pub(crate) fn encode_vote_request(request: &VoteRequest<TypeConfig>) -> peer::VoteRequest {
    peer::VoteRequest {
        vote: Some(encode_vote(&request.vote)),
        last_log: request.last_log_id.as_ref().map(encode_log_id),
        leadership_transfer: request.leadership_transfer,
    }
}

pub(crate) fn decode_vote_request(
    request: peer::VoteRequest,
) -> Result<VoteRequest<TypeConfig>, Incomplete> {
    let vote = decode_vote(request.vote)?;
    let mut decoded = VoteRequest::new(vote, request.last_log.map(decode_log_id));
    decoded.leadership_transfer = request.leadership_transfer;
    Ok(decoded)
}

pub(crate) fn encode_vote_response(response: &VoteResponse<TypeConfig>) -> peer::VoteResponse {
    peer::VoteResponse {
        vote: Some(encode_vote(&response.vote)),
        last_log: response.last_log_id.as_ref().map(encode_log_id),
        granted: response.vote_granted,
    }
}

pub(crate) fn decode_vote_response(
    response: peer::VoteResponse,
) -> Result<VoteResponse<TypeConfig>, Incomplete> {
    let vote = decode_vote(response.vote)?;
    let last_log = response.last_log.map(decode_log_id);
    Ok(VoteResponse::new(vote, last_log, response.granted))
}

pub(crate) fn encode_transfer(request: &TransferLeaderRequest<TypeConfig>) -> peer::TransferLeader {
    peer::TransferLeader {
        from_leader: Some(encode_vote(request.from_leader())),
        to: *request.to_node_id(),
        last_log: request.last_log_id().map(encode_log_id),
    }
}

pub(crate) fn decode_transfer(
    request: peer::TransferLeader,
) -> Result<TransferLeaderRequest<TypeConfig>, Incomplete> {
    let from = decode_vote(request.from_leader)?;
    let last_log = request.last_log.map(decode_log_id);
    Ok(TransferLeaderRequest::new(from, request.to, last_log))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ProposalWriter;
    use openraft::EntryPayload;

    fn vote(term: u64, committed: bool) -> RaftVote {
        from_wal_vote(wal::Vote {
            term,
            node_id: 5,
            committed,
        })
    }

    fn at(term: u64, index: u64) -> LogId {
        log_id(LogPosition { term, index })
    }

    #[test]
    fn an_append_comes_through_whole() {
        let entries = vec![crate::types::RaftEntry {
            log_id: at(3, 8),
            payload: EntryPayload::Normal(ProposalWriter::new(4, 9).finish()),
        }];
        let request = AppendEntriesRequest {
            vote: vote(3, true),
            prev_log_id: Some(at(2, 7)),
            entries,
            leader_commit: Some(at(2, 6)),
        };
        let sent = format!("{request:?}");
        let received = decode_append(encode_append(request)).unwrap();
        assert_eq!(format!("{received:?}"), sent);
    }

    #[test]
    fn answers_to_an_append_keep_their_meaning() {
        let last = Some(at(3, 9));
        let answers = [
            (AppendEntriesResponse::Success, Ok(last)),
            (
                AppendEntriesResponse::PartialSuccess(Some(at(3, 8))),
                Ok(Some(at(3, 8))),
            ),
            (
                AppendEntriesResponse::Conflict,
                Err(StreamAppendError::Conflict(at(2, 7))),
            ),
            (
                AppendEntriesResponse::HigherVote(vote(4, false)),
                Err(StreamAppendError::HigherVote(vote(4, false))),
            ),
        ];
        for (answer, meaning) in answers {
            let sent = encode_appended(answer, Some(at(2, 7)), last);
            assert_eq!(decode_appended(sent), meaning);
        }
    }

    #[test]
    fn a_message_without_a_vote_is_refused() {
        assert!(decode_append(peer::Append::default()).is_err());
        assert!(decode_vote_request(peer::VoteRequest::default()).is_err());
        assert!(decode_transfer(peer::TransferLeader::default()).is_err());
    }
}
