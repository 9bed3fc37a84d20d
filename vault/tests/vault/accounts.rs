//! Gateway accounts and their credentials.

use crate::stage::{NOW_MS, merchant, on_stage};
use model::{AccountName, AccountState, Credentials, MerchantId, Secret};
use vault::store::{BATCH_WRITES_MAX, Collection, Store, Write};
use vault::{ACCOUNTS_MAX, AccountBrief, PERCENT_MAX, Pick, Staged, Step, Vault, VaultError, wait};

fn name(text: &str) -> AccountName {
    AccountName::parse(text).unwrap()
}

/// How long after its replacement an account may still be asked with the credentials before.
const IN_HAND_MS: u64 = 600_000;

fn credentials(pairs: &[(&str, &str)]) -> Credentials {
    let pair = |(name, value): &(&str, &str)| ((*name).into(), Secret::new(*value));
    Credentials::new(pairs.iter().map(pair).collect())
}

fn put(
    vault: &Vault,
    merchant: &MerchantId,
    account: &str,
    pairs: &[(&str, &str)],
    now: u64,
) -> Result<AccountBrief, VaultError> {
    wait(vault.put_account(merchant, &name(account), "Stripe", credentials(pairs), now))
}

/// The gateway and the credentials of an account.
fn read(
    vault: &Vault,
    merchant: &MerchantId,
    account: &str,
) -> Option<(Box<str>, Vec<(String, String)>)> {
    let account = vault.account(merchant, &name(account)).unwrap()?;
    // Exposed to be compared with what was put.
    let pairs = account.credentials.iter().map(|(n, v)| (n.into(), v.expose().into())).collect();
    Some((account.brief.gateway.clone(), pairs))
}

on_stage!(1 an_account_is_put_read_listed_replaced_and_deleted(stage) {
    let (vault, shop, other) = stage.make_with_merchants();
    let brief = put(&vault, &shop, "stripe", &[("secretKey", "sk_1"), ("b", "")], NOW_MS).unwrap();
    assert_eq!((&*brief.gateway, brief.created), ("Stripe", NOW_MS));
    let pairs = vec![("secretKey".into(), "sk_1".into()), ("b".into(), String::new())];
    assert_eq!(read(&vault, &shop, "stripe"), Some(("Stripe".into(), pairs)));
    assert_eq!(read(&vault, &other, "stripe"), None);

    let later = NOW_MS + 5;
    let replaced = wait(vault.put_account(
        &shop,
        &name("stripe"),
        "Adyen",
        credentials(&[("apiKey", "ak")]),
        later,
    ));
    assert_eq!(replaced.unwrap().created, NOW_MS, "the time of creation stays");
    let pairs = vec![("apiKey".into(), "ak".into())];
    assert_eq!(read(&vault, &shop, "stripe"), Some(("Adyen".into(), pairs)), "nothing is left");

    put(&vault, &shop, "adyen", &[], later).unwrap();
    put(&vault, &other, "elsewhere", &[], later).unwrap();
    let listed = vault.accounts(&shop).unwrap();
    let told: Vec<_> = listed.iter().map(|b| (b.name.as_str(), &*b.gateway, b.created)).collect();
    assert_eq!(told, [("adyen", "Stripe", later), ("stripe", "Adyen", NOW_MS)]);

    assert_eq!(wait(vault.delete_account(&other, &name("stripe"), NOW_MS)), Ok(false));
    assert_eq!(wait(vault.delete_account(&shop, &name("stripe"), NOW_MS)), Ok(true));
    assert_eq!(wait(vault.delete_account(&shop, &name("stripe"), NOW_MS)), Ok(false));
    assert_eq!(read(&vault, &shop, "stripe"), None);
    let again = put(&vault, &shop, "stripe", &[], later).unwrap();
    assert_eq!(again.created, later, "a deleted account is forgotten");
});

