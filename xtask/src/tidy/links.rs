//! Links between documents lead somewhere.

use std::path::{Component, Path, PathBuf};

use super::Finding;

/// Checks every relative link of a Markdown text. `exists` is asked for paths from the top.
pub(super) fn check(path: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<Finding> {
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    let mut findings = Vec::new();
    let mut is_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        for target in targets(line) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if !exists(&normal(&folder.join(file))) {
                findings.push(Finding::new(
                    path,
                    index + 1,
                    format!("no such file: {target}"),
                ));
            }
        }
    }
    findings
}

/// What follows `](` up to the closing bracket, for every link of a line.
fn targets(line: &str) -> Vec<&str> {
    let parts = line.split("](").skip(1);
    parts
        .filter_map(|part| part.split(')').next())
        .map(str::trim)
        .collect()
}

fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let exists = |path: &Path| path == Path::new("docs/a.md") || path == Path::new("README.md");
        check("docs/b.md", text, exists)
            .into_iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn links_to_files_that_exist_are_fine() {
        assert!(
            lines("[a](a.md) [r](../README.md#top) [here](#below) [w](https://a.b/c)").is_empty()
        );
        assert!(lines("```\n[code](none.md)\n```").is_empty());
    }

    #[test]
    fn a_link_into_the_void_is_found() {
        assert_eq!(lines("text\n[a](a.md), [c](c.md)"), [2]);
        assert_eq!(lines("[up](../docs/../../a.md)"), [1]);
    }
}
