//! Crates depend downward only, and two foreign crates stay behind one door each.

use super::{Finding, source::Source};
use crate::metadata::Package;

/// Each crate of the product with what it may be built with, lowest first.
const BELOW: [(&str, &[&str]); 12] = [
    ("handfast-proto", &[]),
    ("handfast-fault", &[]),
    ("handfast-storage", &["handfast-proto", "handfast-fault"]),
    (
        "handfast-mvcc",
        &["handfast-proto", "handfast-fault", "handfast-storage"],
    ),
    (
        "handfast-consensus",
        &[
            "handfast-proto",
            "handfast-fault",
            "handfast-storage",
            "handfast-mvcc",
        ],
    ),
    (
        "handfast-server",
        &[
            "handfast-proto",
            "handfast-fault",
            "handfast-storage",
            "handfast-mvcc",
            "handfast-consensus",
        ],
    ),
    ("handfast-core", &["handfast-proto"]),
    ("handfast", &["handfast-proto", "handfast-core"]),
    (
        "handfast-cli",
        &[
            "handfast-proto",
            "handfast-core",
            "handfast",
            "handfast-server",
        ],
    ),
    (
        "handfast-bindings",
        &[
            "handfast-proto",
            "handfast-core",
            "handfast",
            "handfast-server",
        ],
    ),
    (
        "handfast-python",
        &[
            "handfast-proto",
            "handfast-core",
            "handfast",
            "handfast-server",
            "handfast-cli",
            "handfast-bindings",
            // Optional, and for tests.
            "handfast-features",
        ],
    ),
    (
        "handfast-node",
        &[
            "handfast-proto",
            "handfast-core",
            "handfast",
            "handfast-server",
            "handfast-cli",
            "handfast-bindings",
            // Optional, and for tests.
            "handfast-features",
        ],
    ),
];

/// Crates that tests and tools are made of; nothing of the product may be built with them.
const OUTSIDE: [&str; 9] = [
    "handfast-checker",
    "handfast-features",
    "handfast-kit",
    "handfast-ports",
    "handfast-sim",
    "handfast-tests",
    "handfast-workloads",
    "handfast-examples",
    "xtask",
];

/// A foreign crate, the one crate that may be built with it, and the folder that may name it.
const DOORS: [(&str, &str, &str); 2] = [
    ("openraft", "handfast-consensus", "server/consensus/"),
    ("redb", "handfast-storage", "server/storage/"),
];

/// Checks the dependencies of the workspace's own packages.
pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ours = packages.iter().filter(|package| package.source.is_none());
    for package in ours {
        let mut complain = |what: String| findings.push(Finding::new(&package.name, 0, what));
        let below = BELOW.iter().find(|(name, _)| *name == package.name);
        let is_outside = OUTSIDE.contains(&package.name.as_str());
        if below.is_none() && !is_outside {
            complain("a crate that the table of xtask/src/tidy/crates.rs does not know".to_owned());
        }
        for used in &package.dependencies {
            let is_ours = BELOW.iter().any(|(name, _)| name == used) || used == "xtask";
            let is_ours = is_ours || OUTSIDE.contains(&used.as_str());
            let may = is_outside || below.is_some_and(|(_, may)| may.contains(&used.as_str()));
            if is_ours && !may {
                complain(format!(
                    "must not be built with {used}, which is not below it"
                ));
            }
            let door = DOORS.iter().find(|(foreign, ..)| used.starts_with(foreign));
            if let Some((foreign, only, _)) = door.filter(|(_, only, _)| *only != package.name) {
                complain(format!("must not be built with {foreign}, only {only} may"));
            }
        }
    }
    findings
}

/// Checks that no code elsewhere names the foreign crates.
pub(super) fn check_names(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for (foreign, _, folder) in DOORS.iter().filter(|door| !source.path.starts_with(door.2)) {
            let path = format!("{foreign}::");
            let named = source.code.lines().position(|line| line.contains(&path));
            if let Some(line) = named {
                let what = format!("names {foreign}, which only {folder} may");
                findings.push(Finding::new(&source.path, line + 1, what));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[&str]) -> Package {
        Package {
            name: name.to_owned(),
            source: None,
            dependencies: dependencies.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    fn whats(name: &str, dependencies: &[&str]) -> Vec<String> {
        let findings = check(&[package(name, dependencies)]);
        findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn downward_is_fine() {
        assert!(whats("handfast-server", &["handfast-consensus", "tokio"]).is_empty());
        assert!(whats("handfast-storage", &["redb"]).is_empty());
        assert!(whats("handfast-examples", &["handfast-server"]).is_empty());
    }

    #[test]
    fn upward_sideways_and_unknown_are_found() {
        assert_eq!(whats("handfast-storage", &["handfast-mvcc"]).len(), 1);
        assert_eq!(whats("handfast-core", &["handfast-server"]).len(), 1);
        assert_eq!(whats("handfast-proto", &["handfast-tests"]).len(), 1);
        assert_eq!(whats("handfast-new", &[]).len(), 1);
    }

    #[test]
    fn foreign_crates_stay_behind_their_door() {
        assert_eq!(whats("handfast-mvcc", &["redb"]).len(), 1);
        assert_eq!(whats("handfast-server", &["openraft"]).len(), 1);
        let naming = |path: &str| Source::new(path, "//! A.\nuse openraft::Raft; // redb::X\n");
        let findings = check_names(&[
            naming("server/src/a.rs"),
            naming("server/consensus/src/a.rs"),
        ]);
        assert_eq!(findings.len(), 1);
        assert_eq!(
            (findings[0].path.as_str(), findings[0].line),
            ("server/src/a.rs", 2)
        );
    }
}
