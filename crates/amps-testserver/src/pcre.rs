//! Regular expressions as AMPS has them, backreferences and all, in bounded time
//! and memory (AMPS User Guide, "Regular Expressions").

use fancy_regex::{BytesMode, Error, Regex, RegexBuilder};

/// Steps back a search may take before it is given up. The documents have no
/// rule for a search that does not end; here it has found nothing.
const BACKTRACK_MAX: usize = 100_000;

/// Bytes each part of a compiled expression may take, and its steps.
const COMPILED_MAX: usize = 1 << 20;
const STEPS_MAX: usize = 1 << 16;

/// Reads an expression. It knows bytes, not Unicode: `.` is one byte.
///
/// # Errors
/// It is none, or too large.
pub(crate) fn compile(text: &str) -> Result<Regex, Error> {
    RegexBuilder::new(text)
        .bytes_mode(BytesMode::Ascii)
        .backtrack_limit(BACKTRACK_MAX)
        .delegate_size_limit(COMPILED_MAX)
        .delegate_dfa_size_limit(COMPILED_MAX)
        .max_prog_size(STEPS_MAX)
        .build()
}

/// Whether it is found anywhere in a text.
pub(crate) fn finds(regex: &Regex, text: &[u8]) -> bool {
    regex.is_match(text).unwrap_or(false)
}
