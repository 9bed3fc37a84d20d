//! Backups: taken while the vault is written to, restored elsewhere, and refused when they are not
//! what the vault wrote.

use crate::stage::{LABEL, NOW, NOW_MS, Stage, agreed, kept, on_stage, revealed};
use model::{AccountName, CardToken, Credentials, MerchantId, Secret};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Cursor;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use vault::audit::Actor;
use vault::store::{Collection, Restore};
use vault::{
    BackupError, BackupReader, BackupReport, Deed, OpenError, Settings, Vault, VaultError,
    check_backup, restore, wait,
};

const CANARY: &str = "4000056655665556";
const SECRET: &str = "canary-credential-60614";
const HEAD: usize = 16;

fn elsewhere(stage: &Stage, name: &str) -> Settings {
    Settings { directory: stage.everything().join(name), ..stage.settings() }
}

fn file(stage: &Stage) -> PathBuf {
    stage.everything().join("backup")
}

fn backup(vault: &Vault) -> (Vec<u8>, BackupReport) {
    let mut bytes = Vec::new();
    let report = vault.backup(&mut bytes, NOW_MS, |_| ()).unwrap();
    assert_eq!(report.bytes, u64::try_from(bytes.len()).unwrap());
    (bytes, report)
}

fn put_account(vault: &Vault, shop: &MerchantId, name: &str, values: usize) {
    let secret = SECRET.repeat(40);
    let pair = |nth: usize| (format!("name-{nth}").into(), Secret::new(&*secret));
    let credentials = Credentials::new((0..values).map(pair).collect());
    let name = AccountName::parse(name).unwrap();
    wait(vault.put_account(shop, &name, "Stripe", credentials, NOW_MS)).unwrap();
}

/// Keeps and forgets texts until told to stop.
fn load(vault: &Vault, shop: &MerchantId, stop: &AtomicBool, done: &AtomicU64) {
    while !stop.load(Ordering::SeqCst) {
        let token = kept(vault, shop, CANARY);
        if done.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) {
            wait(vault.forget(shop, &token, NOW_MS)).unwrap();
        }
        if done.load(Ordering::SeqCst).is_multiple_of(16) {
            put_account(vault, shop, "changing", 9);
        }
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

on_stage!(1 a_backup_under_load_is_restored_elsewhere_and_has_everything(stage) {
    let (vault, shop, other) = stage.make_with_merchants();
    let before: Vec<CardToken> = (0..700).map(|_| kept(&vault, &shop, CANARY)).collect();
    let gone = kept(&vault, &other, CANARY);
    wait(vault.forget(&other, &gone, NOW_MS)).unwrap();
    put_account(&vault, &shop, "long", 20);
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let (bytes, report) = thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| load(&vault, &shop, &stop, &done));
        }
        while done.load(Ordering::SeqCst) < 50 {
            thread::yield_now();
        }
        let mut bytes = Vec::new();
        let report = vault.backup(&mut bytes, NOW_MS, |_| ());
        // Before anything can fail, or the writers would go on for ever.
        stop.store(true, Ordering::SeqCst);
        (bytes, report.unwrap())
    });
    assert!(report.rows > 700, "{report:?}");
    for secret in [CANARY, SECRET] {
        assert!(!contains(&bytes, secret), "{secret} is in the backup");
    }
    // The positive control: what is no secret is there.
    assert!(contains(&bytes, before[0].as_str()));
    drop(vault);
    fs::write(file(stage), &bytes).unwrap();
    let settings = elsewhere(stage, "restored");
    let restored = restore(&file(stage), &settings, Actor::System, |_| ()).unwrap();
    assert!(restored.verified.is_whole(), "{restored:?}");
    let vault = Vault::open(&settings).unwrap();
    for token in &before {
        assert_eq!(revealed(&vault, &shop, token).as_deref(), Some(CANARY));
    }
    assert_eq!(revealed(&vault, &other, &gone), None);
    let long = vault.account(&shop, &AccountName::parse("long").unwrap()).unwrap().unwrap();
    assert_eq!(long.credentials.len(), 20);
    // It is a vault like any other: it is written to, and backed up again.
    kept(&vault, &shop, CANARY);
    let (_, again) = backup(&vault);
    assert!(again.counter > report.counter);
    assert!(vault.verify(|_| ()).unwrap().is_whole());
});

