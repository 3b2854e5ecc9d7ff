#![doc = include_str!("../README.md")]
//!
//! # The way in
//!
//! * [`TestServer`]: a server on a socket, in this process; [`TestServerBuilder`] what
//!   it has, and [`TestServer::group`] several that replicate.
//! * [`Faults`]: what can be made to go wrong, at run time, and [`Target`] for whom.
//! * [`TestServer::logged`], [`TestServer::stats`] and their kin: what arrived, and what
//!   a client did against the protocol.
//! * [`Engine`]: the same server without sockets, clock or threads, for tests
//!   with virtual time.
//! * [`journal`]: the transaction log on disk, and reading it for a verdict.
//!
//! # The engine by itself
//!
//! Bytes and time go in, bytes and deadlines come out:
//!
//! ```
//! use std::time::{Duration, Instant};
//! use amps_core::{AckType, Command, CommandKind, Field};
//! use amps_testserver::{Config, Engine, MemoryJournal};
//!
//! let mut now = Instant::now();
//! let mut server = Engine::new(Config::new("A"), Box::new(MemoryJournal::new()))?;
//! let connection = server.accept(now);
//!
//! let mut wire = bytes::BytesMut::new();
//! Command::new(CommandKind::Logon).id("1").text(Field::ClientName, "me").acks(AckType::Processed).encode(&mut wire);
//! Command::new(CommandKind::Publish)
//!     .topic("orders")
//!     .number(Field::Sequence, 7)
//!     .acks(AckType::Persisted)
//!     .body("{\"id\":1}")
//!     .encode(&mut wire);
//! server.receive(now, connection, &wire);
//!
//! // The logon is answered at once, the publish by a conflated ack when it is due.
//! let answer = server.poll_transmit(connection).expect("a logon ack");
//! assert!(answer.windows(7).any(|part| part == b"success"));
//! now = server.poll_timeout().expect("an ack is due");
//! server.handle_timeout(now);
//! let ack = server.poll_transmit(connection).expect("a persisted ack");
//! assert_eq!(&ack[4..], br#"{"c":"ack","s":7,"a":"persisted","status":"success"}"#);
//! assert_eq!(server.log()[0].sequence, 7);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Several instances replicate to each other through the same calls: ask
//! [`Engine::poll_dial`] after every call that takes the time, answer with
//! [`Engine::dialed`] or [`Engine::dial_failed`], and carry the bytes between
//! the dialed connection of one and the accepted connection of the other.
//!
//! # What it promises, and what it does not do
//!
//! With a directory, a message is written to the journal before anything that
//! speaks of it leaves the instance: an ack, a delivery, a replicated copy. So
//! it survives the end of the process, `kill -9` included; to survive the
//! machine too, switch [`TestServerBuilder::sync`] on. Once all instances of a
//! group that replicate to each other are up again, each log holds every
//! publisher's messages once and in order, each log in an order of its own
//! between publishers.
//!
//! A message of a replicated queue is delivered at least once and never lost: by
//! its owner, at first the instance it was published to, which hands it over to
//! a linked one that asks for it ([`Engine::proxied_transfer`] says what else).
//! An acknowledgement counts everywhere once it is replicated. Limits on
//! deliveries and backlogs are each instance's own, a barrier goes to the
//! subscriptions of its owner, and what the documents leave open about whom an
//! owner prefers is: its own subscriptions first, then links in the order they
//! were made.
//!
//! Not there: views. What is asked for and not there is answered with a failure.
//! Filters, orders, keys and conflation look into JSON, NVFIX, FIX and composite
//! messages. Deltas and select lists are there for the same, but where the parts of
//! a composite message share one name for their fields it is taken and sent as a
//! whole. A delta says nothing about fields that are gone. Aggregates are messages of
//! their topic's type, JSON, NVFIX or FIX; they are `ANY`, `AVG`, `COUNT`,
//! `COUNT_DISTINCT`, `MAX`, `MIN` and `SUM`; one is told when it changes, and every
//! change is made anew from all records. Topics of which no
//! message type is said are of that of every connection, and read as JSON.

pub mod journal;

mod config;
mod delta;
mod engine;
mod faults;
mod fields;
mod filter;
mod identity;
mod interval;
mod log;
mod message_type;
mod pcre;
mod queue_config;
mod readings;
mod select;
mod server;
mod sow;
mod sow_config;
mod stats;
mod timestamp;
mod topic;

pub use config::{Config, Link, PeerConfig};
pub use engine::{ConnId, Engine, PeerId, QueueDepth};
pub use faults::{Access, Faults, Target};
pub use filter::{Filter, FilterError};
pub use identity::publisher_id;
pub use journal::{FileJournal, Journal, LoggedMessage, MemoryJournal, NoJournal};
pub use message_type::MessageType;
pub use queue_config::{Delivery, Fairness, Leasing, QueueConfig};
pub use readings::Readings;
pub use server::{ConfigFileError, TestServer, TestServerBuilder};
pub use sow_config::{History, SowConfig};
pub use stats::{ReceivedCommand, Stats};
