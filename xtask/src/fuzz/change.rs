//! Inputs changed at random.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// The longest input made.
const LEN_MAX: usize = 4096;

/// One of the inputs after one to eight changes.
pub(super) fn changed(inputs: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut input = inputs.choose(random).cloned().unwrap_or_default();
    for _ in 0..random.random_range(1..=8) {
        change(&mut input, inputs, random);
    }
    input.truncate(LEN_MAX);
    input
}

fn change(input: &mut Vec<u8>, inputs: &[Vec<u8>], random: &mut StdRng) {
    let at = random.random_range(0..=input.len());
    let end = random.random_range(at..=input.len().min(at + 32));
    match random.random_range(0..8) {
        0 => _ = input.drain(at..end),
        1 => input.splice(at..at, input[at..end].to_vec()).for_each(drop),
        2 => input.truncate(at),
        3 => {
            // A piece of another input.
            let other = inputs.choose(random).map_or(&[][..], Vec::as_slice);
            let from = random.random_range(0..=other.len());
            let to = random.random_range(from..=other.len().min(from + 64));
            input.splice(at..end, other[from..to].iter().copied()).for_each(drop);
        }
        4 => {
            // A number that is at a bound of some kind.
            let number = [0, 1, 0x7f, 0xff, 0xffff, u64::from(u32::MAX), u64::MAX].choose(random).copied().unwrap_or(0);
            match random.random_bool(0.5) {
                true => input.splice(at..end, number.to_string().into_bytes()).for_each(drop),
                false => {
                    input.splice(at..end, number.to_be_bytes()[random.random_range(0..8)..].to_vec()).for_each(drop)
                }
            }
        }
        5 => input.insert(at, random.random()),
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte = match random.random_bool(0.5) {
                    true => random.random(),
                    false => *byte ^ 1 << random.random_range(0..8),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_seed_makes_the_same_inputs_and_they_differ_from_each_other() {
        let inputs = [b"one".to_vec(), Vec::new(), vec![7; 5000]];
        let make = |seed| {
            let mut random = StdRng::seed_from_u64(seed);
            (0..200).map(|_| changed(&inputs, &mut random)).collect::<Vec<_>>()
        };
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
        let made = make(3);
        assert!(made.iter().all(|input| input.len() <= LEN_MAX));
        assert!(made.iter().collect::<std::collections::BTreeSet<_>>().len() > 100);
    }
}
