//! What commands print: text for people, JSON for programs.
//!
//! Owns how keys and values are shown, and how a person is told what goes on. It must not know
//! which command is printing.

use std::fmt::Arguments;
use std::io::{self, IsTerminal, StdoutLock, Write};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::exit::Failure;

/// Tells the person something, on standard error.
macro_rules! tell {
    ($($text:tt)*) => {
        $crate::output::tell_line(format_args!($($text)*))
    };
}
pub(crate) use tell;

/// What [`tell!`] is made of. A terminal that is closed, or a log that nobody reads any more, must
/// not keep a command from ending in order.
pub(crate) fn tell_line(text: Arguments<'_>) {
    let line = format!("handfast: {text}\n");
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Standard output of one command.
pub(crate) struct Output {
    stdout: StdoutLock<'static>,
    json: bool,
    /// Control characters in data could command the terminal, so there they are escaped.
    terminal: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Output {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Output {
            stdout: stdout.lock(),
            json,
            terminal,
        }
    }

    /// Whether the person asked for JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// One line of text.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        Ok(writeln!(self.stdout, "{}", text.as_ref())?)
    }

    /// One line that is a key or a value.
    pub(crate) fn data(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.terminal {
            writeln!(self.stdout, "{}", printable(bytes))?;
        } else {
            self.stdout.write_all(bytes)?;
            self.stdout.write_all(b"\n")?;
        }
        Ok(())
    }

    /// One JSON document on one line.
    pub(crate) fn json(&mut self, value: &Value) -> Result<(), Failure> {
        Ok(writeln!(self.stdout, "{value}")?)
    }

    /// Makes what was printed visible now.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.stdout.flush()?)
    }
}

/// Bytes for a message: text as it is, anything that could confuse a terminal escaped.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() && c != '\n' && c != '\t' {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Puts bytes into a JSON object: as text under `name`, or under `<name>_base64` if they are none.
pub(crate) fn insert_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), json!(text)),
        Err(_) => object.insert(format!("{name}_base64"), json!(base64(bytes))),
    };
}

/// A stored pair as JSON.
pub(crate) fn pair_json(pair: &handfast_core::KeyValue) -> Value {
    let mut object = Map::new();
    insert_bytes(&mut object, "key", &pair.key);
    insert_bytes(&mut object, "value", &pair.value);
    object.insert("create_revision".to_owned(), json!(pair.create_revision));
    object.insert("mod_revision".to_owned(), json!(pair.mod_revision));
    object.insert("version".to_owned(), json!(pair.version));
    if pair.lease != 0 {
        // Ids use all 63 bits, more than a JSON number keeps in most languages.
        object.insert("lease".to_owned(), json!(lease_text(pair.lease)));
    }
    Value::Object(object)
}

/// A lease id the way etcdctl writes it.
pub(crate) fn lease_text(id: i64) -> String {
    format!("{id:016x}")
}

/// Standard base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0_u32, |group, byte| group << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for position in 0..4 {
            if position <= chunk.len() {
                let index = group >> (18 - 6 * position) & 63;
                text.push(char::from(ALPHABET[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// A time for people: the two largest units.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, _, _) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

/// Rows under headings, each column as wide as its widest cell; the last one is not padded.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let mut widths: Vec<usize> = headings
        .iter()
        .map(|heading| heading.chars().count())
        .collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(headings.to_vec())];
    lines.extend(
        rows.iter()
            .map(|row| line(row.iter().map(String::as_str).collect())),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_matches_the_standard_examples() {
        let examples: [(&str, &str); 5] = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, encoded) in examples {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn escapes_what_commands_a_terminal() {
        assert_eq!(printable(b"a\x1b[2Jb\xff"), "a\\u{1b}[2Jb\\xff");
    }

    #[test]
    fn bytes_that_are_no_text_change_the_name_of_the_field() {
        let mut object = Map::new();
        insert_bytes(&mut object, "key", b"\xff");
        insert_bytes(&mut object, "value", b"v");
        assert_eq!(
            Value::Object(object),
            json!({"key_base64": "/w==", "value": "v"})
        );
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![
            vec!["a".to_owned(), "1".to_owned()],
            vec!["bcd".to_owned(), String::new()],
        ];
        assert_eq!(table(&["K", "V"], &rows), ["K    V", "a    1", "bcd"]);
    }

    #[test]
    fn spans_show_two_units() {
        let spans = [5, 65, 3_660, 90_000].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["5s", "1m5s", "1h1m", "1d1h"]);
    }
}
