//! The parts of one live connection.
