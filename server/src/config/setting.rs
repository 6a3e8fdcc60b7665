//! What is known about one setting: name, kind of value, default, help, and what it does here.
//!
//! Owns the description type and what applying a value does. Must not know which settings there
//! are.

use super::values::{self, Problem};
use super::{Config, ConfigError};

/// Part of the help text a setting is listed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Group {
    Basics,
    Member,
    Timing,
    Limits,
    History,
    Logging,
    Refused,
    Accepted,
}

impl Group {
    /// Heading in the help text.
    pub fn title(self) -> &'static str {
        match self {
            Group::Basics => "Basics",
            Group::Member => "Member and cluster",
            Group::Timing => "Timing",
            Group::Limits => "Limits",
            Group::History => "History and storage",
            Group::Logging => "Logging and metrics",
            Group::Refused => "Not offered yet: only values that ask for nothing",
            Group::Accepted => "Accepted for etcd's sake, without effect",
        }
    }
}

/// What values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`; on the command line the bare flag means true.
    Switch,
    /// A whole number.
    Number,
    /// `500ms`, `10s`, `5m`.
    Duration,
    /// One address or several, with commas between.
    Urls,
    /// A file or folder.
    Path,
    /// Anything else.
    Text,
}

impl Kind {
    /// Placeholder in the help text.
    pub fn placeholder(self) -> &'static str {
        match self {
            Kind::Switch => "BOOL",
            Kind::Number => "N",
            Kind::Duration => "TIME",
            Kind::Urls => "URLS",
            Kind::Path => "PATH",
            Kind::Text => "TEXT",
        }
    }
}

/// What setting it does.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Effect {
    /// It works.
    Active(fn(&mut Config, &str) -> Result<(), Problem>),
    /// It is accepted and does nothing; the text says why that is fine.
    Ignored(&'static str),
    /// Only a value that asks for nothing is accepted; the text says what is missing.
    Refused(&'static str),
}

/// One setting of the server.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Setting {
    /// Name without dashes: also the key in the file, and `ETCD_` + upper case in the environment.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The default as a person would type it; empty when there is none.
    pub default: &'static str,
    /// Part of the help text.
    pub group: Group,
    /// One line of help.
    pub help: &'static str,
    /// What it does.
    pub effect: Effect,
}

impl Setting {
    /// Applies a value; the answer is a note for the operator, when there is something to note.
    pub(super) fn apply(
        &self,
        config: &mut Config,
        origin: &str,
        value: &str,
    ) -> Result<Option<String>, ConfigError> {
        let invalid = |problem| ConfigError::Invalid {
            origin: origin.to_owned(),
            problem,
        };
        self.check_kind(value).map_err(invalid)?;
        match self.effect {
            Effect::Active(set) => set(config, value).map(|()| None).map_err(invalid),
            Effect::Ignored(why) => Ok(Some(format!("{origin} has no effect here: {why}"))),
            Effect::Refused(_) if self.asks_for_nothing(value) => Ok(None),
            Effect::Refused(reason) => Err(ConfigError::Unsupported {
                origin: origin.to_owned(),
                reason: reason.to_owned(),
            }),
        }
    }

    fn check_kind(&self, value: &str) -> Result<(), Problem> {
        // Active settings parse their own value; the others would swallow any nonsense.
        match (self.effect, self.kind) {
            (Effect::Active(_), _) => Ok(()),
            (_, Kind::Switch) => values::boolean(value).map(drop),
            (_, Kind::Number) => values::number::<i64>(value).map(drop),
            (_, Kind::Duration) => values::duration(value).map(drop),
            (_, Kind::Urls | Kind::Path | Kind::Text) => Ok(()),
        }
    }

    fn asks_for_nothing(&self, value: &str) -> bool {
        value.is_empty() || value == self.default || values::boolean(value) == Ok(false)
    }
}
