//! Makes a list that tells two servers apart as short as it gets in a bounded number of tries.

use std::time::{Duration, Instant};

use super::{Difference, Op, compare};
use crate::{Result, harness::Subject};

/// Each try starts two servers, so their number is what a person is willing to wait for.
const MOST_TRIES: usize = 150;
/// A difference that shows by something that never arrives costs a wait in every try.
const MOST_TIME: Duration = Duration::from_secs(180);

/// A list that still shows a difference.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The operations that are left.
    pub ops: Vec<Op>,
    /// The difference they show.
    pub difference: Difference,
    /// How many lists were tried.
    pub tries: usize,
}

impl Shrunk {
    fn may_go_on(&self, begun: Instant) -> bool {
        self.tries < MOST_TRIES && begun.elapsed() < MOST_TIME
    }
}

/// Shortens `ops`, which show `difference` when played to `subject`.
///
/// # Errors
/// When a server does not start.
pub async fn minimal(subject: Subject, ops: &[Op], difference: Difference) -> Result<Shrunk> {
    shrink(ops, difference, async |ops| compare(subject, ops).await).await
}

/// Drops ever smaller pieces, then parts of single operations, and keeps what still fails.
async fn shrink<P>(ops: &[Op], difference: Difference, play: P) -> Result<Shrunk>
where
    P: AsyncFn(&[Op]) -> Result<Result<super::Played, Difference>>,
{
    // Nothing after the operation that showed the difference can matter.
    let begun = Instant::now();
    let end = (difference.at + 1).min(ops.len());
    let mut best = Shrunk {
        ops: ops[..end].to_vec(),
        difference,
        tries: 0,
    };
    let mut piece = best.ops.len().div_ceil(2);
    while piece > 0 {
        let mut from = 0;
        while from < best.ops.len() && best.may_go_on(begun) {
            let to = (from + piece).min(best.ops.len());
            let fewer = [&best.ops[..from], &best.ops[to..]].concat();
            if !attempt(&mut best, fewer, &play).await? {
                from = to;
            }
        }
        piece = if piece == 1 { 0 } else { piece.div_ceil(2) };
    }
    let mut at = 0;
    while at < best.ops.len() {
        let mut changed = false;
        for simpler in best.ops[at].simpler() {
            let mut other = best.ops.clone();
            other[at] = simpler;
            if best.may_go_on(begun) && attempt(&mut best, other, &play).await? {
                changed = true;
                break;
            }
        }
        at += usize::from(!changed);
    }
    Ok(best)
}

/// Plays `ops` and keeps them when they show a difference too.
async fn attempt<P>(best: &mut Shrunk, mut ops: Vec<Op>, play: &P) -> Result<bool>
where
    P: AsyncFn(&[Op]) -> Result<Result<super::Played, Difference>>,
{
    best.tries += 1;
    match play(&ops).await? {
        Ok(_) => Ok(false),
        Err(difference) => {
            ops.truncate(difference.at + 1);
            best.ops = ops;
            best.difference = difference;
            Ok(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::differential::{Played, generate};

    /// A stand-in for two servers that differ when lease 7 is revoked after being kept alive.
    fn play(ops: &[Op]) -> Result<Played, Difference> {
        let kept = ops.iter().position(|op| *op == Op::KeepAlive(7));
        let revoked = ops.iter().rposition(|op| *op == Op::Revoke(7));
        match (kept, revoked) {
            (Some(kept), Some(at)) if kept < at => Err(Difference {
                at,
                what: "planted".to_owned(),
            }),
            _ => Ok(Played::default()),
        }
    }

    #[test]
    fn a_planted_difference_shrinks_to_the_two_operations_that_make_it() {
        let mut ops = generate(1, 200);
        ops[40] = Op::KeepAlive(7);
        ops[170] = Op::Revoke(7);
        let difference = play(&ops).unwrap_err();
        let shrinking = shrink(&ops, difference, async |ops: &[Op]| Ok(play(ops)));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let shrunk = runtime.block_on(shrinking).unwrap();
        assert_eq!(shrunk.ops, [Op::KeepAlive(7), Op::Revoke(7)]);
        assert!(shrunk.tries < MOST_TRIES, "{}", shrunk.tries);
    }
}
