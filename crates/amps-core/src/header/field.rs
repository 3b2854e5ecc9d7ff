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
    /// The number of a batch within a query's result.
    GroupSequence "gseq" "group_sequence_number";
}

impl Field {
    /// The field a key names, in either spelling.
    pub fn from_key(key: &[u8]) -> Option<Self> {
        let (spelling, field) = BY_HASH[hash(key)]?;
        (spelling.as_bytes() == key).then_some(field)
    }
}

/// Every spelling, by its [`hash`]. Two under one hash would not compile.
static BY_HASH: [Option<(&str, Field)>; 128] = {
    let mut table: [Option<(&str, Field)>; 128] = [None; 128];
    let mut index = 0;
    while index < SPELLINGS.len() {
        let slot = hash(SPELLINGS[index].0.as_bytes());
        assert!(table[slot].is_none(), "two keys have one hash: choose other factors");
        table[slot] = Some(SPELLINGS[index]);
        index += 1;
    }
    table
};

/// Different for each key in use; the factors were found by trying.
const fn hash(key: &[u8]) -> usize {
    let len = key.len();
    if len == 0 {
        return 0;
    }
    (len * 61 + key[0] as usize * 34 + key[len - 1] as usize * 41 + key[len / 2] as usize * 51) % 128
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
