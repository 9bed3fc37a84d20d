//! The published vectors of Wycheproof and NIST, run through the functions that seal and open.
//!
//! Ours have one shape: 256-bit keys, 96-bit nonces, 128-bit tags, 32 bytes of HKDF. Vectors of
//! another shape cannot be put into them, which the compiler sees to.

use super::{NONCE_BYTES, TAG_BYTES, expand, extract, gcm_open, gcm_seal, hmac};
use hmac::Mac as _;
use wycheproof::TestResult;

/// From the Cryptographic Algorithm Validation Program of NIST, the cases of our shape.
const NIST_SEAL: &str = include_str!("nist/gcmEncryptExtIV256.rsp");
const NIST_OPEN: &str = include_str!("nist/gcmDecrypt256.rsp");

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.as_bytes().chunks(2).map(byte).collect()
}

struct Case {
    key: [u8; 32],
    nonce: [u8; NONCE_BYTES],
    aad: Vec<u8>,
    text: Vec<u8>,
    sealed: Vec<u8>,
    tag: [u8; TAG_BYTES],
}

impl Case {
    fn opens(&self) -> bool {
        let mut text = self.sealed.clone();
        gcm_open(&self.key, &self.nonce, &self.aad, &mut text, &self.tag).is_ok()
            && text == self.text
    }

    fn seals(&self) -> bool {
        let mut text = self.text.clone();
        let tag = gcm_seal(&self.key, &self.nonce, &self.aad, &mut text);
        text == self.sealed && tag == self.tag
    }
}

/// The cases of a NIST file that have our lengths, and whether each must fail.
fn nist(text: &str) -> Vec<(Case, bool)> {
    let groups = text.split("[Keylen").skip(1);
    let ours =
        groups.filter(|group| group.contains("[IVlen = 96]") && group.contains("[Taglen = 128]"));
    ours.flat_map(|group| group.split("Count = ").skip(1)).filter_map(nist_case).collect()
}

fn nist_case(case: &str) -> Option<(Case, bool)> {
    let find = |name: &str| {
        let line = case.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" ="));
        line.map(|hex| bytes(hex.trim()))
    };
    let case_of = Case {
        key: find("Key")?.try_into().ok()?,
        nonce: find("IV")?.try_into().ok()?,
        aad: find("AAD")?,
        text: find("PT").unwrap_or_default(),
        sealed: find("CT")?,
        tag: find("Tag")?.try_into().ok()?,
    };
    Some((case_of, case.contains("FAIL")))
}

#[test]
fn nist_gcm_seals() {
    let cases = nist(NIST_SEAL);
    assert_eq!(cases.len(), 375);
    assert!(cases.iter().all(|(case, _)| case.seals() && case.opens()));
}

#[test]
fn nist_gcm_opens() {
    let cases = nist(NIST_OPEN);
    assert_eq!(cases.len(), 375);
    assert!(cases.iter().filter(|(_, fails)| *fails).count() > 150);
    assert!(cases.iter().all(|(case, fails)| case.opens() != *fails));
}

#[test]
fn wycheproof_gcm() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in set.test_groups {
        if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
            continue;
        }
        for test in group.tests {
            let case = Case {
                key: test.key.to_vec().try_into().unwrap(),
                nonce: test.nonce.to_vec().try_into().unwrap(),
                aad: test.aad.to_vec(),
                text: test.pt.to_vec(),
                sealed: test.ct.to_vec(),
                tag: test.tag.to_vec().try_into().unwrap(),
            };
            let is_valid = test.result == TestResult::Valid;
            assert_eq!(case.opens(), is_valid, "{}", test.tc_id);
            assert!(!is_valid || case.seals(), "{}", test.tc_id);
            *(if is_valid { &mut valid } else { &mut invalid }) += 1;
        }
    }
    assert_eq!((valid, invalid), (39, 27));
}

#[test]
fn wycheproof_hmac() {
    let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
    let mut run = 0;
    for group in set.test_groups.into_iter().filter(|group| group.tag_size == 256) {
        for test in group.tests {
            let mut mac = hmac(&test.key);
            mac.update(&test.msg);
            let same = super::same(&mac.finalize().into_bytes(), &test.tag);
            assert_eq!(same, test.result == TestResult::Valid, "{}", test.tc_id);
            run += 1;
        }
    }
    assert_eq!(run, 87);
}

#[test]
fn wycheproof_hkdf() {
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
    let (mut run, mut too_long) = (0, 0);
    for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
        if test.result != TestResult::Valid {
            // More than HKDF-SHA-256 gives. Ours gives 32 bytes, and cannot be asked for more.
            assert!(test.size > 8_160, "{}", test.tc_id);
            too_long += 1;
            continue;
        }
        // Ours is always 32 bytes, and a shorter or longer key begins as ours does.
        let ours = expand(&extract(&test.salt, &test.ikm), [&test.info[..]]);
        let both = test.okm.len().min(ours.len());
        assert_eq!(test.okm[..both], ours[..both], "{}", test.tc_id);
        run += 1;
    }
    assert_eq!((run + too_long, too_long > 0), (86, true));
}
