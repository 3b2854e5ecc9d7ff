//! The AMPS protocol and one connection: bytes in, messages out.
