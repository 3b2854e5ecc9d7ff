use std::fmt;
use std::str::FromStr;

/// A version of AMPS such as `5.3.5.12`, to be compared part by part. Parts that
/// are missing count as 0.
///
/// ```
/// use amps_core::Version;
/// let server: Version = "5.3.5.12".parse()?;
/// assert!(server >= Version::new([5, 3, 5, 0]) && server < "5.10".parse()?);
/// # Ok::<_, amps_core::VersionError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version([u32; 4]);

/// A text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no version: expected numbers with dots in between, such as 5.3.5")]
pub struct VersionError(String);

impl Version {
    /// The version of these parts: major, minor, maintenance, hotfix.
    pub const fn new(parts: [u32; 4]) -> Self {
        Self(parts)
    }
}

impl FromStr for Version {
    type Err = VersionError;

    /// Reads up to four parts; a fifth one, and what follows the digits of the
    /// last, is not looked at.
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let mut parts = [0; 4];
        for (at, part) in text.split('.').take(4).enumerate() {
            let digits = part.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
            parts[at] = digits.parse().map_err(|_| VersionError(text.chars().take(80).collect()))?;
            if digits.len() < part.len() {
                break;
            }
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, maintenance, hotfix] = self.0;
        write!(f, "{major}.{minor}.{maintenance}.{hotfix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        let rising = ["4.9", "5", "5.3.4.2", "5.3.5", "5.3.5.0.1", "5.3.5.1", "5.3.10-beta", "5.10", "10.0.0.1"];
        for pair in rising.windows(2) {
            assert!(version(pair[0]) <= version(pair[1]), "{pair:?}");
        }
        assert_eq!(version("5.3"), version("5.3.0.0.7"));
        assert_eq!(version("5.3.4.2").to_string(), "5.3.4.2");
        for text in ["", "x", ".5", "5..3", "99999999999"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
        let long = "x".repeat(1 << 20).parse::<Version>().unwrap_err();
        assert!(long.to_string().len() < 200);
    }
}
