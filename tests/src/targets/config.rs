//! Configuration files of the test server.

use amps_testserver::TestServerBuilder;

/// Any text is a server, or an error that says why it is none.
pub(super) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(reason) = TestServerBuilder::check_toml(text) {
        assert!(!reason.is_empty(), "{text}");
    }
}
