//! Whom a rotation waits for, one step at a time: what others do in the meantime is done here, at
//! the worst moment, by hand.

use super::*;
use crate::audit::Who;
use crate::deletion::Going;
use crate::seal::{Claim, Dek, key_of};
use crate::stage::{NOW, NOW_MS, issued, kept, merchant, on_stage, revealed};
use crate::store::Entry;
use crate::{KeySpec, Pick};
use model::{AccountName, Credentials, Secret};
use std::collections::BTreeMap;
use std::task::{Context, Waker};

/// Many more steps than a rotation of one key takes when it waits for nobody.
const STEPS: usize = 60;
/// More than all rotations here take together: only so that a failure does not hang.
const STEPS_MAX: usize = 2_000;

/// The keys of `shop` for one purpose, by version.
fn states(vault: &Vault, purpose: Purpose) -> BTreeMap<u32, KeyState> {
    let table = vault.keyring.table();
    let rows = table.of("shop").filter(|row| row.name.purpose == purpose);
    rows.map(|row| (row.name.version, row.state)).collect()
}

fn begin(vault: &Vault) {
    wait(vault.rotate(Some(merchant("shop")), &Who::system(), NOW)).unwrap();
}

fn steps(vault: &Vault) {
    for _ in 0..STEPS {
        vault.tend(NOW);
    }
}

fn until(vault: &Vault, what: &str, done: impl Fn(&Vault) -> bool) {
    for _ in 0..STEPS_MAX {
        if done(vault) {
            return;
        }
        vault.tend(NOW);
    }
    panic!("{what} must come about: {:?}", vault.progress());
}

fn to_the_end(vault: &Vault) {
    until(vault, "the end", |vault| vault.progress().what.is_none());
}

/// Goes on until another key seals, and none of the records of the old one was sealed anew.
fn to_exchange(vault: &Vault, purpose: Purpose) {
    use KeyState::{Active, DecryptOnly};
    let expected = BTreeMap::from([(1, DecryptOnly), (2, Active)]);
    until(vault, "the exchange", |vault| states(vault, purpose) == expected);
}

fn main_account() -> AccountName {
    AccountName::parse("main").unwrap()
}

fn put_account(vault: &Vault, value: &str) {
    let credentials = Credentials::new(vec![("SecretKey".into(), Secret::new(value))]);
    let (shop, name) = (merchant("shop"), main_account());
    wait(vault.put_account(&shop, &name, "Stripe", credentials, NOW_MS)).unwrap();
}

fn credential(vault: &Vault) -> Result<String, VaultError> {
    let account = vault.account(&merchant("shop"), &main_account())?.unwrap();
    // Exposed to be compared with what was put.
    Ok(account.credentials.find(&["SecretKey"]).unwrap().expose().to_owned())
}

/// The only record in a collection.
fn only(vault: &Vault, collection: Collection) -> Entry {
    let mut page = vault.store.page(collection, None, b"", 2).unwrap();
    assert_eq!(page.len(), 1);
    page.remove(0)
}

fn put(vault: &Vault, collection: Collection, (key, value): Entry) {
    wait(vault.store.batch(vec![Write::Put { collection, key, value }])).unwrap();
}

fn active(vault: &Vault, purpose: Purpose) -> Arc<Dek> {
    vault.keyring.active(Some(&merchant("shop")), purpose).unwrap()
}

on_stage!(1 a_new_key_seals_nothing_while_somebody_works_with_the_keys_before_it(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    // Who reads has taken its keys, and not read the record yet.
    let reader = vault.keys_of(&shop).unwrap();
    begin(&vault);
    steps(&vault);
    let token = kept(&vault, &shop, "written meanwhile");
    let (_, sealed) = only(&vault, Collection::Tokens);
    assert!(reader.card.find(key_of(&sealed).unwrap()).is_some(), "the reader must open it");
    let expected = BTreeMap::from([(1, KeyState::Active), (2, KeyState::PreActive)]);
    assert_eq!(states(&vault, Purpose::Card), expected);
    drop(reader);
    to_the_end(&vault);
    let expected = BTreeMap::from([(1, KeyState::Destroyed), (2, KeyState::Active)]);
    assert_eq!(states(&vault, Purpose::Card), expected);
    assert_eq!(revealed(&vault, &shop, &token).as_deref(), Some("written meanwhile"));
});

on_stage!(1 a_new_key_of_the_system_waits_for_its_readers_too(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let reader = vault.keyring.system().unwrap();
    wait(vault.rotate(None, &Who::system(), NOW)).unwrap();
    steps(&vault);
    issued(&vault, &shop, "till");
    let (_, sealed) = only(&vault, Collection::ApiKeys);
    assert!(reader.api_key.find(key_of(&sealed).unwrap()).is_some(), "the reader must open it");
    drop(reader);
    to_the_end(&vault);
    assert!(vault.verify(|_| {}).unwrap().is_whole());
});

