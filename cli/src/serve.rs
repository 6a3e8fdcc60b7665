//! `handfast serve`: runs a server until a signal ends it.
//!
//! Owns the life of the process around the server: flags, log, greeting, signals, exit code. It
//! must not know how the server works.

mod args;
mod greeting;
mod log;
mod notify;

use clap::ArgMatches;
use handfast_server::Server;
use handfast_server::config::{Layers, LogFormat, Preset, Resolved};

use crate::exit;
use crate::output::tell;
use crate::supervise::signals::{Signals, name};

pub(crate) use args::{accept_single_dashes, command};

/// Runs the server; returns the exit code.
pub(crate) fn run(matches: &ArgMatches, preset: Preset) -> i32 {
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let layers = Layers::new(args::given(matches), env).preset(preset);
    let resolved = match layers.resolve() {
        Ok(resolved) => resolved,
        Err(error) => return refuse(&error),
    };
    log::start(&resolved.config);
    // The server has threads of its own; this one only waits for signals.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("the system refuses to watch for signals: {error}")),
    };
    let code = runtime.block_on(serve(resolved, preset));
    // A stop that was forced must not wait for what hangs.
    runtime.shutdown_background();
    code
}

fn refuse(error: &dyn std::fmt::Display) -> i32 {
    tell!("{error}");
    exit::FAILED
}

async fn serve(resolved: Resolved, preset: Preset) -> i32 {
    let mut signals = match Signals::stopping() {
        Ok(signals) => signals,
        Err(error) => return refuse(&format!("cannot listen for signals: {error}")),
    };
    for note in &resolved.notes {
        tracing::warn!("{note}");
    }
    let config = resolved.config;
    let greet = preset == Preset::Handfast && config.log_format == LogFormat::Text;
    let server = tokio::select! {
        started = Server::builder().config(config.clone()).start() => started,
        signal = signals.recv() => {
            tracing::info!("{} while starting: stopped", name(signal));
            return exit::OK;
        }
    };
    let server = match server {
        Ok(server) => server,
        Err(error) => return refuse(&error),
    };
    tracing::info!(endpoint = %server.endpoint(), "ready to serve client requests");
    notify::ready();
    if greet {
        greeting::print(&config, &server);
    }
    wait(server, &mut signals).await
}

/// Serves until a signal, or until the member fails for good.
async fn wait(server: Server, signals: &mut Signals) -> i32 {
    let failure = tokio::select! {
        signal = signals.recv() => {
            tracing::info!("{}: stopping; a second signal stops at once", name(signal));
            None
        }
        reason = server.failed() => Some(reason),
    };
    notify::stopping();
    let stopped = tokio::select! {
        stopped = server.shutdown() => stopped,
        signal = signals.recv() => {
            let signal = name(signal);
            tracing::warn!("{signal} again: stopped without waiting for running requests");
            return exit::FAILED;
        }
    };
    match (failure, stopped) {
        (Some(reason), _) => refuse(&format!("the server failed: {reason}")),
        (None, Err(error)) => refuse(&error),
        (None, Ok(())) => {
            tracing::info!("stopped");
            exit::OK
        }
    }
}
