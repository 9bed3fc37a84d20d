//! Fields one after another, each behind its length, so that no two lists of fields are the same
//! bytes.

/// How many bytes a length takes.
pub(crate) const LENGTH_BYTES: usize = 4;

/// The parts of a list, read from the front. Every method is `None` when the bytes are not a list
/// of that form.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(&'a [u8]);

/// Fields that are put one behind another as they come.
#[derive(Default)]
pub(crate) struct Framer(Vec<u8>);

/// Puts `parts` together in one allocation that never grows, so that no copy is left behind.
pub(crate) fn frame(parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len().saturating_add(LENGTH_BYTES)).sum();
    let mut framed = Vec::with_capacity(length);
    for part in parts {
        let length = u32::try_from(part.len()).expect("nothing here is near 4 GiB");
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(part);
    }
    framed
}

// === impl Framer ===

impl Framer {
    /// With room for so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Adds a field.
    pub(crate) fn put(&mut self, field: &[u8]) {
        let length = u32::try_from(field.len()).expect("nothing here is near 4 GiB");
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(field);
    }

    /// Adds a number.
    pub(crate) fn number(&mut self, number: u64) {
        self.put(&number.to_be_bytes());
    }

    /// Adds a text that is not empty, or nothing.
    pub(crate) fn text(&mut self, text: Option<&str>) {
        self.put(text.unwrap_or_default().as_bytes());
    }

    /// The fields.
    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// Reads what [`frame`] wrote.
    pub(crate) fn new(framed: &'a [u8]) -> Self {
        Self(framed)
    }

    /// The next field.
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<LENGTH_BYTES>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (field, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    /// The next field, which has `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes()?.try_into().ok()
    }

    /// The next field, which is a number.
    pub(crate) fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// The next field, which is text.
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        str::from_utf8(self.bytes()?).ok()
    }

    /// The next field, which is text; `Some(None)` when it is empty.
    pub(crate) fn optional(&mut self) -> Option<Option<&'a str>> {
        self.text().map(|text| (!text.is_empty()).then_some(text))
    }

    /// Nothing, when nothing is left.
    pub(crate) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Fields, frame};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_framed_is_read_again(parts: Vec<Vec<u8>>) {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let framed = frame(&parts);
            let mut fields = Fields::new(&framed);
            for part in &parts {
                prop_assert_eq!(fields.bytes(), Some(*part));
            }
            prop_assert!(fields.end().is_some());
        }

        #[test]
        fn two_lists_are_never_the_same_bytes(one: Vec<Vec<u8>>, other: Vec<Vec<u8>>) {
            let framed = |list: &[Vec<u8>]| {
                frame(&list.iter().map(Vec::as_slice).collect::<Vec<_>>())
            };
            prop_assert_eq!(one == other, framed(&one) == framed(&other));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut fields = Fields::new(&bytes);
            while fields.bytes().is_some() {}
        }
    }

    #[test]
    fn moving_a_byte_over_a_border_changes_the_list() {
        assert_ne!(frame(&[b"ab", b"c"]), frame(&[b"a", b"bc"]));
        assert_ne!(frame(&[b"", b"abc"]), frame(&[b"abc"]));
    }
}
