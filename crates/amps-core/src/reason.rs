//! Why a command failed, as a type.

use std::fmt::{self, Write};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident $($wire:literal)+;)+) => {
        /// The reason in a failure acknowledgement
        /// (AMPS developer guides, "Exception Types").
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
            /// A reason without a variant here; the server's text is kept.
            Unknown(String),
        }

        impl Reason {
            /// The reason a text names.
            pub fn from_wire(text: &str) -> Self {
                match text.trim().to_ascii_lowercase().as_str() {
                    $($($wire)|+ => Self::$name,)+
                    _ => Self::Unknown(text.to_owned()),
                }
            }

            /// The text on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => [$($wire),+][0],)+
                    Self::Unknown(text) => text,
                }
            }
        }
    };
}

reasons! {
    /// The filter does not parse.
    BadFilter "bad filter";
    /// The topic is not a valid regular expression.
    BadRegexTopic "bad regex topic" "bad regex";
    /// The topic does not take this command: a query on a topic without a SOW,
    /// a bookmark subscription on one without a transaction log.
    InvalidTopic "invalid topic";
    /// A malformed or misplaced SOW key.
    BadSowKey "bad sow key";
    /// No permission.
    NotEntitled "not entitled";
    /// The credentials were refused.
    AuthFailure "auth failure" "authentication failed";
    /// A success with the default authentication module.
    AuthenticationDisabled "authentication disabled";
    /// Another client holds this name.
    NameInUse "name in use";
    /// A second logon on one connection.
    DuplicateLogon "duplicate logon attempt" "duplicate logon";
    /// The server already has this message: the publish succeeded earlier.
    Duplicate "duplicate";
    /// A malformed bookmark.
    InvalidBookmark "invalid bookmark";
    /// The server does not know the bookmark (`bookmark_not_found=fail`).
    BookmarkNotFound "bookmark not found";
    /// An option the command does not take.
    InvalidOptions "invalid options" "bad option" "bad options" "invalid option";
    /// A malformed order-by clause.
    InvalidOrderBy "invalid orderby" "invalid order by";
    /// A malformed subscription id.
    InvalidSubId "invalid sub id" "invalid subid";
    /// The subscription id is in use.
    SubIdInUse "subid in use" "already exists" "subscription already exists";
}

impl Reason {
    /// Whether the same command will be refused again until somebody changes
    /// it or the server's configuration. A permanent reason on resubscribe
    /// drops that subscription; any other fails the connection attempt.
    pub fn is_permanent(&self) -> bool {
        matches!(
            self,
            Self::BadFilter
                | Self::BadRegexTopic
                | Self::InvalidTopic
                | Self::BadSowKey
                | Self::NotEntitled
                | Self::InvalidBookmark
                | Self::InvalidOptions
                | Self::InvalidOrderBy
                | Self::InvalidSubId
        )
    }
}

/// In one line: spaces for control characters, so that no server can write lines
/// into a client's log. [`Reason::as_str`] has the text as it came.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().chars().try_for_each(|char| f.write_char(if char.is_control() { ' ' } else { char }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reason with all its texts, and whether it will pass.
    ///
    /// Covers 15#1, 15#2.
    #[test]
    fn reasons_map_both_ways_and_unknown_text_is_kept() {
        let (passes, stays) = (false, true);
        for (texts, reason, permanent) in [
            (&["bad filter", "Bad Filter"][..], Reason::BadFilter, stays),
            (&["bad regex topic", "bad regex"], Reason::BadRegexTopic, stays),
            (&["invalid topic"], Reason::InvalidTopic, stays),
            (&["bad sow key"], Reason::BadSowKey, stays),
            (&["not entitled"], Reason::NotEntitled, stays),
            (&["auth failure", "authentication failed"], Reason::AuthFailure, passes),
            (&["authentication disabled"], Reason::AuthenticationDisabled, passes),
            (&["name in use", "Name in use"], Reason::NameInUse, passes),
            (&["duplicate logon attempt", "duplicate logon"], Reason::DuplicateLogon, passes),
            (&["duplicate"], Reason::Duplicate, passes),
            (&["invalid bookmark"], Reason::InvalidBookmark, stays),
            (&["bookmark not found"], Reason::BookmarkNotFound, passes),
            (&["invalid options", "bad option", "bad options", "invalid option"], Reason::InvalidOptions, stays),
            (&["invalid orderby", "invalid order by"], Reason::InvalidOrderBy, stays),
            (&["invalid sub id", "invalid subid"], Reason::InvalidSubId, stays),
            (&["subid in use", "already exists", "subscription already exists"], Reason::SubIdInUse, passes),
        ] {
            assert_eq!(reason.as_str(), texts[0]);
            assert_eq!(reason.is_permanent(), permanent, "{reason}");
            for text in texts {
                assert_eq!(Reason::from_wire(text), reason, "{text}");
            }
        }
        let odd = Reason::from_wire("Out of cheese");
        assert_eq!(odd, Reason::Unknown("Out of cheese".into()));
        assert_eq!(odd.to_string(), "Out of cheese");
        assert!(!odd.is_permanent());
    }

    #[test]
    fn a_reason_is_shown_in_one_line() {
        let reason = Reason::from_wire("no\n\u{1b}[2Jlive\u{9b}1m");
        assert_eq!(reason.to_string(), "no  [2Jlive 1m");
        assert_eq!(reason.as_str(), "no\n\u{1b}[2Jlive\u{9b}1m");
    }
}
