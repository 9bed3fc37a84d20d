//! How a value lies in the engine: whole in one record, or as a head and parts.
//!
//! sled moves a page that grows too large into a file of its own, which it never syncs. A leaf
//! holds some seventeen records, so a record of at most [`RECORD_BYTES_MAX`] keeps it far below
//! that size (128 KiB). A longer value is cut into parts in a tree of their own, under a stamp that
//! no other value ever has: whoever reads a head finds the parts of that very value or none.

use super::{StoreError, VALUE_BYTES_MAX};

/// The largest value that the engine itself is given.
pub(super) const RECORD_BYTES_MAX: usize = 4096;

const WHOLE: u8 = 0;
const PARTED: u8 = 1;
const STAMP_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + STAMP_BYTES + size_of::<u32>();

/// A record, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    Whole(&'a [u8]),
    Parted(Head),
}

/// What stands in the place of a value that is kept in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    stamp: [u8; STAMP_BYTES],
    bytes: u32,
}

/// The record of a value that needs no parts. A value has exactly one such form, so that records
/// may be compared in the place of values.
pub(super) fn whole(value: &[u8]) -> Option<Vec<u8>> {
    if value.len() >= RECORD_BYTES_MAX {
        return None;
    }
    let mut record = Vec::with_capacity(value.len().saturating_add(1));
    record.push(WHOLE);
    record.extend_from_slice(value);
    Some(record)
}

pub(super) fn read(record: &[u8]) -> Result<Record<'_>, StoreError> {
    match record.split_first() {
        Some((&WHOLE, value)) => Ok(Record::Whole(value)),
        Some((&PARTED, head)) => Head::read(head).map(Record::Parted),
        Some(_) | None => Err(StoreError::Corrupt),
    }
}

// === impl Head ===

impl Head {
    /// A head for `value` with a stamp of its own.
    pub(super) fn new(value: &[u8]) -> Result<Self, StoreError> {
        let bytes = u32::try_from(value.len()).map_err(|_| StoreError::TooLarge)?;
        Ok(Self { stamp: rand::random(), bytes })
    }

    fn read(head: &[u8]) -> Result<Self, StoreError> {
        let (stamp, bytes) = head.split_first_chunk().ok_or(StoreError::Corrupt)?;
        let bytes = u32::from_be_bytes(bytes.try_into().map_err(|_| StoreError::Corrupt)?);
        let head = Self { stamp: *stamp, bytes };
        if head.len() > VALUE_BYTES_MAX { Err(StoreError::Corrupt) } else { Ok(head) }
    }

    pub(super) fn record(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(HEAD_BYTES);
        record.push(PARTED);
        record.extend_from_slice(&self.stamp);
        record.extend_from_slice(&self.bytes.to_be_bytes());
        record
    }

    /// The length of the value.
    pub(super) fn len(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }

    /// The keys of the parts, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = Vec<u8>> + use<> {
        let stamp = self.stamp;
        let parts = u16::try_from(self.len().div_ceil(RECORD_BYTES_MAX)).unwrap_or(u16::MAX);
        (0..parts).map(move |nth| [&stamp[..], &nth.to_be_bytes()].concat())
    }

    /// The parts of `value` with their keys.
    pub(super) fn parts<'a>(
        &self,
        value: &'a [u8],
    ) -> impl Iterator<Item = (Vec<u8>, &'a [u8])> + use<'a> {
        self.keys().zip(value.chunks(RECORD_BYTES_MAX))
    }

    /// Puts the value together from what `part` finds; `None` when it is not all there.
    pub(super) fn assemble<P: AsRef<[u8]>, E>(
        &self,
        mut part: impl FnMut(&[u8]) -> Result<Option<P>, E>,
    ) -> Result<Option<Vec<u8>>, E> {
        let mut value = Vec::with_capacity(self.len());
        for key in self.keys() {
            let Some(part) = part(&key)? else { return Ok(None) };
            value.extend_from_slice(part.as_ref());
        }
        Ok((value.len() == self.len()).then_some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_value_is_whole_until_it_would_not_fit_into_a_record() {
        for (bytes, fits) in [(0, true), (1, true), (4095, true), (4096, false), (32_768, false)] {
            let value = vec![7; bytes];
            let record = whole(&value);
            assert_eq!(record.is_some(), fits, "{bytes}");
            if let Some(record) = record {
                assert!(record.len() <= RECORD_BYTES_MAX);
                assert_eq!(read(&record), Ok(Record::Whole(&value[..])));
            }
        }
    }

    #[test]
    fn a_value_in_parts_comes_back() {
        for bytes in [4096, 4097, 8192, 16_384, VALUE_BYTES_MAX] {
            let value: Vec<u8> = (0..=250).cycle().take(bytes).collect();
            let head = Head::new(&value).unwrap();
            let parts: BTreeMap<_, _> = head.parts(&value).collect();
            assert!(parts.values().all(|part| part.len() <= RECORD_BYTES_MAX));
            assert_eq!(read(&head.record()), Ok(Record::Parted(head)));
            let got = head.assemble(|key| Ok::<_, StoreError>(parts.get(key)));
            assert_eq!(got, Ok(Some(value.clone())), "{bytes}");
        }
    }

    #[test]
    fn a_value_that_is_not_all_there_is_no_value() {
        let head = Head::new(&[1; 5000]).unwrap();
        assert_eq!(head.assemble(|_| Ok::<_, StoreError>(None::<Vec<u8>>)), Ok(None));
        assert_eq!(head.assemble(|_| Ok::<_, StoreError>(Some([1; 100]))), Ok(None));
    }

    #[test]
    fn nonsense_is_damage() {
        let long = [&[PARTED][..], &[0; STAMP_BYTES], &u32::MAX.to_be_bytes()].concat();
        for record in [&[][..], &[2], &[PARTED], &[PARTED; HEAD_BYTES - 1], &long] {
            assert_eq!(read(record), Err(StoreError::Corrupt), "{record:?}");
        }
    }

    #[test]
    fn two_values_never_share_a_stamp() {
        assert_ne!(Head::new(&[1; 5000]).unwrap(), Head::new(&[1; 5000]).unwrap());
    }
}
