//! What goes wrong during a trial, chosen from a seed, and done to the cluster.
//!
//! Owns the kinds of faults and their order. Must not know the clients.

use std::{fmt, time::Duration};

use handfast_core::Client;
use rustix::process::Signal;

use super::{group::Cluster, links::Condition};
use crate::{Result, dice::Dice};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// SIGKILL of one member.
    Kill,
    /// SIGKILL of as many members as a cluster survives.
    KillMinority,
    /// SIGKILL of all members at once.
    KillAll,
    /// SIGTERM, which hands leadership over first.
    Terminate,
    /// SIGSTOP, and later SIGCONT.
    Pause,
    /// One member is cut off from all others, both ways.
    Isolate,
    /// Nothing that one member sends arrives.
    Mute,
    /// Nothing that others send arrives at one member.
    Deaf,
    /// Two groups that do not reach each other.
    Split,
    /// Two members do not reach each other; the others reach both.
    Pair,
    /// All connections of one member are reset, and refused for a while.
    Reset,
    /// What one member sends and is sent comes late.
    Slow,
    /// A member loses its disk and is replaced.
    Replace,
    /// Leadership is moved to another member by request.
    MoveLeader,
    /// Old revisions are compacted away.
    Compact,
}

/// All kinds.
pub const FAULTS: [Fault; 15] = [
    Fault::Kill,
    Fault::Pause,
    Fault::Isolate,
    Fault::Replace,
    Fault::Mute,
    Fault::KillAll,
    Fault::Terminate,
    Fault::Split,
    Fault::Compact,
    Fault::Deaf,
    Fault::KillMinority,
    Fault::Reset,
    Fault::MoveLeader,
    Fault::Slow,
    Fault::Pair,
];

/// A fault of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What goes wrong.
    pub fault: Fault,
    /// Whether the leader is hit, if there is one; else member `place`.
    pub leader: bool,
    /// The member, where it is not the leader.
    pub place: usize,
    /// How long it lasts.
    pub lasts: Duration,
    /// How long the cluster has until the next fault.
    pub rest: Duration,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = format!("{:?}", self.fault).to_lowercase();
        match self.leader {
            true => write!(f, "{fault}(leader)"),
            false => write!(f, "{fault}(m{})", self.place),
        }
    }
}

/// The schedule of trial number `seed`: two kinds that follow from the number, so that a row of
/// trials has all of them, and others by chance.
#[must_use]
pub fn schedule(seed: u64, size: usize, dice: &mut Dice) -> Vec<Step> {
    const STEPS: u64 = 6;
    let kinds = FAULTS.len() as u64;
    let steps = (0..STEPS).map(|number| {
        let fault = match number {
            0 | 1 => FAULTS[((2 * seed + number) % kinds) as usize],
            _ => *dice.pick(&FAULTS),
        };
        Step {
            fault,
            leader: dice.percent(60),
            place: dice.below(size as u64) as usize,
            lasts: Duration::from_millis(600 + dice.below(2_400)),
            rest: Duration::from_millis(400 + dice.below(1_200)),
        }
    });
    steps.collect()
}

/// Does one step from its beginning until it is mended. `compact` is asked for the revision to
/// compact at.
///
/// # Errors
/// When a member ended by itself, or does not do what an operator asks of it.
pub async fn inflict(
    cluster: &mut Cluster,
    step: Step,
    dice: &mut Dice,
    compact: impl FnOnce() -> Option<i64>,
) -> Result<()> {
    let standing = cluster.standing().await;
    let member = match standing {
        Some(standing) if step.leader => standing.leader,
        _ => step.place,
    };
    match step.fault {
        Fault::Replace => {
            // With another member away the others could not agree to it.
            cluster.ready().await?;
            cluster.replace(member).await?;
        }
        Fault::MoveLeader => move_leader(cluster, dice).await?,
        Fault::Compact => {
            if let Some(revision) = compact() {
                // Whether it was done is of no interest.
                let _ = any(cluster)?.compact(revision, dice.percent(50)).await;
            }
        }
        Fault::Terminate => {
            // One that was just started does not listen to the signal yet.
            cluster.ready().await?;
            cluster.terminate(member).await?;
            tokio::time::sleep(step.lasts / 2).await;
        }
        fault => {
            disturb(cluster, fault, member, dice)?;
            tokio::time::sleep(step.lasts).await;
        }
    }
    cluster.mend()?;
    tokio::time::sleep(step.rest).await;
    Ok(())
}

