//! What failed tests said, short enough to be read at the end of a long run.
//!
//! Owns the reading of what the test runners of cargo, of pytest and of Node print. Knows nothing
//! of how they are started.

/// The most that is said of one failed test, in characters.
const LINE: usize = 320;
/// The most lines shown of what one failed test printed: the last ones.
const SHOWN: usize = 50;

/// One line for each failed test in the output of any of the three runners.
pub(crate) fn told(output: &str) -> Vec<String> {
    let lines: Vec<&str> = output.lines().collect();
    let mut told = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let rest = &lines[at + 1..];
        let said = if let Some(name) = section(line) {
            format!("{name}: {}", reason(rest))
        } else if line.starts_with("FAILED ") || line.starts_with("ERROR ") {
            // Pytest's own summary.
            (*line).to_owned()
        } else if let Some(name) = line.trim_start().strip_prefix("not ok ") {
            format!("{name}: {}", error_of_node(rest))
        } else {
            continue;
        };
        told.push(said.chars().take(LINE).collect());
    }
    told
}

/// The test whose captured output follows, in libtest's words.
fn section(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

/// Why a test of cargo's failed, from the lines that follow its headline.
fn reason(rest: &[&str]) -> String {
    let own = own_section(rest);
    let panic = own.iter().position(|line| line.contains("panicked at "));
    let Some(at) = panic else {
        let error = own.iter().find(|line| line.starts_with("Error: "));
        return error.map_or_else(|| "no reason given".to_owned(), |line| (*line).to_owned());
    };
    let place = own[at].split("panicked at ").last().unwrap_or_default();
    let ends = |line: &&&str| !line.starts_with("note: ") && !line.starts_with("stack backtrace");
    let message = own[at + 1..].iter().take_while(ends).take(4);
    let message: Vec<&str> = message.map(|line| line.trim()).collect();
    format!("{place} {}", message.join(" "))
}

/// The lines up to the headline of the next failed test, or to the list of them all.
fn own_section<'a, 'b>(rest: &'a [&'b str]) -> &'a [&'b str] {
    let ends = |line: &&str| section(line).is_some() || *line == "failures:";
    let end = rest.iter().position(ends).unwrap_or(rest.len());
    &rest[..end]
}

/// The error in the block that follows a failed test of Node's.
fn error_of_node(rest: &[&str]) -> String {
    let block = rest.iter().take_while(|line| line.trim() != "...");
    let mut block = block.map(|line| line.trim()).take(40);
    let Some(error) = block.find(|line| line.starts_with("error:")) else {
        return "no reason given".to_owned();
    };
    // A text of several lines begins on the next.
    let text = error.trim_start_matches("error:").trim();
    match text.starts_with('|') {
        true => block.take(2).collect::<Vec<_>>().join(" "),
        false => text.to_owned(),
    }
}

/// What is worth showing of the output of a test program that failed: what its failed tests
/// printed last, and of their backtraces the places below `root` only.
pub(crate) fn shown(output: &str, root: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let headlines = lines.iter().enumerate();
    let headlines = headlines.filter(|(_, line)| section(line).is_some());
    let mut shown = Vec::new();
    for (at, headline) in headlines {
        let own = own_section(&lines[at + 1..]);
        shown.push((*headline).to_owned());
        shown.extend(last_of(own, root));
    }
    if shown.is_empty() {
        // It did not come to an end.
        shown = last_of(&lines, root);
    }
    shown.join("\n")
}

fn last_of(lines: &[&str], root: &str) -> Vec<String> {
    let mut kept: Vec<&str> = Vec::new();
    let mut in_backtrace = false;
    for line in lines {
        in_backtrace = match line.trim() {
            "stack backtrace:" => true,
            other => in_backtrace && !other.is_empty() && !other.starts_with("note: "),
        };
        let place = line.trim().strip_prefix("at ");
        let is_own = place.is_some_and(|place| place.starts_with("./") || place.contains(root));
        if !in_backtrace || is_own {
            kept.push(line);
        }
    }
    let skipped = kept.len().saturating_sub(SHOWN);
    let head = (skipped > 0).then(|| format!("({skipped} lines before these)"));
    let tail = kept[skipped..].iter().map(|line| (*line).to_owned());
    head.into_iter().chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARGO: &str = "\
running 2 tests
test a::fine ... ok
test b::torn ... FAILED

failures:

---- b::torn stdout ----
case 1

thread 'b::torn' (71) panicked at recipes/tests/torn.rs:135:9:
assertion `left == right` failed: one without the other
  left: false
 right: true
stack backtrace:
   0: __rustc::rust_begin_unwind
             at /rustc/1/library/std/src/panicking.rs:689:5
   1: etcd::tried::check
             at ./tests/torn.rs:135:9

---- c::refused stdout ----
Error: \"no such thing\"


failures:
    b::torn
    c::refused

test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";

    #[test]
    fn a_failed_test_of_cargos_is_told_with_place_and_message() {
        let said = told(CARGO);
        assert_eq!(said.len(), 2);
        let torn = "b::torn: recipes/tests/torn.rs:135:9: assertion `left == right` failed: \
                    one without the other left: false right: true";
        assert_eq!(said[0], torn);
        assert_eq!(said[1], "c::refused: Error: \"no such thing\"");
    }

    #[test]
    fn failed_tests_of_pytest_and_node_are_told() {
        let pytest = "..F\nFAILED tests/test_lock.py::test_it - assert 1 == 2\n1 failed in 1s";
        let it = "FAILED tests/test_lock.py::test_it - assert 1 == 2";
        assert_eq!(told(pytest), [it]);
        let node = "ok 1 - fine\nnot ok 2 - a lock\n  ---\n  location: 'a.js:1'\n  error: |-\n    \
                    it hangs\n  code: 'X'\n  ...\n";
        assert_eq!(told(node), ["2 - a lock: it hangs code: 'X'"]);
        let short = "not ok 3 - b\n  ---\n  error: 'no'\n  ...";
        assert_eq!(told(short), ["3 - b: 'no'"]);
    }

    #[test]
    fn foreign_places_of_a_backtrace_and_tests_that_passed_are_left_out() {
        let text = shown(CARGO, "/srv/x/handfast");
        assert!(text.contains("---- b::torn") && text.contains("at ./tests/torn.rs:135:9"));
        assert!(text.contains("---- c::refused") && text.contains("right: true"));
        assert!(
            !text.contains("panicking.rs") && !text.contains("a::fine"),
            "{text}"
        );
        let many = (0..100).map(|line| format!("{line}\n")).collect::<String>();
        let text = shown(&many, "/srv/x");
        assert!(text.starts_with("(50 lines before these)\n50\n") && text.ends_with("\n99"));
    }
}
