//! `handfast once`: run a command once, anywhere, and print what it printed ever after.
//!
//! Owns its options, and taking down the command's output. Who runs is the recipe's.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use handfast::{Once, OnceError, OnceResult, Tenure};
use serde_json::{Map, json};

use crate::connect::{Connection, ttl, wait};
use crate::exit::{self, Failure};
use crate::keys::bytes;
use crate::output::{Output, insert_bytes, printable, tell};
use crate::supervise::signals::{Signals, name};
use crate::supervise::{self, Ended, Job};
use crate::tenure::failure;

const AFTER_HELP: &str = "\
Examples:
  handfast once schema/v7 -- ./migrate              run it on one machine, once
  handfast once index --input-file data.csv -- ./build-index data.csv
  handfast once index --get --input-file data.csv   only look whether there is a result
  handfast once schema/v7 --forget                  have it run again

Whoever comes first runs the command; the others wait, and all print what it printed. If it fails,
or its machine dies, another one runs it. Results are small, at most 1 MiB: have the command print
where the large thing is, with its digest.

The command sees HANDFAST_ONCE and HANDFAST_TOKEN, which grows with every run. It is stopped when
nobody can be sure any more that it runs alone.

Exit codes: 0 there is a result; the command's own when it failed; 75 --wait is over, 76 the command
was stopped; with --get 1 if there is no result.";

/// Options of `once`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct OnceArgs {
    /// The name of the work
    name: OsString,
    /// What the result depends on: with another input the command runs again
    #[arg(long, value_name = "TEXT", conflicts_with = "input_file")]
    input: Option<OsString>,
    /// The file that the result depends on
    #[arg(long, value_name = "FILE")]
    input_file: Option<PathBuf>,
    /// Print the result if there is one, and run nothing
    #[arg(long, conflicts_with_all = ["forget", "command"])]
    get: bool,
    /// Forget the result, so that the next one runs the command again
    #[arg(long, conflicts_with = "command")]
    forget: bool,
    /// Give up waiting for another's result after this long; exit code 75 [default: never]
    #[arg(long, value_name = "TIME", value_parser = wait)]
    wait: Option<Duration>,
    /// How long the servers wait for this machine when it falls silent
    #[arg(long, value_name = "TIME", value_parser = ttl, default_value = "10s")]
    ttl: Duration,
    /// The command
    #[arg(last = true, required_unless_present_any = ["get", "forget"], value_name = "CMD")]
    command: Vec<OsString>,
}

pub(crate) async fn run(
    args: OnceArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let handfast = connection.handfast(|builder| builder.ttl(args.ttl))?;
    let work = bytes(args.name.clone());
    let once = handfast.once(&work);
    let once = match input(&args)? {
        Some(input) => once.input(input),
        None => once,
    };
    let shown = printable(&work);
    if args.forget {
        return match once.forget().await.map_err(failure)? {
            true => print_forgotten(&work, output),
            false => Err(Failure::Other(format!("{shown} has no result"))),
        };
    }
    if args.get {
        return match once.get().await.map_err(failure)? {
            Some(result) => print(&result, output),
            None => Err(Failure::Other(format!("{shown} has no result yet"))),
        };
    }
    let once = match args.wait {
        Some(wait) => once.timeout(wait),
        None => once,
    };
    let result = get_or_run(&once, &args, output).await;
    // The session would linger. Without an answer it just ends.
    let _ = handfast.close().await;
    result
}

/// Why the command came to no result.
enum NoResult {
    Exit(i32),
    Failure(Failure),
}

