//! `--store` and `--durability`.

use std::path::PathBuf;
use std::str::FromStr;

/// Where messages wait for their acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Store {
    /// Nowhere: a message is sent once, and nobody acknowledges it.
    None,
    /// In memory.
    Memory,
    /// In a sled database in this directory.
    Sled(PathBuf),
    /// The newest in memory, the oldest in a sled database in this directory.
    Hybrid(PathBuf),
}

impl FromStr for Store {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "none" => Ok(Self::None),
            None if text == "memory" => Ok(Self::Memory),
            Some(("sled", dir)) if !dir.is_empty() => Ok(Self::Sled(dir.into())),
            Some(("hybrid", dir)) if !dir.is_empty() => Ok(Self::Hybrid(dir.into())),
            _ => Err(format!("{text:?} is none of `none`, `memory`, `hybrid:DIR` and `sled:DIR`")),
        }
    }
}

/// What a message survives once it is called durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Level {
    /// Servers and networks.
    Memory,
    /// Also `kill -9` of this program.
    ProcessCrash,
    /// Also the machine.
    PowerLoss,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_named_as_documented() {
        assert_eq!("none".parse(), Ok(Store::None));
        assert_eq!("memory".parse(), Ok(Store::Memory));
        assert_eq!("sled:/a:b".parse(), Ok(Store::Sled("/a:b".into())));
        assert_eq!("hybrid:d".parse(), Ok(Store::Hybrid("d".into())));
        for bad in ["", "sled", "hybrid:", "sled:", "memory:", "file:/a", "None"] {
            assert!(bad.parse::<Store>().is_err(), "{bad}");
        }
    }
}
