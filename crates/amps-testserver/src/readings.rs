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
    /// An `unsubscribe` of a subscription there is not is refused (AMPS Command
    /// Reference, "unsubscribe").
    pub unknown_unsubscribe_fails: bool,
    /// A subscription with the id of another takes its place as with the option
    /// `replace`, instead of being refused (AMPS Command Reference, "subscribe").
    pub reused_id_replaces: bool,
    /// A duplicate that is dropped gets a success ack of its own, once it is
    /// persisted, before the next conflated one (AMPS User Guide, "Publish
    /// Acknowledgements").
    pub duplicates_succeed: bool,
    /// A duplicate that is dropped gets a failure ack with the reason `duplicate`
    /// (AMPS developer guides, "Detecting Write Failures").
    pub duplicates_fail: bool,
    /// A publish that fails says so in its `processed` ack only, where both that and
    /// `persisted` were asked for (AMPS Command Reference, "publish").
    pub failure_told_once: bool,
    /// Persisted acks of publishes have the bookmark of the last message that is
    /// (AMPS Command Reference, "ack").
    pub bookmark_in_publish_acks: bool,
    /// Persisted acks of bookmark subscriptions come also before their replay has
    /// caught up (AMPS User Guide, "Bookmark Subscriptions and Persisted
    /// Acknowledgements").
    pub positions_during_replay: bool,
    /// The ack of a subscription to a queue has all options of the command, of them
    /// `max_backlog` as it was granted (AMPS Command Reference, "ack").
    pub all_options_in_ack: bool,
    /// The header of a `sow` frame has key, length and time of its first record, and
    /// records have no time of their own (AMPS Command Reference, "sow").
    pub first_record_in_batch: bool,
    /// `stats` acks have counts of records inserted and updated too (AMPS Command
    /// Reference, "AMPS Protocol").
    pub all_counts: bool,
    /// Times in headers are in the extended format of ISO 8601,
    /// `2026-01-05T10:15:30.250000Z` (AMPS Command Reference, "AMPS Protocol").
    pub extended_times: bool,
    /// Times of bookmarks may have fractions of a second (AMPS User Guide, "Replaying
    /// Messages with Bookmark Subscriptions").
    pub fractions_in_bookmarks: bool,
    /// A logon that is refused is not answered: the connection ends (AMPS User Guide,
    /// "Authentication").
    pub silent_refusal_of_logon: bool,
    /// Heartbeats of the server have the option `beat`, as those of clients have
    /// (AMPS Command Reference, "heartbeat").
    pub options_in_heartbeats: bool,
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
    /// In filters of commands `NOT LIKE` holds for an array with any element that is
    /// not like it, instead of with none that is (AMPS User Guide, "Working with
    /// Arrays").
    pub not_like_by_element: bool,
    /// In filters of commands `BETWEEN` looks at the first element of an array only
    /// (AMPS User Guide, "Working with Arrays").
    pub between_by_first: bool,
}

/// How one of the readings is reached.
type Reach = fn(&mut Readings) -> &mut bool;

impl Readings {
    /// All of them, by the names of their fields.
    const ALL: [(&'static str, Reach); 26] = [
        ("long_publish", |r| &mut r.long_publish),
        ("sub_id_for_one", |r| &mut r.sub_id_for_one),
        ("no_sub_id_in_processed", |r| &mut r.no_sub_id_in_processed),
        ("no_command_id_in_positions", |r| &mut r.no_command_id_in_positions),
        ("no_bookmark_in_logon", |r| &mut r.no_bookmark_in_logon),
        ("stats_before_completed", |r| &mut r.stats_before_completed),
        ("unsubscribe_ends_all", |r| &mut r.unsubscribe_ends_all),
        ("unknown_unsubscribe_fails", |r| &mut r.unknown_unsubscribe_fails),
        ("reused_id_replaces", |r| &mut r.reused_id_replaces),
        ("duplicates_succeed", |r| &mut r.duplicates_succeed),
        ("duplicates_fail", |r| &mut r.duplicates_fail),
        ("failure_told_once", |r| &mut r.failure_told_once),
        ("bookmark_in_publish_acks", |r| &mut r.bookmark_in_publish_acks),
        ("positions_during_replay", |r| &mut r.positions_during_replay),
        ("all_options_in_ack", |r| &mut r.all_options_in_ack),
        ("first_record_in_batch", |r| &mut r.first_record_in_batch),
        ("all_counts", |r| &mut r.all_counts),
        ("extended_times", |r| &mut r.extended_times),
        ("fractions_in_bookmarks", |r| &mut r.fractions_in_bookmarks),
        ("silent_refusal_of_logon", |r| &mut r.silent_refusal_of_logon),
        ("options_in_heartbeats", |r| &mut r.options_in_heartbeats),
        ("null_predicates", |r| &mut r.null_predicates),
        ("raw_patterns", |r| &mut r.raw_patterns),
        ("escaped_patterns", |r| &mut r.escaped_patterns),
        ("not_like_by_element", |r| &mut r.not_like_by_element),
        ("between_by_first", |r| &mut r.between_by_first),
    ];

    /// Each reading that differs from the default by itself, with the name of its
    /// field: for a test under every one of them.
    ///
    /// ```
    /// use amps_testserver::Readings;
    /// assert!(Readings::each().any(|(name, readings)| name == "long_publish" && readings.long_publish));
    /// ```
    pub fn each() -> impl Iterator<Item = (&'static str, Self)> {
        Self::ALL.into_iter().map(|(name, reach)| {
            let mut one = Self::default();
            *reach(&mut one) = true;
            (name, one)
        })
    }

    /// The other reading of everything at once.
    pub fn all_others() -> Self {
        let mut all = Self::default();
        for (_, reach) in Self::ALL {
            *reach(&mut all) = true;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_readings_are_listed_by_their_names() {
        let shown = format!("{:?}", Readings::all_others());
        assert!(!shown.contains("false"), "{shown}");
        for (name, one) in Readings::each() {
            let shown = format!("{one:?}");
            assert!(shown.contains(&format!("{name}: true")) && shown.matches("true").count() == 1, "{shown}");
        }
    }
}
