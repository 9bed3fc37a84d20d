//! What is deleted is destroyed when its time is over, whatever happens in between.

use crate::stage::{NOW, NOW_MS, Stage, kept, merchant, on_stage, revealed};
use model::{AccountName, AccountState, CardToken, Credentials, MerchantId, Secret};
use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;
use vault::audit::Who;
use vault::store::{Collection, Entry, PAGE_ENTRIES_MAX, Store, Write};
use vault::{KeyState, Step, SweepCursor, Tended, Terms, Vault, VaultError, wait};

/// The time that a deletion has by default, in seconds.
const TIME: u64 = 3 * 86_400;
/// When something was deleted whose time is over, whenever these tests run.
const LONG_AGO_MS: u64 = 1_000_000_000;
/// How many destroyed keys of one owner for one purpose are listed.
const LISTED: usize = 8;

/// Tends the vault until nothing is left to do, and says whether there was anything.
fn tend(vault: &Vault, now: u64) -> bool {
    let mut worked = false;
    while let Tended::Worked(pause) = vault.tend(now) {
        worked = true;
        // The rest of a second is not for tests: the rate has a test of its own.
        thread::park_timeout(pause.min(Duration::from_millis(2)));
    }
    worked
}

/// The keys that are in use, by owner and purpose.
fn active(vault: &Vault) -> BTreeMap<(String, &'static str), String> {
    let lines = vault.key_lines().into_iter().filter(|line| line.state == KeyState::Active);
    lines.map(|line| ((line.owner.to_string(), line.purpose), line.id.to_string())).collect()
}

