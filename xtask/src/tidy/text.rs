//! Rules for every text: no word of somebody's machine, no long line, and a header in Rust files.

use super::Finding;

/// Columns of a line of code.
const WIDEST: usize = 100;

/// Written in two parts, so that this file keeps its own rule.
const FORBIDDEN: [&str; 5] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/tmp/bash", "_jobs"),
];

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_code = [".rs", ".py", ".sh"].iter().any(|end| path.ends_with(end));
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        for word in FORBIDDEN.iter().filter(|word| line.contains(**word)) {
            findings.push(Finding::new(
                path,
                number,
                format!("names a path of a machine: {word}"),
            ));
        }
        let width = line.chars().count();
        if is_code && width > WIDEST {
            let what = format!("{width} columns, at most {WIDEST}");
            findings.push(Finding::new(path, number, what));
        }
    }
    if path.ends_with(".rs") && !text.starts_with("//!") {
        let what = "starts without //!: what the file owns and what it must not know";
        findings.push(Finding::new(path, 1, what));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(path: &str, text: &str) -> Vec<String> {
        check(path, text)
            .into_iter()
            .map(|finding| finding.what)
            .collect()
    }

    #[test]
    fn a_good_file_has_no_finding() {
        assert!(check("a.rs", "//! Owns nothing.\n\nfn a() {}\n").is_empty());
    }

    #[test]
    fn a_missing_header_is_found() {
        assert!(whats("a.rs", "fn a() {}\n")[0].starts_with("starts without //!"));
        assert!(whats("a.md", "# A\n").is_empty());
    }

    #[test]
    fn a_long_line_is_found_in_code_only() {
        let line = format!("//! {}", "ü".repeat(97));
        assert_eq!(whats("a.rs", &line), ["101 columns, at most 100"]);
        assert!(whats("a.md", &line).is_empty());
        assert!(whats("a.rs", &line[..line.len() - 2]).is_empty());
    }

    #[test]
    fn a_path_of_a_machine_is_found_everywhere() {
        let line = format!("see {}anna/notes", FORBIDDEN[2]);
        assert_eq!(
            check("a.md", &line),
            [Finding::new("a.md", 1, whats("a.md", &line)[0].clone())]
        );
        assert!(whats("a.toml", &line)[0].contains("path of a machine"));
    }
}
