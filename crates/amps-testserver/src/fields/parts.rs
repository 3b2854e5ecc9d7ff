//! The fields of composite messages in which each part has names of its own (AMPS
//! User Guide, "Composite Messages": `composite-local`). A part without bytes is
//! one of which nothing is said. What is behind the parts goes with the message as
//! it is.

use amps_core::payload::Composite;
use bytes::{BufMut, Bytes, BytesMut};

use super::{Fields, below, said};
use crate::message_type::MessageType;

/// Bytes of the length in front of a part.
const PREFIX: usize = 4;

/// The parts, and what is behind them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parts {
    parts: Vec<Part>,
    behind: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    /// Without bytes, or without fields.
    Bytes(Vec<u8>),
    Fields(Fields),
}

impl Part {
    const NOTHING: Self = Self::Bytes(Vec::new());

    fn is_empty(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Fields(fields) => fields.is_empty(),
        }
    }
}

/// The first so many parts of a body, and what is behind them; `None` when it
/// ends within one.
pub(super) fn split(count: usize, body: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let parts = Composite::parts(body).take(count).collect::<Result<Vec<_>, _>>().ok()?;
    let behind = parts.iter().map(|part| PREFIX + part.len()).sum();
    Some((parts, &body[behind..]))
}

impl Parts {
    pub(super) fn read(types: &[MessageType], body: &[u8]) -> Option<Self> {
        let (parts, behind) = split(types.len(), body)?;
        let part = |(part_type, part): (&MessageType, &[u8])| {
            let fields = Some(part).filter(|part| !part.is_empty()).and_then(|part| Fields::read(part_type, part));
            fields.map_or_else(|| Part::Bytes(part.to_vec()), Part::Fields)
        };
        Some(Self { parts: types.iter().zip(parts).map(part).collect(), behind: behind.to_vec() })
    }

    /// The part a path names, and the path in it.
    fn place<'p>(&self, path: &'p str) -> Option<(usize, &'p str)> {
        let path = path.strip_prefix('/')?;
        let (part, rest) = path.split_at(path.find('/')?);
        Some((part.parse().ok()?, rest))
    }

    pub(super) fn text(&self, path: &str) -> Option<String> {
        let (part, path) = self.place(path)?;
        match self.parts.get(part)? {
            Part::Fields(fields) => fields.text(path),
            Part::Bytes(_) => None,
        }
    }

    pub(super) fn merge(&mut self, delta: Self) {
        for (at, part) in delta.parts.into_iter().enumerate() {
            match (self.parts.get_mut(at), part) {
                (None, part) => self.parts.push(part),
                (Some(_), part) if part == Part::NOTHING => {}
                (Some(Part::Fields(whole)), Part::Fields(delta)) => whole.merge(delta),
                (Some(whole), part) => *whole = part,
            }
        }
        self.behind = delta.behind;
    }

    pub(super) fn changes(&self, before: &Self) -> Option<Self> {
        let change = |(at, now): (usize, &Part)| match (before.parts.get(at), now) {
            (Some(before), now) if before == now => Part::NOTHING,
            (Some(Part::Fields(before)), Part::Fields(now)) => now.changes(before).map_or(Part::NOTHING, Part::Fields),
            (_, now) => now.clone(),
        };
        let parts: Vec<_> = self.parts.iter().enumerate().map(change).collect();
        let changed = parts.iter().any(|part| *part != Part::NOTHING);
        changed.then(|| Self { parts, behind: self.behind.clone() })
    }

    pub(super) fn copy_path(&self, path: &str, to: &mut Self) {
        let Some((at, path)) = self.place(path) else { return };
        let (Some(Part::Fields(from)), Some(to)) = (self.parts.get(at), to.parts.get_mut(at)) else { return };
        if let Part::Bytes(_) = to {
            *to = Part::Fields(from.emptied());
        }
        if let Part::Fields(to) = to {
            from.copy_path(path, to);
        }
    }

    pub(super) fn emptied(&self) -> Self {
        Self { parts: vec![Part::NOTHING; self.parts.len()], behind: self.behind.clone() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.iter().all(Part::is_empty)
    }

    pub(super) fn part(&self, entries: &[(&[String], bool)], wanted: bool) -> Option<Self> {
        let wanted = said(entries, wanted);
        let cut = |(at, part): (usize, &Part)| {
            let entries = below(entries, &at.to_string());
            match part {
                Part::Fields(fields) => fields.part(&entries, wanted).map_or(Part::NOTHING, Part::Fields),
                Part::Bytes(_) if said(&entries, wanted) => part.clone(),
                Part::Bytes(_) => Part::NOTHING,
            }
        };
        let parts: Vec<_> = self.parts.iter().enumerate().map(cut).collect();
        let kept = wanted || parts.iter().any(|part| *part != Part::NOTHING);
        kept.then(|| Self { parts, behind: self.behind.clone() })
    }

    pub(super) fn write(&self) -> Bytes {
        let mut body = BytesMut::new();
        for part in &self.parts {
            let written = match part {
                Part::Bytes(bytes) => Bytes::copy_from_slice(bytes),
                Part::Fields(fields) => fields.write(),
            };
            // Every part came in one frame, whose length has four bytes too.
            body.put_u32(written.len() as u32);
            body.put_slice(&written);
        }
        body.put_slice(&self.behind);
        body.freeze()
    }
}

