#![doc = include_str!("../README.md")]
//!
//! # The way in
//!
//! [`client_core`] is a whole client without I/O; [`driver`] is the task that
//! runs it on sockets. In between: [`session`] decides which server and when,
//! with a [`server_chooser`] and a [`reconnect`] strategy; [`publish_log`]
//! keeps what is published until servers have it; [`subscriptions`] and
//! [`bookmarks`] know what to enter again, and where it resumes. Stores stand
//! on the ordered key-value seam [`kv`]. What can go wrong is in [`error`], what is
//! told in [`event`], what may go wrong in [`warning`].
//!
//! This crate touches no socket except through
//! [`amps_core::Connector`].

mod ages;
pub mod authenticator;
pub mod bookmarks;
#[cfg(test)]
mod cases;
pub mod client_core;
pub mod driver;
pub mod error;
pub mod event;
pub mod kv;
pub mod measure;
pub mod publish_log;
pub mod reconnect;
pub mod server_chooser;
pub mod session;
pub mod subscriptions;
pub mod user_code;
pub mod view;
pub mod warning;
