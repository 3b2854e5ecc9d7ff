//! What changes the state of a topic: publishes, delta publishes and deletions
//! of records.

use std::time::Duration;

use amps_core::frame::MAX_FRAME_LEN;
use amps_core::header::{Field, FrameWriter};
use bytes::BytesMut;

use crate::error::{OpenError, PublishError};

/// A message to be published, with its header fields; see
/// [`Client::write`](crate::Client::write).
///
/// ```no_run
/// # async fn example(client: amps_client::Client) -> Result<(), amps_client::PublishError> {
/// use std::time::Duration;
/// use amps_client::Publish;
/// client.write(Publish::new("quotes", r#"{"id":1}"#).expiration(Duration::from_secs(60))).await?;
/// client.write(Publish::delta("orders", r#"{"id":1,"qty":2}"#).correlation_id("gateway7")).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use = "it is published by `Client::write`"]
pub struct Publish<'a> {
    topic: &'a str,
    body: &'a [u8],
    delta: bool,
    correlation_id: Option<&'a str>,
    expiration: Option<Duration>,
    sow_key: Option<&'a str>,
}

impl<'a> Publish<'a> {
    /// A whole message (AMPS Command Reference, "publish").
    pub fn new(topic: &'a str, body: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { topic, body: body.as_ref(), delta: false, correlation_id: None, expiration: None, sow_key: None }
    }

    /// A part of a message, which the server merges into the record with the
    /// same key of a SOW topic (AMPS Command Reference, "delta_publish"). On
    /// other topics, and where there is no such record, it is a publish.
    pub fn delta(topic: &'a str, body: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { delta: true, ..Self::new(topic, body) }
    }

    /// Opaque text that subscribers get with the message: the characters of
    /// base64 only.
    pub fn correlation_id(mut self, id: &'a str) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// How long the record lives in a SOW topic with expiration, rounded up to
    /// seconds; zero is for ever.
    pub fn expiration(mut self, lifetime: Duration) -> Self {
        self.expiration = Some(lifetime);
        self
    }

    /// The record's key, for SOW topics whose keys come with the messages: the
    /// characters of base64 only.
    pub fn sow_key(mut self, key: &'a str) -> Self {
        self.sow_key = Some(key);
        self
    }
}

/// Records of a SOW topic to be deleted (AMPS Command Reference,
/// "sow_delete"); see [`Client::sow_delete`](crate::Client::sow_delete).
#[derive(Debug, Clone)]
#[must_use = "records are deleted by `Client::sow_delete`"]
pub struct SowDelete<'a> {
    topic: &'a str,
    records: Records<'a>,
}

#[derive(Debug, Clone)]
enum Records<'a> {
    Filter(&'a str),
    /// Joined by commas.
    Keys(String),
    Data(&'a [u8]),
}

impl<'a> SowDelete<'a> {
    /// Those that match this filter; `1=1` is all.
    pub fn by_filter(topic: &'a str, filter: &'a str) -> Self {
        Self { topic, records: Records::Filter(filter) }
    }

    /// Those with these keys, as messages carry them
    /// ([`Field::SowKey`](crate::Field::SowKey)).
    pub fn by_keys<K: AsRef<str>>(topic: &'a str, keys: impl IntoIterator<Item = K>) -> Self {
        let mut joined = String::new();
        for key in keys {
            joined.push_str(if joined.is_empty() { "" } else { "," });
            joined.push_str(key.as_ref());
        }
        Self { topic, records: Records::Keys(joined) }
    }

    /// The one that a publish of this message would replace. Not for topics
    /// whose keys come with the messages.
    pub fn by_data(topic: &'a str, data: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { topic, records: Records::Data(data.as_ref()) }
    }
}

/// Anything that changes the state of a topic. All of it takes one way: stored
/// in the publish store, sent, and sent again after a failover, in the order in
/// which it was accepted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Write<'a> {
    /// A message, or a part of one.
    Publish(Publish<'a>),
    /// The deletion of records.
    SowDelete(SowDelete<'a>),
}

impl<'a> From<Publish<'a>> for Write<'a> {
    fn from(publish: Publish<'a>) -> Self {
        Self::Publish(publish)
    }
}

impl<'a> From<SowDelete<'a>> for Write<'a> {
    fn from(delete: SowDelete<'a>) -> Self {
        Self::SowDelete(delete)
    }
}

