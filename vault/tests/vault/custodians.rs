//! Custodians: who they are, whose word counts, and what takes two of them.

use crate::rotation::tend;
use crate::stage::{NOW, NOW_MS, Stage, kept, on_stage, revealed};
use model::Secret;
use vault::audit::Who;
use vault::store::{Collection, PAGE_ENTRIES_MAX, Store, Write};
use vault::{
    APPROVAL_S, Approval, CustodianBrief, Deed, Finding, NEWCOMER_S, UNAPPROVED_S, Vault,
    VaultError, wait,
};

fn who() -> Who {
    Who::operator(1)
}

/// A vault whose key in the token was made on the word of alice and bob. All have one secret.
fn with_alice_and_bob(stage: &Stage) -> (Vault, Secret) {
    let (vault, secret) = (stage.make(), Secret::new("a secret of their own"));
    // The first ones need nobody, as long as nothing was made on anybody's word.
    for name in ["alice", "bob"] {
        wait(vault.add_custodian(name, &secret, &who(), NOW)).unwrap();
        wait(vault.approve_kek_rotation(name, &secret, &who(), NOW)).unwrap();
    }
    tend(&vault);
    (vault, secret)
}

fn custodian(vault: &Vault, name: &str) -> CustodianBrief {
    vault.custodians().unwrap().into_iter().find(|brief| &*brief.name == name).unwrap()
}

on_stage!(1 a_new_custodian_is_announced_and_waits_when_there_were_others(stage) {
    let (vault, secret) = with_alice_and_bob(stage);
    let add = |name, now| wait(vault.add_custodian(name, &secret, &who(), now)).unwrap();
    let approve = |name, now| wait(vault.approve_kek_rotation(name, &secret, &who(), now));
    add("carol", NOW);
    let counts = NOW + UNAPPROVED_S;
    let carol = custodian(&vault, "carol");
    assert_eq!((carol.accepted, carol.counts_from, carol.approved_by), (NOW, counts, None));
    let lines = stage.audited("custodian.add");
    assert_eq!(lines.last().unwrap()[1..], ["carol, beside alice, bob", "success"]);
    // Nor does it help to send the others away first.
    for name in ["alice", "bob"] {
        assert_eq!(wait(vault.remove_custodian(name, &who())), Ok(true));
    }
    add("dave", NOW);
    for (name, now) in [("carol", NOW), ("dave", NOW), ("carol", counts - 1)] {
        assert_eq!(approve(name, now), Err(VaultError::NewCustodian), "{name} {now}");
    }
    let wrong = Secret::new("not carol's secret");
    let guessed = wait(vault.approve_kek_rotation("carol", &wrong, &who(), NOW));
    assert_eq!(guessed, Err(VaultError::Custodian), "nobody is told more without the secret");
    assert_eq!(approve("carol", counts), Ok(Approval::Waits { until: counts + APPROVAL_S }));
    assert_eq!(approve("dave", counts), Ok(Approval::Done { by: "carol, dave".into() }));
});

