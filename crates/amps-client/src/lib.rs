//! A high-availability client for AMPS that never loses a message.
