//! Signed heads: how far the log goes, said so that it can be kept elsewhere and checked by anybody.
//!
//! The key is Ed25519, derived from a data key that the hardware security module wraps. To check a
//! head takes the public key only.

use super::line::{Hash, hex, parse_hex};
use super::segment::Tail;
use crate::seal::{Dek, Deks};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroizing;

/// What a head is of: the log up to and with the line `sequence`, whose hash fixes all before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    pub sequence: u64,
    /// The hash of that line, in hexadecimal digits, as it stands in the line.
    pub hash: Box<str>,
    /// When it was signed.
    pub time: Box<str>,
    pub public_key: Box<str>,
    pub signature: Box<str>,
}

/// A key whose heads are trusted.
pub type PublicKey = [u8; 32];

/// Reads a public key from its 64 hexadecimal digits.
pub fn parse_key(text: &str) -> Option<PublicKey> {
    parse_hex(text)
}

/// What signs heads, and the keys of which heads are good.
pub(super) struct Signatory {
    key: SigningKey,
    trusted: Vec<PublicKey>,
}

/// The bytes that are signed: text, so that other programs can check them as well.
fn message(sequence: u64, hash: &str, time: &str) -> Vec<u8> {
    format!("orchestra/1 audit head\n{sequence}\n{hash}\n{time}\n").into_bytes()
}

fn signing_key(dek: &Dek) -> SigningKey {
    let seed = Zeroizing::new(dek.mac(&[b"audit head key"]));
    SigningKey::from_bytes(&seed)
}

// === impl Signatory ===

impl Signatory {
    /// Signs with the active key, and trusts the older ones too.
    pub(super) fn new(keys: &Deks) -> Self {
        let public = |dek| signing_key(dek).verifying_key().to_bytes();
        Self {
            key: signing_key(keys.active()),
            trusted: keys.iter().map(|dek| public(dek)).collect(),
        }
    }

    pub(super) fn trusted(&self) -> &[PublicKey] {
        &self.trusted
    }

    pub(super) fn sign(&self, tail: &Tail, time: &str) -> Head {
        let hash = hex(&tail.hash);
        let signature = self.key.sign(&message(tail.sequence, &hash, time));
        Head {
            sequence: tail.sequence,
            hash: hash.into(),
            time: time.into(),
            public_key: hex(&self.key.verifying_key().to_bytes()).into(),
            signature: hex(&signature.to_bytes()).into(),
        }
    }
}

impl fmt::Debug for Signatory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signatory").finish_non_exhaustive()
    }
}

// === impl Head ===

impl Head {
    /// Whether the signature is that of the key that the head names.
    pub fn is_signed(&self) -> bool {
        let checked = || {
            let key = VerifyingKey::from_bytes(&self.key()?).ok()?;
            let signature = Signature::from_bytes(&parse_hex(&self.signature)?);
            let message = message(self.sequence, &self.hash, &self.time);
            key.verify_strict(&message, &signature).ok()
        };
        checked().is_some()
    }

    /// The key that the head names.
    pub fn key(&self) -> Option<PublicKey> {
        parse_hex(&self.public_key)
    }

    pub(super) fn hash_bytes(&self) -> Option<Hash> {
        parse_hex(&self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::{Head, Signatory};
    use crate::audit::segment::Tail;
    use crate::seal::{Dek, DekId, Deks, Purpose};
    use std::sync::Arc;

    fn signatory(key: u8) -> Signatory {
        let dek = Arc::new(Dek::new(DekId([key; 8]), Purpose::Audit, &[key; 32], 0));
        Signatory::new(&Deks::new(dek, vec![]))
    }

    #[test]
    fn a_head_is_good_as_it_was_signed_and_not_otherwise() {
        let tail = Tail { sequence: 7, hash: [9; 32] };
        let head = signatory(1).sign(&tail, "2026-11-22T12:00:00.000Z");
        assert!(head.is_signed());
        assert_eq!(head.key().as_ref(), signatory(1).trusted().first());
        let other = signatory(2).sign(&tail, "2026-11-22T12:00:00.000Z");
        for changed in [
            Head { sequence: 8, ..head.clone() },
            Head { hash: "0".repeat(64).into(), ..head.clone() },
            Head { time: "2026-11-22T12:00:00.001Z".into(), ..head.clone() },
            Head { public_key: other.public_key, ..head.clone() },
            Head { signature: other.signature, ..head.clone() },
            Head { signature: "".into(), ..head.clone() },
            Head { public_key: "zz".into(), ..head },
        ] {
            assert!(!changed.is_signed(), "{changed:?}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", signatory(1)), "Signatory { .. }");
    }
}
