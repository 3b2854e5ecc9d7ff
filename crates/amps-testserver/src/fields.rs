//! The fields of a message, whichever type it is of: for keys and for deltas.

use amps_core::payload::{fix, nvfix};
use bytes::Bytes;
use serde_json::Value;

use crate::delta::merge;
use crate::message_type::MessageType;

/// What stands behind each pair.
const SEPARATOR: u8 = 1;

/// The fields of one message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fields {
    Json(Value),
    /// Names and values, in their order.
    Pairs(Vec<(String, Vec<u8>)>),
}

impl Fields {
    /// The fields of a message; `None` when it is not of its type, or one of a
    /// type without fields.
    pub(crate) fn read(message_type: &MessageType, body: &[u8]) -> Option<Self> {
        match message_type {
            MessageType::Json => serde_json::from_slice(body).ok().map(Self::Json),
            MessageType::Nvfix => {
                let pairs = nvfix(body, SEPARATOR).map(|pair| pair.ok().and_then(|(name, value)| named(name, value)));
                pairs.collect::<Option<_>>().map(Self::Pairs)
            }
            MessageType::Fix => {
                let pairs =
                    fix(body, SEPARATOR).map(|pair| pair.ok().map(|(tag, value)| (tag.to_string(), value.to_vec())));
                pairs.collect::<Option<_>>().map(Self::Pairs)
            }
            MessageType::Binary | MessageType::CompositeLocal(_) => None,
        }
    }

    /// The value at a path such as `/site/id`, or for pairs `/id`, as text. What
    /// is NULL has none.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        match self {
            Self::Json(value) => {
                let value = value.pointer(path).filter(|value| !value.is_null())?;
                Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            }
            Self::Pairs(pairs) => {
                let name = path.strip_prefix('/')?;
                let (_, value) = pairs.iter().find(|(own, value)| own == name && !value.is_empty())?;
                Some(String::from_utf8_lossy(value).into_owned())
            }
        }
    }

    /// Merges a delta: what it has replaces what was there, and what it has not
    /// stays (AMPS User Guide, "Incremental Message Updates").
    pub(crate) fn merge(&mut self, delta: Self) {
        match (self, delta) {
            (Self::Json(whole), Self::Json(delta)) => merge(whole, delta),
            (Self::Pairs(whole), Self::Pairs(delta)) => {
                for (name, value) in delta {
                    match whole.iter_mut().find(|(own, _)| *own == name) {
                        Some((_, old)) => *old = value,
                        None => whole.push((name, value)),
                    }
                }
            }
            // One topic has one type.
            (whole, delta) => *whole = delta,
        }
    }

    /// The message with these fields.
    pub(crate) fn write(&self) -> Bytes {
        match self {
            Self::Json(value) => value.to_string().into(),
            Self::Pairs(pairs) => {
                let mut body = Vec::new();
                for (name, value) in pairs {
                    body.extend_from_slice(name.as_bytes());
                    body.push(b'=');
                    body.extend_from_slice(value);
                    body.push(SEPARATOR);
                }
                body.into()
            }
        }
    }
}

/// A pair whose name is text.
fn named(name: &[u8], value: &[u8]) -> Option<(String, Vec<u8>)> {
    Some((std::str::from_utf8(name).ok()?.to_owned(), value.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message_type: &MessageType, body: &str) -> Option<Fields> {
        Fields::read(message_type, body.replace('|', "\x01").as_bytes())
    }

    #[test]
    fn each_type_has_its_fields() {
        for (message_type, body, path, value) in [
            (MessageType::Json, r#"{"site":{"id":7}}"#, "/site/id", Some("7")),
            (MessageType::Json, r#"{"id":null}"#, "/id", None),
            (MessageType::Nvfix, "id=a=b|side=buy|", "/id", Some("a=b")),
            (MessageType::Nvfix, "id=|side=buy", "/id", None),
            (MessageType::Nvfix, "id=1|", "/site/id", None),
            (MessageType::Fix, "35=D|38=100|", "/38", Some("100")),
            (MessageType::Fix, "35=D|", "/38", None),
        ] {
            let fields = read(&message_type, body).unwrap();
            assert_eq!(fields.text(path).as_deref(), value, "{body}");
        }
        for (message_type, body) in [
            (MessageType::Json, "{"),
            (MessageType::Nvfix, "no pairs"),
            (MessageType::Fix, "side=buy|"),
            (MessageType::Binary, "{}"),
            (MessageType::CompositeLocal(vec![MessageType::Json]), "{}"),
        ] {
            assert_eq!(read(&message_type, body), None, "{body}");
        }
    }

    #[test]
    fn a_delta_of_pairs_keeps_their_order() {
        let mut whole = read(&MessageType::Fix, "35=D|38=100|54=1|").unwrap();
        whole.merge(read(&MessageType::Fix, "58=new|38=7|").unwrap());
        assert_eq!(whole.write(), "35=D\x0138=7\x0154=1\x0158=new\x01");
    }
}
