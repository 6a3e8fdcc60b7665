//! Keys and values as command line arguments.
//!
//! Owns how bytes are written there: as they are, whatever their encoding. It must not know what
//! is done with them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use bytes::Bytes;
use clap::Args;

use crate::exit::Failure;

/// Which keys a command is about.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Span {
    /// The key
    #[arg(value_name = "KEY")]
    key: Option<OsString>,
    /// End of the range that starts at KEY; it is not part of the range
    #[arg(value_name = "END", conflicts_with_all = ["prefix", "from_key"])]
    end: Option<OsString>,
    /// Every key that starts with KEY (all keys without KEY)
    #[arg(long, conflicts_with = "from_key")]
    prefix: bool,
    /// Every key from KEY on, in byte order
    #[arg(long)]
    from_key: bool,
}

/// A span whose form is decided.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Keys {
    One(Bytes),
    Range(Bytes, Bytes),
    Prefix(Bytes),
    From(Bytes),
}

impl Span {
    pub(crate) fn keys(self) -> Result<Keys, Failure> {
        let whole = self.prefix || self.from_key;
        let key = match self.key {
            Some(key) => bytes(key),
            None if whole => Bytes::new(),
            None => {
                return Err(Failure::Usage(
                    "KEY is missing (--prefix alone means all)".into(),
                ));
            }
        };
        if key.is_empty() && !whole {
            return Err(Failure::Usage(
                "KEY is empty; for all keys use --prefix".into(),
            ));
        }
        Ok(match self.end {
            Some(end) => Keys::Range(key, bytes(end)),
            None if self.prefix => Keys::Prefix(key),
            None if self.from_key => Keys::From(key),
            None => Keys::One(key),
        })
    }
}

/// Applies a span to anything of the client that takes one: a read, a delete, an operation.
macro_rules! with_span {
    ($keys:expr, $make:expr) => {
        match $keys {
            $crate::keys::Keys::One(key) => $make(key),
            $crate::keys::Keys::Range(key, end) => $make(key).range_end(end),
            $crate::keys::Keys::Prefix(key) => $make(key).prefix(),
            $crate::keys::Keys::From(key) => $make(key).from_key(),
        }
    };
}
pub(crate) use with_span;

/// An argument as the bytes it was typed as.
pub(crate) fn bytes(argument: OsString) -> Bytes {
    Bytes::from(argument.into_vec())
}

/// A lease id as etcdctl writes it: hexadecimal.
pub(crate) fn lease_id(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    i64::from_str_radix(digits, 16)
        .map_err(|_| format!("`{text}` is not a lease id; it is a hexadecimal number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lease_ids_are_hexadecimal() {
        assert_eq!(lease_id("00000000000000ff"), Ok(255));
        assert_eq!(lease_id("0xff"), Ok(255));
        assert!(lease_id("xyz").is_err());
    }

    #[test]
    fn a_missing_key_is_refused_unless_all_are_meant() {
        assert!(Span::default().keys().is_err());
        let all = Span {
            prefix: true,
            ..Span::default()
        };
        assert_eq!(all.keys().unwrap(), Keys::Prefix(Bytes::new()));
        let empty = Span {
            key: Some(OsString::new()),
            ..Span::default()
        };
        assert!(empty.keys().is_err());
    }
}
