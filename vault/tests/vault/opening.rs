//! Opening: what must be there, and what is said when it is not.

use crate::stage::{
    LABEL, NOW, NOW_MS, PIN, SO_PIN, Stage, cvv, issued, kept, merchant, module, number, on_stage,
    opened, revealed,
};
use cryptoki::context::Pkcs11;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::slot::Slot;
use cryptoki::types::{AuthPin, Ulong};
use model::{AccountName, Credentials, Secret};
use std::fs;
use vault::store::{self, Collection, Store, Write};
use vault::{Created, HsmError, OpenError, Settings, StoreError, Vault, VaultError, wait};

/// Why the vault does not open, checked to say no PIN.
fn refused(settings: &Settings) -> OpenError {
    let error = Vault::open(settings).expect_err("the vault must not open");
    let said = format!("{error} {error:?}");
    assert!(!said.contains("canary"), "{said}");
    error
}

fn slot(library: &Pkcs11) -> Slot {
    let slots = library.get_slots_with_initialized_token().unwrap();
    let ours = |slot: &Slot| library.get_token_info(*slot).unwrap().label().trim_end() == LABEL;
    slots.into_iter().find(ours).unwrap()
}

on_stage!(2 a_restart_finds_everything_again(stage) {
    let tokens = stage.everything().join("kept");
    let (shop, account) = (merchant("shop"), AccountName::parse("stripe-primary").unwrap());
    if stage.act == 1 {
        let vault = stage.make();
        assert_eq!(wait(vault.create_merchant(&shop, NOW)), Ok(Created::New));
        assert_eq!(wait(vault.create_merchant(&shop, NOW + 1)), Ok(Created::Existing));
        let token = kept(&vault, &shop, "4111111111111111");
        let credentials = Credentials::new(vec![("secretKey".into(), Secret::new("sk_1"))]);
        wait(vault.put_account(&shop, &account, "Stripe", credentials, NOW_MS)).unwrap();
        let key = issued(&vault, &shop, "till");
        // Exposed to be presented again in the second act.
        fs::write(tokens, format!("{token}\n{}", key.key.expose())).unwrap();
        return;
    }
    let text = fs::read_to_string(tokens).unwrap();
    let (token, key) = text.split_once('\n').unwrap();
    let (vault, token) = (stage.open(), model::CardToken::parse(token).unwrap());
    assert_eq!(revealed(&vault, &shop, &token).as_deref(), Some("4111111111111111"));
    let principal = vault.authenticate(key.as_bytes(), NOW).unwrap();
    assert_eq!((&principal.merchant, &*principal.name), (&shop, "till"));
    let account = vault.account(&shop, &account).unwrap().unwrap();
    // Exposed to be compared with what was put.
    assert_eq!(account.credentials.find(&["secretkey"]).unwrap().expose(), "sk_1");
    let merchants = vault.merchants().unwrap();
    assert_eq!(merchants.len(), 1);
    assert_eq!((&merchants[0].id, merchants[0].created), (&shop, NOW));
    assert!(vault.health().store && vault.health().hsm);
});

on_stage!(3 a_wrong_pin_opens_nothing_and_leaves_nothing(stage) {
    let wrong = Settings { pin: Secret::new("canary-wrong"), ..stage.settings() };
    match stage.act {
        1 => {
            stage.make_token(LABEL).unwrap();
            assert!(matches!(Vault::init(&wrong), Err(OpenError::Pin { .. })));
            assert!(!stage.data().exists());
            Vault::init(&stage.settings()).unwrap();
        }
        2 => {
            let error = refused(&wrong);
            assert!(matches!(error, OpenError::Pin { .. }), "{error}");
            assert!(error.to_string().contains("vault.pin"), "{error}");
        }
        _ => drop(stage.open()),
    }
});

on_stage!(1 what_is_missing_is_named_with_what_to_do(stage) {
    let settings = || stage.settings();
    let error = refused(&settings());
    assert!(matches!(error, OpenError::Store(store::OpenError::Missing(_))), "{error}");
    assert!(error.to_string().contains("orchestra vault init"), "{error}");
    assert!(!stage.data().exists(), "a look must not make a store");

    let error = Vault::init(&settings()).expect_err("there is no token yet");
    assert!(matches!(error, OpenError::NoToken { .. }), "{error}");
    assert!(error.to_string().contains(LABEL), "{error}");

    stage.make_token(LABEL).unwrap();
    let report = Vault::init(&settings()).unwrap();
    assert_eq!((report.kek.len(), &*report.token_label), (16, LABEL));
    assert!(!report.token_serial.is_empty());

    let error = refused(&Settings { module: "/nowhere/lib.so".into(), ..settings() });
    assert!(matches!(error, OpenError::Module { .. }), "{error}");
    let error = refused(&Settings { token_label: "nobody".into(), ..settings() });
    assert!(matches!(error, OpenError::NoToken { .. }), "{error}");

    stage.make_token("another").unwrap();
    let error = refused(&Settings { token_label: "another".into(), ..settings() });
    assert!(matches!(&error, OpenError::NoKek { kek, .. } if *kek == report.kek), "{error}");
    drop(stage.open());
});