async fn get_or_run(once: &Once, args: &OnceArgs, output: &mut Output) -> Result<i32, Failure> {
    // So that a result is there at once, without a word on signals.
    if let Some(result) = once.get().await.map_err(failure)? {
        return print(&result, output);
    }
    let mut signals = Signals::new()
        .map_err(|error| Failure::Other(format!("cannot listen for signals: {error}")))?;
    // While the command runs, signals are for it.
    let mut waiting = Signals::new()
        .map_err(|error| Failure::Other(format!("cannot listen for signals: {error}")))?;
    let running = AtomicBool::new(false);
    let work = async |tenure: Tenure| {
        running.store(true, Ordering::Relaxed);
        execute(args, &tenure, &mut signals).await
    };
    let interrupted = async {
        loop {
            let signal = waiting.recv().await;
            if !running.load(Ordering::Relaxed) {
                return signal;
            }
        }
    };
    let done = tokio::select! {
        biased;
        done = once.get_or_run(work) => done,
        signal = interrupted => {
            tell!("{}", name(signal));
            return Ok(exit::SIGNAL_BASE + signal.as_raw());
        }
    };
    match done {
        Ok(result) => print(&result, output),
        Err(OnceError::Work(NoResult::Exit(code))) => Ok(code),
        Err(OnceError::Work(NoResult::Failure(failure))) => Err(failure),
        Err(OnceError::Recipe(error)) => Err(failure(error)),
        Err(_) => Err(Failure::Other("there is no result".to_owned())),
    }
}

/// Runs the command; what it printed.
async fn execute(
    args: &OnceArgs,
    tenure: &Tenure,
    signals: &mut Signals,
) -> Result<Vec<u8>, NoResult> {
    let failed = |error: std::io::Error| {
        NoResult::Failure(Failure::Other(format!(
            "cannot take down its output: {error}"
        )))
    };
    let mut taken = tempfile::tempfile().map_err(failed)?;
    let stdout = taken.try_clone().map_err(failed)?;
    let what = format!("once {}", printable(&bytes(args.name.clone())));
    let job = Job {
        command: &args.command,
        env: vec![
            ("HANDFAST_ONCE", args.name.clone()),
            ("HANDFAST_TOKEN", tenure.token().to_string().into()),
        ],
        grace: args.ttl / 4,
        max_hold: None,
        what: what.clone(),
    };
    let ended = supervise::run_with(&job, tenure, signals, |command| {
        command.stdout(Stdio::from(stdout));
    });
    match ended.await.map_err(NoResult::Failure)? {
        Ended::Exited(exit::OK) => read(&mut taken).map_err(failed),
        Ended::Exited(code) => {
            // It may say what went wrong.
            let said = read(&mut taken).map_err(failed)?;
            let _ = std::io::stderr().write_all(&said);
            Err(NoResult::Exit(code))
        }
        Ended::Stopped(reason) => {
            tell!("{what} was lost: {reason}");
            Err(NoResult::Exit(exit::LOST))
        }
    }
}

fn read(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn input(args: &OnceArgs) -> Result<Option<Vec<u8>>, Failure> {
    match (&args.input, &args.input_file) {
        (Some(text), _) => Ok(Some(bytes(text.clone()).to_vec())),
        (None, Some(path)) => std::fs::read(path)
            .map(Some)
            .map_err(|error| Failure::Other(format!("{}: {error}", path.display()))),
        (None, None) => Ok(None),
    }
}

fn print_forgotten(work: &[u8], output: &mut Output) -> Result<i32, Failure> {
    if output.is_json() {
        let mut object = Map::new();
        insert_bytes(&mut object, "forgotten", work);
        output.json(&object.into())?;
    } else {
        let work = printable(work);
        output.line(format!(
            "the result of {work} is forgotten; the next one runs again"
        ))?;
    }
    Ok(exit::OK)
}

fn print(result: &OnceResult, output: &mut Output) -> Result<i32, Failure> {
    if output.is_json() {
        let mut object = Map::new();
        insert_bytes(&mut object, "value", &result.value);
        object.insert("revision".to_owned(), json!(result.revision));
        object.insert("ran".to_owned(), json!(result.ran));
        output.json(&object.into())?;
    } else if !result.value.is_empty() {
        // The end of the last line is the printer's.
        output.data(result.value.strip_suffix(b"\n").unwrap_or(&result.value))?;
    }
    Ok(exit::OK)
}
