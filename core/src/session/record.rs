//! What a session says about itself to whoever looks: `_handfast/session/<lease>`.
//!
//! Owns the record's form and its key. Knows nothing of who writes and watches it.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::{
    Client,
    clock::{Clock, SystemClock},
};

/// Who took something away from another client, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Who did it.
    pub by: String,
    /// The reason given.
    pub why: String,
}

/// Who a session is. Read by listings and error messages; nothing depends on its being there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionRecord {
    /// Host name.
    #[serde(default)]
    pub host: String,
    /// Process id on that host.
    #[serde(default)]
    pub pid: u32,
    /// Name of the program.
    #[serde(default)]
    pub app: String,
    /// When this epoch of the session began, in milliseconds since 1970 by that host's clock.
    #[serde(default)]
    pub since_unix_ms: u64,
    /// Somebody is ending the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub killed: Option<Note>,
}

impl SessionRecord {
    /// The record of a session that begins now in this process.
    #[must_use]
    pub fn here(app: &str) -> Self {
        Self {
            host: host_name(),
            pid: std::process::id(),
            app: app.to_owned(),
            since_unix_ms: millis(SystemClock.unix_time()),
            killed: None,
        }
    }

    /// The record of a session of `client` that begins now; of a simulated client it tells
    /// nothing that differs from run to run.
    #[doc(hidden)]
    #[must_use]
    pub fn of(client: &Client, app: &str) -> Self {
        let here = Self {
            since_unix_ms: millis(client.clock().unix_time()),
            ..Self::here(app)
        };
        if !client.chance().is_seeded() {
            return here;
        }
        Self {
            host: "simulation".to_owned(),
            pid: 1,
            ..here
        }
    }

    /// The record in `value`, if it is one.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }

    pub(crate) fn to_value(&self) -> Bytes {
        // Plain strings and numbers always encode.
        serde_json::to_vec(self)
            .map(Bytes::from)
            .unwrap_or_default()
    }

    /// How long ago the session began, by this host's clock.
    #[must_use]
    pub fn age(&self) -> Duration {
        Duration::from_millis(millis(SystemClock.unix_time()).saturating_sub(self.since_unix_ms))
    }
}

/// A lease id as keys spell it: lower-case hex without padding, as Go's `%x`.
#[must_use]
pub fn lease_hex(lease: i64) -> String {
    if lease < 0 {
        return format!("-{:x}", lease.unsigned_abs());
    }
    format!("{lease:x}")
}

/// The lease id spelled by [`lease_hex`].
#[must_use]
pub fn parse_lease_hex(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = !digits.is_empty()
        && digits.len() <= 16
        && digits
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !plain || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    i64::from_str_radix(text, 16).ok()
}

/// The key of a session's record.
#[must_use]
pub fn record_key(metadata_prefix: &[u8], lease: i64) -> Bytes {
    let mut key = BytesMut::from(metadata_prefix);
    key.put_slice(b"session/");
    key.put_slice(lease_hex(lease).as_bytes());
    key.freeze()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(unix)]
fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

#[cfg(not(unix))]
fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_lease_id_is_read_back_from_its_spelling(lease in any::<i64>()) {
            prop_assert_eq!(parse_lease_hex(&lease_hex(lease)), Some(lease));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-0-9a-fA-FxX/+]{0,20}") {
            if let Some(lease) = parse_lease_hex(&text) {
                prop_assert!(text == lease_hex(lease) || text == "-0");
            }
        }
    }

    #[test]
    fn spelling_is_that_of_go() {
        assert_eq!(lease_hex(0x694d_1234), "694d1234");
        assert_eq!(lease_hex(-5), "-5");
        assert_eq!(parse_lease_hex("0694d"), None);
        assert_eq!(parse_lease_hex(""), None);
        assert_eq!(parse_lease_hex("+5"), None);
    }

    #[test]
    fn a_record_survives_the_round_trip_and_unknown_fields() {
        let record = SessionRecord::here("test");
        assert_eq!(SessionRecord::parse(&record.to_value()), Some(record));
        let newer = SessionRecord::parse(br#"{"host":"h","zone":"z"}"#).unwrap();
        assert_eq!((newer.host.as_str(), newer.pid), ("h", 0));
        assert_eq!(SessionRecord::parse(b"hello"), None);
    }
}
