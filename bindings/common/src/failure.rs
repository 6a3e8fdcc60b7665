//! Errors as plain records, on their way to another language.
//!
//! Owns what is known of a failure before the host's own error is made of it, and the codes that
//! only the bindings add: `COMPACTED`, and `CLOSED` of a handle. The classes are the host's.

use std::{fmt, time::Duration};

use handfast::{Error, Kind, Member, core::ErrorKind};

/// One thing an error's message speaks of, for programs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Detail {
    /// A name or a word.
    Text(String),
    /// A number or a revision.
    Number(i64),
    /// A time span.
    Span(Duration),
    /// Yes or no.
    Flag(bool),
    /// Who holds what was asked for.
    Holder(Box<Member>),
}

/// An error that is none of the host's yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    code: &'static str,
    message: String,
    retryable: bool,
    details: Vec<(&'static str, Detail)>,
}

impl Failure {
    /// A failure that is not retryable and has no details.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retryable: false,
            details: Vec::new(),
        }
    }

    /// `what` was closed here.
    #[must_use]
    pub fn closed(what: &str) -> Self {
        Self::new("CLOSED", format!("the {what} is closed"))
    }

    /// An argument that cannot be used.
    #[must_use]
    pub fn invalid(argument: &'static str, problem: impl fmt::Display) -> Self {
        Self::new("INVALID_ARGUMENT", format!("{argument}: {problem}"))
            .with("argument", Detail::Text(argument.to_owned()))
    }

    /// The time a caller allowed has passed; nothing went wrong.
    #[must_use]
    pub fn timeout(what: &str, after: Duration) -> Self {
        let mut failure = Self::new("TIMEOUT", format!("{what} within {after:?}"))
            .with("after", Detail::Span(after));
        failure.retryable = true;
        failure
    }

    /// The changes asked for are gone.
    #[must_use]
    pub fn compacted(compact_revision: i64) -> Self {
        let message = format!(
            "the changes asked for are compacted away (oldest revision left: {compact_revision}); \
             read the state anew and watch from there"
        );
        Self::new("COMPACTED", message).with("compact_revision", Detail::Number(compact_revision))
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, name: &'static str, detail: Detail) -> Self {
        self.details.push((name, detail));
        self
    }

    /// A short stable word for programs, the same in every language.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What happened and what to do, for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same call may succeed later without a change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// What the message speaks of, for programs.
    #[must_use]
    pub fn details(&self) -> &[(&'static str, Detail)] {
        &self.details
    }

    /// Code, message, whether it is retryable, and details.
    #[must_use]
    pub fn into_parts(self) -> (&'static str, String, bool, Vec<(&'static str, Detail)>) {
        (self.code, self.message, self.retryable, self.details)
    }

    fn about(self, kind: Kind, name: String) -> Self {
        self.with("recipe", Detail::Text(kind.to_string()))
            .with("name", Detail::Text(name))
    }

    fn waited(self, waited: Duration, holder: Option<Box<Member>>, at: Option<usize>) -> Self {
        let mut failure = self.with("after", Detail::Span(waited));
        if let Some(holder) = holder {
            failure = failure.with("holder", Detail::Holder(holder));
        }
        if let Some(position) = at.and_then(|position| position.try_into().ok()) {
            failure = failure.with("position", Detail::Number(position));
        }
        failure
    }

    fn unreached(self, unreached: Option<Box<handfast::core::Error>>) -> Self {
        match unreached {
            Some(error) => self.with("unreached", Detail::Text(error.to_string())),
            None => self,
        }
    }

    fn of_call(mut self, error: &handfast::core::Error) -> Self {
        if error.kind() == ErrorKind::Compacted {
            self.code = "COMPACTED";
        }
        if let Some(endpoint) = error.endpoint() {
            self = self.with("endpoint", Detail::Text(endpoint.to_owned()));
        }
        let kind = snake_case(&format!("{:?}", error.kind()));
        self.with("operation", Detail::Text(error.operation().to_owned()))
            .with("kind", Detail::Text(kind))
            .with("in_doubt", Detail::Flag(error.in_doubt()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<handfast::core::Error> for Failure {
    fn from(error: handfast::core::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut failure = Failure::new(error.code(), error.to_string());
        failure.retryable = error.is_retryable();
        match error {
            Error::Timeout {
                kind,
                name,
                waited,
                holder,
                position,
                unreached,
            } => {
                failure = failure.about(kind, name).unreached(unreached);
                failure.waited(waited, holder, position)
            }
            Error::Lost { kind, name, reason } | Error::SessionLost { kind, name, reason } => {
                failure
                    .about(kind, name)
                    .with("reason", Detail::Text(reason.code().to_owned()))
            }
            Error::KindConflict {
                name,
                wanted,
                found,
            } => failure
                .about(wanted, name)
                .with("found", Detail::Text(found.to_string())),
            Error::PublishConflict {
                name,
                since,
                revision,
                by,
                in_doubt,
                ..
            } => {
                failure = failure
                    .with("name", Detail::Text(name))
                    .with("since", Detail::Number(since))
                    .with("revision", Detail::Number(revision))
                    .with("in_doubt", Detail::Flag(in_doubt));
                match by {
                    Some(by) => failure.with("by", Detail::Text(by)),
                    None => failure,
                }
            }
            Error::ConfigRefused { name, revision, .. } => failure
                .with("name", Detail::Text(name))
                .with("revision", Detail::Number(revision)),
            Error::DuplicateInstance {
                service,
                instance,
                addr,
                owner,
            } => failure
                .with("service", Detail::Text(service))
                .with("instance", Detail::Text(instance))
                .with("addr", Detail::Text(addr))
                .with("holder", Detail::Holder(owner)),
            Error::NoInstance {
                service, stale_for, ..
            } => failure
                .with("service", Detail::Text(service))
                .with("stale_for", Detail::Span(stale_for)),
            Error::InvalidArgument { argument, .. } => {
                failure.with("argument", Detail::Text(argument.to_owned()))
            }
            Error::Client(error) => failure.of_call(&error),
            other => failure.of_recipe(other),
        }
    }
}

impl Failure {
    /// The details that only one recipe has.
    fn of_recipe(self, error: Error) -> Self {
        match error {
            Error::AckLost {
                queue,
                item,
                reason,
            } => self
                .with("name", Detail::Text(queue))
                .with("item", Detail::Text(item))
                .with("reason", Detail::Text(reason.code().to_owned())),
            Error::Draining { queue } => self.with("name", Detail::Text(queue)),
            Error::DuplicateInstance {
                service,
                instance,
                addr,
                owner,
            } => self
                .with("name", Detail::Text(service))
                .with("instance", Detail::Text(instance))
                .with("addr", Detail::Text(addr))
                .with("holder", Detail::Holder(owner)),
            Error::NoInstance {
                service, stale_for, ..
            } => self
                .with("name", Detail::Text(service))
                .with("stale_for", Detail::Span(stale_for)),
            Error::PublishConflict {
                name,
                since,
                revision,
                ..
            } => self
                .with("name", Detail::Text(name))
                .with("since", Detail::Number(since))
                .with("revision", Detail::Number(revision)),
            Error::ConfigRefused { name, revision, .. } => self
                .with("name", Detail::Text(name))
                .with("revision", Detail::Number(revision)),
            _ => self,
        }
    }
}

impl From<handfast_server::Error> for Failure {
    fn from(error: handfast_server::Error) -> Self {
        use handfast_server::Error;
        let code = match error {
            Error::Config(_) | Error::Address { .. } => "INVALID_ARGUMENT",
            _ => "INTERNAL",
        };
        Self::new(code, error.to_string())
    }
}

impl From<crate::runtime::Forked> for Failure {
    fn from(forked: crate::runtime::Forked) -> Self {
        Self::new("CLOSED", forked.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new("INTERNAL", format!("the system refuses: {error}"))
    }
}

fn snake_case(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<'a>(failure: &'a Failure, name: &str) -> Option<&'a str> {
        let found = failure.details().iter().find(|(known, _)| *known == name)?;
        match &found.1 {
            Detail::Text(text) => Some(text),
            _ => None,
        }
    }

    #[test]
    fn a_lost_lock_says_which_and_why() {
        let failure = Failure::from(Error::Lost {
            kind: Kind::Lock,
            name: "jobs".to_owned(),
            reason: handfast::LostReason::Expired,
        });
        assert_eq!(
            (failure.code(), failure.is_retryable()),
            ("LOCK_LOST", false)
        );
        assert_eq!(text(&failure, "recipe"), Some("lock"));
        assert_eq!(text(&failure, "name"), Some("jobs"));
        assert_eq!(text(&failure, "reason"), Some("expired"));
    }

    #[test]
    fn a_refused_endpoint_names_the_operation_and_the_kind() {
        let runtime = crate::runtime::handle().unwrap();
        let refused = runtime.block_on(handfast::Handfast::connect("ftp://a"));
        let failure = Failure::from(refused.unwrap_err());
        assert_eq!(failure.code(), "INVALID_ARGUMENT");
        assert_eq!(text(&failure, "kind"), Some("invalid_endpoint"));
        assert!(text(&failure, "operation").is_some());
    }

    #[test]
    fn a_timeout_may_be_tried_again() {
        let failure = Failure::timeout("nothing came", Duration::from_millis(1500));
        assert_eq!(failure.to_string(), "nothing came within 1.5s");
        assert!(failure.is_retryable());
    }
}
