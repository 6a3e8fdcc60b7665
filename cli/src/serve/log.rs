//! The server's log.
//!
//! Owns where lines go and how they look. It must not know what is logged.

use std::io::{self, IsTerminal};

use handfast_server::config::{Config, LogFormat, LogLevel, LogOutput};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// Libraries below us that are chatty at `debug`.
const QUIET: &str = "h2=info,hyper=info,hyper_util=info,tonic=info,tower=info,openraft=warn";

/// Starts logging as configured. A program that called us and logs already keeps its own way.
pub(super) fn start(config: &Config) {
    let (writer, terminal) = match config.log_output {
        LogOutput::Stderr => (BoxMakeWriter::new(io::stderr), io::stderr().is_terminal()),
        LogOutput::Stdout => (BoxMakeWriter::new(io::stdout), io::stdout().is_terminal()),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(directives(config.log_level)))
        .with_target(false)
        // They are told by a macro that panics when nobody reads: no log is no reason to fail.
        .log_internal_errors(false)
        .with_writer(writer);
    // The only error is that a subscriber exists.
    let _ = match config.log_format {
        LogFormat::Text => builder.with_ansi(terminal).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

fn directives(level: LogLevel) -> String {
    match level {
        LogLevel::Trace => "trace".to_owned(),
        LogLevel::Debug => format!("debug,{QUIET}"),
        // Its warnings come with each heartbeat to a member that is away; what they mean is logged
        // by consensus once.
        LogLevel::Info => "info,openraft=error".to_owned(),
        LogLevel::Warn => "warn,openraft=error".to_owned(),
        LogLevel::Error => "error".to_owned(),
    }
}
