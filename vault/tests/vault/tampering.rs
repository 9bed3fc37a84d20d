//! What someone can do who can write to the disk: nothing that opens.

use crate::stage::{NOW, NOW_MS, Stage, issued, kept, merchant, on_stage};
use model::{AccountName, CardToken, Credentials, MerchantId, Secret};
use vault::audit::Who;
use vault::store::{Collection, Entry, PAGE_ENTRIES_MAX, SledStore, Store, Write};
use vault::{APPROVAL_S, Approval, OpenError, Pick, Vault, VaultError, wait};

const PAN: &str = "4111111111111111";

fn rows(store: &impl Store, collection: Collection, prefix: &[u8]) -> Vec<Entry> {
    store.page(collection, None, prefix, PAGE_ENTRIES_MAX).unwrap()
}

fn put(store: &impl Store, collection: Collection, key: &[u8], value: Vec<u8>) {
    let write = Write::Put { collection, key: key.to_vec(), value };
    wait(store.batch(vec![write])).unwrap();
}

fn token_row(merchant: &MerchantId, token: &CardToken) -> Vec<u8> {
    format!("{merchant}\0{token}").into_bytes()
}

fn account(name: &str) -> AccountName {
    AccountName::parse(name).unwrap()
}

fn put_account(vault: &Vault, merchant: &MerchantId, name: &str, values: [&str; 2], now: u64) {
    let [a, b] = values.map(Secret::new);
    let credentials = Credentials::new(vec![("a".into(), a), ("b".into(), b)]);
    wait(vault.put_account(merchant, &account(name), "Stripe", credentials, now)).unwrap();
}

/// Whether an account opens with everything in it. Where it does not, the error must be the right
/// one, and the failure must be counted.
fn opens(vault: &Vault, merchant: &MerchantId, name: &str) -> bool {
    let refused = vault.figures().opens_refused;
    match vault.account(merchant, &account(name)) {
        Ok(found) => found.is_some(),
        Err(error) => {
            assert_eq!(error, VaultError::Sealed { what: "accounts" });
            assert_eq!(vault.figures().opens_refused, refused + 1);
            false
        }
    }
}

/// The fields of a row: each behind its length.
fn fields(row: &[u8]) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    let mut rest = row;
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (field, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
        fields.push(field.to_vec());
        rest = tail;
    }
    fields
}

fn row(fields: &[Vec<u8>]) -> Vec<u8> {
    let framed = |f: &Vec<u8>| [&u32::try_from(f.len()).unwrap().to_be_bytes()[..], f].concat();
    fields.iter().flat_map(framed).collect()
}

on_stage!(1 swapped_tokens_do_not_open(stage) {
    let (vault, shop, other) = stage.make_with_merchants();
    let (one, two) = (kept(&vault, &shop, PAN), kept(&vault, &shop, "5555555555554444"));
    let (three, four) = (kept(&vault, &shop, PAN), kept(&vault, &other, PAN));
    let whole = kept(&vault, &shop, PAN);
    drop(vault);
    let store = stage.store();
    for (a, b) in [((&shop, &one), (&shop, &two)), ((&shop, &three), (&other, &four))] {
        let [a, b] = [a, b].map(|(merchant, token)| token_row(merchant, token));
        let value = |key: &[u8]| store.get(Collection::Tokens, key).unwrap().unwrap();
        let (of_a, of_b) = (value(&a), value(&b));
        put(&store, Collection::Tokens, &a, of_b);
        put(&store, Collection::Tokens, &b, of_a);
    }
    drop(store);
    let vault = stage.open();
    let refused = VaultError::Sealed { what: "tokens" };
    for (merchant, token) in [(&shop, &one), (&shop, &two), (&shop, &three), (&other, &four)] {
        assert_eq!(vault.token(merchant, token, NOW_MS).map(drop), Err(refused));
        assert_eq!(vault.token_meta(merchant, token, NOW_MS), Err(refused));
    }
    assert_eq!(vault.figures().opens_refused, 8);
    assert!(vault.token(&shop, &whole, NOW_MS).unwrap().is_some());
});

