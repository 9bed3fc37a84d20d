//! Bytes that leave nothing behind.

use std::fmt;
use std::ops::Deref;

/// A buffer for what may hold a card: wiped when it is dropped, and when it grows.
///
/// It wipes as `zeroize` does, with a barrier that the compiler cannot see through, but by the block
/// instead of by the byte: a charge wipes some three thousand bytes. It prints as a length.
#[derive(Default)]
pub struct Wiped(Vec<u8>);

/// Overwrites all that a vector has room for, and empties it.
fn wipe(bytes: &mut Vec<u8>) {
    overwrite(bytes);
    bytes.clear();
}

fn overwrite(bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.resize(bytes.capacity(), 0);
    zeroize::optimization_barrier(bytes.as_slice());
}

// === impl Wiped ===

impl Wiped {
    /// An empty buffer with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Adds bytes. Where there is no room left, they all move to a buffer of twice the size that is
    /// needed, and the old one is wiped.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        if bytes.len() > self.0.capacity().saturating_sub(self.0.len()) {
            self.grow(bytes.len());
        }
        self.0.extend_from_slice(bytes);
    }

    /// How many bytes there is room for.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let needed = self.0.len().saturating_add(more);
        let mut larger = Vec::with_capacity(needed.saturating_mul(2));
        larger.extend_from_slice(&self.0);
        wipe(&mut self.0);
        self.0 = larger;
    }
}

impl Deref for Wiped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Wiped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wiped({} bytes)", self.0.len())
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::{Wiped, overwrite};

    #[test]
    fn all_that_a_vector_has_room_for_is_overwritten() {
        let mut bytes = Vec::with_capacity(100);
        bytes.extend_from_slice(&[7; 100]);
        // What is beyond the length was once within it.
        bytes.truncate(40);
        overwrite(&mut bytes);
        assert_eq!(bytes, [0; 100]);
    }

    #[test]
    fn a_buffer_that_grows_keeps_what_it_has() {
        let mut bytes = Wiped::with_capacity(2);
        for part in [&b"ab"[..], b"cdef", b"", b"g"] {
            bytes.extend_from_slice(part);
        }
        assert_eq!(&*bytes, b"abcdefg");
        assert_eq!(format!("{bytes:?}"), "Wiped(7 bytes)");
    }
}
