//! Hand-overs of this product's lock.
//!
//! Owns the waiters, each of which is a program of its own.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use handfast::Handfast;
use tonic::Status;

use super::super::super::target::key;
use super::super::recipe::{programs, status};
use super::super::{Arena, Worker, workers};
use crate::exit::Failure;

pub(in super::super) async fn start(arena: &Rc<Arena>) -> Result<Vec<Worker>, Failure> {
    let waiters = programs(arena, arena.args.waiters).await?;
    let released: Rc<Cell<Option<Instant>>> = Rc::default();
    Ok(workers(arena, waiters.len(), move |arena, index| {
        contend(arena, waiters[index].clone(), Rc::clone(&released))
    }))
}

async fn contend(
    arena: Rc<Arena>,
    program: Handfast,
    released: Rc<Cell<Option<Instant>>>,
) -> Result<(), Status> {
    let lock = program.lock(key("handoff-recipe"));
    while arena.gauge.goes_on() {
        let held = lock.acquire().await.map_err(status)?;
        if let Some(released) = released.take() {
            arena.gauge.record(released);
        }
        released.set(Some(Instant::now()));
        held.release().await.map_err(status)?;
    }
    program.close().await.map_err(status)
}
