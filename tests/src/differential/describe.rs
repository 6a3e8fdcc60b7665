//! Short text of a message: the generated `Debug` names every field, here only those that are set.

use std::fmt::Debug;

const DEFAULTS: [&str; 7] = [
    ": 0", ": false", ": b\"\"", ": None", ": []", ": \"\"", ": Put",
];

/// Values are shown to this length, in characters.
const LONGEST: usize = 120;

/// `value` as text, without the fields that have their default value.
pub fn describe(value: &impl Debug) -> String {
    let full = format!("{value:?}");
    let mut out = String::with_capacity(full.len());
    for field in fields(&full) {
        if DEFAULTS.iter().any(|default| field.ends_with(default)) {
            continue;
        }
        let follows = !out.is_empty() && !out.ends_with(['{', '(', '[']);
        if follows && !field.starts_with(['}', ')', ']']) {
            out.push_str(", ");
        }
        let cut = field
            .char_indices()
            .nth(LONGEST)
            .map_or(field.len(), |(at, _)| at);
        out.push_str(&field[..cut]);
        if cut < field.len() {
            out.push('…');
        }
    }
    out
}

/// Cuts outside of quotes at commas, after opening brackets and before closing ones.
fn fields(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let (mut start, mut at, mut quoted, mut found) = (0, 0, false, Vec::new());
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            // An empty list stays in one piece, to be known as a default.
            b'[' if !quoted && bytes.get(at + 1) == Some(&b']') => at += 1,
            b'{' | b'(' | b'[' if !quoted => {
                found.push(&text[start..=at]);
                start = at + 1;
            }
            b'}' | b')' | b']' if !quoted => {
                found.push(&text[start..at]);
                start = at;
            }
            b',' if !quoted => {
                found.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    found.push(&text[start..]);
    found
        .into_iter()
        .map(str::trim)
        .filter(|field| !field.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use handfast_proto::etcdserverpb::{PutRequest, RangeRequest};

    use super::describe;
    use crate::differential::Op;

    #[test]
    fn only_what_is_set_is_shown() {
        let put = PutRequest {
            key: "a, b".into(),
            lease: 7,
            ..PutRequest::default()
        };
        let text = describe(&Op::Put(put));
        assert!(
            text.contains("key: b\"a, b\"") && text.contains("lease: 7"),
            "{text}"
        );
        assert!(
            !text.contains("prev_kv") && !text.contains("ignore"),
            "{text}"
        );
        let text = describe(&Op::Range(RangeRequest {
            limit: 10,
            ..RangeRequest::default()
        }));
        assert!(
            text.contains("limit: 10") && !text.contains("revision"),
            "{text}"
        );
    }
}
