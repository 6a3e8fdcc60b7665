//! `/livez` and `/readyz`: whether to restart the member, and whether to send it requests.
//!
//! Owns the checks, one line for each, and which of them a probe makes.

use http::StatusCode;
use http::response::Response;
use tonic::body::Body;

use super::{TEXT, parameters, reply};
use crate::api::Node;

/// What `/livez` looks at.
const LIVE: &[Check] = &[Check::SerializableRead];
/// What `/readyz` looks at, in etcd's order.
const READY: &[Check] = &[
    Check::DataCorruption,
    Check::SerializableRead,
    Check::LinearizableRead,
    Check::NonLearner,
];

/// etcd's number of the alarm about members that differ.
const CORRUPT: i32 = handfast_proto::etcdserverpb::AlarmType::Corrupt as i32;

/// One thing that a probe looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }

    /// `Err` says what is wrong.
    async fn run(self, node: &Node) -> Result<(), String> {
        match self {
            Check::DataCorruption => {
                let corrupt = node
                    .store
                    .alarms()
                    .iter()
                    .any(|alarm| alarm.kind == CORRUPT);
                fail_if(corrupt, "alarm activated: CORRUPT")
            }
            // A store that has not stopped answers every local read.
            Check::SerializableRead => node.store.halted().map_or(Ok(()), Err),
            Check::LinearizableRead => node
                .catch_up()
                .await
                .map_err(|status| status.message().to_owned()),
            Check::NonLearner => fail_if(node.is_learner(), "not supported for learner"),
        }
    }
}

fn fail_if(failed: bool, why: &str) -> Result<(), String> {
    match failed {
        true => Err(why.to_owned()),
        false => Ok(()),
    }
}

/// A probe, or the one check of it that a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe {
    name: &'static str,
    checks: &'static [Check],
}

impl Probe {
    /// The probe at a path.
    pub(super) fn at(path: &str) -> Option<Probe> {
        let (name, checks, rest) = match (path.strip_prefix("/livez"), path.strip_prefix("/readyz"))
        {
            (Some(rest), _) => ("livez", LIVE, rest),
            (_, Some(rest)) => ("readyz", READY, rest),
            _ => return None,
        };
        if rest.is_empty() || rest == "/" {
            return Some(Probe { name, checks });
        }
        let one = rest.strip_prefix('/')?;
        let at = checks.iter().position(|check| check.name() == one)?;
        let checks = &checks[at..=at];
        Some(Probe { name, checks })
    }

    /// Makes the checks; all of them are named when one fails, or when that is asked for.
    pub(super) async fn answer(self, node: &Node, query: &str) -> Response<Body> {
        let excluded =
            |check: Check| parameters(query).any(|asked| asked == ("exclude", check.name()));
        let verbose = parameters(query).any(|(name, _)| name == "verbose");
        let mut lines = String::new();
        let mut failed = false;
        for &check in self.checks.iter().filter(|check| !excluded(**check)) {
            let outcome = check.run(node).await;
            node.metrics.check(self.name, check.name(), outcome.is_ok());
            match outcome {
                Ok(()) => lines.extend(["[+]", check.name(), " ok\n"]),
                Err(error) => {
                    failed = true;
                    lines.extend(["[-]", check.name(), " failed: ", &error, "\n"]);
                }
            }
        }
        if failed {
            lines.push('\n');
            return reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, lines);
        }
        let body = if verbose {
            lines + "ok\n"
        } else {
            "ok\n".to_owned()
        };
        reply(StatusCode::OK, TEXT, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::CHECKS;

    fn checks(path: &str) -> Option<&'static [Check]> {
        Probe::at(path).map(|probe| probe.checks)
    }

    #[test]
    fn a_path_names_all_checks_of_a_probe_or_one_of_them() {
        assert_eq!(checks("/livez"), Some(LIVE));
        assert_eq!(checks("/readyz"), Some(READY));
        let one = checks("/readyz/non_learner");
        assert_eq!(one, Some(&[Check::NonLearner][..]));
        assert_eq!(checks("/livez/non_learner"), None);
        assert_eq!(checks("/readyzzz"), None);
        assert_eq!(checks("/health"), None);
    }

    #[test]
    fn every_check_of_every_probe_is_counted() {
        let all = [("livez", LIVE), ("readyz", READY)];
        let named = all
            .iter()
            .flat_map(|(probe, checks)| checks.iter().map(|check| [*probe, check.name()]));
        assert!(named.eq(CHECKS));
    }
}
