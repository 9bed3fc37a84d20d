//! Memory for keys: locked, so that it is never swapped, left out of core dumps, and wiped.
//!
//! Values share pages, because a process may lock 8 MiB by default and there are more keys than
//! that has pages. Where the system does not lock, the values are kept all the same, and
//! [`figures`] says so.

use std::alloc::Layout;
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How much memory is taken from the system at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Every value has a place of this size.
const PLACE_BYTES: usize = 512;
const PLACES: usize = CHUNK_BYTES / PLACE_BYTES;

/// Places that no value is in.
static FREE: Mutex<Vec<Place>> = Mutex::new(Vec::new());
static LOCKED: AtomicU64 = AtomicU64::new(0);
static UNLOCKED: AtomicU64 = AtomicU64::new(0);

/// A value in locked memory. Its bytes are wiped when it is dropped.
pub(crate) struct Locked<T>(NonNull<T>);

struct Place(NonNull<u8>);

/// How many bytes of memory for keys are locked, and how many the system did not lock.
pub(crate) fn figures() -> (u64, u64) {
    (LOCKED.load(Ordering::Relaxed), UNLOCKED.load(Ordering::Relaxed))
}

fn free() -> std::sync::MutexGuard<'static, Vec<Place>> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a chunk from the system and makes places of it.
#[expect(unsafe_code, reason = "memory that is locked has no safe form in std")]
fn grow(places: &mut Vec<Place>) {
    // SAFETY: an anonymous private mapping touches no memory that is there already; the result is
    // checked before it is used, and is never unmapped.
    let chunk = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            CHUNK_BYTES,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert!(chunk != libc::MAP_FAILED, "the system gives memory for keys");
    // SAFETY: both take the mapping that was made above, whole, and change no bytes of it.
    let locked = unsafe {
        libc::madvise(chunk, CHUNK_BYTES, libc::MADV_DONTDUMP);
        // A child of ours has no use for keys.
        libc::madvise(chunk, CHUNK_BYTES, libc::MADV_WIPEONFORK);
        libc::mlock(chunk, CHUNK_BYTES) == 0
    };
    let bytes = u64::try_from(CHUNK_BYTES).unwrap_or(u64::MAX);
    let counter = if locked { &LOCKED } else { &UNLOCKED };
    if counter.fetch_add(bytes, Ordering::Relaxed) == 0 && !locked {
        log::warn!("memory for keys is not locked and may reach swap (raise LimitMEMLOCK)");
    }
    let first = NonNull::new(chunk.cast::<u8>()).expect("a mapping is not at zero");
    places.extend((0..PLACES).map(|nth| {
        // SAFETY: each place begins within the chunk.
        Place(unsafe { first.add(nth.saturating_mul(PLACE_BYTES)) })
    }));
}

// === impl Locked ===

impl<T> Locked<T> {
    const FITS: () = assert!(
        Layout::new::<T>().size() <= PLACE_BYTES && Layout::new::<T>().align() <= 64,
        "the value fits into a place"
    );

    /// Moves `value` into locked memory.
    #[expect(unsafe_code, reason = "a value is put where no allocator would put it")]
    pub(crate) fn new(value: T) -> Self {
        let () = Self::FITS;
        let mut places = free();
        if places.is_empty() {
            grow(&mut places);
        }
        let place = places.pop().expect("there are places after it grew").0.cast::<T>();
        drop(places);
        // SAFETY: the place is large enough and aligned (`FITS`, and places are at multiples of
        // 512 in a mapping of pages), and nobody else has it, since it was taken out of the list.
        unsafe { place.write(value) };
        Self(place)
    }
}

impl<T> Deref for Locked<T> {
    type Target = T;

    #[expect(unsafe_code, reason = "a value is where no allocator would put it")]
    fn deref(&self) -> &T {
        // SAFETY: `new` put a value there, and only `drop` takes it away.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Drop for Locked<T> {
    #[expect(unsafe_code, reason = "the bytes of a value are wiped after it")]
    fn drop(&mut self) {
        let place = self.0.cast::<u8>();
        // SAFETY: the value is there, is not used after this, and its place is its own; zeroes are
        // written to the whole place and nowhere else, one by one so that they are not left out.
        unsafe {
            self.0.drop_in_place();
            for nth in 0..PLACE_BYTES {
                place.add(nth).write_volatile(0);
            }
        }
        free().push(Place(place));
    }
}

impl<T> fmt::Debug for Locked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Locked(…)")
    }
}

// SAFETY: a `Locked` owns its value alone, as a `Box` does.
#[expect(unsafe_code, reason = "a pointer is neither, and what it points to is")]
unsafe impl<T: Send> Send for Locked<T> {}
// SAFETY: as above; only shared references to the value are given out.
#[expect(unsafe_code, reason = "a pointer is neither, and what it points to is")]
unsafe impl<T: Sync> Sync for Locked<T> {}
// SAFETY: an empty place belongs to whoever takes it out of the list.
#[expect(unsafe_code, reason = "a pointer is neither, and what it points to is")]
unsafe impl Send for Place {}

#[cfg(test)]
mod tests {
    use super::{CHUNK_BYTES, Locked, PLACES, figures};

    #[test]
    fn values_are_kept_apart() {
        let values: Vec<Locked<[u64; 4]>> =
            (0..3 * PLACES as u64).map(|n| Locked::new([n; 4])).collect();
        assert!(values.iter().zip(0..).all(|(value, n)| **value == [n; 4]));
        let (locked, unlocked) = figures();
        assert!(locked + unlocked >= 3 * CHUNK_BYTES as u64);
    }

    /// Other tests take places meanwhile, so the limit is half of what no use again would take.
    #[test]
    fn places_are_used_again() {
        const ROUNDS: u64 = 40;
        let taken = || figures().0 + figures().1;
        let before = taken();
        for n in 0..ROUNDS {
            let values: Vec<_> = (0..3 * PLACES).map(|_| Locked::new([n; 4])).collect();
            assert_eq!(**values.last().expect("there are some"), [n; 4]);
        }
        assert!(taken() - before < ROUNDS * 3 * CHUNK_BYTES as u64 / 2);
    }

    #[test]
    fn nothing_is_left_of_a_value() {
        let value = Locked::new([0xA5_u8; 64]);
        let place = value.0.cast::<[u8; 64]>();
        drop(value);
        // SAFETY: places are never unmapped. Another test may have put something there meanwhile,
        // but not this.
        #[expect(unsafe_code, reason = "what is looked at is what must not be there")]
        let left = unsafe { place.read_volatile() };
        assert_ne!(left, [0xA5; 64]);
    }
}