on_stage!(2 a_new_custodian_is_approved_by_one_whose_word_counts(stage) {
    let approve = |vault: &Vault, name: &str, by: &str, secret: &Secret, now| {
        wait(vault.approve_custodian(name, (by, secret), &who(), now))
    };
    if stage.act == 2 {
        let approved = custodian(&stage.open(), "carol").approved_by;
        assert_eq!(approved.as_deref(), Some("alice"), "it is kept");
        return;
    }
    let (vault, secret) = with_alice_and_bob(stage);
    for name in ["carol", "dave"] {
        wait(vault.add_custodian(name, &secret, &who(), NOW)).unwrap();
    }
    let wrong = Secret::new("not alice's secret");
    for (name, by, secret, refused) in [
        ("carol", "alice", &wrong, VaultError::Custodian),
        ("carol", "nobody", &secret, VaultError::Custodian),
        ("carol", "no name!", &secret, VaultError::Custodian),
        ("nobody", "alice", &secret, VaultError::NoCustodian),
        // Neither oneself, nor one another.
        ("carol", "carol", &secret, VaultError::NewCustodian),
        ("carol", "dave", &secret, VaultError::NewCustodian),
        // There is nothing to approve.
        ("bob", "alice", &secret, VaultError::CustodianApproved),
        ("alice", "alice", &secret, VaultError::CustodianApproved),
    ] {
        assert_eq!(approve(&vault, name, by, secret, NOW), Err(refused), "{name} {by}");
    }
    let rotate = |name, now| wait(vault.approve_kek_rotation(name, &secret, &who(), now));
    assert_eq!(approve(&vault, "carol", "alice", &secret, NOW + 5), Ok(()));
    let carol = custodian(&vault, "carol");
    assert_eq!((carol.accepted, carol.counts_from), (NOW, NOW + NEWCOMER_S));
    assert_eq!(carol.approved_by.as_deref(), Some("alice"));
    let lines = stage.audited("custodian.approve");
    assert_eq!(lines.last().unwrap()[1..], ["carol, on the word of alice", "success"]);
    assert!(lines.iter().any(|line| line[1..] == ["carol, on the word of dave", "failure"]));
    let again = approve(&vault, "carol", "bob", &secret, NOW + 6);
    assert_eq!(again, Err(VaultError::CustodianApproved));
    // The others have their time to see it even so: alice alone could have made her.
    assert_eq!(rotate("carol", NOW + NEWCOMER_S - 1), Err(VaultError::NewCustodian));
    assert_eq!(rotate("dave", NOW + NEWCOMER_S), Err(VaultError::NewCustodian));
    assert!(rotate("carol", NOW + NEWCOMER_S).is_ok());
    // From now on hers is a word like any other.
    assert_eq!(approve(&vault, "dave", "carol", &secret, NOW + NEWCOMER_S), Ok(()));
    assert_eq!(custodian(&vault, "dave").counts_from, NOW + NEWCOMER_S);
});

on_stage!(1 the_word_of_who_was_removed_is_not_that_of_who_gets_the_name(stage) {
    let (vault, secret) = (stage.make(), Secret::new("a secret of their own"));
    let add = |name, now| wait(vault.add_custodian(name, &secret, &who(), now)).unwrap();
    let approve = |name, now| wait(vault.approve_kek_rotation(name, &secret, &who(), now));
    add("alice", NOW);
    add("bob", NOW);
    assert!(matches!(approve("alice", NOW + 1), Ok(Approval::Waits { .. })));
    assert_eq!(wait(vault.remove_custodian("alice", &who())), Ok(true));
    add("alice", NOW + 2);
    assert!(matches!(approve("bob", NOW + 3), Ok(Approval::Waits { .. })), "his is the first");
    assert!(matches!(approve("alice", NOW + 4), Ok(Approval::Done { .. })));
});

on_stage!(2 after_ten_wrong_secrets_no_custodian_is_listened_to(stage) {
    let right = Secret::new("alice's own secret");
    let approve = |vault: &Vault, secret: &str, now| {
        wait(vault.approve_kek_rotation("alice", &Secret::new(secret), &who(), now)).map(drop)
    };
    let wrong = Err(VaultError::Custodian);
    if stage.act == 2 {
        // It is not forgotten with the process.
        let vault = stage.open();
        assert_eq!(approve(&vault, "alice's own secret", NOW + 1_799), wrong);
        // Who was refused meanwhile has not made it longer.
        assert_eq!(approve(&vault, "alice's own secret", NOW + 1_800), Ok(()));
        // A right one takes the wrong ones back.
        for _ in 0..9 {
            assert_eq!(approve(&vault, "not alice's secret", NOW + 1_800), wrong);
        }
        let same = Err(VaultError::SameCustodian);
        assert_eq!(approve(&vault, "alice's own secret", NOW + 1_800), same);
        assert_eq!(approve(&vault, "not alice's secret", NOW + 1_800), wrong);
        assert_eq!(approve(&vault, "alice's own secret", NOW + 1_800), same);
        return;
    }
    let vault = stage.make();
    wait(vault.add_custodian("alice", &right, &who(), NOW)).unwrap();
    assert_eq!(
        wait(vault.add_custodian("alice", &right, &who(), NOW)),
        Err(VaultError::CustodianExists)
    );
    for bad in ["", "A", "a b", "alice's"] {
        let added = wait(vault.add_custodian(bad, &right, &who(), NOW));
        assert!(matches!(added, Err(VaultError::Size { .. })), "{bad}");
    }
    let short = wait(vault.add_custodian("carol", &Secret::new("short"), &who(), NOW));
    assert_eq!(short, Err(VaultError::CustodianSecret));
    for _ in 0..10 {
        assert_eq!(approve(&vault, "not alice's secret", NOW), wrong);
    }
    assert_eq!(approve(&vault, "alice's own secret", NOW + 1_799), wrong);
    // As if it were killed: nothing is closed or dropped.
    std::mem::forget(vault);
});

