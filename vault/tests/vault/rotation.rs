//! Keys that take the place of others, while everything goes on and whatever is cut off.

use crate::stage::{NOW, NOW_MS, agreed, issued, kept, merchant, on_stage, revealed};
use model::{AccountName, CardToken, Credentials, MerchantId, Secret};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::thread;
use vault::audit::Who;
use vault::store::{Collection, Entry, PAGE_ENTRIES_MAX, Store, Write};
use vault::{APPROVAL_S, Approval, Deed, KeyState, Tended, Vault, VaultError, wait};

/// What a merchant has keys for that are exchanged, and how many it has with the one that is not.
const EXCHANGED: [&str; 3] = ["card", "credential", "payment"];
const KEYS: usize = 4;

fn who() -> Who {
    Who::operator(1)
}

/// Tends the vault until nothing is left to do.
pub(crate) fn tend(vault: &Vault) {
    while vault.progress().what.is_some() {
        step(vault);
    }
}

fn step(vault: &Vault) {
    if let Tended::Worked(pause) = vault.tend(NOW) {
        // The rest of a second is not for tests: the rate has a test of its own.
        thread::park_timeout(pause.min(std::time::Duration::from_millis(2)));
    }
}

fn account(vault: &Vault, merchant: &MerchantId, name: &str, value: &str) {
    let credentials = Credentials::new(vec![("SecretKey".into(), Secret::new(value))]);
    let name = AccountName::parse(name).unwrap();
    wait(vault.put_account(merchant, &name, "Stripe", credentials, NOW_MS)).unwrap();
}

fn credential(vault: &Vault, merchant: &MerchantId, name: &str) -> String {
    let name = AccountName::parse(name).unwrap();
    let account = vault.account(merchant, &name).unwrap().unwrap();
    // Exposed to be compared with what was put.
    account.credentials.find(&["SecretKey"]).unwrap().expose().to_owned()
}

/// The ids of the keys that are in a state, by owner and purpose.
fn ids(vault: &Vault, state: KeyState) -> HashMap<(String, &'static str), Vec<String>> {
    let mut found: HashMap<_, Vec<String>> = HashMap::new();
    for line in vault.key_lines().into_iter().filter(|line| line.state == state) {
        found.entry((line.owner.to_string(), line.purpose)).or_default().push(line.id.to_string());
    }
    found
}

/// How many rows of the store hold the id of a key that is not in use, counted byte for byte.
fn rows_under(store: &impl Store, gone: &[String]) -> usize {
    let ids: Vec<[u8; 8]> =
        gone.iter().map(|id| u64::from_str_radix(id, 16).unwrap().to_be_bytes()).collect();
    let mut under = 0;
    for collection in [Collection::Tokens, Collection::Accounts, Collection::Payments] {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = store.page(collection, after.as_deref(), b"", PAGE_ENTRIES_MAX).unwrap();
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            under += page
                .iter()
                .filter(|(_, value)| ids.iter().any(|id| value.windows(8).any(|w| w == id)))
                .count();
        }
    }
    under
}

fn destroyed(vault: &Vault) -> Vec<String> {
    ids(vault, KeyState::Destroyed).into_values().flatten().collect()
}

