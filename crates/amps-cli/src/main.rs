//! The `amps` command.
fn main() {}
