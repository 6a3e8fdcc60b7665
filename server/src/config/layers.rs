//! From flags, environment and file to one [`Config`].
//!
//! Owns precedence: a configuration file replaces flags and environment altogether, and one
//! setting given both by flag and by environment is a conflict. It must not know what a setting
//! means, but for the few whose meaning depends on another.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::catalog::{require, setting};
use super::derive::derive;
use super::given::{Given, Preset};
use super::{Config, ConfigError};

const PREFIXES: [&str; 2] = ["HANDFAST_", "ETCD_"];

/// Variables under our prefixes that are not settings of the server.
const FOREIGN: [&str; 12] = [
    "ETCD_LOCK_KEY",
    "ETCD_LOCK_REV",
    "ETCD_WATCH_REVISION",
    "ETCD_WATCH_KEY",
    "ETCD_WATCH_EVENT_TYPE",
    "ETCD_WATCH_VALUE",
    "ETCD_VERSION",
    "HANDFAST_ENDPOINTS",
    "HANDFAST_LOCK",
    "HANDFAST_TOKEN",
    "HANDFAST_SLOT",
    "HANDFAST_PREVIOUS_DIED",
];

/// Nested tables of etcd's file and the flag prefix their keys stand for.
const TABLES: [(&str, &str); 2] = [
    ("client-transport-security", ""),
    ("peer-transport-security", "peer-"),
];

/// A configuration with what was remarkable on the way to it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Resolved {
    /// The checked configuration.
    pub config: Config,
    /// Lines for the log: settings without effect, unknown variables. Risky values are told by
    /// [`Config::warnings`] when the server starts.
    pub notes: Vec<String>,
}

/// Flags and environment before they are put together.
///
/// In falling priority: a file (`config-file`, which replaces everything else), flags, variables.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    flags: Vec<(String, String)>,
    env: Vec<(String, String)>,
    preset: Preset,
}

impl Layers {
    /// Takes flags as `(name without dashes, value)` and the environment, of which only variables
    /// that start with `ETCD_` or `HANDFAST_` count.
    pub fn new(
        flags: Vec<(String, String)>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Layers {
        let ours = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let mut env: Vec<_> = env
            .into_iter()
            .filter(|(name, _)| ours(name) && !FOREIGN.contains(&name.as_str()))
            .collect();
        env.sort();
        Layers {
            flags,
            env,
            preset: Preset::default(),
        }
    }

    /// Chooses whose defaults apply.
    pub fn preset(mut self, preset: Preset) -> Layers {
        self.preset = preset;
        self
    }

    /// Puts the layers together, reading the configuration file if one is named.
    pub fn resolve(self) -> Result<Resolved, ConfigError> {
        self.resolve_with(|path| std::fs::read_to_string(path))
    }

    pub(super) fn resolve_with(
        self,
        read: impl Fn(&Path) -> io::Result<String>,
    ) -> Result<Resolved, ConfigError> {
        let mut notes = Vec::new();
        let (mut given, file) = self.merge(&mut notes)?;
        if let Some(path) = file {
            if !given.is_empty() {
                notes.push(format!(
                    "{} replaces all other flags and variables",
                    path.display()
                ));
            }
            let text = read(&path).map_err(|error| ConfigError::File {
                path: path.clone(),
                problem: format!("cannot be read: {error}"),
            })?;
            given = parse_file(&path, &text)?;
        }
        let mut config = Config::default();
        for (name, Given { origin, value }) in &given {
            notes.extend(require(origin, name)?.apply(&mut config, origin, value)?);
        }
        notes.extend(derive(&mut config, &given, self.preset, &read)?);
        config.validate()?;
        Ok(Resolved { config, notes })
    }

    /// All given settings by name, and the configuration file if one is named.
    #[allow(clippy::type_complexity)]
    fn merge(
        &self,
        notes: &mut Vec<String>,
    ) -> Result<(BTreeMap<String, Given>, Option<PathBuf>), ConfigError> {
        let mut given = BTreeMap::new();
        let mut file = None;
        for (name, value) in &self.flags {
            if name == "config-file" {
                file = Some(PathBuf::from(value));
                continue;
            }
            let origin = format!("--{name}");
            let name = require(&origin, name)?.name;
            // A repeated flag is a correction (scripts append), so the last one counts.
            let same_flag = given.get(name).is_none_or(|g: &Given| g.origin == origin);
            insert(
                &mut given,
                name,
                Given {
                    origin,
                    value: value.clone(),
                },
                same_flag,
            )?;
        }
        for (variable, value) in &self.env {
            let name = setting_name(variable);
            if name == "config-file" {
                file.get_or_insert_with(|| PathBuf::from(value));
                continue;
            }
            let Some(setting) = setting(&name) else {
                notes.push(format!(
                    "the variable {variable} is not a setting and is ignored"
                ));
                continue;
            };
            let twin_agrees = given
                .get(setting.name)
                .is_some_and(|first| !first.origin.starts_with("--") && first.value == *value);
            let new = Given {
                origin: variable.clone(),
                value: value.clone(),
            };
            insert(&mut given, setting.name, new, twin_agrees)?;
        }
        Ok((given, file))
    }
}

fn setting_name(variable: &str) -> String {
    let bare = PREFIXES
        .iter()
        .find_map(|prefix| variable.strip_prefix(prefix));
    bare.unwrap_or(variable)
        .to_ascii_lowercase()
        .replace('_', "-")
}

fn insert(
    given: &mut BTreeMap<String, Given>,
    name: &str,
    new: Given,
    may_replace: bool,
) -> Result<(), ConfigError> {
    if let Some(first) = given.get(name).filter(|_| !may_replace) {
        return Err(ConfigError::Conflict {
            name: name.to_owned(),
            first: first.origin.clone(),
            second: new.origin,
        });
    }
    given.insert(name.to_owned(), new);
    Ok(())
}

/// Reads a TOML file whose keys are the names of flags.
fn parse_file(path: &Path, text: &str) -> Result<BTreeMap<String, Given>, ConfigError> {
    let problem = |problem: String| ConfigError::File {
        path: path.to_owned(),
        problem,
    };
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    if matches!(extension, "yml" | "yaml" | "json") {
        return Err(problem(format!(
            "is {}, but the file must be TOML: write `name = \"n1\"` instead of `name: n1`",
            extension.to_ascii_uppercase()
        )));
    }
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        problem(format!("is not valid TOML: {}", error.message()))
    })?;
    let mut given = BTreeMap::new();
    for (key, value) in table {
        let prefix = TABLES
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, prefix)| prefix);
        match (prefix, value) {
            (Some(prefix), toml::Value::Table(inner)) => {
                for (inner_key, value) in inner {
                    let name = format!("{prefix}{inner_key}");
                    insert_from_file(&mut given, path, &name, &value)?;
                }
            }
            (_, value) => insert_from_file(&mut given, path, &key, &value)?,
        }
    }
    Ok(given)
}

fn insert_from_file(
    given: &mut BTreeMap<String, Given>,
    path: &Path,
    key: &str,
    value: &toml::Value,
) -> Result<(), ConfigError> {
    let origin = format!("{}: {key}", path.display());
    let setting = require(&path.display().to_string(), key)?;
    let value = scalar(value).ok_or_else(|| ConfigError::Invalid {
        origin: origin.clone(),
        problem: "must be a string, a number, true or false, or a list of strings".to_owned(),
    })?;
    insert(given, setting.name, Given { origin, value }, false)
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
        toml::Value::Array(items) => {
            let items: Option<Vec<String>> = items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect();
            Some(items?.join(","))
        }
        _ => None,
    }
}
