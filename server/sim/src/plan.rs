//! What a seed lets happen: which faults, how often, to a cluster of which size.
//!
//! Owns the choice. A run with every fault at once would hardly get anything done, and one with
//! too few would prove nothing, so each seed takes a handful of kinds and keeps to them.

use std::ops::Range;
use std::time::Duration;

use handfast_fault::Fault;

use crate::dice::Dice;
use crate::machine::Tuning;
use crate::net::Weather;

/// A kind of fault that a seed may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A member is killed, its machine loses what was not synced, and starts again.
    Crash,
    /// The same, always the leader.
    CrashLeader,
    /// Several or all members crash at once.
    CrashAll,
    /// A member is stopped in order and started again.
    Restart,
    /// A member stands still.
    Freeze,
    /// One member is cut off, both ways.
    Isolate,
    /// The leader is cut off, both ways.
    IsolateLeader,
    /// One member hears nobody, or is heard by nobody.
    OneWay,
    /// The members fall into two groups.
    Split,
    /// Two groups, and one member that both can reach.
    Bridge,
    /// Clients lose a member.
    ClientCut,
    /// Messages are late, lost and doubled.
    BadWeather,
    /// A disk is slow.
    SlowDisk,
    /// A disk does not answer, for seconds.
    HungDisk,
    /// A disk fails to sync, so that its member has to stop.
    FailedSync,
    /// A disk is full for a while.
    FullDisk,
    /// Clocks run fast or slow.
    Drift,
    /// The leader is told to hand over.
    MoveLeader,
    /// The leader hands over and is cut off from the others before it can learn what came of it.
    MoveAndCut,
    /// A member is removed, its machine wiped, and a new one added in its place.
    Replace,
    /// History is compacted.
    Compact,
}

/// All kinds.
pub(crate) const KINDS: [Kind; 21] = [
    Kind::Crash,
    Kind::CrashLeader,
    Kind::CrashAll,
    Kind::Restart,
    Kind::Freeze,
    Kind::Isolate,
    Kind::IsolateLeader,
    Kind::OneWay,
    Kind::Split,
    Kind::Bridge,
    Kind::ClientCut,
    Kind::BadWeather,
    Kind::SlowDisk,
    Kind::HungDisk,
    Kind::FailedSync,
    Kind::FullDisk,
    Kind::Drift,
    Kind::MoveLeader,
    Kind::MoveAndCut,
    Kind::Replace,
    Kind::Compact,
];

/// The kinds of faults in runs that are about a recipe.
const RECIPE_KINDS: [Kind; 12] = [
    Kind::Crash,
    Kind::CrashLeader,
    Kind::CrashAll,
    Kind::Freeze,
    Kind::Isolate,
    Kind::IsolateLeader,
    Kind::OneWay,
    Kind::Split,
    Kind::BadWeather,
    Kind::SlowDisk,
    Kind::Drift,
    Kind::MoveLeader,
];

/// Everything a seed decides before anything has happened.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) members: usize,
    pub(crate) clients: usize,
    pub(crate) tuning: Tuning,
    pub(crate) kinds: Vec<Kind>,
    /// How long faults happen.
    pub(crate) chaos: Duration,
    /// Milliseconds between two faults of one stream.
    pub(crate) pause_ms: Range<u64>,
    /// Streams of faults at a time.
    pub(crate) streams: usize,
    /// Milliseconds that a client thinks between two operations.
    pub(crate) think_ms: Range<u64>,
    /// The weather while there is no fault.
    pub(crate) weather: Weather,
}

impl Plan {
    /// The plan of a seed. `members` and `fault` narrow it, for a hunt.
    pub(crate) fn of(dice: &Dice, members: Option<usize>, fault: Option<Fault>) -> Plan {
        let mut dice = dice.branch("plan");
        let usual = if dice.per_mille(650) { 3 } else { 5 };
        let mut kinds = KINDS.to_vec();
        dice.shuffle(&mut kinds);
        kinds.truncate(2 + dice.below(4));
        let (election, heartbeat) = if dice.per_mille(700) {
            (1000, 100)
        } else {
            (500, 50)
        };
        let delay = 1 + dice.below(5) as u64;
        let mut plan = Plan {
            members: members.unwrap_or(usual),
            clients: 4 + dice.below(4),
            tuning: Tuning {
                heartbeat: Duration::from_millis(heartbeat),
                election: Duration::from_millis(election),
                log_tail: if dice.per_mille(500) { 20 } else { 5_000 },
                flush_every: Duration::from_millis(100),
            },
            kinds,
            chaos: dice.millis(20_000..40_000),
            pause_ms: 300..3_000,
            streams: 1 + dice.below(2),
            think_ms: 20..400,
            weather: Weather {
                delay_ms: 0..delay,
                ..Weather::FAIR
            },
        };
        if let Some(fault) = fault {
            plan.hunt(fault);
        }
        plan
    }

    /// The plan of a seed that is about a recipe: shorter, and with fewer kinds of faults, since
    /// those of the members alone are seen by the other runs.
    pub(crate) fn of_recipe(dice: &Dice, members: Option<usize>) -> Plan {
        let mut plan = Plan::of(dice, members, None);
        let mut dice = dice.branch("recipe plan");
        let usual = if dice.per_mille(350) { 1 } else { 3 };
        plan.members = members.unwrap_or(usual);
        let mut kinds = RECIPE_KINDS.to_vec();
        dice.shuffle(&mut kinds);
        kinds.truncate(1 + dice.below(4));
        plan.kinds = kinds;
        plan.clients = 3 + dice.below(3);
        plan.chaos = dice.millis(6_000..14_000);
        plan.pause_ms = 500..4_000;
        plan.streams = 1;
        plan
    }

    /// Adds what provokes the bug that is hunted.
    fn hunt(&mut self, fault: Fault) {
        let provoking: &[Kind] = match fault {
            Fault::AckBeforeSync => &[Kind::CrashAll, Kind::SlowDisk],
            Fault::ApplyOutOfOrder => &[Kind::SlowDisk],
            Fault::ReadWithoutIndex => &[Kind::MoveAndCut],
            Fault::ReadBeforeApplied => &[Kind::BadWeather, Kind::SlowDisk, Kind::OneWay],
            Fault::ExpireUnderOldTerm => &[Kind::MoveAndCut, Kind::IsolateLeader],
            Fault::LeaseNotExtended => &[Kind::CrashLeader, Kind::MoveLeader, Kind::IsolateLeader],
            Fault::WatchSkipsRevision | Fault::WatchRepeatsRevision => {
                &[Kind::ClientCut, Kind::Crash, Kind::MoveLeader]
            }
            Fault::ForwardTwice => &[Kind::BadWeather, Kind::Freeze, Kind::OneWay],
            Fault::VoteNotSaved => &[Kind::CrashAll, Kind::CrashLeader, Kind::Split],
            Fault::ReplayForgotten => &[Kind::CrashAll, Kind::Crash],
            Fault::TxnSkipsCompare => &[Kind::Crash],
        };
        self.kinds = provoking.to_vec();
        self.pause_ms = 100..1_500;
        self.think_ms = 10..150;
    }
}
