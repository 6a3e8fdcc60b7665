//! Text output of two servers made comparable: ids, times and sizes become marks.

/// `text` with what differs between any two servers replaced: long hex ids, big numbers, spans of
/// time, and each of `names` (such as an address) by its mark.
#[must_use]
pub fn masked(text: &str, names: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (name, mark) in names {
        text = text.replace(name, mark);
    }
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    for char in text.chars() {
        if char.is_alphanumeric() || matches!(char, '.' | 'µ') {
            word.push(char);
        } else {
            out.push_str(mark(&word));
            word.clear();
            out.push(char);
        }
    }
    out.push_str(mark(&word));
    mask_widths(&mask_terms(&out))
}

/// Columns of a table are as wide as what is in them: ids have 16 digits, and sometimes fewer.
fn mask_widths(text: &str) -> String {
    let is_row = |line: &str| line.starts_with("+-") || line.starts_with("| ");
    let narrow = |line: &str| {
        let mut out = String::with_capacity(line.len());
        for char in line.chars() {
            if !(matches!(char, '-' | ' ') && out.ends_with(char)) {
                out.push(char);
            }
        }
        out
    };
    let lines = text.split('\n').map(|line| match is_row(line) {
        true => narrow(line),
        false => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Raft terms in JSON and in etcdctl's list of fields: small numbers, known by their label only.
fn mask_terms(text: &str) -> String {
    let mut text = text.to_owned();
    for label in ["\"raft_term\":", "\"RaftTerm\" : "] {
        let parts: Vec<&str> = text.split(label).collect();
        let rest = parts[1..]
            .iter()
            .map(|it| it.trim_start_matches(|c: char| c.is_ascii_digit()));
        let rest: String = rest.map(|it| format!("{label}<term>{it}")).collect();
        text = format!("{}{rest}", parts[0]);
    }
    text
}

fn mark(word: &str) -> &str {
    let is_number = word.chars().all(|char| char.is_ascii_digit());
    let is_hex = word.chars().all(|char| char.is_ascii_hexdigit());
    let is_time = ["ms", "µs", "ns", "s"].iter().any(|unit| {
        let number = word.strip_suffix(unit);
        number.is_some_and(|number| number.contains('.') && number.parse::<f64>().is_ok())
    });
    match word.len() {
        15.. if is_number => "<id>",
        12..=16 if is_hex => "<id>",
        _ if is_time => "<time>",
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn ids_times_and_names_are_masked_and_nothing_else() {
        let text =
            "http://127.0.0.1:4001 is healthy: took = 1.53ms, lease 694d8a1b2c3d4e5f, rev 12";
        let expected = "http://<server> is healthy: took = <time>, lease <id>, rev 12";
        assert_eq!(masked(text, &[("127.0.0.1:4001", "<server>")]), expected);
        assert_eq!(
            masked("\"member_id\":10276657743932975437,", &[]),
            "\"member_id\":<id>,"
        );
        assert_eq!(masked("{\"raft_term\":12}", &[]), "{\"raft_term\":<term>}");
        assert_eq!(masked("a/1\nabc\n", &[]), "a/1\nabc\n");
        assert_eq!(masked("remaining(59s)", &[]), "remaining(59s)");
    }

    #[test]
    fn a_table_is_the_same_with_an_id_that_is_shorter() {
        let long = "+------------------+\n|        ID        |\n| 694d8a1b2c3d4e5f |\n";
        let short = "+-----------------+\n|       ID        |\n| 694d8a1b2c3d4e5 |\n";
        assert_eq!(masked(long, &[]), masked(short, &[]));
        assert_eq!(masked(long, &[]), "+-+\n| ID |\n| <id> |\n");
    }
}
