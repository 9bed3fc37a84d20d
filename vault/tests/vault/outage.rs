//! A module that goes away and comes back, and the two ways of wrapping.

use crate::stage::{LABEL, NOW, NOW_MS, Stage, agreed, issued, kept, merchant, on_stage, revealed};
use model::Secret;
use std::thread;
use std::time::Duration;
use vault::audit::Who;
use vault::store::{Collection, PAGE_ENTRIES_MAX, Store, Write};
use vault::{Created, Deed, KeyState, OpenError, Settings, Vault, VaultError, WrapMechanism, wait};

/// How often something is done, so that what never comes about does not hang: some minutes.
const ROUNDS_MAX: u32 = 60_000;

/// Tends the vault until `done`.
fn until(vault: &Vault, done: impl Fn(&Vault) -> bool) {
    let tend = |vault: &Vault| {
        vault.tend(NOW);
    };
    after(vault, tend, done);
}

/// Does something again and again until `done`.
fn after(vault: &Vault, round: impl Fn(&Vault), done: impl Fn(&Vault) -> bool) {
    for _ in 0..ROUNDS_MAX {
        if done(vault) {
            return;
        }
        round(vault);
        thread::park_timeout(Duration::from_millis(5));
    }
    panic!("it must come about: {:?}", vault.progress());
}

on_stage!(1 without_its_token_the_vault_serves_for_so_long_and_comes_back_by_itself(stage) {
    stage.make_token(LABEL).unwrap();
    let mut settings = stage.settings();
    settings.keys.hsm_outage_max = Duration::from_secs(3);
    Vault::init(&settings).unwrap();
    let vault = Vault::open(&settings).unwrap();
    let shop = merchant("shop");
    wait(vault.create_merchant(&shop, NOW)).unwrap();
    let (token, key) = (kept(&vault, &shop, "text"), issued(&vault, &shop, "till"));
    // Exposed to be presented.
    let good = |vault: &Vault| vault.authenticate(key.key.expose().as_bytes(), NOW).is_some();
    stage.token_is_there(false);
    // Untended, since keys are locked up by who tends them: a slow machine may take long to see it.
    after(&vault, |_| {}, |vault| !vault.health().hsm);
    assert!(vault.health().keys, "an outage that is shorter than allowed stops nobody");
    assert_eq!(revealed(&vault, &shop, &token).as_deref(), Some("text"));
    assert!(good(&vault) && kept(&vault, &shop, "more") != token);
    let newcomer = wait(vault.create_merchant(&merchant("newcomer"), NOW));
    assert!(matches!(newcomer, Err(VaultError::Hsm(_))), "{newcomer:?}");
    // What cannot be looked at is not told as changed.
    let verified = vault.verify(|_| {});
    assert!(matches!(verified, Err(VaultError::Hsm(_) | VaultError::Locked)), "{verified:?}");

    until(&vault, |vault| !vault.health().keys);
    assert_eq!(vault.figures().keys_locked, 1);
    assert!(vault.figures().hsm_silent_ms > 3_000);
    assert_eq!(vault.token(&shop, &token, NOW_MS).map(drop), Err(VaultError::Locked));
    let refused = wait(vault.keep(&shop, Secret::new("text"), NOW_MS));
    assert_eq!(refused, Err(VaultError::Locked));
    assert!(!good(&vault));
    let verified = vault.verify(|_| {});
    assert!(matches!(verified, Err(VaultError::Hsm(_) | VaultError::Locked)), "{verified:?}");
    assert_eq!(vault.figures().verifies_failed, 0);

    stage.token_is_there(true);
    until(&vault, |vault| vault.health().keys);
    assert_eq!(revealed(&vault, &shop, &token).as_deref(), Some("text"));
    assert!(good(&vault) && vault.figures().keys_locked == 0);
    assert_eq!(wait(vault.create_merchant(&merchant("newcomer"), NOW)), Ok(Created::New));
});

fn with(stage: &Stage, wrap: WrapMechanism) -> Settings {
    let mut settings = stage.settings();
    settings.keys.wrap = wrap;
    settings
}

fn rotate(vault: &Vault) {
    until(vault, |vault| vault.progress().what.is_none());
}