on_stage!(1 swapped_fields_of_accounts_do_not_open(stage) {
    let (vault, shop, other) = stage.make_with_merchants();
    let names = ["fields", "left", "right", "version", "short", "long", "brief", "mixed", "whole"];
    for name in names {
        put_account(&vault, &shop, name, ["1", "1"], NOW_MS);
    }
    put_account(&vault, &other, "mixed", ["1", "1"], NOW_MS);
    drop(vault);
    let store = stage.store();
    let key = |merchant: &MerchantId, name: &str| format!("{merchant}\0{name}").into_bytes();
    let read = |merchant: &MerchantId, name: &str| {
        fields(&store.get(Collection::Accounts, &key(merchant, name)).unwrap().unwrap())
    };
    let older = read(&shop, "version");
    drop(store);
    let vault = stage.open();
    put_account(&vault, &shop, "version", ["1", "1"], NOW_MS);
    drop(vault);
    let store = stage.store();
    let read = |merchant: &MerchantId, name: &str| {
        fields(&store.get(Collection::Accounts, &key(merchant, name)).unwrap().unwrap())
    };
    let write = |name: &str, fields: &[Vec<u8>]| {
        put(&store, Collection::Accounts, &key(&shop, name), row(fields));
    };
    // version | brief | credentials
    let change = |name: &str, change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut fields = read(&shop, name);
        change(&mut fields);
        write(name, &fields);
    };
    assert_eq!(row(&read(&shop, "whole")).len(), 3 * 4 + 8 + (37 + 34) + (37 + 20));
    let (left, right) = (read(&shop, "left"), read(&shop, "right"));
    change("fields", &|fields| fields.swap(1, 2));
    change("left", &|fields| fields[2].clone_from(&right[2]));
    change("right", &|fields| fields[2].clone_from(&left[2]));
    change("version", &|fields| fields[2].clone_from(&older[2]));
    change("short", &|fields| fields.truncate(2));
    change("long", &|fields| fields.push(fields[2].clone()));
    change("brief", &|fields| fields[1].clone_from(&left[1]));
    change("mixed", &|fields| *fields = read(&other, "mixed"));
    drop(store);
    let vault = stage.open();
    for name in names {
        assert_eq!(opens(&vault, &shop, name), name == "whole", "{name}");
    }
    assert!(opens(&vault, &other, "mixed"));
    assert_eq!(vault.accounts(&shop), Err(VaultError::Sealed { what: "accounts" }));
    // What does not open is not replaced in passing, but it can be deleted and put anew.
    let credentials = Credentials::default();
    let put = wait(vault.put_account(&shop, &account("brief"), "Stripe", credentials, NOW_MS));
    assert_eq!(put, Err(VaultError::Sealed { what: "accounts" }));
    assert_eq!(wait(vault.delete_account(&shop, &account("brief"), NOW_MS)), Ok(true));
    put_account(&vault, &shop, "brief", ["2", "2"], NOW_MS);
    assert!(opens(&vault, &shop, "brief"));
});

on_stage!(1 swapped_fields_of_staged_credentials_do_not_open(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let names = ["cut", "half", "swap", "other", "older", "added", "whole", "plain"];
    let staged = |name: &str, value: &str| {
        let credentials = Credentials::new(vec![("k".into(), Secret::new(value))]);
        wait(vault.stage_account(&shop, &account(name), credentials, NOW_MS)).unwrap().unwrap();
    };
    for name in names {
        put_account(&vault, &shop, name, ["1", "1"], NOW_MS);
        if !matches!(name, "added" | "plain") {
            staged(name, "2");
        }
    }
    drop(vault);
    let key = |name: &str| format!("shop\0{name}").into_bytes();
    let read = |store: &SledStore, name: &str| {
        fields(&store.get(Collection::Accounts, &key(name)).unwrap().unwrap())
    };
    let store = stage.store();
    let older = read(&store, "older");
    drop(store);
    let vault = stage.open();
    let credentials = Credentials::new(vec![("k".into(), Secret::new("3"))]);
    wait(vault.stage_account(&shop, &account("older"), credentials, NOW_MS)).unwrap();
    drop(vault);
    let store = stage.store();
    let whole = read(&store, "whole");
    assert_eq!((whole.len(), read(&store, "plain").len()), (5, 3));
    let change = |name: &str, change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut fields = read(&store, name);
        change(&mut fields);
        put(&store, Collection::Accounts, &key(name), row(&fields));
    };
    // version | brief | credentials | staged | staged credentials
    change("cut", &|fields| fields.truncate(3));
    change("half", &|fields| fields.truncate(4));
    change("swap", &|fields| fields.swap(2, 4));
    change("other", &|fields| fields[3].clone_from(&whole[3]));
    change("older", &|fields| fields[3].clone_from(&older[3]));
    change("added", &|fields| fields.extend_from_slice(&whole[3..]));
    drop(store);
    let vault = stage.open();
    for name in names {
        let pick = |pick| vault.account_by(&shop, &account(name), |_| pick).is_ok();
        let opens = pick(Pick::Current) || pick(Pick::Staged);
        assert_eq!(opens, matches!(name, "whole" | "plain"), "{name}");
    }
});

