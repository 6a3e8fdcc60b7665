//! True histories by chance, and what the checks say when something in them is changed.
//!
//! Owns a second, simpler store that keeps every state it ever had, and clients that use it at the
//! same time. Knows nothing of how the checks work.

mod broken;
mod broken_held;
mod broken_watch;
mod dice;
mod held;
mod traffic;
mod truth;
mod watches;
mod world;
