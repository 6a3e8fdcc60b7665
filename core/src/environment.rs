//! What a client takes from outside: its clock, its random numbers, its way to the network.
//!
//! Owns the seams at which a simulation puts its own. Knows nothing of what they are used for.

use std::sync::Arc;

use crate::{
    chance::Chance,
    clock::{Clock, SystemClock},
    dial::Dial,
};

/// The outside of a client.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chance: Chance,
    pub(crate) dial: Dial,
}

impl Default for Environment {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            chance: Chance::default(),
            dial: Dial::default(),
        }
    }
}
