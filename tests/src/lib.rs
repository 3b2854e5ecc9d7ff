//! Scenarios that cross the crates live in `tests/`.
