//! Every recipe in the kit: each call going wrong in each way, each await the last one.

mod election;
mod lock;
mod multi;
mod queue;
mod service;
