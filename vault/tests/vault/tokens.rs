//! String tokens and the cards they stand for.

use crate::stage::{
    NOW_MS, clear, cvv, kept, merchant, number, on_stage, opened, revealed, strange_token,
};
use model::{CardToken, Secret};
use vault::store::{Collection, Store, Write};
use vault::{CardError, PAYLOAD_BYTES_MAX, TokenMeta, VaultError, wait};

const PAN: &str = "4111111111111111";

on_stage!(1 a_text_is_kept_shown_described_and_deleted(stage) {
    let (vault, shop, other) = stage.make_with_merchants();
    for text in [PAN, "x", "ünïcödé\n", "12", "12345", &"y".repeat(PAYLOAD_BYTES_MAX)] {
        let token = kept(&vault, &shop, text);
        assert_eq!(revealed(&vault, &shop, &token).as_deref(), Some(text));
        let meta = TokenMeta { token: token.clone(), created: NOW_MS };
        assert_eq!(vault.token_meta(&shop, &token), Ok(Some(meta)));
        assert_eq!(wait(vault.forget(&other, &token)), Ok(false));
        assert_eq!(wait(vault.forget(&shop, &token)), Ok(true));
        assert_eq!(wait(vault.forget(&shop, &token)), Ok(false));
        assert_eq!(revealed(&vault, &shop, &token), None);
        assert_eq!(vault.token_meta(&shop, &token), Ok(None));
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
        assert_eq!(vault.token_meta(merchant, token), Ok(None));
        let refused = opened(&vault, merchant, number(token), None);
        assert_eq!(refused, Err(CardError::Field { name: "card.cardNumber", problem: no_number }));
        let refused = opened(&vault, merchant, clear(PAN), cvv(token));
        assert_eq!(refused, Err(CardError::Field { name: "card.cvv", problem: no_code }));
    }
    let refused = opened(&vault, &other, clear(PAN), cvv(&code));
    assert_eq!(refused, Err(CardError::Field { name: "card.cvv", problem: no_code }));
    assert_eq!(vault.token_meta(&other, &code), Ok(None));
    assert!(opened(&vault, &shop, number(&pan), cvv(&code)).is_ok());
});

on_stage!(1 nobody_has_tokens_who_is_no_merchant(stage) {
    let (vault, nobody) = (stage.make(), merchant("nobody"));
    let refused = wait(vault.keep(&nobody, Secret::new(PAN), NOW_MS));
    assert_eq!(refused, Err(VaultError::NoSuchMerchant));
    assert!(matches!(vault.token(&nobody, &strange_token()), Err(VaultError::NoSuchMerchant)));
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
        assert_eq!(wait(vault.forget(&shop, &guess)), Ok(false), "{guess}");
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
        assert!(vault.token_meta(&shop, &first).unwrap().is_some());
        // A number that does not open uses nothing up.
        assert!(opened(&vault, &shop, number(&strange_token()), cvv(&first)).is_err());
        let card = opened(&vault, &shop, clear(PAN), cvv(&first)).unwrap();
        assert_eq!(card.1.as_deref(), Some("737"));
        assert!(opened(&vault, &shop, clear(PAN), cvv(&first)).is_err());
        assert_eq!(vault.token_meta(&shop, &first), Ok(None));
        assert_eq!(wait(vault.forget(&shop, &second)), Ok(true));
        assert_eq!(vault.figures().cvvs_in_memory, 0);
        std::fs::write(file, kept(&vault, &shop, "737").as_str()).unwrap();
        return;
    }
    let token = CardToken::parse(&std::fs::read_to_string(file).unwrap()).unwrap();
    let (vault, shop) = (stage.open(), merchant("shop"));
    assert_eq!(vault.token_meta(&shop, &token), Ok(None));
    assert!(opened(&vault, &shop, clear(PAN), cvv(&token)).is_err());
});

on_stage!(1 what_has_no_card_passes_as_it_is(stage) {
    use model::{Action, Find, Operation};
    let (vault, shop, _) = stage.make_with_merchants();
    let action = Action::Status(Find::Reference("ref".into()));
    let key = "0123456789abcdef0123456789abcdef".into();
    let operation = Operation { key, merchant_reference: None, action };
    let opened = vault.open_card(&shop, operation).unwrap();
    assert!(matches!(opened.action, Action::Status(Find::Reference(r)) if &*r == "ref"));
});
