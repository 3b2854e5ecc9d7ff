//! Values instead of bodies: a client and its streams with a codec.

mod client;
mod subscription;

pub use client::TypedClient;
pub use subscription::{TypedEvent, TypedMessage, TypedSubscription};
