//! Header fields that are older than the options of the same meaning (AMPS Command
//! Reference, "AMPS Protocol").

use amps_core::Message;

/// The fields, in front of the others.
const FIELDS: [&str; 5] = ["send_oof", "send_keys", "send_empty", "send_matching_ids", "data_only"];

/// The options that a command has by such fields. Their values are `true` and
/// `false`, with quotes or without.
///
/// # Errors
/// A value that is neither, and what this server cannot do.
pub(super) fn options(message: &Message) -> Result<Vec<&'static str>, ()> {
    let header = message.header();
    if !FIELDS.iter().any(|field| header.contains(field)) {
        return Ok(Vec::new());
    }
    let mut options = Vec::new();
    for (key, value) in fields(header) {
        let Some(field) = FIELDS.iter().find(|field| **field == key) else { continue };
        let is_set = value.parse::<bool>().map_err(drop)?;
        match (*field, is_set) {
            ("send_oof", true) => options.push("oof"),
            ("send_keys", true) => options.push("send_keys"),
            ("send_empty", false) => options.push("no_empties"),
            // Messages without a header.
            ("data_only", true) => return Err(()),
            // The others ask for what is done anyway.
            _ => {}
        }
    }
    Ok(options)
}

/// Keys and values of a header that was read before: quotes off, escapes still in.
fn fields(header: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = header.trim_start_matches(['{', ' ', '\t', '\r', '\n']);
    std::iter::from_fn(move || {
        let (key, behind) = quoted(rest)?;
        let value = behind.trim_start_matches([':', ' ', '\t', '\r', '\n']);
        let (value, behind) = quoted(value).or_else(|| {
            let end = value.find([',', '}', ' ', '\t', '\r', '\n'])?;
            Some(value.split_at(end))
        })?;
        rest = behind.trim_start_matches([',', ' ', '\t', '\r', '\n']);
        Some((key, value))
    })
}

/// What is between the quotes at the beginning, and what is behind them.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('"')?;
    let mut escaped = false;
    let end = inside.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    Some((&inside[..end], &inside[end + 1..]))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn read(header: &'static str) -> Result<Vec<&'static str>, ()> {
        options(&Message::decode(Bytes::from_static(header.as_bytes())).unwrap())
    }

    #[test]
    fn each_field_is_its_option() {
        for (header, expected) in [
            (r#"{"c":"subscribe","t":"x"}"#, Ok(vec![])),
            (r#"{"c":"subscribe","send_oof":true}"#, Ok(vec!["oof"])),
            ("{ \"c\" : \"subscribe\",\n \"send_oof\" : \"true\" , \"send_keys\":true }", Ok(vec!["oof", "send_keys"])),
            (r#"{"c":"subscribe","send_oof":false,"send_empty":true,"send_keys":"false"}"#, Ok(vec![])),
            (
                r#"{"send_empty":false,"c":"subscribe","send_matching_ids":true,"data_only":false}"#,
                Ok(vec!["no_empties"]),
            ),
            (r#"{"c":"subscribe","data_only":true}"#, Err(())),
            (r#"{"c":"subscribe","send_oof":1}"#, Err(())),
            (r#"{"c":"subscribe","f":"/a = \"send_oof\":true"}"#, Ok(vec![])),
            (r#"{"c":"subscribe","f":"\\","send_oof":true}"#, Ok(vec!["oof"])),
            (r#"{"c":"subscribe","f":"\",\"send_oof\":true,\""}"#, Ok(vec![])),
        ] {
            assert_eq!(read(header), expected, "{header}");
        }
    }
}
