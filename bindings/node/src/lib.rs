//! `@handfast/native-…`: the client, the recipes and an embedded server for Node.
//!
//! A private layer of plain values: what users see is the TypeScript around it. Owns the crossing
//! between the languages, and no behaviour of its own. What takes time is a promise that never
//! rejects: it gives a value or a [`errors::NativeError`], of which TypeScript makes its own
//! error, so that the stack shows the user's line.

#![deny(unsafe_op_in_unsafe_fn)]
// In a test build napi registers nothing, and then nothing uses what it exports.
#![cfg_attr(test, allow(dead_code))]

mod cancel;
mod cli;
mod client;
mod config;
mod crossing;
mod errors;
mod holding;
mod lane;
mod lease;
mod logs;
mod multi;
mod once;
mod options;
mod queue;
mod request;
mod server;
mod service;
mod session;
mod streams;
mod values;