on_stage!(1 a_credential_of_a_deleted_account_does_not_open_in_a_new_one(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    put_account(&vault, &shop, "acc", ["old", "old"], NOW_MS);
    drop(vault);
    let store = stage.store();
    let old = fields(&store.get(Collection::Accounts, b"shop\0acc").unwrap().unwrap());
    drop(store);
    let vault = stage.open();
    assert_eq!(wait(vault.delete_account(&shop, &account("acc"), NOW_MS)), Ok(true));
    put_account(&vault, &shop, "acc", ["new", "new"], NOW_MS + 1);
    drop(vault);
    let store = stage.store();
    let mut new = fields(&store.get(Collection::Accounts, b"shop\0acc").unwrap().unwrap());
    new[2].clone_from(&old[2]);
    put(&store, Collection::Accounts, b"shop\0acc", row(&new));
    drop(store);
    assert!(!opens(&stage.open(), &shop, "acc"));
});

on_stage!(1 a_row_with_any_byte_changed_does_not_open(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let token_bytes = 37 + 9 + PAN.len();
    let tokens: Vec<CardToken> = (0..token_bytes).map(|_| kept(&vault, &shop, PAN)).collect();
    put_account(&vault, &shop, "first", ["1", "1"], NOW_MS);
    drop(vault);
    let store = stage.store();
    let first = store.get(Collection::Accounts, b"shop\0first").unwrap().unwrap();
    for (place, token) in tokens.iter().enumerate() {
        let key = token_row(&shop, token);
        let mut value = store.get(Collection::Tokens, &key).unwrap().unwrap();
        assert_eq!(value.len(), token_bytes);
        value[place] ^= 1;
        put(&store, Collection::Tokens, &key, value);
    }
    drop(store);
    let vault = stage.open();
    for token in &tokens {
        let refused = VaultError::Sealed { what: "tokens" };
        assert_eq!(vault.token(&shop, token, NOW_MS).map(drop), Err(refused));
    }
    // Accounts of other names would not open anyway, so each byte is changed in the one row.
    drop(vault);
    for place in 0..first.len() {
        let mut value = first.clone();
        value[place] ^= 1;
        let store = stage.store();
        put(&store, Collection::Accounts, b"shop\0first", value);
        drop(store);
        assert!(!opens(&stage.open(), &shop, "first"), "byte {place}");
    }
});

fn swap_keys(stage: &Stage, one: (&str, &str), other: (&str, &str)) -> OpenError {
    let store = stage.store();
    let key = |(owner, purpose): (&str, &str)| {
        row(&[owner.into(), purpose.into(), 1_u32.to_be_bytes().to_vec()])
    };
    let (one, other) = (key(one), key(other));
    let value = |key: &[u8]| store.get(Collection::Keys, key).unwrap().unwrap();
    let (of_one, of_other) = (value(&one), value(&other));
    put(&store, Collection::Keys, &one, of_other.clone());
    put(&store, Collection::Keys, &other, of_one.clone());
    drop(store);
    let error = Vault::open(&stage.settings()).expect_err("a moved key must not open");
    let store = stage.store();
    put(&store, Collection::Keys, &one, of_one);
    put(&store, Collection::Keys, &other, of_other);
    error
}

