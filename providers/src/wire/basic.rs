//! `Basic` authentication (RFC 7617).

use super::{HeaderText, NotHeaderText};
use model::{Secret, Wiped};
use zeroize::Zeroizing;

/// Bytes in base64 (RFC 4648 section 4), which is wiped when it goes.
fn base64(bytes: &[u8]) -> Zeroizing<String> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Zeroizing::new(String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4)));
    for chunk in bytes.chunks(3) {
        let at = |nth: usize| chunk.get(nth).copied().map_or(0, u32::from);
        let group = at(0) << 16 | at(1) << 8 | at(2);
        for (nth, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = DIGITS.get((group >> shift & 63) as usize).filter(|_| nth <= chunk.len());
            out.push(digit.copied().map_or('=', char::from));
        }
    }
    out
}

// === impl HeaderText ===

impl HeaderText {
    /// `Basic` authentication (RFC 7617): the user's name has no colon.
    ///
    /// # Errors
    /// When the name has one, or either is not visible ASCII.
    pub(crate) fn basic(user: &Secret, password: &Secret) -> Result<Self, NotHeaderText> {
        // Both are exposed because the header is made of them.
        let (user, password) = (user.expose(), password.expose());
        let visible = |text: &str| text.bytes().all(|b| matches!(b, b' '..=b'~'));
        if user.is_empty() || user.contains(':') || !visible(user) || !visible(password) {
            return Err(NotHeaderText(()));
        }
        let length = user.len().saturating_add(1).saturating_add(password.len());
        let mut plain = Wiped::with_capacity(length);
        for part in [user, ":", password] {
            plain.extend_from_slice(part.as_bytes());
        }
        Ok(Self(Secret::new(["Basic ", &base64(&plain)].concat())))
    }
}

#[cfg(test)]
mod tests {
    use super::{HeaderText, base64};
    use model::Secret;

    /// The vectors of RFC 4648, and that of RFC 7617.
    #[test]
    fn basic_authentication_is_base64_of_name_and_password() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(*base64(bytes.as_bytes()), text);
        }
        let basic = |user, password| {
            let header = HeaderText::basic(&Secret::new(user), &Secret::new(password));
            header.ok().map(|header| header.expose().to_owned())
        };
        let known = basic("Aladdin", "open sesame");
        assert_eq!(known.as_deref(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert_eq!(basic("a:b", "c"), None);
        assert_eq!(basic("", "c"), None);
        assert_eq!(basic("a", "c\n"), None);
    }
}
