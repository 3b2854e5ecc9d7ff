//! How long to wait before the next connection attempt.
