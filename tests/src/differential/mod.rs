//! The same operations to two servers, and their answers compared.
//!
//! A seed gives a list of [`Op`]; [`compare`] plays it to a fresh pair of servers, one of them
//! Debian's etcd; [`minimal`] shortens a list that tells them apart. Differences that the contract
//! wants are in [`accepted`], with the reason of each, and nowhere else.

pub mod accepted;
mod describe;
mod generate;
mod mask;
mod op;
mod play;
mod shrink;
mod side;
mod watching;

pub use describe::describe;
pub use generate::generate;
pub use op::{Answer, Op};
pub use play::{Difference, Played, compare};
pub use shrink::{Shrunk, minimal};