on_stage!(1 a_missing_module_is_named_with_the_package(stage) {
    let settings = Settings { module: "/nowhere/lib.so".into(), ..stage.settings() };
    let error = Vault::init(&settings).expect_err("there is no such library");
    assert!(error.to_string().contains("/nowhere/lib.so"), "{error}");
    assert!(error.to_string().contains("apt-get install softhsm2"), "{error}");
});

on_stage!(1 nothing_that_exists_is_overwritten(stage) {
    let vault = stage.make();
    assert!(matches!(stage.make_token(LABEL), Err(OpenError::TokenExists { .. })));
    drop(vault);
    let again = Vault::init(&stage.settings());
    assert!(matches!(again, Err(OpenError::Store(store::OpenError::Exists(_)))), "{again:?}");
    drop(stage.open());
});

on_stage!(1 a_vault_opens_once_at_a_time(stage) {
    let _vault = stage.make();
    let error = refused(&stage.settings());
    assert!(matches!(error, OpenError::Store(store::OpenError::Locked(_))), "{error}");
});

on_stage!(1 labels_and_pins_that_no_token_takes_are_refused(stage) {
    for label in ["", " ", "ends in space ", "a label that is longer than a token takes", "ä"] {
        assert!(matches!(stage.make_token(label), Err(OpenError::Label)), "{label:?}");
    }
    for [so_pin, pin] in [["123", SO_PIN], [PIN, "123"], [PIN, &"1".repeat(10_000)]] {
        let refused =
            Vault::init_token(&module(), LABEL, &Secret::new(so_pin), &Secret::new(pin));
        assert!(matches!(refused, Err(OpenError::PinLength { min: 4, .. })), "{refused:?}");
    }
    stage.make_token(LABEL).expect("nothing was left half made");
});

on_stage!(1 an_unfinished_vault_is_no_vault(stage) {
    drop(stage.make());
    let store = stage.store();
    wait(store.batch(vec![Write::Delete {
        collection: Collection::Meta,
        key: b"vault".to_vec(),
    }]))
    .unwrap();
    drop(store);
    let error = refused(&stage.settings());
    assert!(matches!(error, OpenError::Store(store::OpenError::Unfinished(_))), "{error}");
});

on_stage!(3 a_key_that_can_leave_the_token_is_not_trusted(stage) {
    let id = stage.everything().join("id");
    match stage.act {
        1 => {
            stage.make_token(LABEL).unwrap();
            fs::write(id, &*Vault::init(&stage.settings()).unwrap().kek).unwrap();
        }
        2 => replace_kek(&fs::read_to_string(id).unwrap()),
        _ => {
            let error = refused(&stage.settings());
            assert!(matches!(error, OpenError::WeakKek { .. }), "{error}");
        }
    }
});

/// Puts an extractable key in the place of the vault's, with its label and id.
fn replace_kek(id: &str) {
    let id = u64::from_str_radix(id, 16).unwrap().to_be_bytes().to_vec();
    let library = Pkcs11::new(module()).unwrap();
    let flags = cryptoki::context::CInitializeFlags::OS_LOCKING_OK;
    library.initialize(cryptoki::context::CInitializeArgs::new(flags)).unwrap();
    let session = library.open_rw_session(slot(&library)).unwrap();
    session.login(UserType::User, Some(&AuthPin::from(PIN))).unwrap();
    let template = [Attribute::Label("orchestra-kek".into()), Attribute::Id(id)];
    let [kek] = session.find_objects(&template).unwrap()[..] else { panic!("one key") };
    session.destroy_object(kek).unwrap();
    let weak = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(Ulong::from(32)),
        Attribute::Token(true),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
    ];
    let template = [weak.as_slice(), template.as_slice()].concat();
    session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
}

on_stage!(1 who_accepts_a_loss_is_in_the_audit_log_or_the_vault_stays_shut(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let token = kept(&vault, &shop, "text");
    drop(vault);
    let accept = stage.data().join("accept-loss");
    let lose = || fs::remove_file(stage.data().join("mark")).unwrap();
    lose();
    let error = refused(&stage.settings());
    assert!(matches!(error, OpenError::Store(store::OpenError::NoMark(_))), "{error}");
    fs::write(&accept, "").unwrap();
    assert_eq!(revealed(&stage.open(), &shop, &token).as_deref(), Some("text"));
    let line = |object: &str, outcome: &str| ["operator", object, outcome].map(str::to_owned);
    let first = ["attempted", "success"].map(|outcome| line("the mark is missing", outcome));
    assert_eq!(stage.audited("vault.accept-loss"), first);
    assert!(!accept.exists(), "it was for one opening");

    lose();
    fs::write(&accept, "").unwrap();
    let error = stage.without_audit(|| refused(&stage.settings()));
    assert!(matches!(error, OpenError::AuditFiles { .. }), "{error}");
    assert!(accept.exists(), "so that the next opening says it");
    drop(stage.open());
    assert_eq!(stage.audited("vault.accept-loss").len(), 4);
    drop(stage.open());
    assert_eq!(stage.audited("vault.accept-loss").len(), 4);
});

