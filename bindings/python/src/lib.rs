//! `handfast._native`: the client, the recipes and an embedded server for Python.
//!
//! A private layer of plain values: what users see is the Python package around it. Owns the
//! crossing between the languages, and no behaviour of its own. Everything that takes time is a
//! [`call::Call`], which the sync side waits for and the asyncio side awaits.

mod bridge;
mod call;
mod callback;
mod client;
mod config;
mod convert;
mod errors;
mod holding;
mod lease;
mod logs;
mod multi;
mod once;
mod queue;
mod request;
mod rt;
mod server;
mod service;
mod session;
mod stream;
mod task;

use pyo3::prelude::*;

/// The native half of the package `handfast`; private.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::{
        bridge::shutdown,
        call::Call,
        client::Client,
        config::{Changes, Config},
        holding::Holding,
        lease::Lease,
        logs::{flush_logs, forward_logs},
        once::OnceWork,
        queue::{Queue, Worker},
        server::{FaultyServer, Server, cli_main},
        service::{Discovery, Picked, Registration, ServiceFeed},
        session::{Session, States},
        stream::{Observer, Watch},
    };

    #[cfg(debug_assertions)]
    #[pymodule_export]
    use super::call::panicking;
}