/// Swaps the rows of two keys, and says why the vault does not open with them.
fn swapped(stage: &Stage, settings: &Settings) -> OpenError {
    let store = stage.store();
    let rows = store.page(Collection::Keys, None, b"", PAGE_ENTRIES_MAX).unwrap();
    let put = |rows: [(&[u8], &[u8]); 2]| {
        let writes = rows.map(|(key, value)| Write::Put {
            collection: Collection::Keys,
            key: key.to_vec(),
            value: value.to_vec(),
        });
        wait(store.batch(writes.to_vec())).unwrap();
    };
    let [(one, of_one), (other, of_other), ..] = rows.as_slice() else { panic!("two keys") };
    put([(one, of_other), (other, of_one)]);
    drop(store);
    let error = Vault::open(settings).expect_err("a moved key must not open");
    let store = stage.store();
    let back = [(one, of_one), (other, of_other)].map(|(key, value)| Write::Put {
        collection: Collection::Keys,
        key: key.clone(),
        value: value.clone(),
    });
    wait(store.batch(back.to_vec())).unwrap();
    error
}

fn conformance(stage: &Stage, wrap: WrapMechanism) {
    let settings = with(stage, wrap);
    stage.make_token(LABEL).unwrap();
    Vault::init(&settings).unwrap();
    let vault = Vault::open(&settings).unwrap();
    let shop = merchant("shop");
    wait(vault.create_merchant(&shop, NOW)).unwrap();
    let token = kept(&vault, &shop, "text");
    wait(vault.rotate(None, &Who::system(), NOW)).unwrap();
    rotate(&vault);
    assert_eq!(revealed(&vault, &shop, &token).as_deref(), Some("text"));
    drop(vault);
    // GCM says which key it is; RFC 5649 unwraps it, and the seal of the table says no.
    let error = swapped(stage, &settings);
    match wrap {
        WrapMechanism::AesGcm => assert!(matches!(error, OpenError::WrappedKey { .. }), "{error}"),
        WrapMechanism::AesKwp => assert!(matches!(error, OpenError::KeyTable), "{error}"),
    }
    // The other way takes effect with the next key in the token.
    let other = WrapMechanism::ALL.into_iter().find(|other| *other != wrap).unwrap();
    let settings = with(stage, other);
    let vault = Vault::open(&settings).unwrap();
    for name in ["alice", "bob"] {
        let secret = Secret::new("a secret of their own");
        wait(vault.add_custodian(name, &secret, &Who::system(), NOW)).unwrap();
        wait(vault.approve_kek_rotation(name, &secret, &Who::system(), NOW)).unwrap();
    }
    rotate(&vault);
    let old = vault
        .key_lines()
        .into_iter()
        .find(|line| line.purpose == "kek" && line.state == KeyState::DecryptOnly);
    agreed(&vault, &Deed::DestroyKek { id: old.unwrap().id }).unwrap();
    drop(vault);
    let vault = Vault::open(&settings).unwrap();
    assert_eq!(revealed(&vault, &shop, &token).as_deref(), Some("text"));
    assert!(vault.verify(|_| {}).unwrap().is_whole());
}

on_stage!(1 keys_that_gcm_wraps_are_kept_and_exchanged(stage) {
    conformance(stage, WrapMechanism::AesGcm);
});

on_stage!(1 keys_that_rfc_5649_wraps_are_kept_and_exchanged(stage) {
    conformance(stage, WrapMechanism::AesKwp);
});

on_stage!(1 several_sessions_make_the_keys_of_many_merchants_at_once(stage) {
    stage.make_token(LABEL).unwrap();
    let mut settings = stage.settings();
    settings.keys.hsm_sessions = 4;
    settings.keys.hsm_outage_max = Duration::from_secs(3);
    Vault::init(&settings).unwrap();
    let names: Vec<_> = (0..24).map(|nth| merchant(&format!("shop-{nth}"))).collect();
    let make = |vault: &Vault| {
        thread::scope(|scope| {
            for name in &names {
                scope.spawn(|| wait(vault.create_merchant(name, NOW)).unwrap());
            }
        });
    };
    let vault = Vault::open(&settings).unwrap();
    make(&vault);
    let tokens: Vec<_> = names.iter().map(|name| kept(&vault, name, "text")).collect();
    // The module is begun anew under all of them, and each finds its way back.
    stage.token_is_there(false);
    after(&vault, |_| {}, |vault| !vault.health().hsm);
    stage.token_is_there(true);
    after(&vault, |_| {}, |vault| vault.health().hsm);
    let later: Vec<_> = (0..8).map(|nth| merchant(&format!("later-{nth}"))).collect();
    thread::scope(|scope| {
        for name in &later {
            let vault = &vault;
            scope.spawn(move || after(
                vault,
                |_| {},
                |vault| wait(vault.create_merchant(name, NOW)).is_ok(),
            ));
        }
    });
    drop(vault);
    let vault = Vault::open(&settings).unwrap();
    for (name, token) in names.iter().zip(&tokens) {
        assert_eq!(revealed(&vault, name, token).as_deref(), Some("text"));
    }
    for name in &later {
        let token = kept(&vault, name, "late");
        assert_eq!(revealed(&vault, name, &token).as_deref(), Some("late"));
    }
});
