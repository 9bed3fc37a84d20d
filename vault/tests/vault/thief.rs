//! Everything that a thief can do to the rows who has the directory and not the module: what is
//! changed is refused when it is read, or found by a check of everything; and no card is learnt.

use crate::stage::{NOW, NOW_MS, Stage, issued, kept, merchant, on_stage, revealed};
use model::{AccountName, CardToken, Credentials, MerchantId, Secret};
use std::collections::BTreeMap;
use vault::store::{Collection, Entry, PAGE_ENTRIES_MAX, SledStore, Store, Write};
use vault::{Vault, VerifyReport, wait};

/// The cards of the merchant that is robbed.
const CARDS: [&str; 3] = ["4111111111111111", "5555555555554444", "378282246310005"];
/// What the thief has himself, as a merchant of the same vault.
const OWN: &str = "4242424242424242";
/// How many bytes of each row are flipped.
const FLIPS: usize = 5;

/// What became of the changes of one kind.
#[derive(Debug, Default)]
struct Tally {
    made: u32,
    /// The vault did not open, or a record did not.
    refused: u32,
    /// Reading showed nothing; the check of everything did.
    found: u32,
    learnt: u32,
}

/// Who has what.
struct Scene {
    shop: MerchantId,
    other: MerchantId,
    cards: Vec<CardToken>,
    own: Vec<CardToken>,
}

type Tallies = BTreeMap<&'static str, Tally>;

fn put(collection: Collection, key: &[u8], value: Vec<u8>) -> Write {
    Write::Put { collection, key: key.to_vec(), value }
}

fn delete(collection: Collection, key: &[u8]) -> Write {
    Write::Delete { collection, key: key.to_vec() }
}

fn rows(store: &SledStore, collection: Collection) -> Vec<Entry> {
    store.page(collection, None, b"", PAGE_ENTRIES_MAX).unwrap()
}

/// All rows but the one in which the vault remembers how far its audit log goes: it writes that at each
/// opening, so a change of it cannot be undone from outside. See `audit` for what finds one.
fn all_rows(stage: &Stage) -> Vec<(Collection, Entry)> {
    let store = stage.store();
    let of = |collection| rows(&store, collection).into_iter().map(move |row| (collection, row));
    let all = Collection::ALL.into_iter().flat_map(of);
    all.filter(|(_, (key, _))| key != b"audit-head").collect()
}

/// Makes the changes, and returns what undoes them.
fn change(stage: &Stage, writes: &[Write]) -> Vec<Write> {
    let store = stage.store();
    let undo = writes.iter().map(|write| {
        let (Write::Put { collection, key, .. } | Write::Delete { collection, key }) = write;
        match store.get(*collection, key).unwrap() {
            Some(value) => put(*collection, key, value),
            None => delete(*collection, key),
        }
    });
    let undo = undo.collect();
    wait(store.batch(writes.to_vec())).unwrap();
    undo
}

/// How many cards of the shop the other merchant gets to see, and whether anything is refused.
fn read_everything(vault: &Vault, scene: &Scene) -> (u32, bool) {
    let mut refused = false;
    let mut learnt = 0;
    for token in scene.own.iter().chain(&scene.cards) {
        match vault.token(&scene.other, token, NOW_MS) {
            Ok(Some((text, _))) => {
                // Exposed to see whose it is.
                learnt += u32::from(CARDS.contains(&text.expose()));
            }
            Ok(None) => {}
            Err(_) => refused = true,
        }
    }
    refused |= scene.cards.iter().any(|token| vault.token(&scene.shop, token, NOW_MS).is_err());
    for merchant in [&scene.shop, &scene.other] {
        refused |= vault.accounts(merchant).is_err();
        for name in ["first", "second"] {
            refused |= vault.account(merchant, &AccountName::parse(name).unwrap()).is_err();
        }
    }
    (learnt, refused)
}

fn verified(vault: &Vault) -> VerifyReport {
    vault.verify(|_| ()).unwrap()
}

/// Has the thief make a change, looks at what becomes of it, and undoes it.
fn attempt(stage: &Stage, scene: &Scene, tally: &mut Tally, what: &str, writes: &[Write]) {
    let undo = change(stage, writes);
    tally.made += 1;
    match Vault::open(&stage.settings()) {
        Err(_) => tally.refused += 1,
        Ok(vault) => {
            let (learnt, refused) = read_everything(&vault, scene);
            let report = verified(&vault);
            assert!(!report.is_whole(), "{what} is not found: {report:?}");
            tally.learnt += learnt;
            *(if refused { &mut tally.refused } else { &mut tally.found }) += 1;
        }
    }
    change(stage, &undo);
}

fn put_account(vault: &Vault, merchant: &MerchantId, name: &str, secret: &str, now: u64) {
    let credentials = Credentials::new(vec![("a".into(), Secret::new(secret))]);
    let name = AccountName::parse(name).unwrap();
    wait(vault.put_account(merchant, &name, "Stripe", credentials, now)).unwrap();
}