on_stage!(1 an_account_says_since_when_it_has_its_credentials(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let acc = name("acc");
    let since = |vault: &Vault| vault.account(&shop, &acc).unwrap().unwrap().brief.since;
    put(&vault, &shop, "acc", &[("secretKey", "sk_1")], NOW_MS).unwrap();
    put(&vault, &shop, "acc", &[("secretKey", "sk_1")], NOW_MS + 10).unwrap();
    assert_eq!(since(&vault), NOW_MS, "they are the same");
    assert_eq!(wait(vault.set_account_state(&shop, &acc, AccountState::Disabled, NOW_MS + 20)), Ok(true));
    let next = credentials(&[("secretKey", "sk_2")]);
    let staged = wait(vault.stage_account(&shop, &acc, next, NOW_MS + 30)).unwrap().unwrap();
    let all = Step::Switched(PERCENT_MAX);
    wait(vault.step_staged(&shop, &acc, staged.id, all, NOW_MS + 40)).unwrap().unwrap();
    assert_eq!(wait(vault.retire_account(&shop, &acc, staged.id, NOW_MS + 50)), Ok(true));
    assert_eq!(since(&vault), NOW_MS, "those that were staged are of the same account");
    // Whoever has found the account by then may still send with those before.
    put(&vault, &shop, "acc", &[("secretKey", "sk_3")], NOW_MS + 60).unwrap();
    assert_eq!(since(&vault), NOW_MS + 60 + IN_HAND_MS);
    // A clock that was put back does not make them older than they are.
    put(&vault, &shop, "acc", &[("secretKey", "sk_4")], NOW_MS).unwrap();
    assert!(since(&vault) > NOW_MS + 60 + IN_HAND_MS);
    let gateway = vault.put_account(&shop, &acc, "Adyen", credentials(&[("secretKey", "sk_4")]), NOW_MS + 99);
    wait(gateway).unwrap();
    assert_eq!(since(&vault), NOW_MS + 99 + IN_HAND_MS, "another gateway");
});

on_stage!(1 credentials_are_newer_than_all_that_was_begun_before_whatever_the_clock_says(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let since = |account: &str| vault.account(&shop, &name(account)).unwrap().unwrap().brief.since;
    put(&vault, &shop, "acc", &[("secretKey", "sk_1")], NOW_MS).unwrap();
    let ahead = NOW_MS + 60_000;
    let begun = vault.name_payment(&shop, ahead).unwrap();
    // The clock was put back.
    put(&vault, &shop, "acc", &[("secretKey", "sk_2")], NOW_MS + 1).unwrap();
    assert!(since("acc") > begun.id().millis());
    assert_eq!(wait(vault.delete_account(&shop, &name("acc"), NOW_MS + 2)), Ok(true));
    put(&vault, &shop, "acc", &[("secretKey", "sk_3")], NOW_MS + 3).unwrap();
    assert_eq!(since("acc"), ahead);
});

on_stage!(2 an_account_is_disabled_with_all_that_is_in_it_and_enabled_again(stage) {
    use model::AccountState::{Disabled, Enabled};
    let state = |vault: &Vault, shop: &MerchantId| {
        let listed = vault.accounts(shop).unwrap();
        let account = vault.account(shop, &name("acc")).unwrap().unwrap();
        assert_eq!(listed[0].state, account.brief.state);
        account.brief.state
    };
    let set = |vault: &Vault, shop: &MerchantId, state| {
        wait(vault.set_account_state(shop, &name("acc"), state, NOW_MS))
    };
    if stage.act == 1 {
        let (vault, shop, other) = stage.make_with_merchants();
        let pair = credentials(&[("secretKey", "sk_1")]);
        let as_state = (pair, Disabled);
        wait(vault.put_account_as(&shop, &name("acc"), "Stripe", as_state, NOW_MS)).unwrap();
        assert_eq!(state(&vault, &shop), Disabled);
        assert_eq!((set(&vault, &shop, Enabled), set(&vault, &other, Enabled)), (Ok(true), Ok(false)));
        assert_eq!(state(&vault, &shop), Enabled);
        let next = credentials(&[("secretKey", "sk_2")]);
        wait(vault.stage_account(&shop, &name("acc"), next, NOW_MS)).unwrap().unwrap();
        assert_eq!(set(&vault, &shop, Disabled), Ok(true));
        return;
    }
    let (vault, shop) = (stage.open(), merchant("shop"));
    assert_eq!(state(&vault, &shop), Disabled);
    assert!(vault.account(&shop, &name("acc")).unwrap().unwrap().staged.is_some(), "all else stays");
    let pairs = vec![("secretKey".into(), "sk_1".into())];
    assert_eq!(read(&vault, &shop, "acc"), Some(("Stripe".into(), pairs)));
    put(&vault, &shop, "acc", &[], NOW_MS).unwrap();
    assert_eq!(state(&vault, &shop), Enabled, "it is replaced as a whole");
});

on_stage!(1 merchants_whose_names_begin_alike_do_not_mix(stage) {
    let vault = stage.make();
    let (shop, shop2) = (merchant("shop"), merchant("shop-2"));
    for merchant in [&shop, &shop2] {
        wait(vault.create_merchant(merchant, 1)).unwrap();
        put(&vault, merchant, &format!("of-{merchant}"), &[], NOW_MS).unwrap();
    }
    let listed = |merchant| vault.accounts(merchant).unwrap()[0].name.as_str().to_owned();
    assert_eq!((listed(&shop), listed(&shop2)), ("of-shop".into(), "of-shop-2".into()));
    assert_eq!(vault.accounts(&shop).unwrap().len(), 1);
});

