//! No circle of imports among the modules of a crate, at any level of its tree.
//!
//! A module stands for everything below it; what a parent and its own children share is no circle.
//! Tests may import what they like.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, source::Source};

type Path = Vec<String>;

/// Imports at one level: from and to a name, with the place of one of them.
type Level = BTreeMap<String, BTreeMap<String, (String, usize)>>;

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut crates: BTreeMap<&str, Vec<(Path, &Source)>> = BTreeMap::new();
    for source in sources {
        if let Some((name, module)) = place(&source.path) {
            crates.entry(name).or_default().push((module, source));
        }
    }
    crates
        .values()
        .flat_map(|files| check_crate(files))
        .collect()
}

fn check_crate(files: &[(Path, &Source)]) -> Vec<Finding> {
    let modules: BTreeSet<Path> = files.iter().map(|(module, _)| module.clone()).collect();
    let mut exports = BTreeMap::new();
    for (module, source) in files {
        exports.extend(exported(module, source, &modules));
    }
    let mut levels: BTreeMap<Path, Level> = BTreeMap::new();
    for (module, source) in files {
        let code = source.product_code();
        for (at, path) in references(&code, module) {
            let target = resolve(&path, &modules, &exports);
            let shared = module
                .iter()
                .zip(&target)
                .take_while(|(one, two)| one == two)
                .count();
            if let (Some(from), Some(to)) = (module.get(shared), target.get(shared)) {
                let level = levels.entry(module[..shared].to_vec()).or_default();
                let line = code[..at].matches('\n').count() + 1;
                let seen = level.entry(from.clone()).or_default().entry(to.clone());
                seen.or_insert_with(|| (source.path.clone(), line));
            }
        }
    }
    levels.values().filter_map(circle).collect()
}

/// The crate's folder and the module path of a file; `None` for what is no module.
fn place(path: &str) -> Option<(&str, Path)> {
    let (krate, inside) = path.split_once("/src/")?;
    let inside = inside.strip_suffix(".rs")?;
    let mut module: Path = inside.split('/').map(str::to_owned).collect();
    if module.first().is_some_and(|first| first == "bin") {
        return None;
    }
    if module.last().is_some_and(|last| last == "mod") || ["lib", "main"].contains(&inside) {
        module.pop();
    }
    Some((krate, module))
}

/// Names that a module hands on from elsewhere, with the module that has them.
fn exported(
    module: &[String],
    source: &Source,
    modules: &BTreeSet<Path>,
) -> Vec<((Path, String), Path)> {
    let mut found = Vec::new();
    let code = source.product_code();
    for (at, _) in code.match_indices("use ") {
        let line = code[..at].rsplit('\n').next().unwrap_or_default().trim();
        if !line.starts_with("pub") {
            continue;
        }
        let mut paths = Vec::new();
        tree(&code[at + 4..], Vec::new(), &mut paths);
        for mut path in paths {
            let Some(name) = path.pop() else { continue };
            let full = absolute(&path, module);
            if let Some(owner) = longest(&full, modules).filter(|owner| owner.as_slice() != module)
            {
                found.push(((module.to_vec(), name), owner));
            }
        }
    }
    found
}

/// Every path of `code` that begins in this crate, as an absolute one, with its position.
fn references(code: &str, module: &[String]) -> Vec<(usize, Path)> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|char| char.is_alphanumeric() || char == '_' || char == ':') {
                continue;
            }
            let mut paths = Vec::new();
            tree(&code[at..], Vec::new(), &mut paths);
            found.extend(paths.into_iter().map(|path| (at, absolute(&path, module))));
        }
    }
    found
}

/// Reads a path or a tree of paths such as `a::{b, c::{d, e}}`; gives what follows it.
fn tree<'a>(code: &'a str, mut prefix: Path, paths: &mut Vec<Path>) -> &'a str {
    let mut rest = code.trim_start();
    loop {
        let length = rest.find(|char: char| !char.is_alphanumeric() && char != '_');
        let (name, after) = rest.split_at(length.unwrap_or(rest.len()));
        if !name.is_empty() {
            prefix.push(name.to_owned());
        }
        rest = after;
        let Some(after) = rest.strip_prefix("::") else {
            paths.push(prefix);
            return rest;
        };
        rest = after;
        if let Some(inside) = rest.strip_prefix('{') {
            return branches(inside, &prefix, paths);
        }
    }
}

fn branches<'a>(code: &'a str, prefix: &[String], paths: &mut Vec<Path>) -> &'a str {
    let mut rest = code.trim_start();
    loop {
        if rest.is_empty() {
            return rest;
        }
        if let Some(after) = rest.strip_prefix('}') {
            return after;
        }
        rest = tree(rest, prefix.to_vec(), paths).trim_start();
        // Skips what no path is made of: a comma, a star, the rest of `a as b`.
        while !rest.is_empty() && !rest.starts_with('}') {
            let next = rest.starts_with(',');
            rest = &rest[rest.chars().next().map_or(1, char::len_utf8)..];
            if next {
                break;
            }
        }
        rest = rest.trim_start();
    }
}

