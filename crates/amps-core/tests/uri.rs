//! Connection strings of any content: no panic, and no password shown.

use amps_core::Uri;
use proptest::prelude::*;

proptest! {
    #[test]
    fn any_text_is_a_connection_string_or_an_error(text in "\\PC{0,60}") {
        let _ = text.parse::<Uri>().map(|uri| uri.to_string());
    }

    #[test]
    fn a_password_is_never_shown(
        secret in "SECRET[a-z0-9%/@:?#\\[\\]]{0,12}SECRET",
        rest in prop::sample::select(vec!["h:1/amps/json", "h/amps", "h:1/fix", "h:1/amps?x=1", "[::1]:1/amps", "h:x/amps", ""]),
        scheme in prop::sample::select(vec!["tcp://", "tcps://", "http://", "://", ""]),
    ) {
        let shown = match format!("{scheme}user:{secret}@{rest}").parse::<Uri>() {
            Ok(uri) => format!("{uri} {uri:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        prop_assert!(!shown.contains("SECRET"), "{}", shown);
    }
}
