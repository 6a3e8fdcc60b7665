//! `cargo run --release -p handfast-tests --bin failover -- --handfast PATH --etcd PATH`: how long
//! clusters take no writes after they lost their leader, side by side.
//!
//! Owns the command line only.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use clap::Parser;
use handfast_tests::{
    Result,
    cluster::Program,
    failover::{Plan, measure, shown, to_json},
    harness::Subject,
};

/// Measures how long clusters take no writes after they lost their leader.
#[derive(Debug, Parser)]
struct Arguments {
    /// A handfast binary (may be given more than once).
    #[arg(long, value_name = "PATH")]
    handfast: Vec<PathBuf>,
    /// An etcd binary (may be given more than once).
    #[arg(long, value_name = "PATH")]
    etcd: Vec<PathBuf>,
    /// Members of each cluster.
    #[arg(long, default_value_t = 3)]
    members: usize,
    /// SIGKILLs of the leader.
    #[arg(long, default_value_t = 30)]
    kills: u32,
    /// SIGTERMs of the leader.
    #[arg(long, default_value_t = 10)]
    hand_overs: u32,
    /// Requests to move leadership.
    #[arg(long, default_value_t = 10)]
    moves: u32,
    /// Processes that burn CPU time beside the clusters.
    #[arg(long, default_value_t = 0)]
    burn: u32,
    /// Seconds at the end in which the clusters are left alone and their terms are watched.
    #[arg(long, default_value_t = 60)]
    quiet: u64,
    /// Writes all samples to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut servers = Vec::new();
    let ours = arguments.handfast.iter().map(|it| (Subject::Handfast, it));
    let theirs = arguments.etcd.iter().map(|it| (Subject::Etcd, it));
    for (subject, path) in ours.chain(theirs) {
        let path = path.canonicalize()?;
        servers.push((version(subject, &path)?, Program::at(subject, &path)));
    }
    if servers.is_empty() {
        return Err("name at least one server with --handfast or --etcd".into());
    }
    let plan = Plan {
        servers,
        size: arguments.members,
        kills: arguments.kills,
        terminations: arguments.hand_overs,
        moves: arguments.moves,
        burners: arguments.burn,
        quiet: Duration::from_secs(arguments.quiet),
    };
    let findings = measure(&plan).await?;
    println!("\n{}", shown(&findings));
    if let Some(file) = arguments.json {
        std::fs::write(file, to_json(&plan, &findings).to_string())?;
    }
    Ok(())
}

/// What the binary calls itself.
fn version(subject: Subject, path: &Path) -> Result<String> {
    let output = Command::new(path).arg("--version").output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = said.lines().next().unwrap_or_default();
    let number = first.split_whitespace().last().unwrap_or("?");
    Ok(match subject {
        Subject::Handfast => format!("handfast {number}"),
        Subject::Etcd => format!("etcd {number}"),
    })
}