on_stage!(1 everything_about_an_account_has_a_maximum(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let put_one = |gateway: &str, key: String, value: String, count: usize| {
        let pair = |i| (format!("{key}{i}").into(), Secret::new(value.clone()));
        let credentials = Credentials::new((0..count).map(pair).collect());
        wait(vault.put_account(&shop, &name("acc"), gateway, credentials, NOW_MS))
    };
    let long = |length| "x".repeat(length);
    assert!(put_one("Stripe", long(62), long(Credentials::VALUE_BYTES_MAX), 20).is_ok());
    for (gateway, key, value, count) in [
        ("", 1, 1, 1),
        (&*long(65), 1, 1, 1),
        ("Stripe", Credentials::NAME_BYTES_MAX, 1, 1),
        ("Stripe", 1, Credentials::VALUE_BYTES_MAX + 1, 1),
        ("Stripe", 1, 1, Credentials::PAIRS_MAX + 1),
        ("Stripe", 60, Credentials::VALUE_BYTES_MAX, Credentials::PAIRS_MAX),
    ] {
        let refused = put_one(gateway, long(key), long(value), count);
        let expected =
            matches!(refused, Err(VaultError::Size { .. } | VaultError::TooMany { .. }));
        assert!(expected, "{gateway} {key} {value} {count}: {refused:?}");
    }
    assert_eq!(put(&vault, &merchant("nobody"), "acc", &[], 1), Err(VaultError::NoSuchMerchant));
});

on_stage!(1 a_merchant_has_at_most_so_many_accounts(stage) {
    let (vault, shop, other) = stage.make_with_merchants();
    put(&vault, &shop, "real", &[], NOW_MS).unwrap();
    drop(vault);
    let store = stage.store();
    let plant = |n| Write::Put {
        collection: Collection::Accounts,
        key: format!("shop\0planted-{n}").into(),
        value: vec![],
    };
    let rows: Vec<Write> = (2..ACCOUNTS_MAX).map(plant).collect();
    for some in rows.chunks(BATCH_WRITES_MAX) {
        wait(store.batch(some.to_vec())).unwrap();
    }
    drop(store);
    let vault = stage.open();
    assert!(put(&vault, &shop, "last", &[], NOW_MS).is_ok());
    let refused = Err(VaultError::TooMany { what: "accounts", max: ACCOUNTS_MAX });
    assert_eq!(put(&vault, &shop, "over", &[], NOW_MS), refused);
    assert!(put(&vault, &shop, "last", &[], NOW_MS).is_ok(), "a replacement is no more");
    assert!(put(&vault, &other, "first", &[], NOW_MS).is_ok(), "others have their own");
});

on_stage!(1 accounts_that_are_put_at_once_are_put_whole(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (vault, shop) = (&vault, &shop);
            scope.spawn(move || {
                for _ in 0..5 {
                    let value = writer.to_string();
                    put(vault, shop, "acc", &[("a", &value), ("b", &value)], NOW_MS).unwrap();
                }
            });
        }
    });
    let (_, pairs) = read(&vault, &shop, "acc").unwrap();
    assert_eq!(pairs[0].1, pairs[1].1);
    assert_eq!(vault.figures().opens_refused, 0);
});

fn key(value: &str) -> Credentials {
    credentials(&[("SecretKey", value)])
}

/// The value of the picked credentials, and what is staged.
fn picked(vault: &Vault, merchant: &MerchantId, pick: Pick) -> (String, Option<Staged>) {
    let account = vault.account_by(merchant, &name("acc"), |_| pick).unwrap().unwrap();
    let value = account.credentials.find(&["SecretKey"]).unwrap();
    // Exposed to be compared with what was put.
    (value.expose().to_owned(), account.staged)
}

