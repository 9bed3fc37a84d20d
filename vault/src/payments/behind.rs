//! Who answers from what was read waits until that is durable.
//!
//! Our engine shows nothing before it is, so that nobody would miss the waiting before there is
//! another one. Here the store says that it cannot vouch for what it shows.

use super::*;
use crate::stage::{NOW_MS, kept, on_stage};
use crate::wait;
use model::{
    About, Attempt, Capture, Credentials, Currency, Learnt, Notice, Outcome, Rejected, Secret,
    Subject, Teller,
};

const BEHIND: VaultError = VaultError::Store(StoreError::Unavailable);
const APPROVED: Standing = Standing::Ended(Outcome::Approved);

fn account() -> AccountName {
    AccountName::parse("main").unwrap()
}

fn attempt() -> Attempt {
    let (began, standing) = (NOW_MS, Standing::Sending);
    let evidence = Evidence::default();
    Attempt { account: Some(account()), provider: "stripe".into(), began, standing, evidence }
}

fn begun(vault: &Vault, shop: &MerchantId) -> Ongoing {
    let payment = Payment {
        id: TransactionId::new(0, 0),
        capture: Capture::Now,
        amount: Amount::new(1_000, Currency::EUR).unwrap(),
        merchant_reference: None,
        adopted: false,
        last_four: None,
        memo: None,
        attempts: vec![attempt()],
        changes: Vec::new(),
    };
    let name = vault.name_payment(shop, NOW_MS).unwrap();
    wait(vault.begin_payment(shop, payment, None, name)).unwrap()
}

fn report(reference: &str) -> Report {
    Report { reference: Some(reference.into()), ..Report::bare(Outcome::Approved) }
}

/// What its provider tells of an attempt, under the name that it gives it.
fn told(
    vault: &Vault,
    shop: &MerchantId,
    (name, key, reference): (&str, &str, &str),
) -> Result<Heard, VaultError> {
    let about = About {
        subject: Subject::Payment,
        key: Some(key.into()),
        payment_key: None,
        payment: Some(reference.into()),
        action: None,
        merchant_reference: None,
    };
    let notice = Notice { name: name.into(), about, report: None };
    let teller = Teller { provider: "stripe".into(), account: account() };
    wait(vault.hear(shop, &teller, (&notice, &report(reference)), NOW_MS)).map(|(heard, _)| heard)
}

on_stage!(1 a_notice_is_acknowledged_when_what_it_told_before_is_durable(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let mut ongoing = begun(&vault, &shop);
    ongoing.note(APPROVED, Some(&report("pi_1")));
    let id = wait(vault.settle(ongoing, None)).unwrap().id;
    let told = |name| told(&vault, &shop, (name, id.as_str(), "pi_1"));
    assert_eq!(told("evt_1"), Ok(Heard::Learnt(Learnt::Known)));
    assert_eq!(told("evt_1"), Ok(Heard::Repeated));
    vault.store.pretend_behind();
    assert_eq!(told("evt_1"), Err(BEHIND), "it was taken in before");
    assert_eq!(told("evt_2"), Err(BEHIND), "its payment knows it");
});

on_stage!(1 what_was_given_up_and_stands_is_told_when_it_is_durable(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let mut ongoing = begun(&vault, &shop);
    let id = ongoing.payment.id.clone();
    let busy = Standing::Ended(Outcome::Rejected(Rejected::RateLimited));
    ongoing.note(busy, None);
    ongoing.payment.attempts.push(attempt());
    wait(vault.go_on(&mut ongoing)).unwrap();
    ongoing.note(APPROVED, Some(&report("pi_2")));
    wait(vault.settle(ongoing, None)).unwrap();
    let told = |name| told(&vault, &shop, (name, id.as_str(), "pi_1"));
    assert_eq!(told("evt_1"), Ok(Heard::Learnt(Learnt::Stray)));
    assert_eq!(told("evt_2"), Ok(Heard::Learnt(Learnt::Stray)));
    vault.store.pretend_behind();
    assert_eq!(told("evt_3"), Err(BEHIND), "it is a payment of its own already");
});

on_stage!(1 an_answer_is_repeated_when_it_is_durable(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let claim = || {
        let fields = vault.request_fields(&shop).unwrap();
        wait(vault.claim_replay(&shop, "key", fields, NOW_MS))
    };
    let Ok(Claimed::New(mine)) = claim() else { panic!("nobody used it") };
    let answer = Replay { status: 200, body: Box::from(&b"{}"[..]) };
    wait(vault.answer_replay(mine, &answer)).unwrap();
    assert!(matches!(claim(), Ok(Claimed::Answered(_))));
    vault.store.pretend_behind();
    assert!(matches!(claim(), Err(BEHIND)));
});

on_stage!(1 that_there_is_nothing_is_told_when_it_is_durable(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let credentials = Credentials::new(vec![("SecretKey".into(), Secret::new("sk_1"))]);
    wait(vault.put_account(&shop, &account(), "Stripe", credentials, NOW_MS)).unwrap();
    let token = kept(&vault, &shop, "text");
    let forget = || wait(vault.forget(&shop, &token, NOW_MS));
    let drop_staged = || wait(vault.unstage_account(&shop, &account(), NOW_MS));
    let revoke = || wait(vault.revoke_key(&model::KeyId::parse("abcdefghijkl").unwrap()));
    assert_eq!((forget(), forget(), revoke()), (Ok(true), Ok(false), Ok(false)));
    assert!(drop_staged().is_ok());
    vault.store.pretend_behind();
    assert_eq!((forget(), revoke()), (Err(BEHIND), Err(BEHIND)));
    assert_eq!(drop_staged().map(drop), Err(BEHIND));
});
