//! All settings there are.
//!
//! Owns their order and the look-up by name. The lists themselves are in `table` and `accepted`;
//! precedence is in `layers`.

use super::ConfigError;
use super::accepted::ACCEPTED;
use super::setting::Setting;
use super::table::ACTIVE;
use super::values;

/// All settings, in the order of the help text.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    ACTIVE.iter().chain(ACCEPTED)
}

/// The setting of that name; etcd's former `experimental-` spellings are understood.
pub fn setting(name: &str) -> Option<&'static Setting> {
    let find = |name: &str| settings().find(|setting| setting.name == name);
    find(name).or_else(|| name.strip_prefix("experimental-").and_then(find))
}

pub(super) fn require(origin: &str, name: &str) -> Result<&'static Setting, ConfigError> {
    setting(name).ok_or_else(|| ConfigError::Unknown {
        origin: origin.to_owned(),
        name: name.to_owned(),
        suggestion: values::nearest(name, settings().map(|setting| setting.name))
            .map(str::to_owned),
    })
}
