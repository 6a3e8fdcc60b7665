//! One history: a cluster, its clients and its faults from a seed, and the verdict.
//!
//! Owns the course of a trial and what is kept of one that failed.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use handfast_checker::{Final, Report, Run, Snapshot, check_all};
use handfast_proto::etcdserverpb::RangeRequest;
use tokio::time::{Duration, Instant};

use super::{
    facts::converged,
    group::{Cluster, Setup},
    nemesis::{self, Step},
    workload::{Workload, pair},
};
use crate::{
    Result,
    client::{Client, answer},
    dice::Dice,
    harness::target_directory,
};

const POLL: Duration = Duration::from_millis(50);
/// How long the clients may need for what is left of their operations after the last fault.
const WORK_LIMIT: Duration = Duration::from_secs(300);
/// What is left when old revisions are compacted.
const KEPT_REVISIONS: i64 = 30;
/// With this variable set, what was seen of good trials is kept, too.
const KEEP: &str = "HANDFAST_KEEP_HISTORIES";
/// Writes whose fate was open may still arrive after the last one.
const MARKS: u32 = 10;

/// A trial to be made.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Chooses faults and requests.
    pub seed: u64,
    /// The cluster.
    pub setup: Setup,
    /// How many operations on keys there must be.
    pub operations: u64,
}

/// A trial that went well.
#[derive(Debug)]
pub struct Passed {
    /// Which.
    pub seed: u64,
    /// How many members.
    pub size: usize,
    /// What went wrong in it.
    pub steps: Vec<Step>,
    /// How many operations there were.
    pub operations: u64,
    /// The checkers' report.
    pub report: Report,
    /// What was seen.
    pub run: Run,
    /// How many terms there were.
    pub terms: u64,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<String> = self.steps.iter().map(Step::to_string).collect();
        let seconds = self.took.as_secs();
        write!(
            f,
            "seed {}, {} members, {} terms, {seconds} s, {}: {}",
            self.seed,
            self.size,
            self.terms,
            steps.join(" "),
            self.report
        )
    }
}

impl Trial {
    /// Makes the trial and checks what was seen.
    ///
    /// # Errors
    /// When a promise is broken, or the cluster or a client does not come to rest. The record, the
    /// report and the logs are then in a folder that the message names.
    pub async fn run(&self) -> Result<Passed> {
        let mut dice = Dice::new(self.seed);
        let steps = nemesis::schedule(self.seed, self.setup.size, &mut dice);
        let words: Vec<String> = steps.iter().map(Step::to_string).collect();
        let title = format!("seed {}: {}", self.seed, words.join(" "));
        let begun = Instant::now();
        let mut cluster = self.setup.start().await?;
        let subject = self.setup.program.subject;
        let mut workload = Workload::start(subject, cluster.endpoints(), &mut dice)?;
        let worked = self.work(&mut cluster, &mut workload, &steps, &mut dice);
        let operations = match worked.await {
            Ok(operations) => operations,
            Err(error) => {
                let record = workload.record();
                return Err(self.keep(&cluster, &record, &format!("{title}\n{error}")));
            }
        };
        let mut run = match self.settle(&mut cluster, workload).await {
            Ok(run) => run,
            Err((record, error)) => {
                return Err(self.keep(&cluster, &record, &format!("{title}\n{error}")));
            }
        };
        run.title = title.clone();
        let report = check_all(&run);
        if !report.is_good() {
            return Err(self.keep(&cluster, &run, &format!("{title}\n{report}")));
        }
        if std::env::var_os(KEEP).is_some() {
            keep(
                &self.folder(),
                &cluster,
                &run,
                &format!("{title}\n{report}"),
            )?;
        }
        Ok(Passed {
            seed: self.seed,
            size: self.setup.size,
            steps,
            operations,
            report,
            run,
            terms: cluster.standing().await.map_or(0, |standing| standing.term),
            took: begun.elapsed(),
        })
    }

