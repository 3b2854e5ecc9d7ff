//! What survives a connection: server chooser, reconnect, publish log, bookmarks, session.
