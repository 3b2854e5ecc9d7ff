/// How many random cases a property is tried with: `PROPTEST_CASES`, or so many.
pub(crate) fn cases(unless_said: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(unless_said)
}
