//! What the workloads that measure recipes of this product have in common.
//!
//! Owns how they connect: as a program would, client core and session and all. It must not know
//! which recipe is measured.

use futures::future::try_join_all;
use handfast::Handfast;
use tonic::{Code, Status};

use super::super::target::{key, refused};
use super::Arena;
use crate::exit::Failure;

/// As many programs as wanted, each with a connection and a session of its own. What they note
/// beside their keys is removed with those.
pub(super) async fn programs(arena: &Arena, count: usize) -> Result<Vec<Handfast>, Failure> {
    let all = try_join_all((0..count).map(|_| open(arena))).await;
    all.map_err(|status| refused(&status))
}

async fn open(arena: &Arena) -> Result<Handfast, Status> {
    let handfast = Handfast::builder()
        .endpoints(&arena.endpoints)
        .metadata_prefix(key("_handfast/"))
        .build()
        .map_err(status)?;
    let session = handfast.session().map_err(status)?;
    let granted = session.epoch().await;
    granted.map_err(|error| Status::new(Code::Unknown, error.to_string()))?;
    Ok(handfast)
}

/// An error of a recipe as the workers report it.
pub(super) fn status(error: handfast::Error) -> Status {
    Status::new(Code::Unknown, error.to_string())
}
