//! Connection strings.

use amps_core::Uri;
use amps_core::uri::LEN_MAX;

/// Any text is a connection string or an error; what one shows reads back, and
/// shows nothing of a password.
pub(super) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let uri = match text.parse::<Uri>() {
        Ok(uri) => uri,
        // A password may stand anywhere in what is no connection string.
        Err(error) => return assert!(error.to_string().len() <= 4 * LEN_MAX),
    };
    assert!(text.len() <= LEN_MAX);
    let shown = uri.to_string();
    let again: Uri = shown.parse().unwrap_or_else(|error| panic!("'{shown}' does not read back: {error}"));
    assert_eq!((uri.scheme(), uri.host(), uri.port()), (again.scheme(), again.host(), again.port()), "{shown}");
    assert_eq!((uri.user(), uri.message_type()), (again.user(), again.message_type()), "{shown}");
    assert_eq!(uri.options(), again.options(), "{shown}");
    match uri.password() {
        Some(_) => assert_eq!(again.password(), Some("***"), "{shown}"),
        None => assert_eq!(again, uri),
    }
}
