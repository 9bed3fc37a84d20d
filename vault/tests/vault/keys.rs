//! API keys.

use crate::stage::{NOW, issued, merchant, on_stage};
use model::{KeyId, MerchantId, Scope};
use vault::{KEY_NAME_BYTES_MAX, KeySpec, VaultError, wait};

on_stage!(1 a_key_says_whose_it_is_until_it_is_revoked(stage) {
    let (vault, shop, other) = stage.make_with_merchants();
    let spec = KeySpec {
        name: "till 4".into(),
        sandbox: true,
        scopes: vec![Scope::Payments, Scope::Tokens],
        expires: Some(NOW + 10),
    };
    let key = wait(vault.create_key(&shop, spec, NOW)).unwrap();
    let others = issued(&vault, &other, "x");
    // Exposed to be presented.
    let text = key.key.expose();
    assert!(text.starts_with("ork_test_"));
    let principal = vault.authenticate(text.as_bytes(), NOW).unwrap();
    assert_eq!((&principal.merchant, &principal.key), (&shop, &key.id));
    assert_eq!((&*principal.name, principal.sandbox), ("till 4", true));
    assert!(principal.may(Scope::Payments) && !principal.may(Scope::Reveal));

    assert!(vault.authenticate(text.as_bytes(), NOW + 9).is_some());
    assert!(vault.authenticate(text.as_bytes(), NOW + 10).is_none(), "it has expired");

    let listed = vault.keys(&shop).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].id, listed[0].created), (&key.id, NOW));
    assert_eq!((listed[0].expires, &*listed[0].name), (Some(NOW + 10), "till 4"));

    assert_eq!(wait(vault.revoke_key(&key.id)), Ok(true));
    assert!(vault.authenticate(text.as_bytes(), NOW).is_none());
    assert_eq!(wait(vault.revoke_key(&key.id)), Ok(false));
    assert!(vault.keys(&shop).unwrap().is_empty());
    // Exposed to be presented.
    assert!(vault.authenticate(others.key.expose().as_bytes(), NOW).is_some());
    drop(vault);
    assert!(stage.open().authenticate(text.as_bytes(), NOW).is_none(), "also after a restart");
});

on_stage!(1 only_the_whole_key_is_a_key(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let (one, two) = (issued(&vault, &shop, "one"), issued(&vault, &shop, "two"));
    // Exposed to be changed and presented.
    let (one, two) = (one.key.expose().to_owned(), two.key.expose().to_owned());
    let with_check = |text: &str| format!("{text}{}", check(text));
    assert!(vault.authenticate(with_check(&one[..65]).as_bytes(), NOW).is_some());
    let mut wrong_secret = one[..65].to_owned();
    let last = wrong_secret.pop().unwrap();
    wrong_secret.push(if last == 'x' { 'y' } else { 'x' });
    for text in [
        with_check(&wrong_secret),
        // The secret of one under the id of the other.
        with_check(&format!("{}{}", &one[..22], &two[22..65])),
        // An id that nobody has.
        with_check(&format!("ork_live_000000000000_{}", &one[22..65])),
        // The key of the live world presented as one of the sandbox.
        with_check(&one[..65].replace("ork_live", "ork_test")),
        one[..70].to_owned(),
        format!(" {one}"),
        String::new(),
    ] {
        assert!(vault.authenticate(text.as_bytes(), NOW).is_none(), "{text}");
    }
});

/// The check at the end of a key, written a second time from its description.
fn check(text: &str) -> String {
    let mut crc = u32::MAX;
    for byte in text.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 * (crc & 1));
        }
    }
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digit = |place: u32| digits[usize::try_from(!crc / 62_u32.pow(place) % 62).unwrap()];
    (0..6).rev().map(|place| char::from(digit(place))).collect()
}

on_stage!(1 a_key_belongs_to_a_merchant_and_has_a_name(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let create = |merchant: &MerchantId, name: String| {
        let spec = KeySpec { name: name.into(), sandbox: false, scopes: vec![], expires: None };
        wait(vault.create_key(merchant, spec, NOW)).map(drop)
    };
    assert_eq!(create(&merchant("nobody"), "x".into()), Err(VaultError::NoSuchMerchant));
    for name in [String::new(), "x".repeat(KEY_NAME_BYTES_MAX + 1)] {
        assert!(matches!(create(&shop, name), Err(VaultError::Size { .. })));
    }
    assert_eq!(create(&shop, "x".repeat(KEY_NAME_BYTES_MAX)), Ok(()));
    assert_eq!(wait(vault.revoke_key(&KeyId::parse("abcdefghijkl").unwrap())), Ok(false));
});