fn absolute(path: &[String], module: &[String]) -> Path {
    let mut base = module.to_vec();
    let mut rest = path;
    match path.first().map(String::as_str) {
        Some("crate") => {
            base.clear();
            rest = &path[1..];
        }
        Some("self") => rest = &path[1..],
        _ => {}
    }
    while rest.first().is_some_and(|first| first == "super") {
        base.pop();
        rest = &rest[1..];
    }
    base.extend_from_slice(rest);
    base
}

fn longest(path: &[String], modules: &BTreeSet<Path>) -> Option<Path> {
    (0..=path.len())
        .rev()
        .map(|end| path[..end].to_vec())
        .find(|it| modules.contains(it))
}

/// The module that has what `path` names.
fn resolve(
    path: &[String],
    modules: &BTreeSet<Path>,
    exports: &BTreeMap<(Path, String), Path>,
) -> Path {
    let mut owner = longest(path, modules).unwrap_or_default();
    let Some(name) = path.get(owner.len()) else {
        return owner;
    };
    // One re-export may lead to another, but not for ever.
    for _ in 0..8 {
        match exports.get(&(owner.clone(), name.clone())) {
            Some(next) => owner = next.clone(),
            None => break,
        }
    }
    owner
}

/// The first circle of a level.
fn circle(level: &Level) -> Option<Finding> {
    for start in level.keys() {
        let mut trail = vec![start.clone()];
        if search(level, start, start, &mut trail, &mut BTreeSet::new()) {
            let (path, line) = &level[start][&trail[1]];
            let steps = trail.windows(2).map(|step| {
                let (path, line) = &level[&step[0]][&step[1]];
                format!("{} -> {} ({path}:{line})", step[0], step[1])
            });
            let steps = steps.collect::<Vec<_>>().join(", ");
            let what = format!("modules import each other in a circle: {steps}");
            return Some(Finding::new(path, *line, what));
        }
    }
    None
}

fn search(
    level: &Level,
    at: &str,
    goal: &str,
    trail: &mut Vec<String>,
    seen: &mut BTreeSet<String>,
) -> bool {
    for next in level.get(at).into_iter().flat_map(BTreeMap::keys) {
        trail.push(next.clone());
        let found =
            next == goal || (seen.insert(next.clone()) && search(level, next, goal, trail, seen));
        if found {
            return true;
        }
        trail.pop();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> = files
            .iter()
            .map(|(path, text)| Source::new(path, text))
            .collect();
        check(&sources)
            .into_iter()
            .map(|finding| finding.what)
            .collect()
    }

    const CIRCLE: &str = "modules import each other in a circle: ";

    #[test]
    fn one_way_is_fine_and_so_are_parents_and_tests() {
        assert!(
            whats(&[
                ("x/src/lib.rs", "mod a;\nmod b;\npub use a::A;\n"),
                ("x/src/a.rs", "use crate::b::B;\nmod c;\npub use c::C;\n"),
                (
                    "x/src/a/c.rs",
                    "use super::Parent;\nuse crate::b::{B, D};\n"
                ),
                (
                    "x/src/b.rs",
                    "use std::fmt;\n#[cfg(test)]\nmod tests { use crate::a::A; }\n"
                ),
                ("y/src/b.rs", "use crate::a::A;\n"),
            ])
            .is_empty()
        );
    }

    #[test]
    fn a_circle_is_found_in_use_trees_and_in_paths() {
        let found = whats(&[
            (
                "x/src/a.rs",
                "//! A.\nuse crate::{\n    b::{self, B},\n};\n",
            ),
            ("x/src/b.rs", "fn f() -> crate::c::C { x }\n"),
            ("x/src/c.rs", "fn f() { super::a::g() }\n"),
        ]);
        let steps = "a -> b (x/src/a.rs:2), b -> c (x/src/b.rs:1), c -> a (x/src/c.rs:1)";
        assert_eq!(found, [format!("{CIRCLE}{steps}")]);
    }

    #[test]
    fn a_circle_through_a_re_export_is_found() {
        let found = whats(&[
            (
                "x/src/lib.rs",
                "mod a;\nmod b;\npub use a::A;\npub use b::{B as Other, B};\n",
            ),
            ("x/src/a.rs", "use crate::B;\n"),
            ("x/src/b.rs", "use crate::A;\n"),
        ]);
        let steps = "a -> b (x/src/a.rs:1), b -> a (x/src/b.rs:1)";
        assert_eq!(found, [format!("{CIRCLE}{steps}")]);
    }

    #[test]
    fn a_circle_among_siblings_deeper_down_is_found() {
        let found = whats(&[
            ("x/src/w/mod.rs", "mod a;\nmod b;\n"),
            ("x/src/w/a.rs", "use super::b::B;\n"),
            ("x/src/w/b.rs", "use crate::w::a::A;\n"),
        ]);
        let steps = "a -> b (x/src/w/a.rs:1), b -> a (x/src/w/b.rs:1)";
        assert_eq!(found, [format!("{CIRCLE}{steps}")]);
    }
}