/// Bytes a frame takes at most with this topic, and `rest` bytes of body and
/// fields that not every frame has.
///
/// # Errors
/// No server would take it.
pub(crate) fn frame_len(topic: &str, rest: usize) -> Result<usize, PublishError> {
    if topic.is_empty() {
        return Err(PublishError::NoTopic);
    }
    // Every byte of a topic may need an escape of six.
    let len = 120 + topic.len() * 6 + rest;
    match len <= MAX_FRAME_LEN {
        true => Ok(len),
        false => Err(PublishError::TooLarge { len, bound: MAX_FRAME_LEN }),
    }
}

impl Write<'_> {
    /// Bytes its frame takes at most.
    ///
    /// # Errors
    /// No server would take it.
    pub(crate) fn checked_len(&self) -> Result<usize, PublishError> {
        // Every byte of a text may need an escape of six.
        let field = |value: Option<&str>| value.map_or(0, |value| 24 + value.len() * 6);
        let (topic, len) = match self {
            Self::Publish(Publish { topic, body, correlation_id, expiration, sow_key, .. }) => {
                check_alphabet("a correlation id", *correlation_id)?;
                check_alphabet("a SOW key", *sow_key)?;
                let lifetime = expiration.map_or(0, |_| 26);
                (topic, body.len() + lifetime + field(*correlation_id) + field(*sow_key))
            }
            Self::SowDelete(SowDelete { topic, records }) => {
                let (records, what) = match records {
                    Records::Filter(filter) => (field(Some(filter)), *filter),
                    Records::Keys(keys) => (field(Some(keys)), keys.as_str()),
                    Records::Data(data) => (data.len(), if data.is_empty() { "" } else { "some" }),
                };
                if what.is_empty() {
                    return Err(PublishError::Invalid { what: "a sow_delete", rule: "names no records" });
                }
                (topic, records)
            }
        };
        frame_len(topic, len)
    }

    /// Writes the frame.
    pub(crate) fn encode(&self, sequence: Option<u64>, out: &mut BytesMut) {
        match self {
            Self::Publish(Publish { topic, body, delta, correlation_id, expiration, sow_key }) => {
                let mut frame = match delta {
                    false => FrameWriter::publish(out, topic, sequence),
                    true => FrameWriter::delta_publish(out, topic, sequence),
                };
                if let Some(lifetime) = expiration {
                    let seconds = lifetime.as_secs() + u64::from(lifetime.subsec_nanos() > 0);
                    frame = frame.number(Field::Expiration, seconds);
                }
                frame.maybe(Field::CorrelationId, *correlation_id).maybe(Field::SowKey, *sow_key).finish(body);
            }
            Self::SowDelete(SowDelete { topic, records }) => {
                records.finish(FrameWriter::sow_delete(out, topic, sequence));
            }
        }
    }
}

impl SowDelete<'_> {
    /// Writes the frame of one that is counted under this command id.
    pub(crate) fn encode_counted(&self, sequence: Option<u64>, id: &str, out: &mut BytesMut) {
        self.records.finish(FrameWriter::counted_sow_delete(out, self.topic, sequence, id));
    }
}

impl Records<'_> {
    fn finish(&self, frame: FrameWriter<'_>) {
        match self {
            Self::Filter(filter) => frame.text(Field::Filter, filter).finish(&[]),
            Self::Keys(keys) => frame.text(Field::SowKeys, keys).finish(&[]),
            Self::Data(data) => frame.finish(data),
        }
    }
}

/// A text of which a server takes only the characters of base64.
#[derive(Debug)]
pub(crate) struct NotBase64(&'static str);

const NOT_BASE64: &str = "is not made of the characters of base64";

impl From<NotBase64> for PublishError {
    fn from(NotBase64(what): NotBase64) -> Self {
        Self::Invalid { what, rule: NOT_BASE64 }
    }
}

impl From<NotBase64> for OpenError {
    fn from(NotBase64(setting): NotBase64) -> Self {
        Self::Setting { setting, rule: NOT_BASE64 }
    }
}

/// What a server cannot read would make it close the connection, again and
/// again.
pub(crate) fn check_alphabet(what: &'static str, text: Option<&str>) -> Result<(), NotBase64> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_');
    match text {
        Some(text) if text.is_empty() || !text.bytes().all(allowed) => Err(NotBase64(what)),
        _ => Ok(()),
    }
}