on_stage!(2 data_keys_are_exchanged_and_everything_still_opens(stage) {
    if stage.act == 1 {
        let (vault, shop, other) = stage.make_with_merchants();
        let tokens: Vec<CardToken> =
            (0..200).map(|n| kept(&vault, &shop, &format!("text {n}"))).collect();
        let others = kept(&vault, &other, "other");
        account(&vault, &shop, "stripe", "sk_1");
        let key = issued(&vault, &shop, "till");
        let before = ids(&vault, KeyState::Active);

        wait(vault.rotate(Some(shop.clone()), &who(), NOW)).unwrap();
        assert_eq!(
            wait(vault.rotate(None, &who(), NOW)),
            Err(VaultError::Rotating)
        );
        tend(&vault);
        let after = ids(&vault, KeyState::Active);
        for purpose in EXCHANGED {
            let of = |owner: &str| (owner.to_owned(), purpose);
            assert_ne!(before[&of("shop")], after[&of("shop")]);
            assert_eq!(before[&of("other")], after[&of("other")]);
        }
        assert!(ids(&vault, KeyState::DecryptOnly).is_empty());
        assert_eq!(destroyed(&vault).len(), EXCHANGED.len());
        for (n, token) in tokens.iter().enumerate() {
            assert_eq!(revealed(&vault, &shop, token), Some(format!("text {n}")));
        }
        assert_eq!(revealed(&vault, &other, &others).as_deref(), Some("other"));
        assert_eq!(credential(&vault, &shop, "stripe"), "sk_1");

        // Now everybody's, those of the system among them.
        wait(vault.rotate(None, &who(), NOW)).unwrap();
        tend(&vault);
        // What hashed an API key, and what checks tokens, is kept to be compared with.
        let kept_keys = ids(&vault, KeyState::DecryptOnly);
        let mut purposes: Vec<_> = kept_keys.keys().map(|(_, purpose)| *purpose).collect();
        purposes.sort_unstable();
        assert_eq!(purposes, ["api-key", "token-check"]);
        assert_eq!(revealed(&vault, &shop, &tokens[0]).as_deref(), Some("text 0"));
        // Exposed to be presented.
        assert!(vault.authenticate(key.key.expose().as_bytes(), NOW).is_some());
        std::fs::write(stage.everything().join("token"), tokens[7].as_str()).unwrap();
        // Exposed so that the next act can present it.
        std::fs::write(stage.everything().join("key"), key.key.expose()).unwrap();
        let gone = destroyed(&vault);
        drop(vault);
        assert_eq!(rows_under(&stage.store(), &gone), 0);
    } else {
        let vault = stage.open();
        let read = |name: &str| std::fs::read_to_string(stage.everything().join(name)).unwrap();
        let token = CardToken::parse(&read("token")).unwrap();
        assert_eq!(revealed(&vault, &merchant("shop"), &token).as_deref(), Some("text 7"));
        assert!(vault.authenticate(read("key").as_bytes(), NOW).is_some());
    }
});

on_stage!(1 what_was_deleted_opens_no_more_when_its_key_was_exchanged(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let token = kept(&vault, &shop, "text");
    vault.close();
    drop(vault);
    // As it stays in the file until its room is used again.
    let left = stage.store().page(Collection::Tokens, None, b"", 2).unwrap();
    let put_back = || {
        let put = |(key, value): &Entry| Write::Put {
            collection: Collection::Tokens,
            key: key.clone(),
            value: value.clone(),
        };
        wait(stage.store().batch(left.iter().map(put).collect())).unwrap();
    };
    let vault = stage.open();
    assert_eq!(wait(vault.forget(&shop, &token, NOW_MS)), Ok(true));
    drop(vault);
    put_back();
    let vault = stage.open();
    assert_eq!(revealed(&vault, &shop, &token).as_deref(), Some("text"), "its key is there");
    assert_eq!(wait(vault.forget(&shop, &token, NOW_MS)), Ok(true));
    wait(vault.rotate(Some(shop.clone()), &who(), NOW)).unwrap();
    tend(&vault);
    drop(vault);
    put_back();
    let refused = stage.open().token(&shop, &token, NOW_MS).map(drop);
    assert!(matches!(refused, Err(VaultError::Sealed { .. })), "{refused:?}");
});

on_stage!(2 a_new_key_in_the_token_wraps_all_others(stage) {
    let (first, second) = (Secret::new("alice's own secret"), Secret::new("bob's own secret"));
    if stage.act == 1 {
        let (vault, shop, _) = stage.make_with_merchants();
        let token = kept(&vault, &shop, "text");
        for (name, secret) in [("alice", &first), ("bob", &second)] {
            wait(vault.add_custodian(name, secret, &who(), NOW)).unwrap();
        }
        let approve = |name, secret, now| wait(vault.approve_kek_rotation(name, secret, &who(), now));
        assert_eq!(approve("alice", &second, NOW), Err(VaultError::Custodian));
        assert_eq!(approve("nobody", &second, NOW), Err(VaultError::Custodian));
        let until = NOW + APPROVAL_S;
        assert_eq!(approve("alice", &first, NOW), Ok(Approval::Waits { until }));
        assert_eq!(approve("alice", &first, NOW), Err(VaultError::SameCustodian));
        // A word is good for a day, and then the next one is a first word again.
        let late = Approval::Waits { until: until + APPROVAL_S };
        assert_eq!(approve("bob", &second, until), Ok(late));
        assert_eq!(approve("alice", &first, until), Ok(Approval::Done { by: "bob, alice".into() }));
        let keks = |state| ids(&vault, state).remove(&("@token".to_owned(), "kek"));
        let before = keks(KeyState::Active).unwrap();
        tend(&vault);
        let after = keks(KeyState::Active).unwrap();
        assert_ne!(before, after);
        assert_eq!(keks(KeyState::DecryptOnly), Some(before.clone()));
        let line = vault.key_lines().into_iter().find(|line| *line.id == *after[0]).unwrap();
        assert_eq!(&*line.by, "bob, alice");
        assert_eq!(revealed(&vault, &shop, &token).as_deref(), Some("text"));
        // The one in use stays, the old one may go.
        let destroy = |name, secret, id: &str| {
            let deed = Deed::DestroyKek { id: id.into() };
            wait(vault.approve(&deed, (name, secret), &who(), NOW)).map(drop)
        };
        assert_eq!(destroy("bob", &second, &after[0]), Err(VaultError::KeyInUse));
        assert_eq!(destroy("bob", &second, "0000000000000000"), Err(VaultError::NoSuchKey));
        assert_eq!(destroy("bob", &second, &before[0]), Ok(()));
        assert_eq!(keks(KeyState::Destroyed), None, "on one word");
        assert_eq!(destroy("alice", &first, &before[0]), Ok(()));
        assert_eq!(keks(KeyState::Destroyed), Some(before));
        assert!(wait(vault.create_merchant(&merchant("later"), NOW)).is_ok());
        std::fs::write(stage.everything().join("token"), token.as_str()).unwrap();
    } else {
        let vault = stage.open();
        let token = std::fs::read_to_string(stage.everything().join("token")).unwrap();
        let token = CardToken::parse(&token).unwrap();
        assert_eq!(revealed(&vault, &merchant("shop"), &token).as_deref(), Some("text"));
        assert!(vault.verify(|_| {}).unwrap().is_whole());
    }
});

