//! From published bytes to a value the program accepts.
//!
//! Owns decoding, checking and surviving a panic of either. Knows nothing of servers and disks.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    event::{ConfigProblem, ConfigProblemKind},
    set::ConfigSet,
};

pub(super) type Decode<T> = Arc<dyn Fn(&ConfigSet) -> Result<T, String> + Send + Sync>;
pub(super) type Check<T> = Arc<dyn Fn(&T) -> Result<(), String> + Send + Sync>;

/// What stands for a key that does not exist, or a prefix without keys.
pub(super) enum Absent<T> {
    /// Nothing: it is a problem.
    Refused,
    /// What the decoder makes of the empty set.
    Decoded,
    /// The program's default.
    Default(Arc<T>),
}

/// How a program reads its configuration.
pub(super) struct Reader<T> {
    pub(super) decode: Decode<T>,
    pub(super) checks: Vec<Check<T>>,
    pub(super) absent: Absent<T>,
}

/// What a set of pairs stands for.
pub(super) enum Read<T> {
    Decoded(Arc<T>),
    Default(Arc<T>),
}

impl<T> Reader<T> {
    pub(super) fn read(&self, set: &ConfigSet) -> Result<Read<T>, ConfigProblem> {
        let problem = |kind, text: String| ConfigProblem {
            kind,
            revision: set.revision(),
            text,
        };
        if set.is_empty() {
            match &self.absent {
                Absent::Default(value) => return Ok(Read::Default(Arc::clone(value))),
                Absent::Refused => {
                    let text = "nothing is published, and there is no default".to_owned();
                    return Err(problem(ConfigProblemKind::Missing, text));
                }
                Absent::Decoded => {}
            }
        }
        // Whatever the program's code left half done is dropped with its result.
        let read = catch_unwind(AssertUnwindSafe(|| {
            let value = (self.decode)(set).map_err(|text| {
                let text = format!("it cannot be decoded: {text}");
                problem(ConfigProblemKind::Undecodable, text)
            })?;
            for check in &self.checks {
                check(&value).map_err(|text| {
                    let text = format!("it is refused by the program: {text}");
                    problem(ConfigProblemKind::Invalid, text)
                })?;
            }
            Ok(Read::Decoded(Arc::new(value)))
        }));
        read.unwrap_or_else(|panic| {
            let text = format!("checking it panicked: {}", told(&*panic));
            Err(problem(ConfigProblemKind::Panicked, text))
        })
    }
}

/// What a panic said.
fn told(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "without a word"
    }
}

/// One key is one JSON document; a prefix is an object with a field for each name.
pub(super) fn json<T: DeserializeOwned>(set: &ConfigSet) -> Result<T, String> {
    if !set.is_prefix() {
        let value = set.value().ok_or("nothing is published")?;
        return serde_json::from_slice(value).map_err(|error| error.to_string());
    }
    let mut fields = Map::new();
    for (name, pair) in set.iter() {
        let shown = String::from_utf8_lossy(name).into_owned();
        let value: Value = serde_json::from_slice(&pair.value)
            .map_err(|error| format!("{shown} is no JSON: {error}"))?;
        fields.insert(shown, value);
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use handfast_core::KeyValue;

    fn set(prefix: bool, pairs: &[(&str, &str)]) -> ConfigSet {
        let pairs = pairs.iter().map(|(name, value)| {
            let pair = KeyValue {
                value: Bytes::copy_from_slice(value.as_bytes()),
                ..Default::default()
            };
            (Bytes::copy_from_slice(name.as_bytes()), Arc::new(pair))
        });
        ConfigSet::new(7, prefix, pairs.collect())
    }

    fn reader(absent: Absent<u32>) -> Reader<u32> {
        let check: Check<u32> = Arc::new(|value| match value {
            13 => panic!("unlucky"),
            0..100 => Ok(()),
            _ => Err("too much".to_owned()),
        });
        Reader {
            decode: Arc::new(json),
            checks: vec![check],
            absent,
        }
    }

    fn kind(reader: &Reader<u32>, value: &str) -> ConfigProblemKind {
        match reader.read(&set(false, &[("", value)])) {
            Err(problem) => {
                assert_eq!(problem.revision, 7);
                problem.kind
            }
            Ok(_) => panic!("{value} is accepted"),
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_apart() {
        let reader = reader(Absent::Refused);
        assert_eq!(kind(&reader, "x"), ConfigProblemKind::Undecodable);
        assert_eq!(kind(&reader, "100"), ConfigProblemKind::Invalid);
        assert_eq!(kind(&reader, "13"), ConfigProblemKind::Panicked);
        let missing = reader.read(&set(false, &[])).err().unwrap();
        assert_eq!(missing.kind, ConfigProblemKind::Missing);
        let good = reader.read(&set(false, &[("", "12")]));
        assert!(matches!(good, Ok(Read::Decoded(value)) if *value == 12));
    }

    #[test]
    fn a_default_stands_for_nothing_only() {
        let reader = reader(Absent::Default(Arc::new(5)));
        let absent = reader.read(&set(false, &[]));
        assert!(matches!(absent, Ok(Read::Default(value)) if *value == 5));
        assert_eq!(kind(&reader, "x"), ConfigProblemKind::Undecodable);
    }

    #[test]
    fn the_keys_of_a_prefix_are_the_fields_of_an_object() {
        #[derive(serde::Deserialize, PartialEq, Debug)]
        struct App {
            db: String,
            limits: Vec<u32>,
        }
        let pairs = [("db", "\"x:1\""), ("limits", "[1,2]")];
        let app: App = json(&set(true, &pairs)).unwrap();
        let expected = App {
            db: "x:1".to_owned(),
            limits: vec![1, 2],
        };
        assert_eq!(app, expected);
        let error = json::<App>(&set(true, &[("db", "x:1")])).unwrap_err();
        assert!(error.starts_with("db is no JSON"), "{error}");
    }
}
