//! The server through its wire: every RPC as a client sees it, in process, over a real socket.

#![allow(clippy::unwrap_used)]

mod clients;
mod errors;
mod etcd;
mod etcdctl;
mod kv;
mod lease;
mod lifecycle;
mod transport;
mod watch;