/// Where the chunks of a backup begin, and where it ends.
fn chunks(bytes: &[u8]) -> Vec<usize> {
    let (mut at, mut starts) = (HEAD, vec![]);
    while at < bytes.len() {
        starts.push(at);
        let length = u32::from_be_bytes(bytes[at + 1..at + 5].try_into().unwrap());
        at += 5 + usize::try_from(length).unwrap() + 32;
    }
    starts.push(at);
    starts
}

/// What somebody writes who knows the form and has no key: every checksum is right.
fn with_new_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut sum: [u8; 32] = Sha256::digest(&bytes[..HEAD]).into();
    for pair in chunks(&bytes).windows(2) {
        let (body, end) = (pair[0]..pair[1] - 32, pair[1]);
        sum = Sha256::new().chain_update(sum).chain_update(&bytes[body]).finalize().into();
        bytes[end - 32..end].copy_from_slice(&sum);
    }
    bytes
}

fn refused(bytes: &[u8]) -> bool {
    BackupReader::new(Cursor::new(bytes)).and_then(BackupReader::check).is_err()
}

on_stage!(1 what_is_not_the_whole_backup_is_refused(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    (0..600).for_each(|_| drop(kept(&vault, &shop, CANARY)));
    let (bytes, report) = backup(&vault);
    let told = BackupReader::new(Cursor::new(&bytes)).unwrap().check().unwrap();
    assert_eq!((told.rows, told.created), (report.rows, NOW_MS));
    let starts = chunks(&bytes);
    assert!(starts.len() > 6, "{starts:?}");
    let mut tried = 0;
    // A bit anywhere; every byte of the first and the last chunks.
    for at in (0..bytes.len()).filter(|at| *at < 200 || *at + 400 > bytes.len() || at % 97 == 0) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(refused(&changed), "byte {at}");
        tried += 1;
    }
    for end in (0..bytes.len()).step_by(211).chain(starts.iter().copied()) {
        assert!(end == bytes.len() || refused(&bytes[..end]), "cut at {end}");
        tried += 1;
    }
    for (nth, pair) in starts.windows(2).enumerate() {
        let chunk = &bytes[pair[0]..pair[1]];
        let without = [&bytes[..pair[0]], &bytes[pair[1]..]].concat();
        let twice = [&bytes[..pair[1]], chunk, &bytes[pair[1]..]].concat();
        let moved = [&bytes[..starts[1]], chunk, &bytes[starts[1]..]].concat();
        for spliced in [without, twice, moved].into_iter().skip(usize::from(nth == 0) * 3) {
            assert!(refused(&spliced), "chunk {nth}");
            tried += 1;
        }
    }
    println!("{tried} damaged backups, all of them refused");
    let longer = [&bytes[..], b"x"].concat();
    assert!(matches!(
        BackupReader::new(Cursor::new(longer)).unwrap().check(),
        Err(BackupError::Trailing)
    ));
    drop(vault);
    forged(stage, &bytes, &starts);
});

/// Backups whose checksums are right, and which the vault did not write.
fn forged(stage: &Stage, bytes: &[u8], starts: &[usize]) {
    let [begin, end] = [starts[starts.len() - 3], starts[starts.len() - 2]];
    let mut changed = bytes.to_vec();
    changed[end - 33] ^= 1;
    let mut renewed = with_new_checksums(changed);
    let without_a_chunk = [&bytes[..begin], &bytes[end..]].concat();
    for (what, forged) in [("changed", &mut renewed), ("shorter", &mut { without_a_chunk })] {
        let forged = with_new_checksums(forged.clone());
        fs::write(file(stage), &forged).unwrap();
        let error = check_backup(&file(stage), &stage.settings()).unwrap_err();
        assert!(matches!(error, BackupError::Forged | BackupError::Form(_)), "{what}: {error}");
        let settings = elsewhere(stage, "forged");
        assert!(restore(&file(stage), &settings, Actor::System, |_| ()).is_err(), "{what}");
        assert!(!settings.directory.exists(), "{what}: nothing is made of it");
    }
    fs::write(file(stage), bytes).unwrap();
    check_backup(&file(stage), &stage.settings()).unwrap();
}

fn accepted(settings: &Settings) -> Result<(), OpenError> {
    Vault::accept_restored(settings, None, NOW).map(drop)
}

