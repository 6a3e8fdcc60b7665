//! Clusters of real processes, disturbed while clients work, and their histories checked.
//!
//! [`Cluster`] starts members and does to them what machines and networks do. [`nemesis`] chooses
//! what and when from a seed, [`workload`] are the clients, and [`trial`] puts both together and
//! asks the checkers. Works with handfast and with etcd, which shows whether a finding is real.

mod facts;
mod group;
mod links;
mod member;
mod namespaces;
pub mod nemesis;
mod network;
mod program;
mod proxy;
mod replace;
mod sockets;
pub mod trial;
pub mod workload;

pub use facts::{Standing, converged};
pub use group::{Cluster, Setup};
pub use links::Condition;
pub use member::Member;
pub use namespaces::unavailable as namespaces_unavailable;
pub use network::Wiring;
pub use program::Program;