on_stage!(2 a_merchant_that_was_shredded_opens_nothing_any_more(stage) {
    let read = |name: &str| std::fs::read_to_string(stage.everything().join(name)).unwrap();
    if stage.act == 1 {
        let (vault, shop, other) = stage.make_with_merchants();
        let (token, theirs) = (kept(&vault, &shop, "text"), kept(&vault, &other, "theirs"));
        let cvv = kept(&vault, &shop, "737");
        account(&vault, &shop, "stripe", "sk_1");
        let (key, others) = (issued(&vault, &shop, "till"), issued(&vault, &other, "till"));
        let shred = Deed::Shred { merchant: shop.clone() };
        assert_eq!(agreed(&vault, &shred), Ok(Approval::Done { by: "alice, bob".into() }));
        assert_eq!(agreed(&vault, &shred), Err(VaultError::Shredded));
        assert_eq!(vault.token(&shop, &token, NOW_MS).map(drop), Err(VaultError::Shredded));
        assert_eq!(vault.accounts(&shop), Err(VaultError::Shredded));
        assert_eq!(wait(vault.keep(&shop, Secret::new("x"), NOW_MS)), Err(VaultError::Shredded));
        assert_eq!(vault.figures().cvvs_in_memory, 0);
        assert!(matches!(vault.token_meta(&shop, &cvv, NOW_MS), Err(_) | Ok(None)));
        // Exposed to be presented.
        assert!(vault.authenticate(key.key.expose().as_bytes(), NOW).is_none());
        // Exposed to be presented.
        assert!(vault.authenticate(others.key.expose().as_bytes(), NOW).is_some());
        assert_eq!(wait(vault.create_merchant(&shop, NOW)), Err(VaultError::Shredded));
        assert_eq!(revealed(&vault, &other, &theirs).as_deref(), Some("theirs"));
        assert!(vault.verify(|_| {}).unwrap().is_whole(), "what nobody can open is no damage");
        std::fs::write(stage.everything().join("token"), token.as_str()).unwrap();
        // Exposed so that the next act can present it.
        std::fs::write(stage.everything().join("key"), key.key.expose()).unwrap();
    } else {
        let vault = stage.open();
        let token = CardToken::parse(&read("token")).unwrap();
        assert_eq!(vault.token(&merchant("shop"), &token, NOW_MS).map(drop), Err(VaultError::Shredded));
        assert!(vault.authenticate(read("key").as_bytes(), NOW).is_none());
        let message = VaultError::Shredded.to_string();
        assert!(message.contains("the merchant was deleted"), "{message}");
        drop(vault);
        // The bytes of the wrapped keys are gone from their rows.
        let rows = stage.store().page(Collection::Keys, None, b"", PAGE_ENTRIES_MAX).unwrap();
        let of_shop = rows.iter().filter(|(key, _)| key.windows(4).any(|part| part == b"shop"));
        assert!(of_shop.clone().count() == KEYS && of_shop.clone().all(|(_, row)| row.ends_with(&[0; 4])));
    }
});

