//! How members reach each other over the network: HTTP/2 with gRPC, on listeners of its own.
//!
//! Owns connections to other members (`transport`, `link`), the service that other members call
//! (`service`) and what their listeners answer beside it (`http`). It must not know what the
//! messages mean: consensus does.

mod http;
mod link;
mod service;
#[cfg(test)]
mod tests;
mod transport;

pub(crate) use http::{MEMBERS_PATH, member_list};
pub(crate) use link::Pace;
pub(crate) use service::{Members, Newcomers};
pub(crate) use transport::PeerTransport;
