//! How many of a session's declared keys are put at the same time.
//!
//! Owns the pace: it begins slowly under each new lease, quickens while answers come quickly, and
//! slackens when they do not, so that what keeps the lease alive gets through. Knows nothing of
//! what is put.

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

/// At a new lease: all who lost the same servers are back at the same time.
const AT_FIRST: usize = 2;
const AT_MOST: usize = 16;

/// The turns of one session.
#[derive(Debug)]
pub(super) struct Turns {
    semaphore: Semaphore,
    /// How many there are, taken or not.
    allowed: Mutex<usize>,
}

/// Leave to put one key. Dropping it changes nothing.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    permit: SemaphorePermit<'a>,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self {
            semaphore: Semaphore::new(AT_FIRST),
            allowed: Mutex::new(AT_FIRST),
        }
    }

    /// Begins slowly again.
    pub(super) fn restart(&self) {
        let mut allowed = self.allowed.lock();
        while *allowed > AT_FIRST {
            // Those that are taken slacken by themselves, if need be.
            let Ok(permit) = self.semaphore.try_acquire() else {
                return;
            };
            permit.forget();
            *allowed -= 1;
        }
    }

    /// Waits for a turn. Cancel safe.
    pub(super) async fn take(&self) -> Turn<'_> {
        let permit = self.semaphore.acquire().await;
        Turn {
            turns: self,
            permit: permit.expect("the semaphore is never closed"),
        }
    }
}

impl Turn<'_> {
    /// It was used, and answered quickly or not.
    pub(super) fn used(self, quickly: bool) {
        let mut allowed = self.turns.allowed.lock();
        if quickly && *allowed < AT_MOST {
            *allowed += 1;
            self.turns.semaphore.add_permits(1);
        } else if !quickly && *allowed > 1 {
            *allowed -= 1;
            self.permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn quick_answers_allow_more_at_a_time_and_slow_ones_fewer_but_always_one() {
        let turns = Turns::new();
        let free = || turns.semaphore.available_permits();
        for expected in [3, 4, 5] {
            turns.take().await.used(true);
            assert_eq!(free(), expected);
        }
        for _ in 0..50 {
            turns.take().await.used(true);
        }
        assert_eq!(free(), AT_MOST);
        // One that is given up counts as neither.
        drop(turns.take().await);
        assert_eq!(free(), AT_MOST);
        let taken = turns.take().await;
        for _ in 0..50 {
            if free() == 0 {
                break;
            }
            turns.take().await.used(false);
        }
        assert_eq!(free(), 0);
        taken.used(false);
        assert_eq!(free(), 1);
        turns.take().await.used(true);
        assert_eq!(free(), 2);
    }

    #[tokio::test]
    async fn a_new_lease_begins_slowly_again() {
        let turns = Turns::new();
        for _ in 0..50 {
            turns.take().await.used(true);
        }
        turns.restart();
        assert_eq!(turns.semaphore.available_permits(), AT_FIRST);
        turns.restart();
        assert_eq!(turns.semaphore.available_permits(), AT_FIRST);
    }
}