on_stage!(1 a_key_that_is_old_or_has_sealed_much_is_exchanged_by_itself(stage) {
    stage.make_token(crate::stage::LABEL).unwrap();
    let mut settings = stage.settings();
    settings.keys.seals_max = 100;
    Vault::init(&settings).unwrap();
    let vault = Vault::open(&settings).unwrap();
    let shop = merchant("shop");
    wait(vault.create_merchant(&shop, NOW)).unwrap();
    let first = ids(&vault, KeyState::Active);
    let card = ("shop".to_owned(), "card");
    assert!(matches!(vault.tend(NOW), Tended::Idle(_)));
    let tokens: Vec<CardToken> = (0..100).map(|_| kept(&vault, &shop, "text")).collect();
    assert_eq!(vault.figures().key_seals_max, 100);
    assert!(matches!(vault.tend(NOW), Tended::Worked(_)));
    tend(&vault);
    let second = ids(&vault, KeyState::Active);
    assert_ne!(first[&card], second[&card]);
    assert!(tokens.iter().all(|token| revealed(&vault, &shop, token).is_some()));
    // A year and a day later.
    let later = NOW + 366 * 86_400;
    assert!(matches!(vault.tend(later), Tended::Worked(_)));
    assert!(vault.progress().what.is_some());
});

on_stage!(2 a_crash_counts_seals_too_many_and_never_too_few(stage) {
    if stage.act == 1 {
        let (vault, shop, _) = stage.make_with_merchants();
        for _ in 0..10 {
            kept(&vault, &shop, "text");
        }
        assert_eq!(vault.figures().key_seals_max, 10);
        // As if it were killed: nothing is closed or dropped.
        std::mem::forget(vault);
    } else {
        let counted = stage.open().figures().key_seals_max;
        assert!((10..=10 + (1 << 16)).contains(&counted), "{counted}");
    }
});

/// What the acts of the test with kills agree on.
const MERCHANTS: usize = 2;
const KILLS: u32 = 50;

/// Uses the vault from four threads while `until` is false, and counts how often something did not
/// open that must.
fn load(
    vault: &Vault,
    until: &AtomicBool,
    known: &Mutex<Vec<(usize, CardToken, String)>>,
    errors: &AtomicU64,
) {
    let writes = AtomicU64::new(0);
    thread::scope(|scope| {
        for worker in 0..4_usize {
            let writes = &writes;
            scope.spawn(move || {
                let mut n = 0_usize;
                while !until.load(Ordering::Relaxed) {
                    let shop = merchant(&format!("shop-{}", worker % MERCHANTS));
                    if n.is_multiple_of(4) {
                        let text = format!("text {worker} {n}");
                        let token = kept(vault, &shop, &text);
                        known.lock().unwrap().push((worker % MERCHANTS, token, text));
                        writes.fetch_add(1, Ordering::Relaxed);
                    } else if n % 32 == 1 {
                        account(vault, &shop, "stripe", &format!("sk_{worker}"));
                    }
                    let read = {
                        let known = known.lock().unwrap();
                        known.get(n * 7_919 % known.len().max(1)).cloned()
                    };
                    if let Some((of, token, text)) = read {
                        let shop = merchant(&format!("shop-{of}"));
                        let opened = vault.token(&shop, &token, NOW_MS).ok().flatten();
                        // Exposed to be compared with what was kept.
                        let same = opened.is_some_and(|(found, _)| found.expose() == text);
                        errors.fetch_add(u64::from(!same), Ordering::Relaxed);
                    }
                    let name = AccountName::parse("stripe").unwrap();
                    let account = vault.account(&shop, &name);
                    errors.fetch_add(u64::from(account.is_err()), Ordering::Relaxed);
                    n += 1;
                }
            });
        }
    });
    assert!(writes.load(Ordering::Relaxed) > 0);
}

fn remember(path: &std::path::Path, known: &[(usize, CardToken, String)]) {
    let lines: Vec<String> =
        known.iter().map(|(of, token, text)| format!("{of}\t{}\t{text}", token.as_str())).collect();
    std::fs::write(path, lines.join("\n")).unwrap();
}

fn remembered(path: &std::path::Path) -> Vec<(usize, CardToken, String)> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| {
            let mut parts = line.split('\t');
            let of = parts.next().unwrap().parse().unwrap();
            let token = CardToken::parse(parts.next().unwrap()).unwrap();
            (of, token, parts.next().unwrap().to_owned())
        })
        .collect()
}

