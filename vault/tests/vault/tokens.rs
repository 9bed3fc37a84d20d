//! String tokens and the cards they stand for.

use crate::stage::{
    NOW_MS, at_stripe, charge, clear, cvv, kept, merchant, number, on_stage, open_card, opened,
    revealed, strange_token, who,
};
use model::{AccountName, CardToken, Secret};
use vault::store::{Collection, Store, Write};
use vault::{
    Binding, CardError, CardFacts, PAYLOAD_BYTES_MAX, SweepCursor, Terms, Use, VaultError, wait,
};

const PAN: &str = "4111111111111111";

on_stage!(1 a_text_is_kept_shown_described_and_deleted(stage) {
    let (vault, shop, other) = stage.make_with_merchants();
    for text in [PAN, "x", "ünïcödé\n", "12", "12345", &"y".repeat(PAYLOAD_BYTES_MAX)] {
        let token = kept(&vault, &shop, text);
        assert_eq!(revealed(&vault, &shop, &token).as_deref(), Some(text));
        let meta = vault.token_meta(&shop, &token, NOW_MS).unwrap().unwrap();
        assert_eq!((&meta.token, meta.created, meta.expires), (&token, NOW_MS, None));
        assert_eq!(wait(vault.forget(&other, &token, NOW_MS)), Ok(false));
        assert_eq!(wait(vault.forget(&shop, &token, NOW_MS)), Ok(true));
        assert_eq!(wait(vault.forget(&shop, &token, NOW_MS)), Ok(false));
        assert_eq!(revealed(&vault, &shop, &token), None);
        assert_eq!(vault.token_meta(&shop, &token, NOW_MS), Ok(None));
    }
});

on_stage!(1 a_text_has_a_size(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    for length in [0, PAYLOAD_BYTES_MAX + 1] {
        let refused = wait(vault.keep(&shop, Secret::new("x".repeat(length)), NOW_MS));
        let max = PAYLOAD_BYTES_MAX;
        assert_eq!(refused, Err(VaultError::Size { what: "a text", max }), "{length}");
    }
});

on_stage!(1 a_token_of_another_merchant_does_not_exist(stage) {
    let (vault, shop, other) = stage.make_with_merchants();
    let (pan, code) = (kept(&vault, &shop, PAN), kept(&vault, &shop, "737"));
    let no_number = "no such token";
    let no_code = "no such token, or it was used, or its time is over";
    for (merchant, token) in [(&other, &pan), (&shop, &strange_token())] {
        assert_eq!(revealed(&vault, merchant, token), None);
        assert_eq!(vault.token_meta(merchant, token, NOW_MS), Ok(None));
        let refused = opened(&vault, merchant, number(token), None);
        assert_eq!(refused, Err(CardError::Field { name: "card.cardNumber", problem: no_number }));
        let refused = opened(&vault, merchant, clear(PAN), cvv(token));
        assert_eq!(refused, Err(CardError::Field { name: "card.cvv", problem: no_code }));
    }
    let refused = opened(&vault, &other, clear(PAN), cvv(&code));
    assert_eq!(refused, Err(CardError::Field { name: "card.cvv", problem: no_code }));
    assert_eq!(vault.token_meta(&other, &code, NOW_MS), Ok(None));
    assert!(opened(&vault, &shop, number(&pan), cvv(&code)).is_ok());
});

on_stage!(1 nobody_has_tokens_who_is_no_merchant(stage) {
    let (vault, nobody) = (stage.make(), merchant("nobody"));
    let refused = wait(vault.keep(&nobody, Secret::new(PAN), NOW_MS));
    assert_eq!(refused, Err(VaultError::NoSuchMerchant));
    assert!(matches!(vault.token(&nobody, &strange_token(), NOW_MS), Err(VaultError::NoSuchMerchant)));
});

on_stage!(1 a_guess_of_a_token_is_known_for_one_before_the_store_is_asked(stage) {
    let (vault, shop, other) = stage.make_with_merchants();
    let token = kept(&vault, &shop, PAN);
    drop(vault);
    // A row stands under each guess: who asked the store would find it, and see it refused.
    let guesses: Vec<_> = (0..CardToken::LEN).map(|place| changed(&token, place)).collect();
    let row = |merchant, token: &CardToken| format!("{merchant}\0{token}").into_bytes();
    let plant = |key| Write::Put { collection: Collection::Tokens, key, value: vec![1; 64] };
    let mut rows: Vec<_> = guesses.iter().map(|guess| plant(row(&shop, guess))).collect();
    rows.push(plant(row(&other, &token)));
    wait(stage.store().batch(rows)).unwrap();
    let vault = stage.open();
    assert_eq!(revealed(&vault, &other, &token), None, "it names its merchant");
    for guess in guesses {
        assert_eq!(revealed(&vault, &shop, &guess), None, "{guess}");
        assert_eq!(wait(vault.forget(&shop, &guess, NOW_MS)), Ok(false), "{guess}");
    }
    assert_eq!(vault.figures().opens, 0);
    assert_eq!(revealed(&vault, &shop, &token).as_deref(), Some(PAN));
});

