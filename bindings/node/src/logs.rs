//! Log records on their way to a function.
//!
//! Owns the weak callback that takes them.

use handfast_bindings::logs::{self, Record};
use napi::{
    Status,
    bindgen_prelude::{Either, FnArgs, Function},
    threadsafe_function::ThreadsafeFunctionCallMode,
};
use napi_derive::napi;
use tracing::Level;

use crate::{
    crossing::{arguments, no_threads},
    errors::NativeError,
};

#[napi(object)]
pub struct NativeRecord {
    pub level: String,
    pub target: String,
    pub message: String,
    pub unix_ms: f64,
}

impl From<Record> for NativeRecord {
    fn from(record: Record) -> Self {
        Self {
            level: record.level.as_str().to_lowercase(),
            target: record.target,
            message: record.message,
            unix_ms: record.unix_ms as f64,
        }
    }
}

/// Gives records of `level` and graver ones to `sink`; `false` when the process logs elsewhere.
#[napi]
pub fn set_log_sink(
    level: String,
    sink: Function<'_, FnArgs<(NativeRecord,)>, ()>,
) -> napi::Result<Either<bool, NativeError>> {
    let Ok(level) = level.parse::<Level>() else {
        let problem = format!("{level:?} is none of error, warn, info, debug, trace");
        return Ok(Either::B(
            handfast_bindings::Failure::invalid("level", problem).into(),
        ));
    };
    let call = sink
        .build_threadsafe_function::<Record>()
        .weak::<true>()
        .max_queue_size::<{ logs::CAPACITY }>()
        .build_callback(|context| Ok(arguments((NativeRecord::from(context.value),))))?;
    let installed = logs::install(
        level,
        Box::new(
            move |record| match call.call(record, ThreadsafeFunctionCallMode::NonBlocking) {
                Status::Ok => true,
                // The event loop is held up: it must neither be waited for nor pile them up.
                Status::QueueFull => {
                    logs::note_dropped();
                    true
                }
                _ => false,
            },
        ),
    );
    Ok(Either::A(installed.map_err(no_threads)?))
}

#[napi]
pub fn remove_log_sink() {
    logs::remove();
}