/// Whose keys are others than before, and what for.
fn exchanged(
    before: &BTreeMap<(String, &'static str), String>,
    vault: &Vault,
) -> Vec<(String, &'static str)> {
    let after = active(vault);
    before.keys().filter(|name| before[*name] != after[*name]).cloned().collect()
}

/// The rows of a store as they stay in old pages of it.
fn rows(stage: &Stage, collection: Collection) -> Vec<Entry> {
    stage.store().page(collection, None, b"", PAGE_ENTRIES_MAX).unwrap()
}

fn row_of(rows: &[Entry], name: &str) -> Entry {
    let end = [b"\0", name.as_bytes()].concat();
    rows.iter().find(|(key, _)| key.ends_with(&end)).unwrap().clone()
}

fn put_back(stage: &Stage, collection: Collection, (key, value): Entry) {
    wait(stage.store().batch(vec![Write::Put { collection, key, value }])).unwrap();
}

fn named(name: &str) -> AccountName {
    AccountName::parse(name).unwrap()
}

fn secret(value: &str) -> Credentials {
    Credentials::new(vec![("SecretKey".into(), Secret::new(value))])
}

fn account(vault: &Vault, shop: &MerchantId, value: &str, now: u64) {
    wait(vault.put_account(shop, &named("main"), "Stripe", secret(value), now)).unwrap();
}

on_stage!(1 a_deleted_card_opens_no_more_when_its_time_is_over(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let (gone, stays) = (kept(&vault, &shop, "gone"), kept(&vault, &shop, "stays"));
    drop(vault);
    let left = row_of(&rows(stage, Collection::Tokens), gone.as_str());
    let vault = stage.open();
    let before = active(&vault);
    assert!(!tend(&vault, NOW + TIME), "nothing was deleted");
    assert_eq!(wait(vault.forget(&shop, &gone, NOW_MS)), Ok(true));
    assert!(!tend(&vault, NOW + TIME - 1));
    drop(vault);
    // A thief of old pages, with the module: its key is still there.
    put_back(stage, Collection::Tokens, left.clone());
    let vault = stage.open();
    assert_eq!(revealed(&vault, &shop, &gone).as_deref(), Some("gone"));
    // A second deletion gives the first no more time, and who opened the vault anew knows of it.
    assert_eq!(wait(vault.forget(&shop, &gone, NOW_MS + 1_000_000)), Ok(true));
    assert!(tend(&vault, NOW + TIME));
    assert_eq!(exchanged(&before, &vault), [("shop".to_owned(), "card")]);
    let of_card = |vault: &Vault| -> Vec<KeyState> {
        let lines = vault.key_lines().into_iter();
        let lines = lines.filter(|line| &*line.owner == "shop" && line.purpose == "card");
        lines.map(|line| line.state).collect()
    };
    assert_eq!(of_card(&vault), [KeyState::Destroyed, KeyState::Active]);
    assert!(!tend(&vault, NOW + 20 * TIME), "all that was deleted is final");
    let lines = stage.audited("vault-key.rotate");
    assert_eq!(lines.last().unwrap()[1..], ["shop card", "success"]);
    drop(vault);
    put_back(stage, Collection::Tokens, left);
    let vault = stage.open();
    let refused = vault.token(&shop, &gone, NOW_MS).map(drop);
    assert!(matches!(refused, Err(VaultError::Sealed { .. })), "{refused:?}");
    assert_eq!(revealed(&vault, &shop, &stays).as_deref(), Some("stays"));
    drop(vault);
    let meta = rows(stage, Collection::Meta);
    assert!(!meta.iter().any(|(key, _)| key.starts_with(b"deleted\0")));
});

on_stage!(1 whatever_is_deleted_has_its_key_exchanged_and_nothing_else_has(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let (main, mut now) = (named("main"), NOW);
    // What an act leads to, by the purposes of the keys that are exchanged for it.
    let mut check = |what: &str, purposes: &[&str], act: &dyn Fn(u64)| {
        let before = active(&vault);
        act(now * 1_000);
        now += TIME;
        assert_eq!(tend(&vault, now), !purposes.is_empty(), "{what}");
        let found = exchanged(&before, &vault);
        assert!(found.iter().all(|(owner, _)| owner == "shop"), "{what}");
        assert!(found.iter().map(|(_, purpose)| purpose).eq(purposes), "{what}: {found:?}");
    };
    let staged = |now| wait(vault.stage_account(&shop, &main, secret("sk_next"), now)).unwrap().unwrap();
    let step = |step, now| {
        let id = vault.staged_accounts(&shop).unwrap()[0].1.id;
        assert!(wait(vault.step_staged(&shop, &main, id, step, now)).unwrap().is_some());
    };
    check("a new account", &[], &|now| account(&vault, &shop, "sk_1", now));
    check("a replaced one", &["credential"], &|now| account(&vault, &shop, "sk_2", now));
    check("a state", &[], &|now| {
        let disabled = AccountState::Disabled;
        assert_eq!(wait(vault.set_account_state(&shop, &main, disabled, now)), Ok(true));
    });
    check("staged credentials", &[], &|now| assert_eq!(staged(now).percent, 0));
    check("a step", &[], &|now| step(Step::Validated, now));
    check("others in their place", &["credential"], &|now| assert_eq!(staged(now).percent, 0));
    check("dropped ones", &["credential"], &|now| {
        assert_eq!(wait(vault.unstage_account(&shop, &main, now)), Ok(true));
    });
    check("ones that take over", &["credential"], &|now| {
        let id = staged(now).id;
        step(Step::Switched(100), now);
        assert_eq!(wait(vault.retire_account(&shop, &main, id, now)), Ok(true));
    });
    check("a deleted account", &["credential"], &|now| {
        assert_eq!(wait(vault.delete_account(&shop, &main, now)), Ok(true));
    });
    check("none to delete", &[], &|now| {
        assert_eq!(wait(vault.delete_account(&shop, &main, now)), Ok(false));
    });
    check("a verification value", &[], &|now| {
        let cvv = wait(vault.keep(&shop, Secret::new("737"), now)).unwrap().token;
        assert_eq!(wait(vault.forget(&shop, &cvv, now)), Ok(true));
    });
    check("a token whose time is over", &["card"], &|now| {
        let terms = Terms { time_to_live_s: Some(60), ..Terms::default() };
        wait(vault.keep_on(&shop, Secret::new("text"), terms, now - 60_000)).unwrap();
        let swept = wait(vault.sweep_tokens(&mut SweepCursor::default(), now));
        assert_eq!(swept.unwrap().0, 1);
    });
    check("both", &["card", "credential"], &|now| {
        let token = wait(vault.keep(&shop, Secret::new("text"), now)).unwrap().token;
        assert_eq!(wait(vault.forget(&shop, &token, now)), Ok(true));
        account(&vault, &shop, "sk_3", now);
        account(&vault, &shop, "sk_4", now);
    });
});

/// What is left of a record for the next act.
fn leave(stage: &Stage, name: &str, token: &CardToken, rows: &[Entry]) {
    let (_, value) = row_of(rows, token.as_str());
    let path = |end| stage.everything().join(format!("{name}.{end}"));
    fs::write(path("token"), token.as_str()).unwrap();
    fs::write(path("row"), value).unwrap();
}

fn left(stage: &Stage, name: &str) -> (CardToken, Entry) {
    let path = |end| stage.everything().join(format!("{name}.{end}"));
    let token = CardToken::parse(&fs::read_to_string(path("token")).unwrap()).unwrap();
    let key = [b"shop\0", token.as_str().as_bytes()].concat();
    (token, (key, fs::read(path("row")).unwrap()))
}

on_stage!(2 what_is_deleted_while_its_key_is_exchanged_is_destroyed_too_and_a_crash_changes_nothing(stage) {
    let due = NOW + TIME;
    if stage.act == 1 {
        let (vault, shop, _) = stage.make_with_merchants();
        let tokens: Vec<_> = (0..200).map(|n| kept(&vault, &shop, &format!("text {n}"))).collect();
        drop(vault);
        leave(stage, "first", &tokens[0], &rows(stage, Collection::Tokens));
        let vault = stage.open();
        let before = active(&vault);
        assert_eq!(wait(vault.forget(&shop, &tokens[0], NOW_MS)), Ok(true));
        while vault.progress().records == 0 {
            vault.tend(due);
        }
        assert_eq!(exchanged(&before, &vault), [("shop".to_owned(), "card")]);
        let new = active(&vault)[&("shop".to_owned(), "card")].clone();
        drop(vault);
        // One that was sealed anew already.
        let rows = rows(stage, Collection::Tokens);
        let new = u64::from_str_radix(&new, 16).unwrap().to_be_bytes();
        let (key, _) = rows.iter().find(|(_, value)| value[1..9] == new).unwrap();
        let second = tokens.iter().find(|token| key.ends_with(token.as_str().as_bytes())).unwrap();
        leave(stage, "second", second, &rows);
        let vault = stage.open();
        assert_eq!(wait(vault.forget(&shop, second, due * 1_000)), Ok(true));
        vault.tend(due);
        assert!(vault.progress().what.is_some(), "it is in the middle");
        // As if it were killed: nothing is closed or dropped.
        std::mem::forget(vault);
        return;
    }
    let (shop, first, second) = (merchant("shop"), left(stage, "first"), left(stage, "second"));
    let put_both_back = || [&first, &second].map(|(_, row)| put_back(stage, Collection::Tokens, row.clone()));
    let opens = |vault: &Vault, token| vault.token(&shop, token, NOW_MS).map(|found| found.is_some());
    let refused = Err(VaultError::Sealed { what: "tokens" });
    let vault = stage.open();
    assert!(vault.progress().what.is_some());
    assert!(tend(&vault, due));
    let gone = vault.key_lines().into_iter().filter(|line| line.state == KeyState::Destroyed);
    let gone: Vec<_> = gone.map(|line| (line.owner, line.purpose)).collect();
    assert_eq!(gone, [("shop".into(), "card")]);
    drop(vault);
    put_both_back();
    let vault = stage.open();
    assert_eq!(opens(&vault, &first.0), refused);
    assert_eq!(opens(&vault, &second.0), Ok(true), "it was under the new key, and has time");
    for (token, _) in [&first, &second] {
        assert_eq!(wait(vault.forget(&shop, token, due * 1_000 + 999)), Ok(true));
    }
    assert!(!tend(&vault, due + TIME - 1));
    drop(vault);
    // Who opens it knows of it, though nothing more is deleted.
    let vault = stage.open();
    assert!(tend(&vault, due + TIME));
    drop(vault);
    put_both_back();
    let vault = stage.open();
    assert_eq!(opens(&vault, &second.0), refused);
    for (token, _) in [&first, &second] {
        assert_eq!(wait(vault.forget(&shop, token, NOW_MS)), Ok(true));
    }
    assert!(vault.verify(|_| {}).unwrap().refused == 0);
});

on_stage!(1 a_deletion_that_nobody_waits_for_has_its_time_too(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let token = kept(&vault, &shop, "text");
    let before = active(&vault);
    let mut nobody = Context::from_waker(Waker::noop());
    let mut deleting = Box::pin(vault.forget(&shop, &token, NOW_MS));
    assert!(deleting.as_mut().poll(&mut nobody).is_pending());
    drop(deleting);
    // It is in the queue of the store, in front of this.
    kept(&vault, &shop, "later");
    assert_eq!(revealed(&vault, &shop, &token), None);
    assert!(tend(&vault, NOW + TIME));
    assert_eq!(exchanged(&before, &vault), [("shop".to_owned(), "card")]);
});

/// Changes the row of a token, so that its key cannot be destroyed.
fn damage(stage: &Stage, token: &CardToken) {
    let (key, mut value) = row_of(&rows(stage, Collection::Tokens), token.as_str());
    *value.last_mut().unwrap() ^= 1;
    put_back(stage, Collection::Tokens, (key, value));
}

fn age(vault: &Vault) -> u64 {
    vault.figures().deletion_age_max_s
}

on_stage!(1 a_key_that_must_stay_says_how_old_the_deletion_is(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let (gone, broken) = (kept(&vault, &shop, "gone"), kept(&vault, &shop, "broken"));
    assert_eq!(age(&vault), 0);
    drop(vault);
    damage(stage, &broken);
    let vault = stage.open();
    assert_eq!(wait(vault.forget(&shop, &gone, LONG_AGO_MS)), Ok(true));
    assert!(age(&vault) > NOW / 2);
    assert!(tend(&vault, NOW));
    assert!(age(&vault) > NOW / 2, "its key is kept for the record that does not open");
    assert!(!tend(&vault, NOW), "which is not tried for ever");
    // It is let go, and its key is exchanged by hand.
    assert_eq!(wait(vault.forget(&shop, &broken, LONG_AGO_MS)), Ok(true));
    wait(vault.rotate(Some(shop), &Who::system(), NOW)).unwrap();
    assert!(tend(&vault, NOW));
    assert_eq!(age(&vault), 0);
});

on_stage!(2 the_list_of_keys_does_not_grow_with_deletions(stage) {
    let destroyed = |vault: &Vault| {
        let lines = vault.key_lines().into_iter().filter(|line| line.state == KeyState::Destroyed);
        lines.map(|line| line.version).collect::<Vec<_>>()
    };
    let last: Vec<u32> = (3..11).collect();
    if stage.act == 2 {
        let vault = stage.open();
        assert_eq!(destroyed(&vault), last);
        assert!(vault.verify(|_| {}).unwrap().is_whole());
        return;
    }
    let (vault, shop, _) = stage.make_with_merchants();
    for n in 0..10 {
        let token = kept(&vault, &shop, "text");
        let now = NOW + n * TIME;
        assert_eq!(wait(vault.forget(&shop, &token, now * 1_000)), Ok(true));
        assert!(tend(&vault, now + TIME));
    }
    assert_eq!(destroyed(&vault), last);
    assert_eq!(last.len(), LISTED);
});
