//! Which server to connect to next.
