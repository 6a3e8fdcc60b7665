//! Licences, sources and doubles of everything the product is built from.
//!
//! The same rules as deny.toml, for machines without cargo-deny.

use std::collections::BTreeMap;

use super::Finding;
use crate::metadata::Package;

/// Licences that allow everything this project does, in SPDX spelling.
const ALLOWED: [&str; 13] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "0BSD",
];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Crates that are there in more than one version because others ask for both. Adding one is a
/// decision: look first whether an older dependency can go.
const DOUBLES: [&str; 7] = [
    // Generators of tables and code, at build time only: nothing of them is in the binary.
    "hashbrown",
    "rand",
    "rand_core",
    "syn",
    // prost's derive macro has the older one, openraft the newer.
    "itertools",
    // A hash within openraft has the older one, our random numbers the newer.
    "cpufeatures",
    // Messages of the .proto compiler have the older one, progress bars the newer.
    "unicode-width",
];

pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let mut complain = |what: String| findings.push(Finding::new(&package.name, 0, what));
        if !is_allowed(&package.license) {
            complain(format!(
                "its licence is not among the allowed: {:?}",
                package.license
            ));
        }
        if package
            .source
            .as_ref()
            .is_some_and(|source| source != CRATES_IO)
        {
            complain(format!(
                "does not come from crates.io: {:?}",
                package.source
            ));
        }
        versions
            .entry(&package.name)
            .or_default()
            .push(&package.version);
    }
    for (name, versions) in versions {
        if versions.len() > 1 && !DOUBLES.contains(&name) {
            let what = format!("is there in several versions: {}", versions.join(", "));
            findings.push(Finding::new(name, 0, what));
        }
    }
    findings
}

/// Whether an SPDX expression can be met by allowed licences only.
fn is_allowed(expression: &str) -> bool {
    // An old spelling of OR.
    let expression = expression.replace('/', " OR ");
    any_of(expression.trim())
}

fn any_of(expression: &str) -> bool {
    split(expression, " OR ")
        .into_iter()
        .any(|part| all_of(part.trim()))
}

fn all_of(expression: &str) -> bool {
    let parts = split(expression, " AND ");
    parts.into_iter().all(|part| {
        let part = part.trim();
        match part
            .strip_prefix('(')
            .and_then(|part| part.strip_suffix(')'))
        {
            Some(inner) => any_of(inner),
            None => ALLOWED.contains(&part),
        }
    })
}

/// Cuts at `word` outside of brackets.
fn split<'a>(expression: &'a str, word: &str) -> Vec<&'a str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, char) in expression.char_indices() {
        match char {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 && at >= start && expression[at..].starts_with(word) => {
                parts.push(&expression[start..at]);
                start = at + word.len();
            }
            _ => {}
        }
    }
    parts.push(&expression[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, license: &str, source: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            license: license.to_owned(),
            source: source.map(str::to_owned),
            dependencies: Vec::new(),
        }
    }

    #[test]
    fn licences_are_read_as_expressions() {
        for fine in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-2.0 OR MIT",
            "(MIT OR GPL-2.0) AND Unicode-3.0",
        ] {
            assert!(is_allowed(fine), "{fine}");
        }
        for wrong in [
            "",
            "GPL-3.0",
            "MIT AND GPL-2.0",
            "(GPL-2.0 OR LGPL-3.0) AND MIT",
        ] {
            assert!(!is_allowed(wrong), "{wrong}");
        }
    }

    #[test]
    fn licences_sources_and_doubles_are_found() {
        let packages = [
            package("fine", "1.0.0", "MIT", Some(CRATES_IO)),
            package("ours", "1.0.0", "MIT OR Apache-2.0", None),
            package("viral", "1.0.0", "GPL-3.0", Some(CRATES_IO)),
            package(
                "forked",
                "1.0.0",
                "MIT",
                Some("git+https://example.org/forked"),
            ),
            package("twice", "1.0.0", "MIT", Some(CRATES_IO)),
            package("twice", "2.0.0", "MIT", Some(CRATES_IO)),
        ];
        let names: Vec<String> = check(&packages).into_iter().map(|it| it.path).collect();
        assert_eq!(names, ["viral", "forked", "twice"]);
    }
}