on_stage!(2 a_token_is_found_by_its_label_in_whatever_slot_it_is(stage) {
    if stage.act == 1 {
        let vault = stage.make();
        let before = slots();
        for label in ["one", "another", "a third", "a fourth"] {
            stage.make_token(label).unwrap();
        }
        assert_eq!(before.len() + 4, slots().len());
        // The session that is made anew finds it among them.
        Pkcs11::new(module()).unwrap().finalize().unwrap();
        assert_eq!(wait(vault.create_merchant(&merchant("shop"), NOW)), Ok(Created::New));
        return;
    }
    let vault = stage.open();
    assert_eq!(vault.merchants().unwrap().len(), 1);
    assert!(vault.health().hsm);
});

/// The slots that hold a token.
fn slots() -> Vec<Slot> {
    Pkcs11::new(module()).unwrap().get_slots_with_initialized_token().unwrap()
}

on_stage!(1 a_lost_session_is_made_again(stage) {
    let vault = stage.make();
    let library = Pkcs11::new(module()).unwrap();
    // Whoever logs out in one session of a process logs out in all, and handles end with it.
    library.open_ro_session(slot(&library)).unwrap().logout().unwrap();
    assert_eq!(wait(vault.create_merchant(&merchant("after-logout"), NOW)), Ok(Created::New));
    library.finalize().unwrap();
    assert_eq!(wait(vault.create_merchant(&merchant("after-library"), NOW)), Ok(Created::New));
    assert!(vault.health().hsm);
    drop(vault);
    assert_eq!(stage.open().merchants().unwrap().len(), 2);
});

on_stage!(1 a_pin_that_was_refused_is_not_tried_again(stage) {
    let vault = stage.make();
    let library = Pkcs11::new(module()).unwrap();
    let session = library.open_rw_session(slot(&library)).unwrap();
    let (ours, theirs) = (AuthPin::from(PIN), AuthPin::from("canary-pin-changed"));
    session.set_pin(&ours, &theirs).unwrap();
    session.logout().unwrap();
    let refused = Err(VaultError::Hsm(HsmError::Pin));
    assert_eq!(wait(vault.create_merchant(&merchant("first"), NOW)), refused);
    // Now it would be right, and only a restart takes it up: more tries could lock the token.
    session.login(UserType::User, Some(&theirs)).unwrap();
    session.set_pin(&theirs, &ours).unwrap();
    session.logout().unwrap();
    assert_eq!(wait(vault.create_merchant(&merchant("second"), NOW)), refused);
    assert!(!vault.health().hsm);
    drop((vault, session));
    assert_eq!(wait(stage.open().create_merchant(&merchant("third"), NOW)), Ok(Created::New));
});

on_stage!(1 without_its_token_the_vault_serves_what_it_has(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let token = kept(&vault, &shop, "4111111111111111");
    fs::remove_dir_all(stage.everything().join("tokens")).unwrap();
    fs::create_dir(stage.everything().join("tokens")).unwrap();
    let library = Pkcs11::new(module()).unwrap();
    library.finalize().unwrap();
    let new = wait(vault.create_merchant(&merchant("newcomer"), NOW));
    assert!(matches!(new, Err(VaultError::Hsm(_))), "{new:?}");
    assert!(!vault.health().hsm && vault.figures().hsm_errors > 0);
    assert!(vault.merchants().unwrap().iter().all(|brief| brief.id != merchant("newcomer")));
    let cvv_token = kept(&vault, &shop, "737");
    let card = opened(&vault, &shop, number(&token), cvv(&cvv_token)).unwrap();
    assert_eq!(card, ("4111111111111111".into(), Some("737".into())));
});

on_stage!(1 a_closed_vault_writes_no_more(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let token = kept(&vault, &shop, "4111111111111111");
    vault.close();
    let refused = wait(vault.keep(&shop, Secret::new("text"), NOW_MS));
    assert_eq!(refused, Err(VaultError::Store(StoreError::Unavailable)));
    assert!(revealed(&vault, &shop, &token).is_some());
});

/// A child is its own process.
#[test]
fn a_hardened_process_tells_what_it_achieved() {
    crate::stage::play(
        concat!(module_path!(), "::a_hardened_process_tells_what_it_achieved"),
        1,
        |stage: &Stage| {
            let vault = stage.make();
            let figures =
                || (vault.figures().process_dumpable, vault.figures().process_memory_locked);
            assert_eq!(figures(), (1, 0), "nothing was done yet");
            let achieved = vault::harden_process();
            assert!(achieved.no_dumps);
            assert_eq!(figures(), (0, u64::from(achieved.memory_locked)));
            let limits = fs::read_to_string("/proc/self/limits").unwrap();
            let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
            assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
        },
    );
}
