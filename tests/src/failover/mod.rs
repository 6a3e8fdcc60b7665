//! How long a cluster takes no writes when it loses its leader.
//!
//! Several clusters stand side by side and are hit in turn, so that all of them meet the same
//! machine. Owns the rounds; [`writes`] looks at the writes, [`table`] shows what was found.

mod table;
mod writes;

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use handfast_proto::etcdserverpb::MoveLeaderRequest;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    Result,
    client::answer,
    cluster::{Cluster, Program, Setup, Standing, Wiring},
};
use writes::Writer;

/// How long a healed cluster stands before it is hit again.
const REST: Duration = Duration::from_millis(1_500);
/// How long writes are watched after a hand-over.
const WATCHED: Duration = Duration::from_secs(3);
/// A write that takes longer than this after a kill is a failure of the measurement.
const LONGEST: Duration = Duration::from_secs(30);

/// What is measured, and how often.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The servers, with the names to show.
    pub servers: Vec<(String, Program)>,
    /// Members of each cluster.
    pub size: usize,
    /// SIGKILLs of the leader.
    pub kills: u32,
    /// SIGTERMs of the leader.
    pub terminations: u32,
    /// Requests to move leadership.
    pub moves: u32,
    /// Processes that take all the CPU time they get.
    pub burners: u32,
    /// How long the clusters stand untouched at the end while their terms are watched.
    pub quiet: Duration,
}

/// What was found about one server.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    name: String,
    kills: Vec<Duration>,
    terminations: Vec<Duration>,
    moves: Vec<Duration>,
    /// Terms that began without a reason, and the time in which they could have.
    false_elections: u64,
    watched: Duration,
}

struct Side {
    cluster: Cluster,
    findings: Findings,
    /// The standing when it was last left alone, and when that was.
    left: (Standing, Instant),
}

#[derive(Clone, Copy, Debug)]
enum Blow {
    Kill,
    Terminate,
    Move,
}

/// Carries the plan out, and tells on the way how far it is.
///
/// # Errors
/// When a cluster does not come up, or does not come back.
pub async fn measure(plan: &Plan) -> Result<Vec<Findings>> {
    let _burners: Vec<Burner> = (0..plan.burners)
        .map(|_| Burner::start())
        .collect::<Result<_>>()?;
    let mut sides = Vec::new();
    for (name, program) in &plan.servers {
        // Proxies would be part of what is measured.
        let setup = Setup::new(program.clone(), plan.size).wiring(Wiring::Direct);
        let cluster = setup.start().await?;
        let standing = cluster.settled().await?;
        sides.push(Side {
            cluster,
            findings: Findings {
                name: name.clone(),
                ..Findings::default()
            },
            left: (standing, Instant::now()),
        });
    }
    let blows = [
        (Blow::Kill, plan.kills),
        (Blow::Terminate, plan.terminations),
        (Blow::Move, plan.moves),
    ];
    for (blow, times) in blows {
        for round in 1..=times {
            for side in &mut sides {
                let took = side.strike(blow).await?;
                let (name, wrong) = (&side.findings.name, side.findings.false_elections);
                let (millis, term) = (took.as_millis(), side.left.0.term);
                println!(
                    "{blow:?} {round}/{times} {name}: {millis} ms, term {term}, {wrong} without \
                     a cause"
                );
            }
        }
    }
    sleep(plan.quiet).await;
    for side in &mut sides {
        side.note_terms().await?;
    }
    Ok(sides.into_iter().map(|side| side.findings).collect())
}

impl Side {
    async fn strike(&mut self, blow: Blow) -> Result<Duration> {
        sleep(REST).await;
        let standing = self.note_terms().await?;
        let took = match blow {
            Blow::Kill => {
                let took = self.kill(standing.leader).await?;
                self.findings.kills.push(took);
                took
            }
            Blow::Terminate => {
                let took = self.terminate(standing.leader).await?;
                self.findings.terminations.push(took);
                took
            }
            Blow::Move => {
                let took = self.hand_on(standing).await?;
                self.findings.moves.push(took);
                took
            }
        };
        self.cluster.mend()?;
        self.cluster.ready().await?;
        self.left = (self.cluster.settled().await?, Instant::now());
        Ok(took)
    }

    /// Counts the terms that began since the cluster was left alone.
    async fn note_terms(&mut self) -> Result<Standing> {
        let standing = self.cluster.settled().await?;
        let (before, since) = self.left;
        self.findings.false_elections += standing.term - before.term;
        self.findings.watched += since.elapsed();
        self.left = (standing, Instant::now());
        Ok(standing)
    }

    fn others(&self, leader: usize) -> Vec<String> {
        let members = self.cluster.members().iter().enumerate();
        let others = members.filter(|(place, _)| *place != leader);
        others.map(|(_, member)| member.endpoint()).collect()
    }

    /// From the kill until a write succeeds that was begun after it.
    async fn kill(&mut self, leader: usize) -> Result<Duration> {
        let writer = Writer::start(self.others(leader))?;
        writer.warm().await?;
        let struck = Instant::now();
        // Waits for the process to be gone: no write that begins now can be its.
        self.cluster.kill(leader)?;
        let first = writer.first_since(Instant::now(), LONGEST).await?;
        Ok(first.saturating_duration_since(struck))
    }

    /// The longest time without a write while the leader stops gracefully.
    async fn terminate(&mut self, leader: usize) -> Result<Duration> {
        let writer = Writer::start(self.others(leader))?;
        writer.warm().await?;
        let struck = Instant::now();
        self.cluster.terminate(leader).await?;
        sleep(WATCHED).await;
        writer.longest_gap(struck)
    }

    /// The longest time without a write while leadership moves to another member.
    async fn hand_on(&mut self, standing: Standing) -> Result<Duration> {
        let statuses = self.cluster.statuses().await;
        let ids = statuses.iter().filter_map(|(_, it)| it.header.as_ref());
        let target = ids.map(|it| it.member_id).find(|id| *id != standing.id);
        let target_id = target.ok_or("there is nobody to hand over to")?;
        let writer = Writer::start(self.others(standing.leader))?;
        writer.warm().await?;
        let struck = Instant::now();
        let mut client = self.cluster.client(standing.leader)?;
        answer(
            client
                .maintenance
                .move_leader(MoveLeaderRequest { target_id }),
        )
        .await?;
        sleep(WATCHED).await;
        writer.longest_gap(struck)
    }
}

/// The rows of a table in Markdown.
#[must_use]
pub fn shown(findings: &[Findings]) -> String {
    table::shown(findings)
}

/// All samples, for a file.
#[must_use]
pub fn to_json(plan: &Plan, findings: &[Findings]) -> Value {
    table::to_json(plan, findings)
}

/// Stops the leader of a fresh cluster once, to see that the measurement works.
///
/// # Errors
/// As [`measure`].
pub async fn rehearse(program: Program) -> Result<Vec<Findings>> {
    measure(&Plan {
        servers: vec![("rehearsal".to_owned(), program)],
        size: 3,
        kills: 1,
        terminations: 1,
        moves: 1,
        burners: 0,
        quiet: Duration::ZERO,
    })
    .await
}

/// A process that only computes. Dropping it ends it.
struct Burner(Child);

impl Burner {
    fn start() -> Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do :; done"]);
        Ok(Self(command.stdin(Stdio::null()).spawn()?))
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
