//! What calls return, as plain objects; `lib/types.ts` makes the public classes of them.
//!
//! Owns the shapes. Lease ids have 63 bits, so they cross as text; revisions and tokens are
//! numbers, for they stay below 2^53.

use handfast::{
    Leader, LockLine, Member, Waiting,
    core::{
        DeleteResponse, Event, EventKind, KeyValue, LeaseInfo, OpResponse, PutResponse,
        RangeResponse, TxnResponse, session::lease_hex,
    },
};
use handfast_bindings::feed::Changes;
use napi::bindgen_prelude::{Buffer, Either3};
use napi_derive::napi;

#[napi(object)]
pub struct NativePair {
    pub key: Buffer,
    pub value: Buffer,
    pub create_revision: i64,
    pub mod_revision: i64,
    pub version: i64,
    pub lease: Option<String>,
}

impl From<KeyValue> for NativePair {
    fn from(pair: KeyValue) -> Self {
        Self {
            key: Vec::from(pair.key).into(),
            value: Vec::from(pair.value).into(),
            create_revision: pair.create_revision,
            mod_revision: pair.mod_revision,
            version: pair.version,
            lease: (pair.lease != 0).then(|| lease_hex(pair.lease)),
        }
    }
}

#[napi(object)]
pub struct NativeRange {
    pub pairs: Vec<NativePair>,
    pub count: i64,
    pub more: bool,
    pub revision: i64,
}

impl From<RangeResponse> for NativeRange {
    fn from(answer: RangeResponse) -> Self {
        Self {
            pairs: answer.kvs.into_iter().map(Into::into).collect(),
            count: answer.count,
            more: answer.more,
            revision: answer.header.revision,
        }
    }
}

#[napi(object)]
pub struct NativePut {
    pub put_revision: i64,
    pub previous: Option<NativePair>,
}

impl From<PutResponse> for NativePut {
    fn from(answer: PutResponse) -> Self {
        Self {
            put_revision: answer.header.revision,
            previous: answer.prev_kv.map(Into::into),
        }
    }
}

#[napi(object)]
pub struct NativeDelete {
    pub deleted: i64,
    pub revision: i64,
    pub previous: Vec<NativePair>,
}

impl From<DeleteResponse> for NativeDelete {
    fn from(answer: DeleteResponse) -> Self {
        Self {
            deleted: answer.deleted,
            revision: answer.header.revision,
            previous: answer.prev_kvs.into_iter().map(Into::into).collect(),
        }
    }
}

#[napi(object)]
pub struct NativeTxn {
    pub succeeded: bool,
    pub revision: i64,
    pub results: Vec<Either3<NativeRange, NativePut, NativeDelete>>,
}

impl From<TxnResponse> for NativeTxn {
    fn from(answer: TxnResponse) -> Self {
        let results = answer.responses.into_iter().filter_map(|answer| {
            Some(match answer {
                OpResponse::Range(answer) => Either3::A(answer.into()),
                OpResponse::Put(answer) => Either3::B(answer.into()),
                OpResponse::Delete(answer) => Either3::C(answer.into()),
                // This package sends no transaction within a transaction.
                _ => return None,
            })
        });
        Self {
            succeeded: answer.succeeded,
            revision: answer.header.revision,
            results: results.collect(),
        }
    }
}

#[napi(object)]
pub struct NativeEvent {
    pub is_put: bool,
    pub pair: NativePair,
    pub previous: Option<NativePair>,
}

impl From<Event> for NativeEvent {
    fn from(event: Event) -> Self {
        Self {
            is_put: event.kind == EventKind::Put,
            pair: event.kv.into(),
            previous: event.prev_kv.map(Into::into),
        }
    }
}

#[napi(object)]
pub struct NativeChanges {
    pub revision: i64,
    pub events: Vec<NativeEvent>,
}

impl From<Changes> for NativeChanges {
    fn from(changes: Changes) -> Self {
        Self {
            revision: changes.revision,
            events: changes.events.into_iter().map(Into::into).collect(),
        }
    }
}

#[napi(object)]
pub struct NativeMember {
    pub key: Buffer,
    pub value: Buffer,
    pub token: i64,
    pub lease: String,
    pub position: u32,
    pub immortal: bool,
    pub app: Option<String>,
    pub host: Option<String>,
    pub pid: Option<u32>,
    pub since_unix_ms: Option<f64>,
}

impl From<Member> for NativeMember {
    fn from(member: Member) -> Self {
        let session = member.session;
        Self {
            key: Vec::from(member.key).into(),
            value: Vec::from(member.value).into(),
            token: member.token,
            lease: lease_hex(member.lease),
            position: u32::try_from(member.position).unwrap_or(u32::MAX),
            immortal: member.immortal,
            app: session.as_ref().map(|it| it.app.clone()),
            host: session.as_ref().map(|it| it.host.clone()),
            pid: session.as_ref().map(|it| it.pid),
            since_unix_ms: session.map(|it| it.since_unix_ms as f64),
        }
    }
}

/// The own place while waiting.
#[napi(object)]
pub struct NativeWaiting {
    pub name: Buffer,
    pub position: u32,
    pub holder: Option<NativeMember>,
}

impl From<Waiting> for NativeWaiting {
    fn from(waiting: Waiting) -> Self {
        Self {
            name: Vec::from(waiting.name).into(),
            position: u32::try_from(waiting.position).unwrap_or(u32::MAX),
            holder: waiting.holder.map(Into::into),
        }
    }
}

#[napi(object)]
pub struct NativeLine {
    pub members: Vec<NativeMember>,
    pub revision: i64,
}

impl From<LockLine> for NativeLine {
    fn from(line: LockLine) -> Self {
        Self {
            members: line.members.into_iter().map(Into::into).collect(),
            revision: line.revision,
        }
    }
}

#[napi(object)]
pub struct NativeLeader {
    pub key: Buffer,
    pub value: Buffer,
    pub token: i64,
    pub lease: String,
    pub revision: i64,
}

impl From<Leader> for NativeLeader {
    fn from(leader: Leader) -> Self {
        Self {
            key: Vec::from(leader.key).into(),
            value: Vec::from(leader.value).into(),
            token: leader.token,
            lease: lease_hex(leader.lease),
            revision: leader.revision,
        }
    }
}

#[napi(object)]
pub struct NativeLeaseInfo {
    pub ttl: i64,
    pub granted_ttl: i64,
    pub keys: Vec<Buffer>,
}

impl From<LeaseInfo> for NativeLeaseInfo {
    fn from(info: LeaseInfo) -> Self {
        let keys = info.keys.into_iter().map(|key| Vec::from(key).into());
        Self {
            ttl: info.ttl,
            granted_ttl: info.granted_ttl,
            keys: keys.collect(),
        }
    }
}