on_stage!(1 swapped_keys_are_refused_by_name(stage) {
    drop(stage.make_with_merchants());
    for (one, other) in [
        (("shop", "card"), ("other", "card")),
        (("shop", "card"), ("shop", "credential")),
        (("@system", "api-key"), ("@system", "token-check")),
        (("@system", "api-key"), ("shop", "card")),
    ] {
        let error = swap_keys(stage, one, other);
        assert!(matches!(error, OpenError::WrappedKey { .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains(one.0) || said.contains(other.0), "{said}");
        assert!(said.contains("restore the store from a backup"), "{said}");
    }
    drop(stage.open());
});

on_stage!(1 changed_and_missing_keys_are_refused(stage) {
    drop(stage.make_with_merchants());
    let store = stage.store();
    let keys = rows(&store, Collection::Keys, b"");
    // That of the token, six of the system, and four of each merchant.
    assert_eq!(keys.len(), 1 + 6 + 2 * 4);
    drop(store);
    let (key, value) = &keys[6];
    for place in (0..value.len()).step_by(3) {
        let mut changed = value.clone();
        changed[place] ^= 1;
        let store = stage.store();
        put(&store, Collection::Keys, key, changed);
        drop(store);
        let error = Vault::open(&stage.settings()).expect_err("a changed key must not open");
        let expected = matches!(
            error,
            OpenError::WrappedKey { .. } | OpenError::Damaged { .. } | OpenError::KeyTable
        );
        assert!(expected, "byte {place}: {error}");
    }
    put(&stage.store(), Collection::Keys, key, value.clone());
    for (key, value) in &keys {
        let store = stage.store();
        let (collection, gone) = (Collection::Keys, key.clone());
        wait(store.batch(vec![Write::Delete { collection, key: gone }])).unwrap();
        drop(store);
        let error = Vault::open(&stage.settings()).expect_err("a missing key must not open");
        // Without the key in the token, nothing that it wrapped has a name to be unwrapped by.
        let expected = matches!(
            error,
            OpenError::Damaged { .. } | OpenError::KeyTable | OpenError::WrappedKey { .. }
        );
        assert!(expected, "{error}");
        put(&stage.store(), Collection::Keys, key, value.clone());
    }
    drop(stage.open());
});

/// Everything that says what the keys are.
fn key_rows(store: &impl Store) -> Vec<(Collection, Vec<Entry>)> {
    [Collection::Keys, Collection::Meta]
        .map(|collection| (collection, rows(store, collection, b"")))
        .to_vec()
}

/// Puts back everything that says what the keys are.
fn put_back(stage: &Stage, before: &[(Collection, Vec<Entry>)]) {
    let store = stage.store();
    for (collection, rows) in key_rows(&store) {
        for (key, _) in rows {
            wait(store.batch(vec![Write::Delete { collection, key }])).unwrap();
        }
    }
    for (collection, rows) in before {
        rows.iter().for_each(|(key, value)| put(&store, *collection, key, value.clone()));
    }
}

on_stage!(1 a_key_that_is_put_back_to_what_it_was_is_refused(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    drop(vault);
    let store = stage.store();
    let before = key_rows(&store);
    let merchants = rows(&store, Collection::Merchants, b"");
    drop(store);
    let vault = stage.open();
    wait(vault.rotate(Some(shop), &Who::system(), NOW)).unwrap();
    while vault.progress().what.is_some() {
        vault.tend(NOW);
    }
    drop(vault);
    let after = key_rows(&stage.store());
    // One row of the old table in the new one: a key that was destroyed would live again.
    for (key, value) in &before[0].1 {
        let now = after[0].1.iter().find(|(now, _)| now == key).unwrap();
        if now.1 == *value {
            continue;
        }
        put(&stage.store(), Collection::Keys, key, value.clone());
        let error = Vault::open(&stage.settings()).expect_err("an old row must not be believed");
        assert!(matches!(error, OpenError::KeyTable), "{error}");
        put(&stage.store(), Collection::Keys, key, now.1.clone());
    }
    // The whole of it, with its seal: only the token knows better.
    put_back(stage, &before);
    assert_eq!(rows(&stage.store(), Collection::Merchants, b""), merchants);
    let error = Vault::open(&stage.settings()).expect_err("an old table must not be believed");
    assert!(matches!(error, OpenError::RolledBack { .. }), "{error}");
    assert!(error.to_string().contains("accept-restored"), "{error}");
    // Unless somebody says that it is a backup, in the audit log; from then on it is what the token
    // remembers.
    let unsaid = stage.without_audit(|| Vault::accept_restored(&stage.settings(), None, NOW).map(drop));
    assert!(matches!(unsaid, Err(OpenError::AuditFiles { .. })), "{unsaid:?}");
    let error = Vault::open(&stage.settings()).expect_err("nobody has said so yet");
    assert!(matches!(error, OpenError::RolledBack { .. }), "{error}");
    let done = Vault::accept_restored(&stage.settings(), None, NOW).unwrap();
    assert_eq!(done, Approval::Done { by: "nobody else".into() });
    let object = "vault, which has no custodians";
    let line = |outcome: &str| ["operator", object, outcome].map(str::to_owned);
    let said = stage.audited("vault.accept-restored");
    assert_eq!(said, [line("attempted"), line("success")]);
    drop(stage.open());
});

on_stage!(1 an_older_vault_is_accepted_on_the_words_of_two_of_its_custodians(stage) {
    let ((vault, shop, _), secret) = (stage.make_with_merchants(), Secret::new("of alice and bob"));
    for name in ["alice", "bob"] {
        wait(vault.add_custodian(name, &secret, &Who::system(), NOW)).unwrap();
    }
    drop(vault);
    let before = key_rows(&stage.store());
    let newer = || {
        let vault = stage.open();
        wait(vault.rotate(Some(shop.clone()), &Who::system(), NOW)).unwrap();
        while vault.progress().what.is_some() {
            vault.tend(NOW);
        }
        drop(vault);
        put_back(stage, &before);
    };
    let accept = |name| Vault::accept_restored(&stage.settings(), Some((name, &secret)), NOW);
    let is_refused = || matches!(Vault::open(&stage.settings()), Err(OpenError::RolledBack { .. }));
    newer();
    let unsaid = Vault::accept_restored(&stage.settings(), None, NOW);
    assert!(matches!(unsaid, Err(OpenError::NoWord)), "{unsaid:?}");
    let until = NOW + APPROVAL_S;
    assert_eq!(accept("alice").unwrap(), Approval::Waits { until });
    assert!(is_refused(), "one word is not enough");
    let same = accept("alice");
    assert!(matches!(same, Err(OpenError::Vault(VaultError::SameCustodian))), "{same:?}");
    assert!(is_refused());
    assert_eq!(accept("bob").unwrap(), Approval::Done { by: "alice, bob".into() });
    let said = stage.audited("vault.accept-restored");
    assert_eq!(said.last().unwrap()[1..], ["vault, on the word of alice, bob", "success"]);
    drop(stage.open());
    // Their words are used up.
    assert_eq!(accept("bob").unwrap(), Approval::Waits { until });
    newer();
    assert!(is_refused());
});

on_stage!(1 a_list_of_keys_from_another_past_is_refused(stage) {
    drop(stage.make_with_merchants());
    let before = key_rows(&stage.store());
    let exchanged = |vault: Vault| {
        wait(vault.rotate(Some(merchant("shop")), &Who::system(), NOW)).unwrap();
        while vault.progress().what.is_some() {
            vault.tend(NOW);
        }
        drop(vault);
        key_rows(&stage.store())
    };
    let one = exchanged(stage.open());
    // The same again from the same beginning: a list that is as new, and another.
    put_back(stage, &before);
    Vault::accept_restored(&stage.settings(), None, NOW).unwrap();
    let other = exchanged(stage.open());
    put_back(stage, &one);
    let error = Vault::open(&stage.settings()).expect_err("it is not the list that is remembered");
    let OpenError::RolledBack { found, told } = error else { panic!("{error}") };
    assert_eq!(found, told);
    put_back(stage, &other);
    drop(stage.open());
});

on_stage!(1 a_row_of_an_api_key_gives_no_more_than_it_was_given(stage) {
    let (vault, shop, other) = stage.make_with_merchants();
    let [a, b, whole] = [("a", &shop), ("b", &other), ("c", &shop)]
        .map(|(name, merchant)| issued(&vault, merchant, name));
    drop(vault);
    let store = stage.store();
    let value = |id: &str| store.get(Collection::ApiKeys, id.as_bytes()).unwrap().unwrap();
    let (of_a, mut of_b) = (value(a.id.as_str()), value(b.id.as_str()));
    // The key of one merchant in the row of another, and a row with one bit changed.
    put(&store, Collection::ApiKeys, b.id.as_str().as_bytes(), of_a);
    of_b[60] ^= 1;
    put(&store, Collection::ApiKeys, a.id.as_str().as_bytes(), of_b);
    drop(store);
    let vault = stage.open();
    // Exposed to be presented.
    let accepted = [&a, &b, &whole].map(|key| {
        vault.authenticate(key.key.expose().as_bytes(), NOW).is_some()
    });
    assert_eq!(accepted, [false, false, true]);
    assert_eq!(vault.keys(&shop).unwrap().len(), 1);
    assert_eq!(wait(vault.revoke_key(&a.id)), Ok(true), "it can be removed");
    assert_eq!(merchant("shop"), shop);
});
