//! What the messages of a topic are written in.

/// A message type (AMPS User Guide, "Message Types"): where filters find the
/// fields of a topic's messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum MessageType {
    /// JSON: fields by path, such as `/order/qty`.
    #[default]
    Json,
    /// NVFIX: pairs of a name and a value, such as `/price`, with the byte 1
    /// behind each.
    Nvfix,
    /// FIX: the same with numbers for names, such as `/35`.
    Fix,
    /// Anything: there are no fields in it.
    Binary,
    /// Several messages in one, each behind its length: the number of the part
    /// stands before the field, as in `/0/id`. A part without bytes changes nothing
    /// where the message is a delta. What is behind the last part has no fields (AMPS User Guide, "Composite Messages": `composite-local`).
    CompositeLocal(Vec<Self>),
    /// Several messages in one likewise, whose fields are together as if they were
    /// of one; a field that several parts have is an array. Deltas that are
    /// published are taken as they are (AMPS User Guide, "Composite Messages":
    /// `composite-global`).
    CompositeGlobal(Vec<Self>),
}

/// The message types that need no configuration.
const BUILT_IN: [&str; 8] = ["json", "nvfix", "fix", "xml", "bson", "bflat", "msgpack", "binary"];

impl MessageType {
    /// Whether there is a type of that name without one being configured.
    pub(crate) fn is_built_in(name: &str) -> bool {
        BUILT_IN.contains(&name)
    }

    /// Whether that is its name. What a composite type is called is for the
    /// configuration of a real server to say, and not told here.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        match self {
            Self::Json => name == "json",
            Self::Nvfix => name == "nvfix",
            Self::Fix => name == "fix",
            Self::Binary => name == "binary",
            Self::CompositeLocal(_) | Self::CompositeGlobal(_) => !Self::is_built_in(name),
        }
    }
}

impl std::str::FromStr for MessageType {
    type Err = String;

    /// Reads the name of a type that is not composite.
    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "json" => Ok(Self::Json),
            "nvfix" => Ok(Self::Nvfix),
            "fix" => Ok(Self::Fix),
            "binary" => Ok(Self::Binary),
            _ => Err(format!("unknown message type `{name}`, expected json, nvfix, fix or binary")),
        }
    }
}
