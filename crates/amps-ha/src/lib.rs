//! What survives a connection: server chooser, reconnect, publish log, bookmarks, session.

pub mod bookmarks;
pub mod kv;
pub mod publish_log;
pub mod reconnect;
pub mod server_chooser;
