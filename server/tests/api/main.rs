//! The server through its wire: every RPC as a client sees it, in process, over a real socket.

#![allow(clippy::unwrap_used)]

mod clients;
mod errors;
mod etcd;
mod etcdctl;
mod group;
mod kv;
mod lease;
mod lifecycle;
mod maintenance;
mod members;
mod metrics;
mod transport;
mod watch;
