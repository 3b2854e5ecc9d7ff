//! What delta subscriptions get of an update (AMPS User Guide, "Delta
//! Subscribe").

use std::cell::OnceCell;
use std::sync::Arc;

use bytes::Bytes;

use crate::fields::Fields;
use crate::message_type::MessageType;
use crate::select::Select;

/// What a delta subscription asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deltas {
    /// Nothing when nothing changed.
    pub(super) no_empties: bool,
    /// The fields of the key, whether they changed or not.
    pub(super) send_keys: bool,
}

/// A message that took the place of another in its SOW. The difference is found
/// when the first asks for it.
#[derive(Debug)]
pub(super) struct Update<'m> {
    /// The paths of the key.
    key: Arc<str>,
    message_type: &'m MessageType,
    before: &'m [u8],
    now: &'m Bytes,
    difference: OnceCell<Option<Difference>>,
}

#[derive(Debug)]
struct Difference {
    changed: Option<Fields>,
    now: Fields,
}

impl<'m> Update<'m> {
    pub(super) fn new(key: Arc<str>, message_type: &'m MessageType, before: &'m [u8], now: &'m Bytes) -> Self {
        Self { key, message_type, before, now, difference: OnceCell::new() }
    }

    /// `None` when they have no fields.
    fn difference(&self) -> Option<&Difference> {
        let find = || {
            let now = Fields::read(self.message_type, self.now)?;
            let changed = now.changes(&Fields::read(self.message_type, self.before)?);
            Some(Difference { changed, now })
        };
        self.difference.get_or_init(find).as_ref()
    }

    /// Whether no field changed of those that are wanted.
    pub(super) fn is_empty(&self, select: Option<&Select>) -> bool {
        let Some(difference) = self.difference() else { return false };
        let is_wanted = |changed: &Fields| match select.map(|select| select.apply(changed)) {
            None => true,
            Some(part) => part.is_some_and(|part| !part.is_empty()),
        };
        !difference.changed.as_ref().is_some_and(is_wanted)
    }

    /// The message that says it.
    pub(super) fn body(&self, send_keys: bool) -> Bytes {
        let Some(Difference { changed, now }) = self.difference() else { return self.now.clone() };
        let mut delta = changed.clone().unwrap_or_else(|| now.emptied());
        for path in self.key.split(',').filter(|_| send_keys) {
            now.copy_path(path, &mut delta);
        }
        delta.write()
    }
}