on_stage!(1 what_cannot_be_undone_takes_the_words_of_two(stage) {
    let (vault, shop, other) = stage.make_with_merchants();
    let [token, theirs] = [&shop, &other].map(|merchant| kept(&vault, merchant, "text"));
    let (secret, wrong) = (Secret::new("a secret of their own"), Secret::new("of nobody at all"));
    let [shred, shred_other] = [&shop, &other].map(|m| Deed::Shred { merchant: m.clone() });
    let say = |name, deed: &Deed, secret: &Secret, now| {
        wait(vault.approve(deed, (name, secret), &who(), now))
    };
    assert_eq!(say("alice", &shred, &secret, NOW), Err(VaultError::NoCustodians));
    assert!(VaultError::NoCustodians.to_string().contains("orchestra custodians add"));
    for name in ["alice", "bob"] {
        wait(vault.add_custodian(name, &secret, &who(), NOW)).unwrap();
    }
    let (until, late) = (NOW + APPROVAL_S, NOW + APPROVAL_S);
    let waits = Ok(Approval::Waits { until });
    assert_eq!(say("alice", &shred, &secret, NOW), waits);
    assert_eq!(say("alice", &shred, &secret, NOW), Err(VaultError::SameCustodian));
    assert_eq!(say("bob", &shred, &wrong, NOW), Err(VaultError::Custodian));
    // A word is for one deed, and another takes its place.
    assert_eq!(say("bob", &shred_other, &secret, NOW), waits);
    assert_eq!(say("bob", &Deed::RotateKek, &secret, NOW), waits);
    assert_eq!(say("alice", &shred, &secret, NOW), waits);
    // And for a day.
    let again = Ok(Approval::Waits { until: late + APPROVAL_S });
    assert_eq!(say("bob", &shred, &secret, late), again);
    assert_eq!(revealed(&vault, &shop, &token).as_deref(), Some("text"), "nothing was done");
    assert_eq!(say("alice", &shred, &secret, late), Ok(Approval::Done { by: "bob, alice".into() }));
    assert_eq!(vault.token(&shop, &token, NOW_MS).map(drop), Err(VaultError::Shredded));
    assert_eq!(revealed(&vault, &other, &theirs).as_deref(), Some("text"));
    let lines = stage.audited("merchant.shred");
    assert_eq!(lines.last().unwrap()[1..], ["shop, on the word of bob, alice", "success"]);
    let lines = stage.audited("custodian.agree");
    assert_eq!(lines[1][1..], ["alice, to shred shop", "failure"], "{lines:?}");
});

on_stage!(1 what_the_vault_keeps_about_itself_is_checked_too(stage) {
    let (vault, secret) = with_alice_and_bob(stage);
    let deed = Deed::RotateKek;
    assert!(wait(vault.approve(&deed, ("alice", &secret), &who(), NOW)).is_ok());
    let wrong = Secret::new("not bob's secret");
    assert!(wait(vault.approve(&deed, ("bob", &wrong), &who(), NOW)).is_err());
    let report = vault.verify(|_| {}).unwrap();
    assert!(report.is_whole(), "{report:?}");
    drop(vault);
    let all = stage.store().page(Collection::Meta, None, b"", PAGE_ENTRIES_MAX).unwrap();
    let put = |key: &[u8], value: Vec<u8>| {
        let (collection, key) = (Collection::Meta, key.to_vec());
        wait(stage.store().batch(vec![Write::Put { collection, key, value }])).unwrap();
    };
    for name in ["custodian\0alice", "custodian attempts", "kek approval"] {
        let (key, value) = all.iter().find(|(key, _)| *key == name.as_bytes()).expect(name);
        let mut changed = value.clone();
        *changed.last_mut().unwrap() ^= 1;
        put(key, changed);
        let row = name.replace('\0', " ").into();
        let expected = [Finding { collection: "meta", row }];
        assert_eq!(stage.open().verify(|_| {}).unwrap().findings, expected);
        put(key, value.clone());
    }
    put(b"of somebody else", vec![1]);
    let found = stage.open().verify(|_| {}).unwrap().findings;
    assert_eq!(&*found[0].row, "of somebody else");
});