on_stage!(2 staged_credentials_go_step_by_step_and_each_step_lasts(stage) {
    if stage.act == 2 {
        let (vault, shop) = (stage.open(), merchant("shop"));
        assert_eq!(picked(&vault, &shop, Pick::Staged), ("new".into(), None), "retired, for good");
        return;
    }
    let (vault, shop, other) = stage.make_with_merchants();
    let (acc, later) = (name("acc"), NOW_MS + 1);
    assert_eq!(wait(vault.stage_account(&shop, &acc, key("new"), later)), Ok(None));
    put(&vault, &shop, "acc", &[("SecretKey", "old")], NOW_MS).unwrap();
    assert_eq!(picked(&vault, &shop, Pick::Staged), ("old".into(), None), "nothing is staged");
    let step = |id, step| wait(vault.step_staged(&shop, &acc, id, step, later)).unwrap();
    assert_eq!(step(0, Step::Switched(50)), None);

    let staged = wait(vault.stage_account(&shop, &acc, key("new"), later)).unwrap().unwrap();
    assert_eq!((staged.since, staged.percent, staged.validated), (later, 0, None));
    assert_eq!(picked(&vault, &shop, Pick::Current), ("old".into(), Some(staged)));
    assert_eq!(picked(&vault, &shop, Pick::Staged), ("new".into(), Some(staged)));
    assert_eq!(vault.staged_accounts(&shop).unwrap(), [(acc.clone(), staged)]);
    assert_eq!(vault.staged_accounts(&other).unwrap(), []);

    let switched = step(staged.id, Step::Switched(50)).unwrap();
    assert_eq!((switched.percent, switched.id), (50, staged.id));
    assert_eq!(picked(&vault, &shop, Pick::Current).1, Some(switched));
    let failed = step(staged.id, Step::RolledBack).unwrap();
    assert_eq!((failed.percent, failed.failed), (0, Some(later)));

    // Another one is no longer the one that failed.
    let again = wait(vault.stage_account(&shop, &acc, key("new"), later)).unwrap().unwrap();
    assert_ne!(again.id, staged.id);
    assert_eq!(step(staged.id, Step::Switched(100)), None);
    assert_eq!(wait(vault.retire_account(&shop, &acc, staged.id, later)), Ok(false));
    assert_eq!(picked(&vault, &shop, Pick::Current).0, "old");
    assert_eq!(wait(vault.retire_account(&shop, &acc, again.id, later)), Ok(false), "no share");
    step(again.id, Step::Switched(99)).unwrap();
    assert_eq!(wait(vault.retire_account(&shop, &acc, again.id, later)), Ok(false), "a part");
    step(again.id, Step::Switched(100)).unwrap();
    assert_eq!(wait(vault.retire_account(&shop, &acc, again.id, later)), Ok(true));
    assert_eq!(picked(&vault, &shop, Pick::Current), ("new".into(), None));
    let brief = vault.account(&shop, &acc).unwrap().unwrap().brief.clone();
    assert_eq!((&*brief.gateway, brief.created), ("Stripe", NOW_MS), "it is the same account");
});

on_stage!(1 what_is_staged_can_be_dropped_and_goes_with_the_account(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let acc = name("acc");
    let stage_new = || wait(vault.stage_account(&shop, &acc, key("new"), NOW_MS)).unwrap();
    put(&vault, &shop, "acc", &[("SecretKey", "old")], NOW_MS).unwrap();
    assert!(stage_new().is_some());
    assert_eq!(wait(vault.unstage_account(&shop, &acc, NOW_MS)), Ok(true));
    assert_eq!(wait(vault.unstage_account(&shop, &acc, NOW_MS)), Ok(false));
    assert_eq!(picked(&vault, &shop, Pick::Staged), ("old".into(), None));
    assert!(stage_new().is_some());
    put(&vault, &shop, "acc", &[("SecretKey", "other")], NOW_MS).unwrap();
    assert_eq!(picked(&vault, &shop, Pick::Staged), ("other".into(), None), "replaced as a whole");
    assert!(stage_new().is_some());
    assert_eq!(wait(vault.delete_account(&shop, &acc, NOW_MS)), Ok(true));
    assert_eq!(stage_new(), None);
    // What does not fit beside the rest is refused, and nothing is lost.
    let long = |count| {
        let pair = |i| (format!("{i}").into(), Secret::new("x".repeat(1_024)));
        Credentials::new((0..count).map(pair).collect())
    };
    wait(vault.put_account(&shop, &acc, "Stripe", long(20), NOW_MS)).unwrap();
    let refused = wait(vault.stage_account(&shop, &acc, long(20), NOW_MS));
    assert!(matches!(refused, Err(VaultError::Size { .. })), "{refused:?}");
    assert_eq!(vault.account(&shop, &acc).unwrap().unwrap().credentials.len(), 20);
});

on_stage!(1 steps_that_are_taken_at_once_are_taken_one_by_one(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let acc = name("acc");
    put(&vault, &shop, "acc", &[("SecretKey", "old")], NOW_MS).unwrap();
    let staged = wait(vault.stage_account(&shop, &acc, key("new"), NOW_MS)).unwrap().unwrap();
    let all = Step::Switched(100);
    wait(vault.step_staged(&shop, &acc, staged.id, all, NOW_MS)).unwrap().unwrap();
    let (retired, dropped) = std::thread::scope(|scope| {
        let retire = scope.spawn(|| wait(vault.retire_account(&shop, &acc, staged.id, NOW_MS)));
        let drop = scope.spawn(|| wait(vault.unstage_account(&shop, &acc, NOW_MS)));
        (retire.join().unwrap().unwrap(), drop.join().unwrap().unwrap())
    });
    assert!(retired != dropped, "one of them found nothing staged");
    let kept = if retired { "new" } else { "old" };
    assert_eq!(picked(&vault, &shop, Pick::Staged), (kept.into(), None));
});
