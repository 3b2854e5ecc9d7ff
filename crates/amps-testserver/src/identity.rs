//! Who published a message, as a number.

/// The publisher id of a client name: FNV-1a, 64 bits, over the name's bytes.
///
/// The same name has the same id on every instance and in every run. It is
/// the first half of a bookmark (AMPS User Guide, "Message Sequence Numbers").
///
/// ```
/// use amps_testserver::publisher_id;
/// assert_eq!(publisher_id("a"), 0xaf63dc4c8601ec8c);
/// ```
pub fn publisher_id(client_name: &str) -> u64 {
    fnv1a(client_name.as_bytes())
}

/// The id under which an instance logs what a client publishes without a
/// sequence: made from the publisher and the instance, so that two instances
/// never number the same publisher's messages twice.
pub(crate) fn unsequenced_publisher_id(client_name: &str, instance: &str) -> u64 {
    let mut bytes = Vec::with_capacity(client_name.len() + instance.len() + 1);
    bytes.extend_from_slice(client_name.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(instance.as_bytes());
    fnv1a(&bytes)
}

/// FNV-1a, 64 bits.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