on_stage!(1 a_restore_overwrites_nothing_and_half_of_it_is_no_vault(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let token = kept(&vault, &shop, CANARY);
    let (bytes, _) = backup(&vault);
    drop(vault);
    fs::write(file(stage), &bytes).unwrap();
    let error = restore(&file(stage), &stage.settings(), Actor::System, |_| ()).unwrap_err();
    assert!(error.to_string().contains("already holds files"), "{error}");
    assert_eq!(revealed(&stage.open(), &shop, &token).as_deref(), Some(CANARY));
    // What a restore leaves behind that dies before its end.
    let settings = elsewhere(stage, "half");
    let mut half = Restore::begin(&settings.directory, settings.cache_bytes).unwrap();
    half.put(Collection::Merchants.name(), b"shop", Some(&[0; 9])).unwrap();
    drop(half);
    let error = Vault::open(&settings).unwrap_err();
    assert!(matches!(error, OpenError::Store(_)), "{error}");
    assert!(error.to_string().contains("never finished"), "{error}");
    let error = restore(&file(stage), &settings, Actor::System, |_| ()).unwrap_err();
    assert!(error.to_string().contains("already holds files"), "{error}");
    fs::remove_dir_all(&settings.directory).unwrap();
    // All rows are there, and the check of them is cut short.
    let cut = panic::catch_unwind(AssertUnwindSafe(|| {
        restore(&file(stage), &settings, Actor::System, |_| {
            assert!(!settings.directory.join("audit").exists(), "it is open, and ends here");
        })
    }));
    assert!(cut.is_err(), "it was not cut short");
    for opened in [Vault::open(&settings).map(drop), accepted(&settings)] {
        let error = opened.unwrap_err();
        assert!(error.to_string().contains("never finished"), "{error}");
    }
    fs::remove_dir_all(&settings.directory).unwrap();
    restore(&file(stage), &settings, Actor::System, |_| ()).unwrap();
    assert_eq!(revealed(&Vault::open(&settings).unwrap(), &shop, &token).as_deref(), Some(CANARY));
});

on_stage!(1 a_backup_without_its_token_is_worth_nothing(stage) {
    let (vault, _, _) = stage.make_with_merchants();
    let (bytes, _) = backup(&vault);
    drop(vault);
    fs::write(file(stage), &bytes).unwrap();
    stage.make_token("another").unwrap();
    let settings = Settings { token_label: "another".into(), ..elsewhere(stage, "foreign") };
    let error = check_backup(&file(stage), &settings).unwrap_err();
    assert!(matches!(error, BackupError::Open(OpenError::NoKek { .. })), "{error}");
    assert_ne!(settings.token_label, LABEL);
});

on_stage!(1 a_store_that_was_tampered_with_gives_no_backup(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let token = kept(&vault, &shop, CANARY);
    drop(vault);
    let (collection, key) = (Collection::Tokens, format!("{shop}\0{token}").into_bytes());
    wait(vault::store::Store::batch(
        &stage.store(),
        vec![vault::store::Write::Delete { collection, key }],
    ))
    .unwrap();
    let error = stage.open().backup(&mut Vec::new(), NOW_MS, |_| ()).unwrap_err();
    assert!(matches!(&error, BackupError::Tampered(what) if &**what == "tokens"), "{error}");
});

on_stage!(1 what_was_shredded_before_a_backup_stays_shredded_after_its_restore(stage) {
    let (vault, shop, other) = stage.make_with_merchants();
    let [token, theirs] = [&shop, &other].map(|merchant| kept(&vault, merchant, CANARY));
    let (older, _) = backup(&vault);
    agreed(&vault, &Deed::Shred { merchant: shop.clone() }).unwrap();
    let (newer, _) = backup(&vault);
    drop(vault);
    // One from before still has the wrapped keys, as long as the key in the token is there.
    for (name, bytes, opens) in [("newer", newer, false), ("older", older, true)] {
        fs::write(file(stage), &bytes).unwrap();
        let settings = elsewhere(stage, name);
        assert!(restore(&file(stage), &settings, Actor::System, |_| ()).unwrap().verified.is_whole());
        let vault = Vault::open(&settings).unwrap();
        let shown = vault.token(&shop, &token, NOW_MS).map(|found| found.is_some());
        assert_eq!(shown, if opens { Ok(true) } else { Err(VaultError::Shredded) }, "{name}");
        assert_eq!(revealed(&vault, &other, &theirs).as_deref(), Some(CANARY), "{name}");
    }
});
