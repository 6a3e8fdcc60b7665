//! Elections of this product whose first leaders let their leases run out.
//!
//! Owns the candidates, many of which share a program, and the leaders that die: keys as the
//! recipe has them, so that the ends of their leases are known exactly.

use std::rc::Rc;
use std::time::Duration;

use futures::future::try_join_all;
use handfast::{Election, Handfast};
use handfast_proto::etcdserverpb::PutRequest;
use tonic::Status;

use super::super::super::target::{key, refused};
use super::super::lease::grant_for;
use super::super::recipe::{programs, status};
use super::super::{Arena, Worker, workers};
use super::{ELECTIONS, Race, TTL, die, keep_alive};
use crate::exit::Failure;

/// How often it is looked whether all candidates are there.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(in super::super) async fn start(arena: &Rc<Arena>) -> Result<Vec<Worker>, Failure> {
    let programs = programs(arena, arena.args.connections).await?;
    // Those who wait for all are the leaders here.
    let race = Rc::new(Race::new(ELECTIONS));
    let first = try_join_all((0..ELECTIONS).map(|election| enthrone(arena, election, &race)));
    let first = first.await.map_err(|status| refused(&status))?;
    let mut started = workers(arena, ELECTIONS, |arena, election| {
        let of = (election, first[election]);
        lead(arena, of, programs[0].clone(), Rc::clone(&race))
    });
    started.extend(workers(arena, programs.len(), |arena, index| {
        let program = (index, programs.len(), programs[index].clone());
        stand_in_all(arena, program, Rc::clone(&race))
    }));
    started.extend(workers(arena, 1, |arena, _| {
        keep_alive(arena, Rc::clone(&race))
    }));
    Ok(started)
}

fn contest(program: &Handfast, election: usize) -> Election {
    program.election(key(format_args!("election-recipe/{election}")))
}

fn candidates(arena: &Arena) -> usize {
    arena.args.candidates.max(2)
}

/// Makes the first leader; its lease.
async fn enthrone(arena: &Arena, election: usize, race: &Race) -> Result<i64, Status> {
    let lease = grant_for(arena, election, TTL.as_secs() as i64).await?;
    arena.leases.borrow_mut().push(lease);
    race.renewed.borrow_mut().push(lease);
    let put = PutRequest {
        key: key(format_args!("election-recipe/{election}/{lease:x}")),
        lease,
        ..PutRequest::default()
    };
    arena.kv(election).put(put).await?;
    Ok(lease)
}

/// The first leader, which dies when all candidates wait.
async fn lead(
    arena: Rc<Arena>,
    (election, lease): (usize, i64),
    program: Handfast,
    race: Rc<Race>,
) -> Result<(), Status> {
    let contest = contest(&program, election);
    while contest.candidates().await.map_err(status)?.members.len() <= candidates(&arena) {
        if !arena.gauge.goes_on() {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    race.arrive();
    die(&arena, election, lease, &race).await
}

/// Every so manieth candidate of all elections is in this program.
async fn stand_in_all(
    arena: Rc<Arena>,
    (index, programs, program): (usize, usize, Handfast),
    race: Rc<Race>,
) -> Result<(), Status> {
    let all = (0..candidates(&arena))
        .filter(|candidate| candidate % programs == index)
        .flat_map(|_| 0..ELECTIONS);
    try_join_all(all.map(|election| stand(&arena, election, &program, &race))).await?;
    program.close().await.map_err(status)
}

async fn stand(
    arena: &Arena,
    election: usize,
    program: &Handfast,
    race: &Race,
) -> Result<(), Status> {
    let contest = contest(program, election);
    tokio::select! {
        elected = contest.campaign() => {
            let leadership = elected.map_err(status)?;
            if let Some(end) = race.ends[election].take() {
                race.decide(arena, end)?;
            }
            // Nobody else shall lead while the others are waited for.
            arena.gauge.over().await;
            drop(leadership);
        }
        () = arena.gauge.over() => {}
    }
    Ok(())
}
