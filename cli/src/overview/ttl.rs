//! How long leases have left, as the servers said and as it goes on from there.
//!
//! Owns asking for it and counting it down. It must not know what is on the leases.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use handfast_core::{Client, Error, ErrorKind};

use crate::output::span;

/// How many leases are asked for at the same time.
const AT_ONCE: usize = 16;

/// What was said of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ttl {
    /// It was not asked for, or not answered.
    Unknown,
    /// It has ended.
    Ended,
    /// It goes on.
    Left {
        /// How long it has if it is not renewed.
        left: Duration,
        /// How long it has after a renewal.
        granted: Duration,
    },
}

impl Ttl {
    /// The time left, if there is any.
    pub(crate) fn left(self) -> Option<Duration> {
        match self {
            Ttl::Left { left, .. } => Some(left),
            Ttl::Unknown | Ttl::Ended => None,
        }
    }

    /// For a cell of a table.
    pub(crate) fn text(self) -> String {
        match self {
            Ttl::Unknown => "-".to_owned(),
            Ttl::Ended => "ended".to_owned(),
            Ttl::Left { left, .. } => span(left),
        }
    }

    /// Whether renewals are overdue: sessions renew when a third of the time is over, and servers
    /// tell whole seconds.
    pub(crate) fn is_overdue(self) -> bool {
        match self {
            Ttl::Left { left, granted } => (left + Duration::from_secs(1)) * 2 < granted,
            Ttl::Ended => true,
            Ttl::Unknown => false,
        }
    }
}

/// The leases that were asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leases(BTreeMap<i64, (Ttl, Option<Instant>)>);

impl Leases {
    /// Asks the servers for each of `leases`.
    ///
    /// # Errors
    /// That no server answered; a lease that has ended is no error.
    pub(crate) async fn ask(
        client: &Client,
        leases: impl IntoIterator<Item = i64>,
    ) -> Result<Leases, Error> {
        // Lease 0 is none.
        let asked: BTreeSet<i64> = leases.into_iter().filter(|lease| *lease != 0).collect();
        let answers = stream::iter(asked)
            .map(|lease| async move { Ok((lease, ask_one(client, lease).await?)) })
            .buffer_unordered(AT_ONCE)
            .try_collect::<BTreeMap<_, _>>()
            .await?;
        Ok(Leases(answers))
    }

    /// What is known of `lease`, counted down to `now`.
    pub(crate) fn get(&self, lease: i64, now: Instant) -> Ttl {
        match self.0.get(&lease) {
            None => Ttl::Unknown,
            Some((Ttl::Left { left, granted }, Some(asked))) => Ttl::Left {
                left: left.saturating_sub(now.saturating_duration_since(*asked)),
                granted: *granted,
            },
            Some((ttl, _)) => *ttl,
        }
    }

    /// How often it is worth asking again: leases are renewed each third of their time.
    pub(crate) fn pace(&self) -> Duration {
        let granted = self.0.values().filter_map(|(ttl, _)| match ttl {
            Ttl::Left { granted, .. } => Some(*granted),
            _ => None,
        });
        let shortest = granted.min().unwrap_or(Duration::from_secs(10));
        (shortest / 5).clamp(Duration::from_secs(1), Duration::from_secs(5))
    }

    #[cfg(test)]
    pub(crate) fn of(leases: &[(i64, u64, u64)], asked: Instant) -> Leases {
        let ttl = |left, granted| Ttl::Left {
            left: Duration::from_secs(left),
            granted: Duration::from_secs(granted),
        };
        let all = leases.iter();
        Leases(
            all.map(|(lease, left, granted)| (*lease, (ttl(*left, *granted), Some(asked))))
                .collect(),
        )
    }
}

async fn ask_one(client: &Client, lease: i64) -> Result<(Ttl, Option<Instant>), Error> {
    match client.lease_time_to_live(lease, false).await {
        Ok(info) => {
            let ttl = Ttl::Left {
                left: Duration::from_secs(info.ttl.unsigned_abs()),
                granted: Duration::from_secs(info.granted_ttl.unsigned_abs()),
            };
            Ok((ttl, Some(Instant::now())))
        }
        Err(error) if error.kind() == ErrorKind::LeaseNotFound => Ok((Ttl::Ended, None)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_after_the_answer() {
        let asked = Instant::now();
        let leases = Leases::of(&[(1, 9, 10), (2, 1, 10)], asked);
        let left = |lease, after| {
            let now = asked + Duration::from_secs(after);
            leases.get(lease, now).left().map(|left| left.as_secs())
        };
        assert_eq!(
            (left(1, 0), left(1, 2), left(2, 5)),
            (Some(9), Some(7), Some(0))
        );
        assert_eq!(left(3, 0), None);
    }

    #[test]
    fn a_holder_that_does_not_renew_is_found_and_one_that_does_is_not() {
        let asked = Instant::now();
        // Renewed at a third, told in whole seconds: 6 of 10, 0 of 2.
        let leases = Leases::of(&[(1, 6, 10), (2, 0, 2), (3, 3, 10)], asked);
        let overdue = [1, 2, 3].map(|lease| leases.get(lease, asked).is_overdue());
        assert_eq!(overdue, [false, false, true]);
    }
}
