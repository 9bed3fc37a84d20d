//! Randomness of the operating system, and names made of it.

use rand::TryRngCore;
use rand::rngs::OsRng;
use std::cell::RefCell;
use zeroize::Zeroizing;

/// The digits of base 62, in the order of their values.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The largest multiple of 62 that fits into a byte: what is not below it is drawn again, so that
/// every character is equally likely.
const FAIR_BELOW: u8 = 248;

/// How many bytes that need not be secret are drawn at a time.
const POOL_BYTES: usize = 1024;

thread_local! {
    /// Drawn and not yet handed out: so many at the beginning.
    static POOL: RefCell<([u8; POOL_BYTES], usize)> = const { RefCell::new(([0; POOL_BYTES], 0)) };
}

/// Bytes from the operating system that nobody else was or will be given, and that need not be secret
/// before they are used: nonces and names. One call of the kernel serves many.
///
/// # Panics
/// As [`bytes`].
pub(crate) fn unique_bytes<const N: usize>() -> [u8; N] {
    const { assert!(N <= POOL_BYTES) };
    POOL.with_borrow_mut(|(pool, left)| {
        if *left < N {
            (*pool, *left) = (bytes(), POOL_BYTES);
        }
        *left = left.saturating_sub(N);
        let drawn = pool.get(*left..).and_then(|rest| rest.first_chunk());
        *drawn.expect("so many are left")
    })
}

/// Bytes from the operating system.
///
/// # Panics
/// If the operating system gives none; a vault that went on would make keys that can be guessed.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// `length` characters `[0-9A-Za-z]`, each equally likely.
pub(crate) fn alphanumerics(length: usize) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(length));
    while text.len() < length {
        let drawn = Zeroizing::new(bytes::<64>());
        let missing = length.saturating_sub(text.len());
        text.extend(drawn.iter().filter(|b| **b < FAIR_BELOW).map(|b| digit(*b)).take(missing));
    }
    text
}

/// The last six digits of `number` in base 62, most significant first.
pub(crate) fn base62_six(number: u64) -> [u8; 6] {
    let mut text = [b'0'; 6];
    let mut rest = number;
    for place in text.iter_mut().rev() {
        *place = digit_byte(rest % 62);
        rest /= 62;
    }
    text
}

fn digit(drawn: u8) -> char {
    char::from(digit_byte(u64::from(drawn) % 62))
}

fn digit_byte(value: u64) -> u8 {
    usize::try_from(value).ok().and_then(|value| DIGITS.get(value)).copied().unwrap_or(b'0')
}

#[cfg(test)]
mod tests {
    use super::{POOL_BYTES, alphanumerics, base62_six, unique_bytes};
    use std::collections::HashSet;

    #[test]
    fn names_have_their_length_and_differ() {
        let names: HashSet<String> = (0..1_000).map(|_| alphanumerics(43).to_string()).collect();
        assert_eq!(names.len(), 1_000);
        assert!(
            names.iter().all(|n| n.len() == 43 && n.bytes().all(|b| b.is_ascii_alphanumeric()))
        );
    }

    #[test]
    fn no_bytes_are_handed_out_twice() {
        let draw = || (0..10_000).map(|_| unique_bytes::<12>()).collect::<Vec<_>>();
        let mut drawn = draw();
        drawn.extend(std::thread::spawn(draw).join().unwrap());
        // Of another length, so that the pool is not used up evenly.
        let longer = unique_bytes::<{ POOL_BYTES - 5 }>();
        drawn.extend(longer.chunks_exact(12).map(|chunk| <[u8; 12]>::try_from(chunk).unwrap()));
        drawn.extend(draw());
        let different: HashSet<_> = drawn.iter().collect();
        assert_eq!(different.len(), drawn.len());
    }

    #[test]
    fn every_character_comes_about_equally_often() {
        let text = alphanumerics(62 * 1_000);
        let mut counts = [0_u32; 128];
        text.bytes().for_each(|b| counts[usize::from(b)] += 1);
        let drawn: Vec<u32> = counts.into_iter().filter(|c| *c > 0).collect();
        assert_eq!(drawn.len(), 62);
        // Seven standard deviations around 1,000: a fair draw leaves it once in billions of runs.
        assert!(drawn.iter().all(|c| (778..=1_222).contains(c)), "{drawn:?}");
    }

    #[test]
    fn six_digits_count_in_base_62() {
        for (number, text) in
            [(0, "000000"), (61, "00000z"), (62, "000010"), (u64::from(u32::MAX), "4gfFC3")]
        {
            assert_eq!(base62_six(number), text.as_bytes(), "{number}");
        }
    }
}
