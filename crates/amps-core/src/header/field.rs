macro_rules! fields {
    ($($(#[doc = $doc:literal])+ $name:ident $wire:literal $($alias:literal)*;)+) => {
        /// A header field this crate knows by name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Field { $($(#[doc = $doc])+ $name,)+ }

        impl Field {
            /// Every field.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The spelling used when writing.
            pub const fn key(self) -> &'static str {
                match self { $(Self::$name => $wire,)+ }
            }

            /// What stands between the value before and this one.
            pub(super) const fn lead(self) -> &'static [u8] {
                match self { $(Self::$name => concat!(",\"", $wire, "\":").as_bytes(),)+ }
            }

        }

        /// Every spelling of every key.
        const SPELLINGS: &[(&str, Field)] = &[$(($wire, Field::$name), $(($alias, Field::$name),)*)+];
    };
}

fields! {
    /// The command or message type.
    Command "c" "cmd";
    /// The topic.
    Topic "t" "topic";
    /// Subscriptions a message matched.
    SubscriptionIds "sids";
    /// One subscription.
    SubscriptionId "sub_id";
    /// A bookmark, or a list or range of them.
    Bookmark "bm" "bookmark";
    /// The publisher's message number.
    Sequence "s" "seq";
    /// Acknowledgement types.
    AckType "a" "ack_type";
    /// The client's id of a command.
    CommandId "cid" "cmd_id";
    /// The key of one SOW record.
    SowKey "k" "sow_key";
    /// A set of SOW keys.
    SowKeys "sow_keys";
    /// The length in bytes of a body inside a batch.
    MessageLength "l" "msg_len";
    /// When the server processed a message.
    Timestamp "ts" "timestamp";
    /// `success`, `failure` or `retry`.
    Status "status";
    /// Why.
    Reason "reason";
    /// The id of a query.
    QueryId "query_id";
    /// Records in, or at most in, one SOW frame.
    BatchSize "bs" "batch_size";
    /// A content filter.
    Filter "f" "filter";
    /// Command options.
    Options "o" "opts";
    /// Opaque data of the publisher.
    CorrelationId "x" "correlation_id";
    /// Lifetime in seconds.
    Expiration "e" "expiration";
    /// A bound on the number of records.
    TopN "top_n";
    /// The order of a query's records.
    OrderBy "orderby";
    /// The end of a queue lease.
    LeasePeriod "lp" "leaseperiod" "lease_period";
    /// The name a client logs on with.
    ClientName "client_name";
    /// The authenticated user.
    UserId "user_id";
    /// A password or token.
    Password "pw" "password";
    /// The message type of a connection.
    MessageType "mt" "message_type";
    /// A version: the client's inbound, the server's outbound.
    Version "version" "v";
    /// Records that matched topic and filter.
    Matches "matches";
    /// Records compared.
    TopicMatches "topic_matches";
    /// Records sent.
    RecordsReturned "records_returned";
    /// Records removed.
    RecordsDeleted "records_deleted";
    /// Records that were new.
    RecordsInserted "records_inserted";
    /// Records that changed.
    RecordsUpdated "records_updated";
    /// The number of a batch within a query's result.
    GroupSequence "gseq" "group_sequence_number";
}

impl Field {
    /// The field a key names, in either spelling.
    pub fn from_key(key: &[u8]) -> Option<Self> {
        if key.len() > SHORT {
            return SPELLINGS.iter().find(|(spelling, _)| spelling.as_bytes() == key).map(|(_, field)| *field);
        }
        Self::from_word(word(key))
    }

    /// The same for a key of at most [`SHORT`] bytes, as [`word`] packs it.
    #[inline]
    pub(super) fn from_word(key: u64) -> Option<Self> {
        let (spelling, field) = BY_HASH[hash(key)];
        if spelling == key { field } else { None }
    }
}

/// Keys up to this length, which are those of most messages, are looked up as
/// one word.
pub(super) const SHORT: usize = 7;

/// The short spellings, by their [`hash`]. Two under one would not compile.
static BY_HASH: [(u64, Option<Field>); 128] = {
    let mut table: [(u64, Option<Field>); 128] = [(0, None); 128];
    let mut index = 0;
    while index < SPELLINGS.len() {
        let (spelling, field) = SPELLINGS[index];
        if spelling.len() <= SHORT {
            let key = word(spelling.as_bytes());
            assert!(table[hash(key)].1.is_none(), "two keys have one hash: choose another factor");
            table[hash(key)] = (key, Some(field));
        }
        index += 1;
    }
    table
};

/// The bytes of a short key, the first one lowest.
const fn word(key: &[u8]) -> u64 {
    let (mut word, mut at) = (0, key.len());
    while at > 0 {
        at -= 1;
        word = word << 8 | key[at] as u64;
    }
    word
}

/// Different for each short key in use; the factor was found by trying.
const fn hash(key: u64) -> usize {
    (key.wrapping_mul(0xbed1_e178_5355_71e7) >> 57) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_every_key_is_read() {
        for field in Field::ALL {
            assert_eq!(Field::from_key(field.key().as_bytes()), Some(*field));
        }
        for (key, field) in [
            ("cmd", Field::Command),
            ("v", Field::Version),
            ("lease_period", Field::LeasePeriod),
            ("password", Field::Password),
            ("seq", Field::Sequence),
        ] {
            assert_eq!(Field::from_key(key.as_bytes()), Some(field), "{key}");
        }
        for key in ["", "z", "C", "sid", "\u{fc}"] {
            assert_eq!(Field::from_key(key.as_bytes()), None, "{key}");
        }
    }
}