    /// All faults, and then until there are enough operations.
    async fn work(
        &self,
        cluster: &mut Cluster,
        workload: &mut Workload,
        steps: &[Step],
        dice: &mut Dice,
    ) -> Result<u64> {
        for step in steps {
            let compact = || {
                let revision = workload.collected().revision() - KEPT_REVISIONS;
                (revision > 1).then(|| {
                    workload.compacting(revision);
                    revision
                })
            };
            let done = nemesis::inflict(cluster, *step, dice, compact).await;
            done.map_err(|error| format!("{step}: {error}"))?;
        }
        cluster.ready().await?;
        let begun = Instant::now();
        while workload.done() < self.operations {
            if begun.elapsed() > WORK_LIMIT {
                let (done, wanted) = (workload.done(), self.operations);
                return Err(format!("only {done} of {wanted} operations were done").into());
            }
            tokio::time::sleep(POLL).await;
        }
        workload.quiesce().await?;
        Ok(workload.done())
    }

    /// Waits until nothing moves any more, and completes the record.
    async fn settle(
        &self,
        cluster: &mut Cluster,
        workload: Workload,
    ) -> Result<Run, (Run, String)> {
        let revision = match last_revision(cluster, &workload).await {
            Ok(revision) => revision,
            Err(error) => return Err((workload.record(), error.to_string())),
        };
        let record = workload.record();
        let run = match workload.finish(revision).await {
            Ok(run) => run,
            Err(error) => return Err((record, error.to_string())),
        };
        match finals(cluster).await {
            Ok(finals) => Ok(Run { finals, ..run }),
            Err(error) => Err((run, error.to_string())),
        }
    }

    /// Writes what there is to a folder, and gives the error that names it.
    fn keep(
        &self,
        cluster: &Cluster,
        run: &Run,
        what: &str,
    ) -> Box<dyn std::error::Error + Send + Sync> {
        let folder = self.folder();
        let kept = keep(&folder, cluster, run, what);
        let kept = match kept {
            Ok(()) => format!("kept in {}", folder.display()),
            Err(error) => format!("not kept: {error}"),
        };
        format!(
            "{what}\n({kept}; HANDFAST_SEED={} runs it again)",
            self.seed
        )
        .into()
    }

    fn folder(&self) -> PathBuf {
        let name = format!("seed-{}-of-{}", self.seed, self.setup.size);
        target_directory().join("histories").join(name)
    }
}

fn keep(folder: &Path, cluster: &Cluster, run: &Run, what: &str) -> Result<()> {
    cluster.keep_logs(folder)?;
    fs::write(folder.join("history.json"), run.to_json()?)?;
    fs::write(folder.join("report.txt"), what)?;
    Ok(())
}

/// The revision at which nobody writes any more and all members are equal.
async fn last_revision(cluster: &Cluster, workload: &Workload) -> Result<i64> {
    for _ in 0..MARKS {
        let marked = workload.mark().await?;
        if converged(cluster).await? == marked {
            return Ok(marked);
        }
    }
    Err(format!("somebody still writes after {MARKS} last writes").into())
}

/// What each member has.
async fn finals(cluster: &Cluster) -> Result<Vec<Final>> {
    let mut finals = Vec::new();
    for (place, member) in cluster.members().iter().enumerate() {
        finals.push(Final {
            member: member.name().to_owned(),
            state: snapshot(cluster.client(place)?).await?,
        });
    }
    Ok(finals)
}

async fn snapshot(mut client: Client) -> Result<Snapshot> {
    let all = RangeRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        serializable: true,
        ..RangeRequest::default()
    };
    let found = answer(client.kv.range(all)).await?;
    Ok(Snapshot {
        revision: found.header.map_or(0, |header| header.revision),
        kvs: found.kvs.into_iter().map(pair).collect(),
    })
}

/// Checks a record that was kept, once more.
///
/// # Errors
/// When the file cannot be read.
pub fn check_file(path: &Path) -> Result<(Run, Report)> {
    let run = Run::from_json(&fs::read_to_string(path)?)?;
    let report = check_all(&run);
    Ok((run, report))
}
