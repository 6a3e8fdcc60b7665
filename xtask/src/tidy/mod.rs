//! The rules of the house, as a test.
//!
//! Each rule is a module with a function from what it looks at to a list of [`Finding`]s, and with
//! tests that show it fire. Owns no list of exceptions: what a rule leaves out is in the rule.

mod crates;
mod links;
mod modules;
mod panics;
mod shape;
mod source;
mod text;

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Result, metadata, root};
use source::Source;

/// Folders that are not ours to check.
const SKIPPED: [&str; 6] = [
    "target",
    ".git",
    "node_modules",
    "__pycache__",
    ".venv",
    ".cache",
];

/// A rule that is broken, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    /// From 1; 0 for the file as a whole.
    line: usize,
    what: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            what: what.into(),
        }
    }
}

/// Checks the working tree.
///
/// # Errors
/// When a rule is broken; every finding is printed.
pub(crate) fn run() -> Result<()> {
    let root = root();
    let mut files = Vec::new();
    walk(&root, &mut files)?;
    files.sort();
    let mut findings = Vec::new();
    let mut sources = Vec::new();
    let mut texts = 0;
    for file in &files {
        let name = file.strip_prefix(&root)?.to_string_lossy().into_owned();
        // What is not text is not checked.
        let Ok(content) = fs::read_to_string(file) else {
            continue;
        };
        texts += 1;
        findings.extend(text::check(&name, &content));
        if name.ends_with(".md") {
            findings.extend(links::check(&name, &content, |link| {
                root.join(link).exists()
            }));
        }
        if name.ends_with(".rs") {
            sources.push(Source::new(&name, &content));
        }
    }
    for source in &sources {
        findings.extend(shape::check(source));
        findings.extend(panics::check(source));
    }
    findings.extend(modules::check(&sources));
    let packages = metadata::packages()?;
    findings.extend(crates::check(&packages));
    findings.extend(crates::check_names(&sources));
    findings.sort();
    for Finding { path, line, what } in &findings {
        println!("{path}:{line}: {what}");
    }
    if !findings.is_empty() {
        return Err(format!("{} findings", findings.len()).into());
    }
    println!(
        "tidy: {texts} texts, {} of them Rust, {} packages",
        sources.len(),
        packages.len()
    );
    Ok(())
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let is_data = name.ends_with(".data") || name.ends_with(".etcd");
        if path.is_symlink() || is_data || SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
