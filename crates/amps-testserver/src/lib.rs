//! An embeddable server that speaks the AMPS protocol, for tests, chaos runs and demos.