// Fifty processes, each of which is ended without a word after some steps of a rotation, while four
// threads read and write. The last one sees it through.
on_stage!(51 rotation_of_all_keys_survives_being_cut_off_fifty_times(stage) {
    let list = stage.everything().join("known");
    let vault = if stage.act == 1 {
        let vault = stage.make();
        for n in 0..MERCHANTS {
            let shop = merchant(&format!("shop-{n}"));
            wait(vault.create_merchant(&shop, NOW)).unwrap();
            account(&vault, &shop, "stripe", "sk_first");
        }
        for name in ["alice", "bob"] {
            wait(vault.add_custodian(name, &Secret::new("a secret of their own"), &who(), NOW)).unwrap();
        }
        vault
    } else {
        stage.open()
    };
    let known = Mutex::new(remembered(&list));
    // What was acknowledged before the last cut opens before anything else is done.
    for (of, token, text) in known.lock().unwrap().iter() {
        let shop = merchant(&format!("shop-{of}"));
        assert_eq!(revealed(&vault, &shop, token).as_ref(), Some(text));
    }
    if vault.progress().what.is_none() {
        begin(&vault, stage.act);
    }
    let until = AtomicBool::new(false);
    let last = stage.act > KILLS;
    // A few steps for some, many for others: each act is cut somewhere else.
    let steps = 1 + stage.act.wrapping_mul(2_654_435_761) % 23;
    let errors = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| load(&vault, &until, &known, &errors));
        for _ in 0..steps {
            step(&vault);
        }
        if last {
            tend(&vault);
            wait(vault.rotate(None, &who(), NOW)).unwrap();
            tend(&vault);
        }
        if !last {
            // Its tokens are acknowledged, so they must open in the next act. The rest of this
            // process is cut off while the four threads and the rotation are at work.
            let known = known.lock().unwrap();
            remember(&list, &known);
            assert_eq!(errors.load(Ordering::Relaxed), 0);
            println!("test result: ok. 1 passed; cut off after {steps} steps");
            step(&vault);
            vault_is_cut_off();
        }
        until.store(true, Ordering::Relaxed);
    });
    assert_eq!(errors.load(Ordering::Relaxed), 0);
    assert!(vault.verify(|_| {}).unwrap().is_whole());
    let gone = destroyed(&vault);
    assert!(gone.len() >= 4, "{gone:?}");
    let old: Vec<String> = ids(&vault, KeyState::DecryptOnly)
        .into_iter()
        .filter(|((_, purpose), _)| EXCHANGED.contains(purpose))
        .flat_map(|(_, ids)| ids)
        .collect();
    assert!(old.is_empty(), "{old:?}");
    println!("rotations: {} keys destroyed, {} tokens", gone.len(), known.lock().unwrap().len());
    drop(vault);
    assert_eq!(rows_under(&stage.store(), &gone), 0);
});

/// Begins a rotation: of the key in the token now and then, and of data keys otherwise.
fn begin(vault: &Vault, act: u32) {
    if !act.is_multiple_of(5) {
        return wait(vault.rotate(None, &who(), NOW)).unwrap();
    }
    for name in ["alice", "bob"] {
        let secret = Secret::new("a secret of their own");
        match wait(vault.approve_kek_rotation(name, &secret, &who(), NOW)) {
            Ok(_) | Err(VaultError::SameCustodian) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// The end of a process that is killed: no destructor, no flush, the threads in mid-step. The status
/// is that of a test that passed, because the next act is the one that looks.
fn vault_is_cut_off() -> ! {
    // SAFETY: it ends the process and touches nothing.
    #[expect(unsafe_code, reason = "std has no end without destructors that says success")]
    unsafe {
        libc::_exit(0)
    }
}

on_stage!(1 a_rotation_waits_for_who_still_writes(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    kept(&vault, &shop, "text");
    let mut writing = Box::pin(vault.keep(&shop, Secret::new("late"), NOW_MS));
    let mut nobody = Context::from_waker(Waker::noop());
    // It has sealed with the key of now, and is not told yet that the record is durable.
    assert!(writing.as_mut().poll(&mut nobody).is_pending());
    wait(vault.rotate(Some(shop.clone()), &who(), NOW)).unwrap();
    for _ in 0..200 {
        step(&vault);
    }
    assert!(vault.progress().what.is_some(), "the old key must not go before the record is there");
    assert!(destroyed(&vault).is_empty());
    let late = wait(writing).unwrap().token;
    tend(&vault);
    assert_eq!(destroyed(&vault).len(), EXCHANGED.len());
    assert_eq!(revealed(&vault, &shop, &late).as_deref(), Some("late"));
});
