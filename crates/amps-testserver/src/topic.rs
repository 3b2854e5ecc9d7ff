//! Topic names and topic patterns.

use fancy_regex::Regex;

use crate::pcre;

/// What a subscription or query names: one topic, or every topic a regular
/// expression of Perl's kind finds (AMPS User Guide, "Topics").
#[derive(Debug, Clone)]
pub(crate) enum TopicPattern {
    /// No topic at all.
    Nothing,
    Literal(String),
    Regex(Regex),
}

impl TopicPattern {
    /// A text with regular expression characters is a pattern, searched
    /// unanchored; any other text is a name. `None`: not a valid pattern.
    pub(crate) fn parse(text: &str, literal: bool) -> Option<Self> {
        if literal || !text.contains(['^', '$', '.', '*', '?', '(', ')', '[', ']', '{', '}', '\\', '+', '|']) {
            return Some(Self::Literal(text.to_owned()));
        }
        pcre::compile(text).ok().map(Self::Regex)
    }

    pub(crate) fn matches(&self, topic: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Literal(name) => name == topic,
            // The server's own topics are for those who name them.
            Self::Regex(regex) if topic.starts_with("/AMPS/") && !regex.as_str().contains("/AMPS/") => false,
            Self::Regex(regex) => pcre::finds(regex, topic.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact_and_patterns_are_searched() {
        for (pattern, topic, matches) in [
            ("px", "px", true),
            ("px", "px2", false),
            ("fx.spot", "eu/fx-spot/1", true),
            ("^px$", "px2", false),
            ("px|qx", "qx", true),
            (".*", "/AMPS/ClientStatus", false),
            ("^/AMPS/Client.*", "/AMPS/ClientStatus", true),
            ("^(?!secret/)[a-z]+/", "public/x", true),
            ("^(?!secret/)[a-z]+/", "secret/x", false),
            (r"^(\w)\w*\1$", "abba", true),
            (r"^(\w)\w*\1$", "abbc", false),
            ("(?i)^PX$", "px", true),
            (r"^(a|aa)+\1!$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(TopicPattern::parse(pattern, false).unwrap().matches(topic), matches, "{pattern} {topic}");
        }
        assert!(TopicPattern::parse("a(", false).is_none());
        assert!(TopicPattern::parse("((a{1000}){1000}){1000}", false).is_none(), "it would fill the memory");
        assert!(TopicPattern::parse("a(", true).unwrap().matches("a("));
    }
}
