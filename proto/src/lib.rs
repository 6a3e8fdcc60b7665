//! The messages handfast speaks: etcd's v3 API, and its own log commands.
//!
//! Owns the contracts in `proto/` and the code generated from them at build time, and the codec
//! that every client and server uses. Knows nothing of what the messages mean.
//!
//! Every `bytes` field is a [`bytes::Bytes`]. One that was decoded from a network buffer keeps that
//! whole buffer alive: copy what is to be kept longer than the request.

pub mod codec;

/// etcd's services and their messages (package `etcdserverpb`).
#[allow(missing_docs, clippy::all)]
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

/// The stored pair and the change event (package `mvccpb`).
#[allow(missing_docs, clippy::all)]
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// Permission messages (package `authpb`).
#[allow(missing_docs, clippy::all)]
pub mod authpb {
    tonic::include_proto!("authpb");
}

/// The server-side lock recipe (package `v3lockpb`).
#[allow(missing_docs, clippy::all)]
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}

/// The server-side election recipe (package `v3electionpb`).
#[allow(missing_docs, clippy::all)]
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}

/// The gRPC health contract (package `grpc.health.v1`).
#[allow(missing_docs, clippy::all)]
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// What the raft log carries (package `handfastpb`).
#[allow(missing_docs, clippy::all)]
pub mod command {
    tonic::include_proto!("handfastpb");
}

/// The name under which the generated code knows [`command`].
#[doc(hidden)]
pub use command as handfastpb;

/// What members say to each other (package `handfastpeerpb`).
#[allow(missing_docs, clippy::all)]
pub mod peer {
    tonic::include_proto!("handfastpeerpb");
}

pub use prost::Message;

/// The compiled contracts as an encoded `FileDescriptorSet`, for tests that enumerate every RPC.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
