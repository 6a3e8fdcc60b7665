//! An in-memory disk that forgets unsynced writes, for crash tests.
