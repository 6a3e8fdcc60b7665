//! `handfast cluster recover`: goes on with one member when the majority is lost for good.
//!
//! Owns what a person is told before and after. The work is the server's.

use std::path::PathBuf;

use clap::Args;
use handfast_proto::command::MemberInfo;
use handfast_server::config::Url;
use handfast_server::{Inspected, RecoverOptions, Recovered};
use serde_json::json;

use crate::exit::{self, Failure};
use crate::member::howto::quoted;
use crate::output::Output;
use crate::roster::peer_url;

/// More than a cluster writes in months, so that no client has seen a revision that comes again.
const BUMP: i64 = 1_000_000_000;

const AFTER_HELP: &str = "\
For when more members are lost for good than a majority can spare. While a majority lives, use
`handfast member replace` instead, which loses nothing.

Without --i-accept-data-loss it only shows what it finds. Do that for every data folder that is
left, and recover from the one with the highest log position. Stop the member first.";

/// Options of `cluster recover`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct RecoverArgs {
    /// Data folder of the member that survives
    #[arg(long, value_name = "PATH")]
    data_dir: PathBuf,
    /// Its log, if that is in another folder
    #[arg(long, value_name = "PATH")]
    wal_dir: Option<PathBuf>,
    /// A new name for it
    #[arg(long)]
    name: Option<String>,
    /// New peer addresses for it [default: those it has]
    #[arg(long, value_name = "URLS", value_delimiter = ',', value_parser = peer_url)]
    peer_urls: Vec<Url>,
    /// How far the revision jumps, so that nothing old is taken for something new
    #[arg(long, value_name = "N", default_value_t = BUMP)]
    bump_revision: i64,
    /// Do it: what this member had not heard of is lost
    #[arg(long)]
    i_accept_data_loss: bool,
}

pub(super) fn run(args: &RecoverArgs, output: &mut Output) -> Result<i32, Failure> {
    if args.bump_revision < 1 {
        return Err(Failure::Usage(
            "--bump-revision must be at least 1: clients would take new revisions for old ones"
                .to_owned(),
        ));
    }
    let found = handfast_server::inspect(&args.data_dir, args.wal_dir.as_deref());
    let found = found.map_err(|error| Failure::Other(error.to_string()))?;
    if !output.is_json() {
        show(&found, args, output)?;
        output.flush()?;
    }
    if !args.i_accept_data_loss {
        if output.is_json() {
            output.json(&json!({ "found": found_json(&found), "recovered": null }))?;
            output.flush()?;
        }
        return Err(Failure::Usage(
            "nothing was changed; add --i-accept-data-loss to do it".to_owned(),
        ));
    }
    let recovered = handfast_server::recover(RecoverOptions {
        data_dir: args.data_dir.clone(),
        wal_dir: args.wal_dir.clone(),
        name: args.name.clone(),
        peer_urls: args.peer_urls.clone(),
        bump_revision: args.bump_revision,
    });
    let recovered = recovered.map_err(|error| Failure::Other(error.to_string()))?;
    if output.is_json() {
        output.json(&json!({
            "found": found_json(&found),
            "recovered": {
                "cluster_id": format!("{:x}", recovered.cluster_id),
                "member_id": format!("{:x}", recovered.member_id),
                "revision": recovered.revision,
                "old_members": recovered.old_members,
            },
        }))?;
        return Ok(exit::OK);
    }
    conclude(&found, &recovered, args, output)?;
    Ok(exit::OK)
}

fn found_json(found: &Inspected) -> serde_json::Value {
    json!({
        "cluster_id": format!("{:x}", found.cluster_id),
        "member_id": format!("{:x}", found.member_id),
        "name": found.name,
        "members": found.members.iter().map(member_json).collect::<Vec<_>>(),
        "revision": found.revision,
        "applied_index": found.applied_index,
        "last_index": found.last_index,
    })
}

fn member_json(member: &MemberInfo) -> serde_json::Value {
    json!({
        "id": format!("{:x}", member.id),
        "name": member.name,
        "peer_urls": member.peer_urls,
    })
}

fn member_text(member: &MemberInfo) -> String {
    let name = match member.name.as_str() {
        "" => "a member without a name",
        name => name,
    };
    format!("{name} ({:x}, {})", member.id, member.peer_urls.join(","))
}

/// What is there, and what it would cost.
fn show(found: &Inspected, args: &RecoverArgs, output: &mut Output) -> Result<(), Failure> {
    let named = match found.name.as_str() {
        "" => String::new(),
        name => format!(" `{name}`"),
    };
    let members: Vec<String> = found.members.iter().map(member_text).collect();
    for line in [
        format!("found in {}:", args.data_dir.display()),
        format!("  member        {:x}{named}", found.member_id),
        format!("  of cluster    {:x}", found.cluster_id),
        format!("  members       {}", members.join(", ")),
        format!("  revision      {}", found.revision),
        format!(
            "  log position  {} (applied up to {})",
            found.last_index, found.applied_index
        ),
        String::new(),
        "What is lost: every write that was acknowledged by others and is not in this log. Run"
            .to_owned(),
        "this for each data folder that is left, without --i-accept-data-loss, and recover from"
            .to_owned(),
        "the one with the highest log position. All other members are cut off for good.".to_owned(),
        String::new(),
    ] {
        output.line(line)?;
    }
    Ok(())
}

/// What was done, and what to do now.
fn conclude(
    found: &Inspected,
    recovered: &Recovered,
    args: &RecoverArgs,
    output: &mut Output,
) -> Result<(), Failure> {
    let data_dir = quoted(&args.data_dir.display().to_string());
    let name = args.name.as_deref().unwrap_or(&found.name);
    let mut serve = format!("handfast serve --data-dir {data_dir}");
    if !name.is_empty() {
        serve.push_str(&format!(" --name {}", quoted(name)));
    }
    if let Some(wal_dir) = &args.wal_dir {
        serve.push_str(&format!(
            " --wal-dir {}",
            quoted(&wal_dir.display().to_string())
        ));
    }
    for line in [
        format!(
            "done: member {:x} is a cluster of one now, {:x}.",
            recovered.member_id, recovered.cluster_id
        ),
        format!(
            "The revision went from {} to {}; watches of what was before are cancelled, so that \
             clients read anew.",
            found.revision, recovered.revision
        ),
        String::new(),
        "What to do now:".to_owned(),
        format!(
            "  1. make sure that no old member runs any more: {}",
            match recovered.old_members.as_slice() {
                [] => "there were none".to_owned(),
                old => old.join(", "),
            }
        ),
        format!("  2. start this one, with its own listen flags:\n     {serve}"),
        format!("  3. get the token:  handfast cluster token --data-dir {data_dir}"),
        "  4. on each other machine, with an empty folder:".to_owned(),
        "     handfast serve --join HOST:PORT --join-token TOKEN".to_owned(),
    ] {
        output.line(line)?;
    }
    Ok(())
}
