//! Numbers as digits.

/// `bytes` as lower-case hexadecimal digits.
pub fn hex(bytes: [u8; 16]) -> [u8; 32] {
    let mut digits = [0; 32];
    for (byte, pair) in bytes.iter().zip(digits.chunks_exact_mut(2)) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
    }
    digits
}

/// The digit of a number below 16.
fn digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0'.wrapping_add(nibble),
        _ => b'a'.wrapping_sub(10).wrapping_add(nibble),
    }
}

#[cfg(test)]
mod tests {
    use super::hex;

    #[test]
    fn every_byte_is_two_digits() {
        let digits = hex(*b"\x00\x9f\xff\xa0\x0f\x12\x34\x56\x78\x9a\xbc\xde\xf0\x01\x10\x99");
        assert_eq!(&digits, b"009fffa00f123456789abcdef0011099");
    }
}
