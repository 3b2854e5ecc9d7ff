//! The same client for programs without an async runtime: the same names, the
//! same promises, and calls that return when they are done.
//!
//! ```no_run
//! # fn example() -> Result<(), amps_client::Error> {
//! use amps_client::blocking::Client;
//! use amps_client::{BookmarkStore, PublishStore, StartAt, Subscribe};
//!
//! let client = Client::connect(
//!     Client::builder("orders-gateway-1")
//!         .server("tcp://server-a:9007/amps/json")
//!         .server("tcp://server-b:9007/amps/json")
//!         .publish_store(PublishStore::sled("/var/lib/orders/publish"))
//!         .bookmark_store(BookmarkStore::sled("/var/lib/orders/bookmarks")),
//! )?;
//! client.publish("orders", r#"{"id":1}"#)?;
//! let mut orders = client.subscribe(Subscribe::to("orders").bookmark(StartAt::MostRecent))?;
//! while let Some(order) = orders.next_message()? {
//!     println!("{}", String::from_utf8_lossy(order.data()));
//!     orders.discard(&order);
//! }
//! # Ok(()) }
//! ```
//!
//! There is no second implementation: each call waits for the future of the same
//! name. A client has a thread of its own, named after it, that does the work and
//! ends with the client. All of these types may be used from several threads, and
//! sent to others. The [async client](Client::as_async) is at hand for what does
//! not wait anyway, such as [`health`](crate::Client::health).
//!
//! # Not in async code
//! A call that waits in async code would keep a thread of its runtime from its
//! work, or lock itself out: it fails at once with
//! [`Error::WouldDeadlock`]. That is also so in a server chooser or any other code
//! that the client calls on its own thread. `tokio::task::spawn_blocking` and
//! `block_in_place` are places for such calls.

mod client;
mod runtime;
mod streams;
mod subscription;
mod typed;
mod view;

pub use client::{Client, Executed, Receipt};
pub use streams::{Events, StateWatch, Strays};
pub use subscription::{ExactlyOnce, Messages, Subscription, SubscriptionHandle};
pub use typed::{TypedClient, TypedSubscription};
pub use view::{SowView, ViewChanges};

#[cfg(doc)]
use crate::Error;
