//! Named situations with a fixed schedule.
