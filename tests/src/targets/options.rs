//! Options of commands.

use amps_core::CommandOptions;
use amps_core::command::OPTIONS_MAX;

/// Any text is split; what passes the check is written as something that reads
/// the same, and is not over the bound.
pub(super) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let options = CommandOptions::from(text);
    for (name, value) in options.iter() {
        assert_eq!((options.has(name), options.get(name)), (true, value));
    }
    if options.check().is_ok() {
        assert!(options.iter().count() <= OPTIONS_MAX);
        assert_eq!(CommandOptions::from(options.to_string()), options);
    }
}
