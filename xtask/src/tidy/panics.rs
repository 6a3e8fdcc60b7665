//! No panic on a path that input can reach: outside of tests none of these words may be used.

use super::{Finding, source::Source};

/// Shorter than this, a text says nothing of why the case cannot happen.
const SHORTEST_REASON: usize = 10;

const WORDS: [&str; 4] = [".unwrap()", "panic!(", "todo!(", "unimplemented!("];

pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, code) in source.code.lines().enumerate() {
        if source.is_test.get(index).copied().unwrap_or(false) {
            continue;
        }
        for word in WORDS.iter().filter(|word| uses(code, word)) {
            let what = format!("{word} outside of tests: give the error back");
            findings.push(Finding::new(&source.path, index + 1, what));
        }
        if code.contains(".expect(") && !has_reason(&source.lines, index) {
            let what = ".expect( needs a text that says why this cannot fail";
            findings.push(Finding::new(&source.path, index + 1, what));
        }
    }
    findings
}

fn uses(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let goes_on = before.is_some_and(|char| char.is_alphanumeric() || char == '_');
        word.starts_with('.') || !goes_on
    })
}

/// Whether a text follows `.expect(` on this line or the next.
fn has_reason(lines: &[String], index: usize) -> bool {
    let here = lines[index]
        .split_once(".expect(")
        .map_or("", |(_, after)| after)
        .trim();
    let text = if here.is_empty() {
        lines.get(index + 1).map_or("", |it| it.trim())
    } else {
        here
    };
    let text = text
        .strip_prefix('"')
        .and_then(|text| text.split('"').next());
    text.is_some_and(|text| text.chars().count() >= SHORTEST_REASON)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let source = Source::new("core/src/a.rs", &format!("//! A.\n{text}\n"));
        check(&source)
            .into_iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn every_word_is_found() {
        for word in [
            "a.unwrap();",
            "panic!(\"x\");",
            "todo!();",
            "unimplemented!();",
        ] {
            assert_eq!(lines(word), [2], "{word}");
        }
    }

    #[test]
    fn an_expect_needs_a_reason() {
        assert_eq!(lines("a.expect(\"b\")"), [2]);
        assert_eq!(lines("a.expect(reason)"), [2]);
        assert!(lines("a.expect(\"the lock is never poisoned\")").is_empty());
        assert!(lines("a.expect(\n    \"the lock is never poisoned\",\n)").is_empty());
    }

    #[test]
    fn relatives_comments_texts_and_tests_are_fine() {
        assert!(lines("a.unwrap_or(1); // .unwrap()").is_empty());
        assert!(
            lines("print(\"panic!(\"); my_panic!(1); resume_unwind(); a.expect_err(x)").is_empty()
        );
        assert!(lines("#[cfg(test)]\nmod tests { fn a() { b.unwrap() } }").is_empty());
    }
}