on_stage!(1 an_old_key_is_there_as_long_as_somebody_may_have_read_a_record_of_it(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    put_account(&vault, "sk_1");
    begin(&vault);
    to_exchange(&vault, Purpose::Credential);
    // As `account_by` does it: the keys, then the row, and then the keys again for each field.
    let reader = vault.keys_of(&shop).unwrap();
    let (_, row) = only(&vault, Collection::Accounts);
    let opens = || {
        let opened = vault.open_account(&shop, &main_account(), &row, |_| Pick::Current);
        opened.map(|account| account.brief.name)
    };
    steps(&vault);
    assert_eq!(opens(), Ok(main_account()), "it was read before it was sealed anew");
    assert_eq!(states(&vault, Purpose::Credential)[&1], KeyState::DecryptOnly);
    drop(reader);
    to_the_end(&vault);
    assert_eq!(states(&vault, Purpose::Credential)[&1], KeyState::Destroyed);
    assert_eq!(opens(), Err(VaultError::Sealed { what: "accounts" }), "and nobody else has it");
    assert_eq!(credential(&vault).as_deref(), Ok("sk_1"));
});

on_stage!(1 a_record_that_is_still_being_written_is_found_before_its_key_goes(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let token = kept(&vault, &shop, "first");
    let claim = wait(vault.claim(Some(&shop), Purpose::Card, 1)).unwrap();
    let before = only(&vault, Collection::Tokens);
    // A writer has sealed with the key that it claimed, and not written yet.
    let (keys, old) = (vault.keys_of(&shop).unwrap(), vec![claim.dek().id()]);
    let late = crate::tokens::reseal(&shop, &keys.card, &claim, &old, &before).unwrap().unwrap();
    drop(keys);
    begin(&vault);
    steps(&vault);
    let expected = BTreeMap::from([(1, KeyState::DecryptOnly), (2, KeyState::Active)]);
    assert_eq!(states(&vault, Purpose::Card), expected);
    assert_eq!(vault.progress().records, 0, "no record is looked for yet");
    // Nobody begins to seal with it any more, and who must seal gets the other.
    assert!(Claim::new(claim.dek().clone(), 1).is_none());
    let other = wait(vault.claim(Some(&shop), Purpose::Card, 1)).unwrap();
    assert_ne!(other.dek().id(), claim.dek().id());
    put(&vault, Collection::Tokens, (before.0, late));
    drop(claim);
    to_the_end(&vault);
    assert_eq!(states(&vault, Purpose::Card)[&1], KeyState::Destroyed);
    assert_eq!(revealed(&vault, &shop, &token).as_deref(), Some("first"));
});

on_stage!(1 a_record_that_changed_under_the_walk_is_not_put_back(stage) {
    let (vault, _, _) = stage.make_with_merchants();
    put_account(&vault, "sk_1");
    let old = vec![active(&vault, Purpose::Credential).id()];
    begin(&vault);
    to_exchange(&vault, Purpose::Credential);
    let page = vec![only(&vault, Collection::Accounts)];
    let job = vault.rotations.lock().job.clone().unwrap();
    put_account(&vault, "sk_2");
    assert_eq!(vault.reseal_page(&job, Collection::Accounts, &old, page), Ok((0, 0)));
    assert_eq!(credential(&vault).as_deref(), Ok("sk_2"));
});

on_stage!(1 what_came_in_behind_the_walk_is_found_by_the_second_look(stage) {
    let (vault, _, _) = stage.make_with_merchants();
    put_account(&vault, "sk_1");
    let row = only(&vault, Collection::Accounts);
    begin(&vault);
    to_exchange(&vault, Purpose::Credential);
    let second = |vault: &Vault| matches!(vault.rotations.lock().walk, Walk::Verify { .. });
    until(&vault, "the second look", second);
    put(&vault, Collection::Accounts, row);
    to_the_end(&vault);
    assert_eq!(states(&vault, Purpose::Credential)[&1], KeyState::Destroyed);
    assert_eq!(credential(&vault).as_deref(), Ok("sk_1"));
});