/// The faults that begin at once and last until they are mended.
fn disturb(cluster: &mut Cluster, fault: Fault, member: usize, dice: &mut Dice) -> Result<()> {
    let size = cluster.size();
    let others = || (0..size).filter(move |other| *other != member);
    match fault {
        Fault::Kill => cluster.kill(member)?,
        Fault::KillMinority => {
            let count = (size - 1) / 2;
            (0..count).try_for_each(|step| cluster.kill((member + step) % size))?;
        }
        Fault::KillAll => (0..size).try_for_each(|each| cluster.kill(each))?,
        Fault::Pause => cluster.signal(member, Signal::STOP)?,
        Fault::Isolate => {
            for other in others() {
                both(cluster, member, other, Condition::Lost)?;
            }
        }
        Fault::Mute => {
            others().try_for_each(|other| cluster.link(member, other, Condition::Lost))?;
        }
        Fault::Deaf => {
            others().try_for_each(|other| cluster.link(other, member, Condition::Lost))?;
        }
        Fault::Split => {
            let side: Vec<bool> = (0..size).map(|_| dice.percent(50)).collect();
            for (one, other) in (0..size).flat_map(|one| (0..one).map(move |it| (one, it))) {
                // Never all on one side.
                if side[one] != side[other]
                    || (side.iter().all(|it| *it == side[0]) && one == member)
                {
                    both(cluster, one, other, Condition::Lost)?;
                }
            }
        }
        Fault::Pair => {
            let other = (member + 1 + dice.below(size as u64 - 1) as usize) % size;
            both(cluster, member, other, Condition::Lost)?;
        }
        Fault::Reset => {
            for other in others() {
                both(cluster, member, other, Condition::Cut)?;
            }
        }
        Fault::Slow => {
            let late = Condition::Late(Duration::from_millis(20 + dice.below(180)));
            for other in others().filter(|_| cluster.can(late)) {
                both(cluster, member, other, late)?;
            }
        }
        Fault::Terminate | Fault::Replace | Fault::MoveLeader | Fault::Compact => {}
    }
    Ok(())
}

fn both(cluster: &Cluster, one: usize, other: usize, condition: Condition) -> Result<()> {
    cluster.link(one, other, condition)?;
    cluster.link(other, one, condition)
}

async fn move_leader(cluster: &Cluster, dice: &mut Dice) -> Result<()> {
    let Some(standing) = cluster.standing().await else {
        return Ok(());
    };
    let statuses = cluster.statuses().await;
    let ids = statuses
        .iter()
        .filter_map(|(_, status)| status.header.as_ref());
    let others: Vec<u64> = ids
        .map(|it| it.member_id)
        .filter(|id| *id != standing.id)
        .collect();
    if !others.is_empty() {
        let endpoint = cluster.members()[standing.leader].endpoint();
        // It may be refused right after another fault.
        let _ = any(cluster)?
            .move_leader(&endpoint, *dice.pick(&others))
            .await;
    }
    Ok(())
}

fn any(cluster: &Cluster) -> Result<Client> {
    let client = Client::builder().endpoints(cluster.endpoints());
    Ok(client.timeout(Duration::from_secs(3)).build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_trials_has_every_fault() {
        let trials = (1..=10).flat_map(|seed| schedule(seed, 3, &mut Dice::new(seed)));
        let seen: Vec<Fault> = trials.map(|step| step.fault).collect();
        for fault in FAULTS {
            assert!(seen.contains(&fault), "{fault:?}");
        }
    }

    #[test]
    fn a_seed_is_one_schedule() {
        let again = |seed| schedule(seed, 5, &mut Dice::new(seed));
        assert_eq!(again(4), again(4));
        assert_ne!(again(4), again(5));
    }
}