fn changed(token: &CardToken, place: usize) -> CardToken {
    let mut text = token.as_str().as_bytes().to_vec();
    text[place] = if text[place] == b'a' { b'b' } else { b'a' };
    CardToken::parse(str::from_utf8(&text).unwrap()).unwrap()
}

on_stage!(1 a_card_opens_from_what_the_merchant_named(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let token = kept(&vault, &shop, PAN);
    let both = (PAN.to_owned(), None);
    assert_eq!(opened(&vault, &shop, number(&token), None), Ok(both.clone()));
    assert_eq!(opened(&vault, &shop, clear(PAN), None), Ok(both.clone()));
    assert_eq!(opened(&vault, &shop, number(&token), None), Ok(both), "a number is not used up");
    let text = kept(&vault, &shop, "not a number");
    let not_a_number = Err(CardError::Field {
        name: "card.cardNumber",
        problem: "the token does not hold a card number",
    });
    let code = kept(&vault, &shop, "7371");
    for token in [&text, &code] {
        assert_eq!(opened(&vault, &shop, number(token), None), not_a_number);
    }
    let refused = opened(&vault, &shop, clear(PAN), cvv(&text));
    let problem = "the token does not hold a card verification value";
    assert_eq!(refused, Err(CardError::Field { name: "card.cvv", problem }));
    let card = opened(&vault, &shop, clear(PAN), cvv(&code)).unwrap();
    assert_eq!(card.1.as_deref(), Some("7371"), "naming it wrongly did not use it up");
});

on_stage!(2 a_verification_value_is_good_once_never_shown_and_gone_with_the_process(stage) {
    let file = stage.everything().join("token");
    if stage.act == 1 {
        let (vault, shop, _) = stage.make_with_merchants();
        let (first, second) = (kept(&vault, &shop, "737"), kept(&vault, &shop, "737"));
        assert_ne!(first, second);
        assert_eq!(vault.figures().cvvs_in_memory, 2);
        assert_eq!(revealed(&vault, &shop, &first), None);
        assert!(vault.token_meta(&shop, &first, NOW_MS).unwrap().is_some());
        // A number that does not open uses nothing up.
        assert!(opened(&vault, &shop, number(&strange_token()), cvv(&first)).is_err());
        let card = opened(&vault, &shop, clear(PAN), cvv(&first)).unwrap();
        assert_eq!(card.1.as_deref(), Some("737"));
        assert!(opened(&vault, &shop, clear(PAN), cvv(&first)).is_err());
        assert_eq!(vault.token_meta(&shop, &first, NOW_MS), Ok(None));
        assert_eq!(wait(vault.forget(&shop, &second, NOW_MS)), Ok(true));
        assert_eq!(vault.figures().cvvs_in_memory, 0);
        std::fs::write(file, kept(&vault, &shop, "737").as_str()).unwrap();
        return;
    }
    let token = CardToken::parse(&std::fs::read_to_string(file).unwrap()).unwrap();
    let (vault, shop) = (stage.open(), merchant("shop"));
    assert_eq!(vault.token_meta(&shop, &token, NOW_MS), Ok(None));
    assert!(opened(&vault, &shop, clear(PAN), cvv(&token)).is_err());
});

on_stage!(1 what_has_no_card_passes_as_it_is(stage) {
    use model::{Action, Find, Operation};
    let (vault, shop, _) = stage.make_with_merchants();
    let action = Action::Status(Find::Reference("ref".into()));
    let key = "0123456789abcdef0123456789abcdef".into();
    let operation = Operation { key, merchant_reference: None, action };
    let opened = open_card(&vault, &shop, operation, at_stripe(&who())).unwrap();
    assert!(matches!(opened.action, Action::Status(Find::Reference(r)) if &*r == "ref"));
});

fn kept_on(vault: &vault::Vault, merchant: &model::MerchantId, terms: Terms) -> CardToken {
    wait(vault.keep_on(merchant, Secret::new(PAN), terms, NOW_MS)).unwrap().token
}

on_stage!(1 a_token_whose_time_is_over_is_as_absent_and_is_swept(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let terms = Terms { time_to_live_s: Some(60), ..Terms::default() };
    let short = kept_on(&vault, &shop, terms);
    let long = kept(&vault, &shop, PAN);
    let (before, after) = (NOW_MS + 59_999, NOW_MS + 60_000);
    assert_eq!(vault.token_meta(&shop, &short, before).unwrap().unwrap().expires, Some(after));
    assert!(vault.token(&shop, &short, before).unwrap().is_some());
    assert!(vault.token(&shop, &short, after).unwrap().is_none());
    assert!(vault.token_meta(&shop, &short, after).unwrap().is_none());
    let who = who();
    let at = |now| Use { now, ..at_stripe(&who) };
    assert!(open_card(&vault, &shop, charge(number(&short), None), at(before)).is_ok());
    let error = open_card(&vault, &shop, charge(number(&short), None), at(after)).unwrap_err();
    assert!(error.to_string().contains("no such token"), "{error}");
    let sweep = |now| {
        let (mut cursor, mut swept) = (SweepCursor::default(), 0);
        loop {
            let (removed, done) = wait(vault.sweep_tokens(&mut cursor, now)).unwrap();
            swept += removed;
            if done {
                return swept;
            }
        }
    };
    assert_eq!(sweep(before), 0);
    assert_eq!(sweep(after), 1);
    assert_eq!(vault.figures().tokens_expired, 1);
    assert!(vault.token(&shop, &short, before).unwrap().is_none(), "it is gone, not hidden");
    assert!(vault.token(&shop, &long, after).unwrap().is_some());
});

