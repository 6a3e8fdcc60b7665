//! `handfast config history`: what was published when, and by whom.
//!
//! Owns walking back through the revisions the servers still have, and showing them.

use std::num::NonZeroUsize;

use clap::Args;
use handfast::{Handfast, Publication};
use handfast_core::{ErrorKind, SortOrder, SortTarget};
use serde_json::{Value, json};

use super::target::{Target, TargetArgs};
use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::{Output, table, tell};
use crate::tenure::failure;

const AFTER_HELP: &str = "\
Example:
  handfast config history app/cfg

Goes back as far as the servers keep revisions. What was changed by other means than `handfast
config` has no TIME, BY and NOTE.";

/// Options of `config history`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Show at most this many revisions, the latest first
    #[arg(long, value_name = "N", default_value = "20")]
    limit: NonZeroUsize,
}

/// A revision at which something changed.
struct Entry {
    revision: i64,
    /// Unknown of changes that were not published with handfast.
    publication: Option<Publication>,
}

pub(super) async fn run(
    args: HistoryArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let handfast = connection.handfast(|builder| builder)?;
    let target = args.target.target()?;
    let (mut entries, mut at, mut compacted) = (Vec::new(), 0, false);
    while entries.len() < args.limit.get() {
        match entry(&handfast, &target, at).await? {
            Step::Entry(entry) => {
                at = entry.revision - 1;
                entries.push(entry);
            }
            Step::Nothing => break,
            Step::Compacted => {
                compacted = true;
                break;
            }
        }
        if at == 0 {
            break;
        }
    }
    if entries.is_empty() {
        return Err(target.nothing(handfast.client()).await);
    }
    print(&entries, output)?;
    if compacted {
        tell!("what was before is compacted away");
    }
    Ok(exit::OK)
}

enum Step {
    Entry(Entry),
    Nothing,
    Compacted,
}

/// The latest change up to revision `at`; 0 means now.
async fn entry(handfast: &Handfast, target: &Target, at: i64) -> Result<Step, Failure> {
    let range = handfast.client().range(&target.key);
    let range = match target.prefix {
        true => range.prefix(),
        false => range,
    };
    let range = range.sort_by(SortTarget::Mod, SortOrder::Descend).limit(1);
    let newest = match range.keys_only().revision(at).await {
        Ok(read) => read.kvs.first().map_or(0, |pair| pair.mod_revision),
        Err(error) if error.kind() == ErrorKind::Compacted => return Ok(Step::Compacted),
        Err(error) => return Err(error.into()),
    };
    // A deletion shows only here.
    let publication = match handfast.publication(&target.key, at).await {
        Ok(publication) => publication,
        Err(handfast::Error::Client(error)) if error.kind() == ErrorKind::Compacted => None,
        Err(error) => return Err(failure(error)),
    };
    let published = publication.as_ref().map_or(0, |it| it.revision);
    Ok(match newest.max(published) {
        0 => Step::Nothing,
        revision => Step::Entry(Entry {
            revision,
            publication: publication.filter(|it| it.revision == revision),
        }),
    })
}

fn print(entries: &[Entry], output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        for entry in entries {
            let publication = entry.publication.as_ref();
            output.json(&json!({
                "revision": entry.revision,
                "by": publication.map(|it| &it.by),
                "note": publication.map(|it| &it.note),
                "unix_ms": publication.map_or(Value::Null, |it| json!(it.unix_ms)),
            }))?;
        }
        return Ok(());
    }
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| match &entry.publication {
            Some(it) => vec![
                entry.revision.to_string(),
                utc(it.unix_ms),
                it.by.clone(),
                it.note.clone(),
            ],
            None => vec![
                entry.revision.to_string(),
                "-".into(),
                "-".into(),
                String::new(),
            ],
        })
        .collect();
    for line in table(&["REVISION", "TIME (UTC)", "BY", "NOTE"], &rows) {
        output.line(line)?;
    }
    Ok(())
}

/// A time of day for people: the calendar of the proleptic Gregorian rules.
fn utc(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (days, clock) = (seconds / 86_400, seconds % 86_400);
    let (mut year, mut day) = (1970, days);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!(
        "{year}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02}",
        day + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(utc(1_735_689_599_000), "2024-12-31 23:59:59");
        assert_eq!(utc(4_107_542_399_000), "2100-02-28 23:59:59");
        assert_eq!(utc(4_107_542_400_000), "2100-03-01 00:00:00");
    }
}
