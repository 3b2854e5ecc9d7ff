//! The topics that checks use.

use std::str::FromStr;

/// The topics to use. All but the plain one have to be configured at the server;
/// checks of what is not there say so.
///
/// None has a character that would make it a regular expression when it is
/// subscribed to (AMPS User Guide, "Regular Expressions").
///
/// ```
/// use amps_conformance::Topics;
/// let topics: Topics = "sow=prices:/symbol,queue=work".parse().unwrap();
/// assert_eq!((topics.sow.as_str(), topics.sow_key.as_str(), topics.queue.as_str()), ("prices", "symbol", "work"));
/// assert_eq!(topics.log, "conformance-log");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topics {
    /// What the names of topics begin with that need no configuration. Default
    /// `conformance-plain`.
    pub plain: String,
    /// A topic with a SOW. Default `conformance-sow`.
    pub sow: String,
    /// The field of JSON messages that is its key. Default `id`.
    pub sow_key: String,
    /// A topic in the transaction log. Default `conformance-log`.
    pub log: String,
    /// A message queue, delivering at least once. Default `conformance-queue`.
    pub queue: String,
}

impl Default for Topics {
    fn default() -> Self {
        Self {
            plain: "conformance-plain".to_owned(),
            sow: "conformance-sow".to_owned(),
            sow_key: "id".to_owned(),
            log: "conformance-log".to_owned(),
            queue: "conformance-queue".to_owned(),
        }
    }
}

/// A text that names no topics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}': {rule}")]
#[non_exhaustive]
pub struct TopicsError {
    /// The part that is wrong.
    pub text: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

impl FromStr for Topics {
    type Err = TopicsError;

    /// Reads `plain=NAME,sow=NAME:/key,log=NAME,queue=NAME`; what is not named
    /// keeps its default.
    fn from_str(text: &str) -> Result<Self, TopicsError> {
        let mut topics = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let wrong = |rule| TopicsError { text: part.to_owned(), rule };
            let Some((what, name)) = part.split_once('=') else {
                return Err(wrong("write plain=NAME, sow=NAME:/key, log=NAME or queue=NAME"));
            };
            let (name, key) = match name.split_once(":/") {
                Some((name, key)) if what == "sow" && !key.is_empty() && !key.contains('/') => (name, Some(key)),
                Some(_) => return Err(wrong("only a SOW topic has a key, which is one field, such as sow=prices:/id")),
                None => (name, None),
            };
            if name.is_empty() || name.contains(|c: char| "^$.*?()[]{}\\+|\"'".contains(c) || c.is_control()) {
                return Err(wrong("a topic is named without any of ^ $ . * ? ( ) [ ] { } \\ + | and quotes"));
            }
            let topic = match what {
                "plain" => &mut topics.plain,
                "sow" => &mut topics.sow,
                "log" => &mut topics.log,
                "queue" => &mut topics.queue,
                _ => return Err(wrong("the topics are plain, sow, log and queue")),
            };
            name.clone_into(topic);
            if let Some(key) = key {
                key.clone_into(&mut topics.sow_key);
            }
        }
        Ok(topics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        for bad in ["sow", "log=", "table=x", "log=a.b", "log=a:/id", "sow=a:/b/c", "sow=a:/", "plain='x'"] {
            let error = bad.parse::<Topics>().unwrap_err();
            assert_eq!(error.text, bad, "{error}");
        }
        assert_eq!("".parse(), Ok(Topics::default()));
    }
}
