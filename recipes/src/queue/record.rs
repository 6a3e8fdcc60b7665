//! What the values under a queue's keys say.
//!
//! Owns their forms. Knows nothing of keys and transactions.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// `tickets/<id>`: what an item waits for, and how often it was tried.
///
/// Without a lease, so that an attempt counts although its worker dies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Ticket {
    pub(super) pushed_unix_ms: u64,
    /// Drawn once for each push: tells a repetition from another push of the same id.
    pub(super) nonce: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) after: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gate: Option<String>,
    /// The gate that its acknowledgement opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) opens: Option<String>,
    pub(super) attempts: u32,
    /// What the last worker that gave it back said of it; none while one works on it, and if that
    /// one died.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) said: Option<String>,
}

impl Ticket {
    /// As it is once it is claimed again.
    pub(super) fn claimed(&self) -> Self {
        Self {
            attempts: self.attempts + 1,
            said: None,
            ..self.clone()
        }
    }

    /// Whether the worker of the last attempt ended without a word.
    pub(super) fn died(&self) -> bool {
        self.attempts > 0 && self.said.is_none()
    }
}

/// `done/<id>`: by which claim an item was acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Done {
    pub(super) token: i64,
    /// The push's.
    pub(super) nonce: String,
}

/// Who may do what with a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Control {
    /// Items are pushed and claimed.
    #[default]
    Run,
    /// Items are pushed, and not claimed. Claims that are held go on.
    Pause,
    /// Items are claimed, and not pushed. Workers end when none is left.
    Drain,
}

impl Control {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Pause => "pause",
            Self::Drain => "drain",
        }
    }

    /// What `value` says. Anything that is not known keeps workers out.
    pub(super) fn parse(value: &[u8]) -> Self {
        match value {
            b"run" => Self::Run,
            b"drain" => Self::Drain,
            _ => Self::Pause,
        }
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What all items of a queue wait for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// That this many items are ready at once. From then on the queue is open, until a condition
    /// is set again.
    Count(u32),
    /// That a gate is open. Items that open it are not kept back.
    Gate(String),
    /// That somebody, such as a control program, sets [`Control::Run`].
    Start,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Count(count) => write!(f, "{count} items that are ready at once"),
            Self::Gate(gate) => write!(f, "gate {gate}"),
            Self::Start => f.write_str("start"),
        }
    }
}

/// `condition`: a condition, and which setting of it this is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Rule {
    pub(super) condition: Condition,
    pub(super) epoch: String,
}

/// The value of `record`.
pub(super) fn value<T: Serialize>(record: &T) -> Bytes {
    // Plain strings and numbers always encode.
    let encoded = serde_json::to_vec(record);
    encoded.map(Bytes::from).unwrap_or_default()
}

/// What `value` says; nothing special if it cannot be read.
pub(super) fn parse<T: DeserializeOwned + Default>(value: &[u8]) -> T {
    serde_json::from_slice(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let ticket = Ticket {
            after: vec!["a".to_owned()],
            gate: Some("g".to_owned()),
            attempts: 3,
            ..Ticket::default()
        };
        assert_eq!(parse::<Ticket>(&value(&ticket)), ticket);
        let rule = Rule {
            condition: Condition::Count(3),
            epoch: "e".to_owned(),
        };
        assert_eq!(parse::<Rule>(&value(&rule)), rule);
        assert_eq!(parse::<Ticket>(b"by hand"), Ticket::default());
        for control in [Control::Run, Control::Pause, Control::Drain] {
            assert_eq!(Control::parse(control.word().as_bytes()), control);
        }
        assert_eq!(Control::parse(b"stop"), Control::Pause);
    }
}
