use super::{Dek, DekId, Deks, OVERHEAD_BYTES, Place, Purpose, Refused, same};
use proptest::prelude::*;
use std::sync::Arc;

const PLACE: Place<'_> = Place { owner: "shop", record: "r", field: "f", version: 7 };

fn dek(id: u8, purpose: Purpose, key: u8) -> Arc<Dek> {
    Arc::new(Dek::new(DekId([id; 8]), purpose, &[key; 32], 0))
}

fn deks(id: u8, purpose: Purpose, key: u8) -> Deks {
    Deks::new(dek(id, purpose, key), vec![])
}

/// Places that differ from each other in one component, or in where one ends.
fn places() -> Vec<Place<'static>> {
    let mut places = vec![PLACE];
    places.extend(["shop2", "sho", ""].map(|owner| Place { owner, ..PLACE }));
    places.extend(["r2", "", "rf"].map(|record| Place { record, ..PLACE }));
    places.extend(["f2", "", "rf"].map(|field| Place { field, ..PLACE }));
    places.extend([0, 6, 8, u64::MAX].map(|version| Place { version, ..PLACE }));
    places.push(Place { owner: "shopr", record: "", ..PLACE });
    places.push(Place { record: "rf", field: "", ..PLACE });
    places
}

#[test]
fn a_record_opens_at_its_place_and_at_no_other() {
    let keys = deks(1, Purpose::Card, 1);
    let (places, mut swaps_refused) = (places(), 0);
    for (i, sealed_at) in places.iter().enumerate() {
        let sealed = keys.active().seal(*sealed_at, b"4111111111111111");
        for (j, opened_at) in places.iter().enumerate() {
            let opened = keys.open(*opened_at, &sealed);
            assert_eq!(opened.is_ok(), i == j, "{sealed_at:?} opened at {opened_at:?}");
            swaps_refused += u32::from(opened.is_err());
        }
    }
    assert_eq!(swaps_refused, 16 * 15);
}

#[test]
fn a_record_opens_with_the_key_it_names_and_with_no_other() {
    let sealed = dek(1, Purpose::Card, 1).seal(PLACE, b"text");
    for (keys, opens) in [
        (deks(1, Purpose::Card, 1), true),
        (deks(1, Purpose::Card, 2), false),
        (deks(1, Purpose::Credential, 1), false),
        (deks(2, Purpose::Card, 1), false),
    ] {
        assert_eq!(keys.open(PLACE, &sealed).is_ok(), opens, "{keys:?}");
    }
    // The name of a key is authenticated: the same key under another name does not do.
    let mut renamed = sealed;
    renamed[1..9].fill(2);
    assert_eq!(deks(2, Purpose::Card, 1).open(PLACE, &renamed), Err(Refused(())));
}

#[test]
fn older_keys_open_and_the_last_one_seals() {
    let old = dek(1, Purpose::Card, 1);
    let sealed = old.seal(PLACE, b"text");
    let keys = Deks::new(dek(2, Purpose::Card, 2), vec![old]);
    assert_eq!(*keys.open(PLACE, &sealed).unwrap(), b"text");
    assert_eq!(keys.active().id(), DekId([2; 8]));
    assert_eq!(keys.active().seal(PLACE, b"")[1..9], [2; 8]);
}

#[test]
fn a_record_with_any_bit_changed_is_refused() {
    let keys = deks(1, Purpose::Card, 1);
    let sealed = keys.active().seal(PLACE, b"4111111111111111");
    assert_eq!(sealed.len(), 16 + OVERHEAD_BYTES);
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(keys.open(PLACE, &changed).is_err(), "bit {bit}");
    }
    for length in 0..sealed.len() {
        assert!(keys.open(PLACE, &sealed[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn the_same_text_is_never_sealed_to_the_same_bytes() {
    let dek = dek(1, Purpose::Card, 1);
    let sealed: std::collections::HashSet<_> =
        (0..1_000).map(|_| dek.seal(PLACE, b"text")).collect();
    assert_eq!(sealed.len(), 1_000);
}

#[test]
fn debug_shows_no_key() {
    let shown = format!("{:?}", deks(1, Purpose::Card, 0xAB));
    assert_eq!(shown, "Deks { active: Dek(0101010101010101, card), others: [] }");
}

#[test]
fn macs_tell_parts_apart() {
    let dek = dek(1, Purpose::TokenCheck, 1);
    assert!(same(&dek.mac(&[b"a", b"b"]), &dek.mac(&[b"a", b"b"])));
    assert!(!same(&dek.mac(&[b"ab"]), &dek.mac(&[b"a", b"b"])));
    assert!(!same(&dek.mac(&[b"a", b"bc"]), &dek.mac(&[b"ab", b"c"])));
}

proptest! {
    #[test]
    fn what_is_sealed_opens(text: Vec<u8>, owner: String, record: String, version: u64) {
        let keys = deks(1, Purpose::Card, 1);
        let place = Place { owner: &owner, record: &record, field: "payload", version };
        let sealed = keys.active().seal(place, &text);
        prop_assert_eq!(&*keys.open(place, &sealed).unwrap(), &text);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        prop_assert!(deks(1, Purpose::Card, 1).open(PLACE, &bytes).is_err());
    }
}
