use super::{Entry, Field};

/// How the header of a message looks apart from values that differ between
/// messages of one kind for one subscription: its bookmark, time and key.
///
/// Most messages look like the one before. Comparing is then several times
/// quicker than reading: a header that fits has its fields where the other has
/// them.
#[derive(Debug, Default)]
pub(crate) struct Form {
    /// For each byte of the header: 0xff where another has to have the same, 0
    /// inside a string that may differ.
    fixed: Vec<u8>,
}

/// The bytes that are compared at once.
const STEP: usize = 16;

impl Form {
    /// Makes it none.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.fixed.clear();
    }

    /// Whether it is none.
    #[inline]
    pub(crate) fn is_clear(&self) -> bool {
        self.fixed.is_empty()
    }

    /// The form of `header`, whose fields stand at `entries`.
    #[inline(never)]
    pub(crate) fn set(&mut self, header: &[u8], entries: &[Entry]) {
        self.fixed.clear();
        self.fixed.resize(header.len(), 0xff);
        for entry in entries {
            let quoted = header[..entry.start as usize].ends_with(b"\"");
            if quoted && may_differ(entry.field) {
                self.fixed[entry.range()].fill(0);
            }
        }
    }

    /// Whether `header`, as long as `model`, which has this form, has it too.
    /// The strings in which they differ are plain: no quotes, no escapes, ASCII.
    /// `false` for a header of less than 16 bytes.
    #[inline(always)]
    pub(crate) fn fits(&self, header: &[u8], model: &[u8]) -> bool {
        let mut wrong = [0; STEP];
        let chunks = header.as_chunks().0.iter().zip(model.as_chunks().0).zip(self.fixed.as_chunks().0);
        for ((header, model), fixed) in chunks {
            compare(&mut wrong, header, model, fixed);
        }
        // The rest, and a few bytes before it once more.
        let ends = (header.last_chunk(), model.last_chunk(), self.fixed.last_chunk());
        let (Some(header), Some(model), Some(fixed)) = ends else { return false };
        compare(&mut wrong, header, model, fixed);
        u128::from_ne_bytes(wrong) == 0
    }
}

/// Without a branch, so that the compiler makes a few vector instructions of it.
#[inline(always)]
fn compare(wrong: &mut [u8; STEP], header: &[u8; STEP], model: &[u8; STEP], fixed: &[u8; STEP]) {
    for at in 0..STEP {
        let byte = header[at];
        let special = u8::from(byte == b'"') | u8::from(byte == b'\\') | byte >> 7;
        wrong[at] |= (byte ^ model[at]) & fixed[at] | special & !fixed[at];
    }
}

/// What a message is and where it goes, and how long a record is, is the same in
/// all headers of one form.
fn may_differ(field: Field) -> bool {
    !matches!(
        field,
        Field::Command | Field::SubscriptionIds | Field::SubscriptionId | Field::QueryId | Field::MessageLength
    )
}
