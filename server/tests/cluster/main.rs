//! Several servers in one process, members of one cluster over real loopback connections.

#![allow(clippy::unwrap_used)]

mod changes;
mod failover;
mod founding;
mod members;
mod recovery;
