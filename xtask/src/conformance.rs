//! `cargo xtask conformance`: does a server keep to the AMPS protocol?

use std::process::ExitCode;

use crate::Failure;

/// Runs the suite against a server, and prints what it finds.
///
/// # Errors
/// When there is no runtime to run it in.
pub(crate) fn conformance(args: amps_conformance::Args) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("cannot start the runtime: {error}")))?;
    Ok(runtime.block_on(args.run()))
}
