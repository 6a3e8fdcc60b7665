//! Keys and values as people read them, in messages and in the file of a history.
//!
//! Owns the two ways to write bytes: as text where they are text, in hex where not. Knows nothing
//! of what the bytes mean.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Bytes longer than this are cut in messages, never in files.
const LONGEST: usize = 48;

/// Shows bytes as a quoted text, or in hex where they are none.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = &self.0[..self.0.len().min(LONGEST)];
        match std::str::from_utf8(cut) {
            Ok(text) => write!(f, "{text:?}")?,
            Err(_) => write!(f, "0x{}", hex(cut))?,
        }
        if self.0.len() > LONGEST {
            write!(f, "… ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok())
        .collect()
}

/// How bytes stand in a file.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Hex { hex: String },
}

pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    let written = match std::str::from_utf8(bytes) {
        Ok(text) => Written::Text(text.to_owned()),
        Err(_) => Written::Hex { hex: hex(bytes) },
    };
    written.serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    match Written::deserialize(deserializer)? {
        Written::Text(text) => Ok(Bytes::from(text)),
        Written::Hex { hex } => unhex(&hex)
            .map(Bytes::from)
            .ok_or_else(|| D::Error::custom("not an even number of hex digits")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Holder(#[serde(with = "super")] Bytes);

    #[test]
    fn text_and_other_bytes_survive_a_file() {
        for bytes in [
            &b"plain \"text\""[..],
            b"",
            b"\xff\x00\x10",
            "gr\u{fc}n".as_bytes(),
        ] {
            let before = Holder(Bytes::copy_from_slice(bytes));
            let file = serde_json::to_string(&before).unwrap();
            assert_eq!(serde_json::from_str::<Holder>(&file).unwrap(), before);
        }
        assert!(serde_json::from_str::<Holder>(r#"{"hex":"abc"}"#).is_err());
    }

    #[test]
    fn a_message_shows_text_hex_and_a_part_of_what_is_long() {
        assert_eq!(Shown(b"a\n").to_string(), "\"a\\n\"");
        assert_eq!(Shown(b"\xff\x01").to_string(), "0xff01");
        assert!(Shown(&[b'x'; 100]).to_string().ends_with("… (100 bytes)"));
    }
}