/// A vault in which things were changed and deleted, and the rows that were there before that.
fn make(stage: &Stage) -> (Scene, Vec<(Collection, Entry)>) {
    let (vault, shop, other) = stage.make_with_merchants();
    let cards = CARDS.map(|card| kept(&vault, &shop, card)).to_vec();
    let own = vec![kept(&vault, &other, OWN), kept(&vault, &other, OWN)];
    let gone = kept(&vault, &shop, CARDS[0]);
    for (merchant, name) in [(&shop, "first"), (&shop, "second"), (&other, "first")] {
        put_account(&vault, merchant, name, "old", NOW_MS);
    }
    put_account(&vault, &shop, "gone", "old", NOW_MS);
    let key = issued(&vault, &shop, "gone");
    issued(&vault, &shop, "till");
    issued(&vault, &other, "till");
    drop(vault);
    let before = all_rows(stage);
    let vault = stage.open();
    put_account(&vault, &shop, "first", "new", NOW_MS + 1);
    let name = AccountName::parse("gone").unwrap();
    assert_eq!(wait(vault.delete_account(&shop, &name, NOW_MS)), Ok(true));
    assert_eq!(wait(vault.forget(&shop, &gone, NOW_MS)), Ok(true));
    assert_eq!(wait(vault.revoke_key(&key.id)), Ok(true));
    wait(vault.create_merchant(&merchant("late"), NOW)).unwrap();
    assert!(verified(&vault).is_whole(), "{:?}", verified(&vault));
    (Scene { shop, other, cards, own }, before)
}

/// Rows that exist now under keys that had another value before, and rows that are gone since.
fn roll_back(stage: &Stage, scene: &Scene, tallies: &mut Tallies, before: &[(Collection, Entry)]) {
    let now: BTreeMap<_, _> =
        all_rows(stage).into_iter().map(|(c, (key, value))| ((c.name(), key), value)).collect();
    for (collection, (key, value)) in before {
        let what = format!("{} {}", collection.name(), String::from_utf8_lossy(key));
        let kind = match now.get(&(collection.name(), key.clone())) {
            Some(same) if same == value => continue,
            Some(_) => "an older row put back",
            None => "a deleted row brought back",
        };
        let writes = [put(*collection, key, value.clone())];
        attempt(stage, scene, tallies.entry(kind).or_default(), &what, &writes);
    }
}

fn take_away(stage: &Stage, scene: &Scene, tallies: &mut Tallies) {
    for (collection, (key, _)) in all_rows(stage) {
        // Without its format the store does not open at all: that is the store's own test.
        if key != b"format" {
            let what = format!("{} {}", collection.name(), String::from_utf8_lossy(&key));
            let tally = tallies.entry("a row taken away").or_default();
            attempt(stage, scene, tally, &what, &[delete(collection, &key)]);
        }
    }
}

/// Every two rows of a collection change places.
fn swap(stage: &Stage, scene: &Scene, tallies: &mut Tallies) {
    let all = all_rows(stage);
    for collection in Collection::ALL {
        let own: Vec<_> = all.iter().filter(|(of, _)| *of == collection).map(|(_, r)| r).collect();
        for pair in own.windows(2) {
            let [(a, of_a), (b, of_b)] = pair else { continue };
            if of_a == of_b || a == b"format" || b == b"format" {
                continue;
            }
            let what = format!("{}: {}", collection.name(), String::from_utf8_lossy(a));
            let tally = tallies.entry("two rows swapped").or_default();
            let writes = [put(collection, a, of_b.clone()), put(collection, b, of_a.clone())];
            attempt(stage, scene, tally, &what, &writes);
        }
    }
}

/// A row of the shop under the name of a row of the thief's.
fn copy(stage: &Stage, scene: &Scene, tallies: &mut Tallies) {
    let row =
        |merchant: &MerchantId, token: &CardToken| format!("{merchant}\0{token}").into_bytes();
    for card in &scene.cards {
        let value = stage.store().get(Collection::Tokens, &row(&scene.shop, card)).unwrap();
        for key in [row(&scene.other, &scene.own[0]), row(&scene.other, card)] {
            let writes = [put(Collection::Tokens, &key, value.clone().unwrap())];
            let tally = tallies.entry("a card under the thief's name").or_default();
            attempt(stage, scene, tally, "copy", &writes);
        }
    }
}

fn flip(stage: &Stage, scene: &Scene, tallies: &mut Tallies) {
    for (collection, (key, value)) in all_rows(stage) {
        if key == b"format" {
            continue;
        }
        for nth in 0..FLIPS {
            // The first, the last, and some between.
            let at = (value.len() - 1) * nth / (FLIPS - 1);
            let mut changed = value.clone();
            changed[at] ^= 1 << (nth + 1);
            let what = format!("{} byte {at}", collection.name());
            let tally = tallies.entry("a byte flipped").or_default();
            attempt(stage, scene, tally, &what, &[put(collection, &key, changed)]);
        }
    }
}

on_stage!(1 a_thief_of_the_directory_learns_nothing_and_every_change_is_seen(stage) {
    let (scene, before) = make(stage);
    let mut tallies = Tallies::new();
    roll_back(stage, &scene, &mut tallies, &before);
    take_away(stage, &scene, &mut tallies);
    swap(stage, &scene, &mut tallies);
    copy(stage, &scene, &mut tallies);
    flip(stage, &scene, &mut tallies);
    for (kind, Tally { made, refused, found, learnt }) in &tallies {
        println!("{kind}: {made} made, {refused} refused when read, {found} found by the check");
        assert_eq!((*learnt, *made), (0, refused + found), "{kind}");
        assert!(*made > 0, "{kind}");
    }
    assert_eq!(tallies.len(), 6);
    // All of it was undone, so nothing is left to find.
    let vault = stage.open();
    assert!(verified(&vault).is_whole());
    assert_eq!(revealed(&vault, &scene.shop, &scene.cards[0]).as_deref(), Some(CARDS[0]));
});
