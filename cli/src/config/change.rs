//! `handfast config set`, `edit` and `rollback`.
//!
//! Owns their options, reading files and calling the editor. That nothing is published over what
//! others published is the recipe's.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use clap::{Args, value_parser};
use handfast::{ConfigSet, Handfast, Publish};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::show::{changed, nothing_was, print_revision};
use super::target::{Target, TargetArgs, Values, values};
use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::input;
use crate::output::{Output, tell};
use crate::tenure::failure;

const SET_HELP: &str = "\
Examples:
  handfast config set app/cfg app.json --note \"more workers\"
  ./make-config | handfast config set app/cfg -
  handfast config set app/ conf.d --delete       what conf.d does not have is deleted
  handfast config set app/cfg app.json --check 'jq . >/dev/null'

Prints the revision. Exit code 1, and nothing published, when --if-revision or --check refuses.";

const EDIT_HELP: &str = "\
Example:
  EDITOR=nano handfast config edit app/cfg

Calls VISUAL, else EDITOR, else vi. When somebody publishes meanwhile, or --check refuses, nothing
is published and what you wrote is kept in a file.";

const ROLLBACK_HELP: &str = "\
Example:
  handfast config rollback app/cfg 17    `handfast config history app/cfg` shows the revisions

It is published anew, so that the history goes on. Keys that were not there are deleted.";

/// Options of `config set`.
#[derive(Args, Debug, Clone)]
#[command(after_help = SET_HELP)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// The file with the value; - for standard input. For all keys below KEY a directory, of
    /// which each file becomes the key of its name
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Publish only if nothing of it changed after this revision; 0: if there is nothing yet
    #[arg(long, value_name = "REV", value_parser = value_parser!(i64).range(0..))]
    if_revision: Option<i64>,
    /// Delete keys for which the directory has no file
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    how: HowArgs,
}

/// Options of `config edit`.
#[derive(Args, Debug, Clone)]
#[command(after_help = EDIT_HELP)]
pub(crate) struct EditArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    how: HowArgs,
}

/// Options of `config rollback`.
#[derive(Args, Debug, Clone)]
#[command(after_help = ROLLBACK_HELP)]
pub(crate) struct RollbackArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// The revision to go back to
    #[arg(value_name = "REV", value_parser = value_parser!(i64).range(1..))]
    rev: i64,
    #[command(flatten)]
    how: HowArgs,
}

/// Options of whatever publishes.
#[derive(Args, Debug, Clone)]
struct HowArgs {
    /// Why, for `config history`
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Publish only if this shell command accepts each value: it gets it on standard input and
    /// its key as HANDFAST_CONFIG_KEY
    #[arg(long, value_name = "CMD")]
    check: Option<String>,
}

pub(super) async fn set(
    args: SetArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let target = args.target.target()?;
    let new = match target.prefix {
        true => directory(&args.file)?,
        false if args.file.is_dir() => {
            let (dir, key) = (args.file.display(), target.shown());
            let hint = format!("to publish its files, write {key}/ for {key}");
            return Err(Failure::Usage(format!("{dir} is a directory; {hint}")));
        }
        false => Values::from([(Bytes::new(), file(&args.file)?)]),
    };
    let handfast = connection.personally()?;
    let publish = handfast.publish(&target.key);
    let (publish, gone) = match (args.delete, args.if_revision) {
        (true, _) => {
            let now = target.now(&handfast).await?;
            let old = values(&now);
            let gone: Vec<Bytes> = old
                .keys()
                .filter(|name| !new.contains_key(*name))
                .cloned()
                .collect();
            (publish.since_set(&now), gone)
        }
        (false, _) => (publish, Vec::new()),
    };
    let publish = match args.if_revision {
        Some(revision) => publish.if_unchanged_since(revision),
        None => publish,
    };
    let changes = Changes { new, gone };
    send(&target, publish, changes, &args.how, output).await
}

pub(super) async fn edit(
    args: EditArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let target = args.target.target()?;
    if target.prefix {
        return Err(Failure::Usage("edit one key at a time".to_owned()));
    }
    let handfast = connection.personally()?;
    let now = target.now(&handfast).await?;
    let old = now.value().cloned().unwrap_or_default();
    let draft = Draft::write(&target, &old)?;
    let new = draft.edit().await?;
    if new == old {
        return unchanged(
            "nothing was changed, and nothing is published",
            &now,
            output,
        );
    }
    let publish = handfast.publish(&target.key).since_set(&now);
    let changes = Changes {
        new: Values::from([(Bytes::new(), new)]),
        gone: Vec::new(),
    };
    let sent = send(&target, publish, changes, &args.how, output).await;
    if sent.is_err() {
        draft.keep();
    }
    sent
}

pub(super) async fn rollback(
    args: RollbackArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let target = args.target.target()?;
    let handfast = connection.personally()?;
    let before = target.at(handfast.client(), args.rev).await?;
    if before.is_empty() {
        return Err(nothing_was(&target, args.rev));
    }
    let now = target.now(&handfast).await?;
    let differ = changed(&values(&now), &before);
    if differ.is_empty() {
        let said = format!("it is what it was at revision {}", args.rev);
        return unchanged(&said, &now, output);
    }
    let mut how = args.how;
    how.note
        .get_or_insert_with(|| format!("rollback to revision {}", args.rev));
    let publish = rollback_to(&handfast, &target, &now);
    let mut changes = Changes::default();
    for name in differ {
        match before.get(&name) {
            Some(value) => drop(changes.new.insert(name, value.clone())),
            None => changes.gone.push(name),
        }
    }
    send(&target, publish, changes, &how, output).await
}

