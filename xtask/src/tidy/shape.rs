//! Rules of size: files and functions that fit into a head. Tests are left out.

use super::{Finding, source::Source, source::matching};

const LONGEST_FILE: usize = 600;
const LONGEST_FUNCTION: usize = 70;

pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = source.is_test.iter().filter(|is_test| !**is_test).count();
    if lines > LONGEST_FILE {
        let what = format!("{lines} lines without tests, at most {LONGEST_FILE}");
        findings.push(Finding::new(&source.path, 0, what));
    }
    for (name, first, last) in functions(source) {
        let length = last - first + 1;
        if length > LONGEST_FUNCTION && !source.is_test.get(first).copied().unwrap_or(false) {
            let what = format!("fn {name} has {length} lines, at most {LONGEST_FUNCTION}");
            findings.push(Finding::new(&source.path, first + 1, what));
        }
    }
    findings
}

/// Name, first and last line (from 0) of every function with a body.
fn functions(source: &Source) -> Vec<(String, usize, usize)> {
    let code = &source.code;
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|char| char.is_alphanumeric() || char == '_') {
            continue;
        }
        let name: String = code[at + 3..]
            .trim_start()
            .chars()
            .take_while(|char| char.is_alphanumeric() || *char == '_')
            .collect();
        if name.is_empty() {
            continue;
        }
        if let Some(open) = body(code, at)
            && let Some(close) = matching(code, open)
        {
            found.push((name, source.line_of(at), source.line_of(close)));
        }
    }
    found
}

/// Where the body of the function declared at `at` opens; `None` for a declaration only.
fn body(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (offset, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(offset),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(lines: usize) -> String {
        format!(
            "//! A.\nfn long(\n    a: [u8; 2],\n) {{\n{}}}\n",
            "    a();\n".repeat(lines - 4)
        )
    }

    #[test]
    fn a_function_of_the_longest_length_is_fine_and_one_line_more_is_found() {
        assert!(check(&Source::new("core/src/a.rs", &function(70))).is_empty());
        let findings = check(&Source::new("core/src/a.rs", &function(71)));
        let expected = Finding::new("core/src/a.rs", 2, "fn long has 71 lines, at most 70");
        assert_eq!(findings, [expected]);
    }

    #[test]
    fn tests_may_be_long() {
        let text = format!("//! A.\n#[cfg(test)]\nmod tests {{\n{}}}\n", function(90));
        assert!(check(&Source::new("core/src/a.rs", &text)).is_empty());
        assert!(check(&Source::new("core/tests/a.rs", &function(90))).is_empty());
    }

    #[test]
    fn a_long_file_is_found() {
        let text = "//! A.\n".to_owned() + &"const A: u8 = 1;\n".repeat(600);
        let findings = check(&Source::new("core/src/a.rs", &text));
        assert_eq!(findings[0].what, "601 lines without tests, at most 600");
    }
}
