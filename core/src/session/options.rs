//! Settings of a session.
//!
//! Owns defaults and bounds. Knows nothing of how they are used.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{life::Caution, state::SessionError};
use crate::clock::Clock;

/// Where sessions and recipes keep what is not the user's own.
pub const DEFAULT_METADATA_PREFIX: &str = "_handfast/";
/// The TTL of a session that names none.
pub const DEFAULT_TTL: Duration = Duration::from_secs(10);

const REDECLARE_LIMIT: Duration = Duration::from_secs(5);
const MIN_TTL: Duration = Duration::from_secs(1);
const MAX_TTL: Duration = Duration::from_secs(9_000_000_000);

/// Settings of a [`Session`](super::Session).
#[derive(Debug, Clone)]
#[must_use]
pub struct SessionOptions {
    pub(crate) ttl: Duration,
    pub(crate) app: String,
    pub(crate) caution: Caution,
    pub(crate) recover: bool,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) metadata_prefix: Bytes,
    pub(crate) verify_interval: Duration,
    pub(crate) redeclare_within: Option<Duration>,
    pub(crate) require_beat: Option<Duration>,
    /// `None` is the client's.
    pub(crate) clock: Option<Arc<dyn Clock>>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            ttl: DEFAULT_TTL,
            app: program_name(),
            caution: Caution {
                drift: 0.001,
                margin: None,
                grace: None,
            },
            recover: true,
            connect_timeout: Some(Duration::from_secs(10)),
            metadata_prefix: Bytes::from_static(DEFAULT_METADATA_PREFIX.as_bytes()),
            verify_interval: Duration::from_secs(30),
            redeclare_within: None,
            require_beat: None,
            clock: None,
        }
    }
}

impl SessionOptions {
    /// Default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the servers keep the session after the last keepalive (default 10 s).
    ///
    /// Rounded up to whole seconds. Servers have a floor of about 2 s:
    /// [`Epoch::ttl`](super::Epoch::ttl) tells what was granted.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// The name shown to others who look at what this session holds (default: the program's).
    pub fn app(mut self, app: impl Into<String>) -> Self {
        self.app = app.into();
        self
    }

    /// Bound on the clock rate error between here and the servers, as a fraction (default 0.001).
    pub fn drift(mut self, fraction: f64) -> Self {
        self.caution.drift = fraction;
        self
    }

    /// Taken off each deadline (default: the larger of 50 ms and TTL/20).
    pub fn margin(mut self, margin: Duration) -> Self {
        self.caution.margin = Some(margin);
        self
    }

    /// How long before the deadline work should stop (default TTL/4).
    pub fn grace(mut self, grace: Duration) -> Self {
        self.caution.grace = Some(grace);
        self
    }

    /// Whether a new lease follows a lost one (default true). What was held does not come back.
    pub fn recover(mut self, recover: bool) -> Self {
        self.recover = recover;
        self
    }

    /// How long [`Session::epoch`](super::Session::epoch) waits for a server (default 10 s);
    /// `None` waits for as long as it takes.
    pub fn connect_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The prefix of session records and recipe metadata (default `_handfast/`). All programs
    /// that work together must use the same.
    pub fn metadata_prefix(mut self, prefix: impl Into<Bytes>) -> Self {
        self.metadata_prefix = prefix.into();
        self
    }

    /// How often the session's record, and each waiter's place, is read again in case an event
    /// was missed (default 30 s; each wait is varied by a fifth).
    pub fn verify_interval(mut self, interval: Duration) -> Self {
        self.verify_interval = interval;
        self
    }

    /// Within which time after a new lease [declared](super::Session::declare) keys are put under
    /// it, each at a moment drawn by lot, so that many programs that lost the same servers do not
    /// return in step (default: half of the TTL, at most 5 s). It grows up to eightfold when
    /// leases are lost again at once.
    pub fn redeclare_within(mut self, window: Duration) -> Self {
        self.redeclare_within = Some(window);
        self
    }