on_stage!(2 a_key_that_nobody_waited_for_keeps_what_it_is_compared_with(stage) {
    if stage.act == 2 {
        let (vault, shop) = (stage.open(), merchant("shop"));
        assert_eq!(vault.keys(&shop).unwrap().len(), 1);
        assert!(vault.verify(|_| {}).unwrap().is_whole());
        return;
    }
    let (vault, shop, _) = stage.make_with_merchants();
    issued(&vault, &shop, "first");
    let spec = KeySpec { name: "x".into(), sandbox: false, scopes: vec![], expires: None };
    // Its row is on its way when whoever asked for it goes.
    let mut making = Box::pin(vault.create_key(&shop, spec, NOW));
    let mut nobody = Context::from_waker(Waker::noop());
    assert!(making.as_mut().poll(&mut nobody).is_pending());
    drop(making);
    assert_eq!(wait(vault.revoke_key(&vault.keys(&shop).unwrap()[0].id)), Ok(true));
    assert!(vault.keys(&shop).unwrap().is_empty(), "only its row knows of it");
    wait(vault.rotate(None, &Who::system(), NOW)).unwrap();
    to_the_end(&vault);
});

on_stage!(1 keys_come_back_when_nobody_works_with_those_from_before(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let token = kept(&vault, &shop, "text");
    let reader = vault.keys_of(&shop).unwrap();
    let claim = wait(vault.claim(Some(&shop), Purpose::Card, 1)).unwrap();
    vault.keyring.empty();
    steps(&vault);
    drop(reader);
    steps(&vault);
    assert!(vault.keyring.is_empty(), "a rotation would not wait for the claim");
    assert_eq!(vault.token(&shop, &token, NOW_MS).map(drop), Err(VaultError::Locked));
    drop(claim);
    until(&vault, "the keys", |vault| !vault.keyring.is_empty());
    assert_eq!(revealed(&vault, &shop, &token).as_deref(), Some("text"));
});

on_stage!(1 a_deletion_marks_every_key_that_may_have_sealed_the_row(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let token = kept(&vault, &shop, "text");
    let reader = vault.keys_of(&shop).unwrap();
    begin(&vault);
    steps(&vault);
    // Who deletes has taken the keys as they are before the new one seals.
    let keys = vault.keys_of(&shop).unwrap();
    drop(reader);
    until(&vault, "the record under the new key", |vault| vault.progress().records > 0);
    let (key, old) = only(&vault, Collection::Tokens);
    assert_eq!(key_of(&old), Some(active(&vault, Purpose::Card).id()));
    assert_ne!(keys.card.active().id(), active(&vault, Purpose::Card).id());
    let going = Going { collection: Collection::Tokens, key, old, new: None };
    assert_eq!(wait(vault.let_go(Some(&keys), Purpose::Card, going, NOW_MS)), Ok(true));
    assert!(active(&vault, Purpose::Card).deleted_since().is_some());
    assert_eq!(wait(vault.forget(&shop, &token, NOW_MS)), Ok(false));
    drop(keys);
    to_the_end(&vault);
    assert!(active(&vault, Purpose::Card).deleted_since().is_some(), "it is exchanged as well");
});

on_stage!(1 a_check_of_everything_holds_the_keys_of_what_it_reads(stage) {
    let (vault, _, _) = stage.make_with_merchants();
    put_account(&vault, "sk_1");
    begin(&vault);
    to_exchange(&vault, Purpose::Credential);
    let mut first = None;
    let report = vault.verify(|_| {
        steps(&vault);
        first.get_or_insert_with(|| states(&vault, Purpose::Credential)[&1]);
    });
    assert_eq!(first, Some(KeyState::DecryptOnly), "rows were read that it sealed");
    assert!(report.unwrap().is_whole());
    to_the_end(&vault);
    assert_eq!(states(&vault, Purpose::Credential)[&1], KeyState::Destroyed);
});

on_stage!(1 no_more_records_a_second_are_sealed_again_than_may_be(stage) {
    let (mut vault, shop, _) = stage.make_with_merchants();
    for _ in 0..=PAGE_RECORDS {
        kept(&vault, &shop, "text");
    }
    vault.settings.rotation_records_per_s = 1;
    begin(&vault);
    to_exchange(&vault, Purpose::Card);
    let paused = || match vault.tend(NOW) {
        Tended::Worked(pause) => pause,
        Tended::Idle(_) => panic!("there is something to do"),
    };
    // A second for each record of a page, less what it took to seal it.
    let page = Duration::from_secs(PAGE_RECORDS.try_into().unwrap());
    let pause = paused();
    assert_eq!(vault.progress().records, page.as_secs());
    assert!(pause > Duration::from_secs(1) && pause < page, "{pause:?}");
    assert!(paused() <= Duration::from_secs(1) && vault.progress().records > page.as_secs());

    // To the microsecond, of a page that took no time.
    let later = Instant::now().checked_add(Duration::from_secs(3_600)).unwrap();
    for (rate, done, expected) in [(1, 64, 64_000), (2_000, 64, 32), (10, 0, 0), (1_000, 1, 1)] {
        vault.settings.rotation_records_per_s = rate;
        assert_eq!(vault.pause(done, later), Duration::from_millis(expected), "{rate}, {done}");
    }
});
