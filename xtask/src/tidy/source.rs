//! A Rust file in two views: as written, and with comments and literals blanked out.
//!
//! A small lexer rather than a parser, so that xtask compiles in seconds. Must not know any rule.

/// A Rust file.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) path: String,
    /// The lines as written.
    pub(super) lines: Vec<String>,
    /// The same text with comments and the insides of literals as spaces; line breaks are kept.
    pub(super) code: String,
    /// Whether each line belongs to tests.
    pub(super) is_test: Vec<bool>,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code = blanked(text);
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut is_test = vec![is_test_path(path); lines.len()];
        for (from, to) in test_regions(&code) {
            is_test[from..=to.min(lines.len() - 1)].fill(true);
        }
        Self {
            path: path.to_owned(),
            lines,
            code,
            is_test,
        }
    }

    /// The line (from 0) of a byte of `code`.
    pub(super) fn line_of(&self, at: usize) -> usize {
        self.code[..at]
            .bytes()
            .filter(|byte| *byte == b'\n')
            .count()
    }

    /// The code without the lines of tests.
    pub(super) fn product_code(&self) -> String {
        let lines = self.code.lines().zip(&self.is_test);
        let kept = lines.map(|(line, is_test)| if *is_test { "" } else { line });
        kept.collect::<Vec<_>>().join("\n")
    }
}

/// Files that hold nothing but tests, benchmarks, examples and their helpers.
fn is_test_path(path: &str) -> bool {
    let folders = ["tests", "benches", "examples", "testing"];
    let mut parts = path.split('/');
    parts.any(|part| folders.contains(&part) || part == "testing.rs" || part.ends_with("tests.rs"))
}

/// First and last line of every item behind `#[cfg(test)]` or `#[cfg(any(test, …))]`.
fn test_regions(code: &str) -> Vec<(usize, usize)> {
    let line_of = |at: usize| code[..at].bytes().filter(|byte| *byte == b'\n').count();
    let mut regions = Vec::new();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(") {
        let start = from + found;
        let condition = &code[start..code.len().min(start + 60)];
        from = start + 6;
        let close = condition.find(']').unwrap_or(condition.len());
        let condition = &condition[..close];
        let is_test =
            condition.starts_with("#[cfg(test)") || condition.starts_with("#[cfg(all(test");
        if !is_test {
            continue;
        }
        let after = start + close + 1;
        let end = match code[after..].find(['{', ';']) {
            Some(at) if code[after + at..].starts_with('{') => matching(code, after + at),
            Some(at) => Some(after + at),
            None => None,
        };
        let end = end.unwrap_or(code.len());
        regions.push((line_of(start), line_of(end)));
        from = end;
    }
    regions
}

/// Where the bracket that opens at `open` closes.
pub(super) fn matching(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if let Some(end) = end {
            let end = end.min(bytes.len());
            let blank = out[at..end].iter_mut().filter(|byte| **byte != b'\n');
            blank.for_each(|byte| *byte = b' ');
            at = end;
        } else {
            at += 1;
        }
    }
    // Only whole comments and literals were blanked, so no character was cut in two.
    String::from_utf8_lossy(&out).into_owned()
}

/// The end of the comment or literal that starts at `at`, if one does.
fn literal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let follows_word = at > 0 && is_word(&bytes[at - 1]);
    if rest.starts_with(b"//") {
        return Some(
            at + rest
                .iter()
                .position(|byte| *byte == b'\n')
                .unwrap_or(rest.len()),
        );
    }
    if rest.starts_with(b"/*") {
        return Some(at + block_comment(rest));
    }
    if rest[0] == b'"' {
        return Some(at + quoted(rest, 1, b'"'));
    }
    if rest[0] == b'\'' {
        return character(rest).map(|length| at + length);
    }
    if follows_word || !matches!(rest[0], b'r' | b'b' | b'c') {
        return None;
    }
    let prefix = rest
        .iter()
        .take_while(|byte| matches!(byte, b'r' | b'b' | b'c'))
        .count();
    let hashes = rest[prefix..]
        .iter()
        .take_while(|byte| **byte == b'#')
        .count();
    match rest.get(prefix + hashes) {
        Some(b'"') if rest[..prefix].contains(&b'r') => Some(at + raw(rest, prefix, hashes)),
        Some(b'"') if hashes == 0 => Some(at + quoted(rest, prefix + 1, b'"')),
        Some(b'\'') if hashes == 0 && rest[0] == b'b' => Some(at + quoted(rest, prefix + 1, b'\'')),
        _ => None,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn quoted(rest: &[u8], start: usize, quote: u8) -> usize {
    let mut at = start;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 1,
            byte if byte == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    rest.len()
}

fn raw(rest: &[u8], prefix: usize, hashes: usize) -> usize {
    let mut close = vec![b'"'];
    close.extend(std::iter::repeat_n(b'#', hashes));
    let start = prefix + hashes + 1;
    let body = rest[start..]
        .windows(close.len())
        .position(|it| it == close);
    body.map_or(rest.len(), |at| start + at + close.len())
}

/// A character literal, which a lifetime is not.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        return Some(quoted(rest, 1, b'\''));
    }
    let width = std::str::from_utf8(&rest[1..rest.len().min(5)])
        .or_else(|error| std::str::from_utf8(&rest[1..1 + error.valid_up_to()]))
        .ok()
        .and_then(|text| text.chars().next())
        .map_or(1, char::len_utf8);
    (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_code_is_not() {
        let code = |text: &str| {
            blanked(text)
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(code("a // b {\nc"), "a c");
        assert_eq!(code("a /* b /* { */ c */ d"), "a d");
        assert_eq!(code("f(\"} \\\" {\") g"), "f( ) g");
        assert_eq!(code("r#\"a \" b\"# c b'}' 'ü' '\\'' d"), "c d");
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
        assert_eq!(code("bar\"x\""), "bar");
    }

    #[test]
    fn lines_of_tests_are_known() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() {}\n}\nfn c() {}\n";
        let source = Source::new("core/src/a.rs", text);
        assert_eq!(source.is_test, [false, true, true, true, true, false]);
        let elsewhere = Source::new("core/src/a/tests.rs", text);
        assert!(elsewhere.is_test.iter().all(|it| *it));
        let declared = Source::new("core/src/a.rs", "#[cfg(test)]\nmod tests;\nfn c() {}\n");
        assert_eq!(declared.is_test, [true, true, false]);
    }
}
