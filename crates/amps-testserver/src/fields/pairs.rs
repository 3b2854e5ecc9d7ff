//! The fields of FIX and NVFIX messages. A tag that is there several times has
//! all its values together, as a group that repeats has.

use amps_core::payload::{SEPARATOR, fix, nvfix};

use super::{below, said};

/// Pairs of one message at most. One with more has no fields here.
const PAIRS_MAX: usize = 4_096;

/// Names and values, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pairs(Vec<(String, Vec<u8>)>);

impl FromIterator<(String, Vec<u8>)> for Pairs {
    fn from_iter<I: IntoIterator<Item = (String, Vec<u8>)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl Pairs {
    pub(super) fn nvfix(body: &[u8]) -> Option<Self> {
        Self::read(nvfix(body, SEPARATOR).map(|pair| {
            let (name, value) = pair.ok()?;
            Some((std::str::from_utf8(name).ok()?.to_owned(), value.to_vec()))
        }))
    }

    pub(super) fn fix(body: &[u8]) -> Option<Self> {
        Self::read(fix(body, SEPARATOR).map(|pair| pair.ok().map(|(tag, value)| (tag.to_string(), value.to_vec()))))
    }

    fn read(pairs: impl Iterator<Item = Option<(String, Vec<u8>)>>) -> Option<Self> {
        let pairs: Self = pairs.take(PAIRS_MAX + 1).collect::<Option<_>>()?;
        (pairs.0.len() <= PAIRS_MAX).then_some(pairs)
    }

    pub(super) fn text(&self, path: &str) -> Option<String> {
        let name = path.strip_prefix('/')?;
        let (_, value) = self.0.iter().find(|(own, value)| own == name && !value.is_empty())?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_slice())
    }

    fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    pub(super) fn merge(&mut self, delta: Self) {
        let old = std::mem::take(&mut self.0);
        for (name, value) in old {
            match delta.has(&name) {
                false => self.0.push((name, value)),
                // All values of the delta, where the first one was.
                true if !self.has(&name) => {
                    let values: Vec<_> = delta.values(&name).map(<[u8]>::to_vec).collect();
                    self.0.extend(values.into_iter().map(|value| (name.clone(), value)));
                }
                true => {}
            }
        }
        let new: Vec<_> = delta.0.into_iter().filter(|(name, _)| !self.has(name)).collect();
        self.0.extend(new);
    }

    pub(super) fn changes(&self, before: &Self) -> Option<Self> {
        let changed = |(name, _): &&(String, Vec<u8>)| !self.values(name).eq(before.values(name));
        let changed: Self = self.0.iter().filter(changed).cloned().collect();
        (!changed.is_empty()).then_some(changed)
    }

    pub(super) fn copy_path(&self, path: &str, to: &mut Self) {
        let Some(name) = path.strip_prefix('/') else { return };
        // In the order in which they are here.
        *to = self.0.iter().filter(|(own, _)| own == name || to.has(own)).cloned().collect();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn part(&self, entries: &[(&[String], bool)], wanted: bool) -> Option<Self> {
        let wanted = said(entries, wanted);
        let kept: Self = self.0.iter().filter(|(name, _)| said(&below(entries, name), wanted)).cloned().collect();
        (wanted || !kept.is_empty()).then_some(kept)
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in &self.0 {
            body.extend_from_slice(name.as_bytes());
            body.push(b'=');
            body.extend_from_slice(value);
            body.push(SEPARATOR);
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Pairs {
        Pairs::nvfix(text.replace('|', "\x01").as_bytes()).unwrap()
    }

    fn text(pairs: &Pairs) -> String {
        String::from_utf8(pairs.write()).unwrap().replace('\x01', "|")
    }

    #[test]
    fn a_delta_keeps_the_order_and_replaces_all_of_a_tag() {
        for (delta, merged) in [
            ("58=new|38=7|", "35=D|38=7|453=2|448=a|448=b|54=1|58=new|"),
            ("453=1|448=c|", "35=D|38=100|453=1|448=c|54=1|"),
            ("448=c|448=d|448=e|", "35=D|38=100|453=2|448=c|448=d|448=e|54=1|"),
            ("9=x|9=y|", "35=D|38=100|453=2|448=a|448=b|54=1|9=x|9=y|"),
            ("54=|", "35=D|38=100|453=2|448=a|448=b|54=|"),
            ("", "35=D|38=100|453=2|448=a|448=b|54=1|"),
        ] {
            let mut whole = pairs("35=D|38=100|453=2|448=a|448=b|54=1|");
            whole.merge(pairs(delta));
            assert_eq!(text(&whole), merged, "{delta}");
        }
    }

    #[test]
    fn a_message_has_not_too_many_pairs() {
        let body = |count: usize| "a=1\x01".repeat(count);
        assert!(Pairs::nvfix(body(PAIRS_MAX).as_bytes()).is_some());
        assert!(Pairs::nvfix(body(PAIRS_MAX + 1).as_bytes()).is_none());
    }

    #[test]
    fn only_what_changed_is_told_with_the_key_in_its_place() {
        let before = pairs("id=1|448=a|448=b|v=1|");
        for (now, changed, with_key) in [
            ("id=1|448=a|448=b|v=1|", None, "id=1|"),
            ("id=1|448=a|v=1|", Some("448=a|"), "id=1|448=a|"),
            ("v=2|id=1|448=a|448=b|", Some("v=2|"), "v=2|id=1|"),
            ("id=1|448=b|448=a|new=x|", Some("448=b|448=a|new=x|"), "id=1|448=b|448=a|new=x|"),
        ] {
            let now = pairs(now);
            let mut delta = now.changes(&before);
            assert_eq!(delta.as_ref().map(text).as_deref(), changed, "{}", text(&now));
            now.copy_path("/id", delta.get_or_insert_default());
            assert_eq!(delta.as_ref().map(text).as_deref(), Some(with_key), "{}", text(&now));
        }
    }
}