/// Says that nothing had to be published; programs learn what they can publish on top of.
fn unchanged(said: &str, now: &ConfigSet, output: &mut Output) -> Result<i32, Failure> {
    tell!("{said}");
    match output.is_json() {
        true => print_revision(output, now.revision()),
        false => Ok(exit::OK),
    }
}

fn rollback_to(handfast: &Handfast, target: &Target, now: &ConfigSet) -> Publish {
    handfast.publish(&target.key).since_set(now)
}

/// What is to be published.
#[derive(Default)]
struct Changes {
    new: Values,
    gone: Vec<Bytes>,
}

async fn send(
    target: &Target,
    publish: Publish,
    changes: Changes,
    how: &HowArgs,
    output: &mut Output,
) -> Result<i32, Failure> {
    let mut publish = publish.note(how.note.clone().unwrap_or_default());
    for (name, value) in changes.new {
        if let Some(check) = &how.check {
            accepted(check, target, &name, &value).await?;
        }
        publish = publish.put(name, value);
    }
    for name in &changes.gone {
        publish = publish.delete(name.clone());
    }
    let published = publish.send().await.map_err(failure)?;
    for name in changes.gone {
        tell!("{} is deleted", target.shown_key(&name));
    }
    print_revision(output, published.revision)
}

/// Asks the person's command.
async fn accepted(check: &str, target: &Target, name: &[u8], value: &[u8]) -> Result<(), Failure> {
    let key = [&target.key[..], name].concat();
    let mut command = Command::new("sh");
    command
        .args(["-c", check])
        .env("HANDFAST_CONFIG_KEY", OsString::from_vec(key))
        .stdin(Stdio::piped())
        // What is printed is the revision.
        .stdout(Stdio::from(std::io::stderr()));
    let spawned = command.spawn();
    let mut child = spawned.map_err(|error| Failure::Spawn {
        command: "sh".to_owned(),
        error,
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A check that does not want to read decides nevertheless.
        let _ = stdin.write_all(value).await;
    }
    let status = child.wait().await;
    let status = status.map_err(|error| Failure::Other(format!("cannot wait for it: {error}")))?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::Other(format!(
            "{} is refused by the check, which ended with {status}; nothing is published",
            target.shown_key(name)
        ))),
    }
}

fn file(path: &Path) -> Result<Bytes, Failure> {
    let read = input::read(path);
    let read = read.map_err(|error| {
        let shown = path.display();
        Failure::Other(format!("cannot read the value from {shown}: {error}"))
    });
    Ok(read?.into())
}

/// The files of a directory by name; hidden ones are an editor's or a version control's.
fn directory(path: &Path) -> Result<Values, Failure> {
    let failed = |error| Failure::Other(format!("{}: {error}", path.display()));
    if path.as_os_str() == "-" || !path.is_dir() {
        return Err(Failure::Usage(format!(
            "several keys are published from a directory, and {} is none",
            path.display()
        )));
    }
    let mut values = Values::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if !name.as_bytes().starts_with(b".") && entry.path().is_file() {
            values.insert(Bytes::from(name.into_vec()), file(&entry.path())?);
        }
    }
    Ok(values)
}

/// A value in a file, for an editor.
struct Draft {
    file: tempfile::NamedTempFile,
}

impl Draft {
    fn write(target: &Target, value: &[u8]) -> Result<Draft, Failure> {
        let failed = |error| Failure::Other(format!("cannot write a file to edit: {error}"));
        // Editors go by the end of the name.
        let last = target.key.rsplit(|byte| *byte == b'/').next();
        let name = String::from_utf8_lossy(last.unwrap_or_default()).into_owned();
        let file = tempfile::Builder::new()
            .prefix("handfast-")
            .suffix(&format!("-{name}"))
            .tempfile();
        let mut file = file.map_err(failed)?;
        file.write_all(value).map_err(failed)?;
        file.flush().map_err(failed)?;
        Ok(Draft { file })
    }

    /// Has the person edit it; what it is then.
    async fn edit(&self) -> Result<Bytes, Failure> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let editor = variable("VISUAL").or_else(|| variable("EDITOR"));
        let editor = editor.unwrap_or_else(|| "vi".into());
        // It may come with options.
        let mut script = editor.clone();
        script.push(" \"$1\"");
        let status = Command::new("sh")
            .arg("-c")
            .arg(script)
            .arg("sh")
            .arg(self.file.path())
            .status()
            .await;
        match status {
            Ok(status) if status.success() => file(self.file.path()),
            Ok(status) if status.code() == Some(exit::NOT_FOUND) => Err(Failure::Other(format!(
                "there is no editor `{}`; set EDITOR to yours",
                editor.to_string_lossy()
            ))),
            Ok(status) => Err(Failure::Other(format!(
                "{} ended with {status}; nothing is published",
                editor.to_string_lossy()
            ))),
            Err(error) => Err(Failure::Spawn {
                command: editor.to_string_lossy().into_owned(),
                error,
            }),
        }
    }

    /// The person's work must not be lost with the publication.
    fn keep(self) {
        match self.file.keep() {
            Ok((_, path)) => tell!("what you wrote is in {}", path.display()),
            Err(error) => tell!("what you wrote cannot be kept: {error}"),
        }
    }
}
