//! Free ports for servers that are killed and come back under the same address.
//!
//! They are taken from below the range the system gives to outgoing connections:
//! while a server is dead, one of those could otherwise sit on its port, or even
//! connect to itself.

use std::net::{Ipv4Addr, TcpListener};

use rand::RngExt;

use crate::Failure;

const RANGE: std::ops::Range<u16> = 20_000..32_000;
const TRIES: usize = 1_000;

/// `count` different ports that were free on loopback a moment ago.
///
/// # Errors
/// When no more free ports are found.
pub(crate) fn free(count: usize) -> Result<Vec<u16>, Failure> {
    let mut rng = rand::rng();
    // Held until the end, so that no port is given twice.
    let mut held = Vec::with_capacity(count);
    for _ in 0..TRIES {
        if held.len() == count {
            break;
        }
        let port = rng.random_range(RANGE);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((port, listener));
        }
    }
    match held.len() == count {
        true => Ok(held.into_iter().map(|(port, _)| port).collect()),
        false => Err(Failure::new(format!("found no {count} free ports between {} and {}", RANGE.start, RANGE.end))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_can_be_bound() {
        let ports = free(5).unwrap();
        for (index, port) in ports.iter().enumerate() {
            assert!(!ports[..index].contains(port));
            assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
        }
    }

    #[test]
    fn too_many_ports_are_refused() {
        assert!(free(TRIES + 1).is_err());
    }
}