#[cfg(test)]
mod tests {
    use amps_core::payload::CompositeBuilder;

    use super::*;

    const TYPES: [MessageType; 3] = [MessageType::Json, MessageType::Nvfix, MessageType::Binary];

    fn body(parts: [&str; 3], behind: &str) -> Vec<u8> {
        let builder = CompositeBuilder::new();
        let body = parts.iter().try_fold(builder, |body, part| body.part(part.replace('|', "\x01"))).unwrap();
        [&body.finish()[..], behind.as_bytes()].concat()
    }

    fn read(parts: [&str; 3], behind: &str) -> Parts {
        Parts::read(&TYPES, &body(parts, behind)).unwrap()
    }

    #[test]
    fn each_part_has_its_own_names_and_an_empty_one_changes_nothing() {
        let whole = || read([r#"{"id":1,"v":1}"#, "a=1|b=2|", "raw"], "tail");
        assert_eq!(whole().text("/0/id").as_deref(), Some("1"));
        assert_eq!(whole().text("/1/b").as_deref(), Some("2"));
        for none in ["/id", "/2/x", "/3/id", "/x/id", "/0", "0/id"] {
            assert_eq!(whole().text(none), None, "{none}");
        }
        for (delta, behind, merged) in [
            (["", "", ""], "", [r#"{"id":1,"v":1}"#, "a=1|b=2|", "raw"]),
            ([r#"{"v":2}"#, "", ""], "new", [r#"{"id":1,"v":2}"#, "a=1|b=2|", "raw"]),
            (["", "b=3|c=4|", "other"], "", [r#"{"id":1,"v":1}"#, "a=1|b=3|c=4|", "other"]),
        ] {
            let mut parts = whole();
            parts.merge(read(delta, behind));
            assert_eq!(parts.write(), body(merged, behind), "{delta:?}");
        }
    }

    #[test]
    fn what_changed_is_told_part_by_part() {
        let before = read([r#"{"id":1,"v":1}"#, "a=1|b=2|", "raw"], "");
        for (now, changed, with_key) in [
            ([r#"{"id":1,"v":1}"#, "a=1|b=2|", "raw"], None, [r#"{"id":1}"#, "", ""]),
            ([r#"{"id":1,"v":2}"#, "a=1|b=2|", "raw"], Some([r#"{"v":2}"#, "", ""]), [r#"{"id":1,"v":2}"#, "", ""]),
            ([r#"{"id":1,"v":1}"#, "a=1|b=3|", "x"], Some(["", "b=3|", "x"]), [r#"{"id":1}"#, "b=3|", "x"]),
        ] {
            let now = read(now, "tail");
            let delta = now.changes(&before);
            assert_eq!(delta.as_ref().map(Parts::write), changed.map(|parts| body(parts, "tail").into()));
            let mut delta = delta.unwrap_or_else(|| now.emptied());
            now.copy_path("/0/id", &mut delta);
            assert_eq!(delta.write(), body(with_key, "tail"));
        }
    }
}
