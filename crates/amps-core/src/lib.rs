#![doc = include_str!("../README.md")]
//!
//! # The way in
//!
//! * [`frame`], [`messages`], [`message`], [`batch`]: from bytes to messages.
//! * [`header`]: the fields of a header, and writing one.
//! * [`command`], [`ack`], [`reason`], [`bookmark`]: the protocol's vocabulary.
//! * [`uri`]: connection strings. [`transport`]: how a byte stream is opened; the only
//!   sockets of the crate are those behind [`transport::Connector`].
//! * [`connection`]: the parts of one live connection.
//! * [`payload`]: bodies of several parts, FIX and NVFIX. [`quote`](quote()): values in
//!   filters.

pub mod ack;
pub mod batch;
pub mod bookmark;
pub mod command;
pub mod connection;
pub mod error;
pub mod frame;
pub mod header;
pub mod message;
pub mod messages;
pub mod payload;
#[doc(hidden)]
pub mod planted;
mod quote;
pub mod reason;
pub mod transport;
pub mod uri;
mod version;

pub use ack::{AckType, AckTypes, Status};
pub use bookmark::{Bookmark, BookmarkError, BookmarkList, BookmarkRange, StartAt};
pub use command::{Command, CommandKind, CommandOptions, Conflation, InvalidCommand, Rate};
pub use error::MessageError;
pub use frame::{FrameDecoder, FrameError};
pub use header::Field;
pub use message::Message;
pub use messages::{MessageDecoder, Messages};
pub use quote::{quote, quote_list};
pub use reason::Reason;
#[cfg(feature = "tls")]
pub use transport::tls;
pub use transport::{
    Connector, Direction, HeaderError, LastHeaders, SeenHeader, SocketConnector, StageTimeout, Tap, Transport, Zlib,
};
pub use uri::{Uri, UriError};
pub use version::{Version, VersionError};