    /// Ends the lease, and with it all that is held, when
    /// [`Session::beat`](super::Session::beat) is not called for `interval` (default: none is
    /// needed): it then follows the program's work and not its process, which renews the lease
    /// even while the work hangs. A new lease is asked for when it is called again.
    pub fn require_beat(mut self, interval: Duration) -> Self {
        self.require_beat = Some(interval);
        self
    }

    /// Another clock, for tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The name shown to others.
    #[must_use]
    pub fn app_name(&self) -> &str {
        &self.app
    }

    /// The prefix of records and recipe metadata.
    #[must_use]
    pub fn metadata(&self) -> &Bytes {
        &self.metadata_prefix
    }

    /// The TTL asked for.
    #[must_use]
    pub fn asked_ttl(&self) -> Duration {
        self.ttl
    }

    pub(crate) fn redeclare_within_of(&self, ttl: Duration) -> Duration {
        self.redeclare_within
            .unwrap_or((ttl / 2).min(REDECLARE_LIMIT))
    }

    /// The TTL to ask for.
    pub(crate) fn whole_ttl(&self) -> Duration {
        let seconds = self.ttl.as_secs() + u64::from(self.ttl.subsec_nanos() > 0);
        Duration::from_secs(seconds)
    }

    pub(crate) fn validate(&self) -> Result<(), SessionError> {
        let refuse = |option, problem: String| Err(SessionError::InvalidOption { option, problem });
        if self.ttl < MIN_TTL || self.ttl > MAX_TTL {
            return refuse(
                "ttl",
                format!("{:?} is not between 1 s and 9e9 s", self.ttl),
            );
        }
        let drift = self.caution.drift;
        if !(0.0..=0.5).contains(&drift) {
            return refuse(
                "drift",
                format!("{drift} is not a fraction between 0 and 0.5"),
            );
        }
        let taken = self.caution.margin.unwrap_or_default() + self.ttl.mul_f64(drift);
        if taken >= self.ttl / 2 {
            return refuse(
                "margin",
                "margin and drift take more than half of the TTL".into(),
            );
        }
        if self
            .caution
            .grace
            .is_some_and(|grace| grace >= self.ttl / 2)
        {
            return refuse("grace", "it is more than half of the TTL".into());
        }
        if self.metadata_prefix.is_empty() {
            return refuse(
                "metadata_prefix",
                "it is empty; the usual one is _handfast/".into(),
            );
        }
        if self.require_beat.is_some_and(|interval| interval.is_zero()) {
            return refuse("require_beat", "it is zero".into());
        }
        if self.verify_interval.is_zero() {
            return refuse("verify_interval", "it is zero".into());
        }
        Ok(())
    }
}

fn program_name() -> String {
    std::env::current_exe()
        .ok()
        .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_14_bounds_are_refused_early_and_by_name() {
        let name = |options: SessionOptions| match options.validate() {
            Err(SessionError::InvalidOption { option, .. }) => option,
            other => panic!("{other:?}"),
        };
        let new = SessionOptions::new;
        assert!(new().validate().is_ok());
        assert_eq!(name(new().ttl(Duration::from_millis(999))), "ttl");
        assert_eq!(name(new().ttl(Duration::MAX)), "ttl");
        assert_eq!(name(new().drift(0.6)), "drift");
        assert_eq!(name(new().drift(f64::NAN)), "drift");
        assert_eq!(name(new().margin(Duration::from_secs(5))), "margin");
        assert_eq!(name(new().grace(Duration::from_secs(6))), "grace");
        assert_eq!(name(new().metadata_prefix("")), "metadata_prefix");
        assert_eq!(name(new().require_beat(Duration::ZERO)), "require_beat");
        assert_eq!(
            name(new().verify_interval(Duration::ZERO)),
            "verify_interval"
        );
    }

    #[test]
    fn a_ttl_is_asked_for_in_whole_seconds_rounded_up() {
        let whole = |millis| {
            SessionOptions::new()
                .ttl(Duration::from_millis(millis))
                .whole_ttl()
        };
        assert_eq!(whole(2000), Duration::from_secs(2));
        assert_eq!(whole(2001), Duration::from_secs(3));
    }
}
