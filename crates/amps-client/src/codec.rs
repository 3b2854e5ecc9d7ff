//! Bodies as values of your own types.
//!
//! The client carries bytes. A [`Codec`] makes them of values, and values of
//! them, with serde. [`TypedClient`](crate::TypedClient) and
//! [`TypedSubscription`](crate::TypedSubscription) do so for each message;
//! by hand it is
//!
//! ```
//! use amps_client::codec::{Codec, Json};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Order {
//!     id: u64,
//!     symbol: String,
//! }
//!
//! # async fn example(client: amps_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use amps_client::Publish;
//! use std::time::Duration;
//! let order = Order { id: 1, symbol: "ACME".to_owned() };
//! let body = Json.encode(&order)?;
//! client.write(Publish::new("orders", &body).expiration(Duration::from_secs(60))).await?;
//! assert_eq!(Json.decode::<Order>(&body)?, order);
//! # Ok(()) }
//! ```

use std::error::Error;
use std::fmt;

use amps_ha::user_code::UserError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A format of bodies. Bring your own by implementing it.
pub trait Codec: fmt::Debug {
    /// The message type in a connection string that goes with it, such as
    /// `json`.
    fn message_type(&self) -> &'static str;

    /// The body of a value.
    ///
    /// # Errors
    /// What the format cannot say.
    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, CodecError>;

    /// The value of a body.
    ///
    /// # Errors
    /// What is not as the type wants it.
    fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, CodecError>;
}

/// A body that cannot be made, or read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the {message_type} body {what}: {source}")]
pub struct CodecError {
    message_type: &'static str,
    what: &'static str,
    source: UserError,
}

impl CodecError {
    /// A value that the format cannot say.
    pub fn encoding(codec: &impl Codec, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { message_type: codec.message_type(), what: "cannot be made", source: UserError::new(source) }
    }

    /// A body that is not as the type wants it.
    pub fn decoding(codec: &impl Codec, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { message_type: codec.message_type(), what: "cannot be read", source: UserError::new(source) }
    }
}

/// JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json;

impl Codec for Json {
    fn message_type(&self) -> &'static str {
        "json"
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, CodecError> {
        serde_json::to_vec(value).map_err(|error| CodecError::encoding(self, error))
    }

    fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, CodecError> {
        serde_json::from_slice(body).map_err(|error| CodecError::decoding(self, error))
    }
}

/// MessagePack, with the names of fields, as AMPS needs them for filters.
#[cfg(feature = "msgpack")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessagePack;

#[cfg(feature = "msgpack")]
impl Codec for MessagePack {
    fn message_type(&self) -> &'static str {
        "msgpack"
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, CodecError> {
        rmp_serde::to_vec_named(value).map_err(|error| CodecError::encoding(self, error))
    }

    fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, CodecError> {
        rmp_serde::from_slice(body).map_err(|error| CodecError::decoding(self, error))
    }
}

/// BSON. A body is a document: a struct or a map.
#[cfg(feature = "bson")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bson;

#[cfg(feature = "bson")]
impl Codec for Bson {
    fn message_type(&self) -> &'static str {
        "bson"
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, CodecError> {
        bson::serialize_to_vec(&value).map_err(|error| CodecError::encoding(self, error))
    }

    fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, CodecError> {
        bson::deserialize_from_slice(body).map_err(|error| CodecError::decoding(self, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Order {
        id: u32,
        symbol: String,
        legs: Vec<Option<f64>>,
    }

    fn comes_back(codec: &impl Codec) {
        let order = Order { id: 7, symbol: "ACME \"é\"".to_owned(), legs: vec![Some(1.5), None] };
        let body = codec.encode(&order).unwrap();
        assert_eq!(codec.decode::<Order>(&body).unwrap(), order, "{codec:?}");
        let error = codec.decode::<Order>(&body[..body.len() / 2]).unwrap_err();
        let shown = error.to_string();
        assert!(shown.starts_with(&format!("the {} body cannot be read: ", codec.message_type())), "{shown}");
    }

    #[test]
    fn values_come_back_in_every_format() {
        comes_back(&Json);
        #[cfg(feature = "msgpack")]
        comes_back(&MessagePack);
        #[cfg(feature = "bson")]
        comes_back(&Bson);
    }

    #[test]
    fn what_a_format_cannot_say_is_an_error() {
        let error = Json.encode(&std::collections::BTreeMap::from([(vec![1], 2)])).unwrap_err();
        assert!(error.to_string().starts_with("the json body cannot be made: "), "{error}");
        #[cfg(feature = "bson")]
        assert!(Bson.encode(&5).is_err());
    }
}
