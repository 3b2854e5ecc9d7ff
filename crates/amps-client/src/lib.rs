#![doc = include_str!("../README.md")]
//!
//! # The way in
//!
//! * [`Client::builder`] names a client and its servers; [`ClientBuilder`] has every
//!   setting, and [`ClientBuilder::check`] says which of them may lose messages.
//! * [`Client::publish`] and its kin, [`Client::write`] for all header fields;
//!   [`PublishStore`] decides what a message survives.
//! * [`Client::subscribe`] and [`Client::sow`] give a [`Subscription`], a stream;
//!   [`Subscribe`] and [`Sow`] say of what. [`BookmarkStore`] decides what a
//!   restart remembers.
//! * [`Client::typed`] makes bodies of values and back; [`SowView`] is a map of the
//!   records of a topic that stays current.
//! * [`Client::events`] and [`Client::state`] tell what happens to the client,
//!   [`Client::health`] and [`Client::report`] how it stands.
//! * [`Subscription::exactly_once`] gives batches with the resume point to be stored
//!   with what they did.
//! * [`blocking`] is the same client for programs without an async runtime.
//! * [`Error`] gathers the errors of all calls, for `?`.
//! * [`server_chooser`], [`reconnect`], [`authenticator`] and [`kv`] are the seams for
//!   code of your own; [`codec`] and [`payload`] make and read bodies.
//!
//! It needs a tokio runtime with network and time. A [`Client`] is cheap to clone,
//! and everything may go to other threads.
//!
//! # Cancel safety
//! Every future here may be dropped at any time; the client stays usable and
//! nothing that was accepted is lost. What a dropped call may have done already
//! is said at each method.

mod acks;
mod any_error;
pub mod blocking;
mod builder;
mod client;
pub mod codec;
mod deltas;
mod disconnect;
mod error;
mod events;
mod exactly_once;
mod execute;
mod handle;
mod handling;
mod health;
mod inner;
mod listed;
#[cfg(feature = "metrics")]
pub mod metrics;
mod process;
mod publish;
mod report;
mod settings;
mod sow_points;
mod sow_view;
mod state;
mod stores;
mod subscribe;
mod typed;
mod waits;
mod write;

pub use amps_core::message::MessageKind;
pub use amps_core::payload;
#[cfg(feature = "tls")]
pub use amps_core::tls;
pub use amps_core::transport::Connecting;
pub use amps_core::uri::{Compression, IpFamily, Options, Scheme, mask};
pub use amps_core::{
    AckType, AckTypes, Bookmark, BookmarkError, BookmarkList, BookmarkRange, Command, CommandKind, CommandOptions,
    Conflation, Connector, Direction, Field, FrameError, HeaderError, InvalidCommand, LastHeaders, Message,
    MessageError, Rate, Reason, SeenHeader, SocketConnector, StageTimeout, StartAt, Status, Tap, Transport, Uri,
    UriError, Version, VersionError, quote, quote_list,
};
pub use amps_ha::bookmarks::store::{AdapterError, BookmarkStoreError, RecoveryPointAdapter, ResumePoint};
pub use amps_ha::client_core::{Deleted, StrayCounts};
pub use amps_ha::error::{Cause, CommandError, MoveError};
pub use amps_ha::event::{ConnectionState, Event, HandlerFailed, StateChange};
pub use amps_ha::measure::{RecoveryPhase, RecoveryReason};
pub use amps_ha::publish_log::{
    Durability, FailedWrite, Full, LogonRefused, MemoryPart, OnPublishGap, OnStoreFull, Resize, ResizeHandler,
    StoreError,
};
pub use amps_ha::subscriptions::{
    AckOption, FailedResubscribe, FailedResubscribeHandler, OnFailedResubscribe, OnFull, OnUnknownBookmark, QueueStats,
    Replacement,
};
pub use amps_ha::user_code::{Panicked, UserError};
pub use amps_ha::view::{Change as ViewChange, Records, Removal};
pub use amps_ha::warning::ConfigWarning;
pub use amps_ha::{authenticator, kv, reconnect, server_chooser};

pub use any_error::{Error, ErrorKind};
pub use builder::ClientBuilder;
pub use client::{Client, Closed};
pub use deltas::{DeltaError, DeltaRecords, merge_delta};
pub use disconnect::{DisconnectHandler, Handling};
pub use error::{ConnectError, OpenError, PublishError};
pub use events::{Events, Stray, Strays};
pub use exactly_once::{Batch, ExactlyOnce};
pub use execute::Executed;
pub use handle::SubscriptionHandle;
pub use handling::MessageGuard;
pub use health::{Health, HealthLimits, HealthReason, HealthStatus, RecoveringAt};
pub use process::Processed;
pub use publish::Receipt;
pub use report::{
    ConnectionReport, FailedAttempts, PublishingReport, Report, StreamState, SubscriptionReport, WaitingCall,
};
pub use sow_points::SowRecoveryPoints;
pub use sow_view::{SowView, SowViewBuilder, ViewChanges, ViewEvent, ViewState};
pub use state::StateWatch;
pub use stores::{BookmarkStore, CustomStore, PublishStore, RecoveryPointStore};
pub use subscribe::{Sow, Subscribe, Subscription, SubscriptionEvent};
pub use typed::{TypedClient, TypedEvent, TypedMessage, TypedSubscription};
pub use write::{Publish, SowDelete, Write};
