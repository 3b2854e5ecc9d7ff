//! Where the documents can be read in several ways.

/// How this server reads the AMPS documents where they leave something open, so
/// that a client can be tested under every reading. The default is the reading
/// that the documents suggest most.
///
/// ```
/// use amps_testserver::{Config, Readings};
/// let mut config = Config::new("A");
/// config.readings.long_publish = true;
/// assert_ne!(config.readings, Readings::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Readings {
    /// Messages are delivered as `publish`, not as `p`: the AMPS Command
    /// Reference has both names for the command.
    pub long_publish: bool,
    /// A message that matched one subscription has its id as `sub_id`, not as
    /// `sids` (AMPS Command Reference, "publish").
    pub sub_id_for_one: bool,
    /// Processed acks of subscriptions do not name them (AMPS Command
    /// Reference, "ack", against "subscribe").
    pub no_sub_id_in_processed: bool,
    /// Periodic persisted acks of bookmark subscriptions have the subscription's
    /// id only, not that of its command (AMPS User Guide, "Bookmark
    /// Subscriptions and Persisted Acknowledgements").
    pub no_command_id_in_positions: bool,
    /// The logon ack has no bookmark (AMPS Command Reference, "ack").
    pub no_bookmark_in_logon: bool,
    /// The `stats` ack of a query comes before its `completed` ack.
    pub stats_before_completed: bool,
    /// An `unsubscribe` that names nothing ends all subscriptions instead of
    /// being refused (AMPS Command Reference, "unsubscribe").
    pub unsubscribe_ends_all: bool,
    /// In filters of commands a predicate with a NULL operand that does not hold
    /// is NULL, not false: its negation does not hold either, and as the left
    /// side of `OR` it decides (AMPS User Guide, "NULL, NaN and IS NULL").
    pub null_predicates: bool,
    /// In filters of commands a raw string behind `LIKE` is a regular expression
    /// too, in which backslashes stay (AMPS User Guide, "Raw Strings").
    pub raw_patterns: bool,
    /// In filters of commands the escapes of string literals count before a
    /// pattern is a regular expression: `'C\\+'` is `C+` then (AMPS User Guide,
    /// "String Literals", against "LIKE Operator").
    pub escaped_patterns: bool,
}