on_stage!(1 a_bound_token_opens_where_it_is_bound_to_and_nowhere_else(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let backup = AccountName::parse("adyen-backup").unwrap();
    let terms = Terms {
        bindings: vec![Binding { gateway: None, account: Some(backup.clone()) }],
        ..Terms::default()
    };
    let token = kept_on(&vault, &shop, terms);
    let who = who();
    let inline = at_stripe(&who);
    let bound = Use { account: Some(&backup), gateway: "Adyen", ..inline };
    assert!(open_card(&vault, &shop, charge(number(&token), None), bound).is_ok());
    let error = open_card(&vault, &shop, charge(number(&token), None), inline).unwrap_err();
    let expected = CardError::Field {
        name: "card.cardNumber",
        problem: "the token is bound to other gateways or accounts",
    };
    assert_eq!(error, expected);
});

on_stage!(1 the_same_card_has_one_fingerprint_within_a_merchant(stage) {
    let (vault, shop, other) = stage.make_with_merchants();
    let facts = |merchant, token: &CardToken| -> CardFacts {
        vault.token_meta(merchant, token, NOW_MS).unwrap().unwrap().card.unwrap()
    };
    let [one, two] = [PAN, PAN].map(|pan| facts(&shop, &kept(&vault, &shop, pan)));
    assert_eq!(one, two);
    assert_eq!(&*one.mask, "41111111****1111");
    assert_eq!(one.fingerprint.len(), 64);
    let another = facts(&shop, &kept(&vault, &shop, "5555555555554444"));
    assert_ne!(one.fingerprint, another.fingerprint);
    let elsewhere = facts(&other, &kept(&vault, &other, PAN));
    assert_ne!(one.fingerprint, elsewhere.fingerprint, "merchants cannot compare");
    let text = kept(&vault, &shop, "no card");
    assert_eq!(vault.token_meta(&shop, &text, NOW_MS).unwrap().unwrap().card, None);
});

on_stage!(1 metadata_is_kept_and_never_looks_like_a_card(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let said = |value: &str| Terms {
        metadata: vec![("customer".into(), value.into())],
        ..Terms::default()
    };
    let token = kept_on(&vault, &shop, said("number 17"));
    let meta = vault.token_meta(&shop, &token, NOW_MS).unwrap().unwrap();
    assert_eq!(meta.metadata, said("number 17").metadata);
    let refused = |terms| wait(vault.keep_on(&shop, Secret::new(PAN), terms, NOW_MS)).unwrap_err();
    assert_eq!(refused(said("4111 1111 1111 1111")), VaultError::CardLike);
    assert!(matches!(refused(said("")), VaultError::Size { .. }));
    let many = Terms { metadata: vec![("a".into(), "b".into()); 17], ..Terms::default() };
    assert!(matches!(refused(many), VaultError::TooMany { .. }));
    let code = Secret::new("737");
    assert_eq!(wait(vault.keep_on(&shop, code, said("x"), NOW_MS)), Err(VaultError::NoTerms));
});

on_stage!(1 every_card_that_is_opened_has_its_line(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let token = kept(&vault, &shop, PAN);
    opened(&vault, &shop, number(&token), None).unwrap();
    opened(&vault, &shop, clear(PAN), None).unwrap();
    assert!(opened(&vault, &shop, number(&strange_token()), None).is_err());
    vault.close();
    let refused = opened(&vault, &shop, number(&token), None).unwrap_err();
    let closed = VaultError::Audit(vault::audit::AuditError::Closed);
    assert_eq!(refused, CardError::Vault(closed), "no line, no card");
    let log = vault::audit::directory_in(&stage.data());
    let said: Vec<(String, String, String)> = std::fs::read_dir(log)
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap())
        .filter(|line| line["action"].as_str().unwrap().starts_with("card."))
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            (text("action"), text("object"), text("outcome"))
        })
        .collect();
    let line = |action: &str, object: &str, outcome: &str| {
        (action.to_owned(), object.to_owned(), outcome.to_owned())
    };
    assert_eq!(
        said,
        [
            line("card.open", &token.as_str()[..12], "success"),
            line("card.pass", "…1111", "success"),
            line("card.open", &strange_token().as_str()[..12], "failure"),
        ]
    );
});
