//! This file is long because it is tables: every body that is read or refused, each with its answer.

use super::schema::{self, Form, SCHEMAS, Schema, Shape};
use super::{
    AccountChoice, FieldError, Force, PaymentRequest, YearMonth, account, compare, payment,
};
use super::{staged, string_token, switch};
use model::{
    AccountName, Action, Authorization, Capture, CardRef, CvvSource, Find, Kind, Means,
    NumberSource, StoredUsage,
};
use proptest::prelude::*;

const TODAY: YearMonth = YearMonth { year: 2026, month: 11 };
const TOKEN: &str = "@nQGywsQE9gbURtrXEjTZwtWqeMdK9nsO";

/// Fields and their JSON, in the order in which they are written.
type Fields = Vec<(&'static str, String)>;

fn fields(of: &[(&'static str, &str)]) -> Fields {
    of.iter().map(|(name, json)| (*name, (*json).to_owned())).collect()
}

fn json(fields: &Fields) -> String {
    let pairs: Vec<String> =
        fields.iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
    format!("{{{}}}", pairs.join(","))
}

/// The same fields with another value for one of them, which is put last if it was not there.
fn with(mut fields: Fields, name: &'static str, json: &str) -> Fields {
    match fields.iter_mut().find(|(have, _)| *have == name) {
        Some((_, value)) => json.clone_into(value),
        None => fields.push((name, json.to_owned())),
    }
    fields
}

fn without(fields: Fields, name: &str) -> Fields {
    fields.into_iter().filter(|(have, _)| *have != name).collect()
}

fn card() -> Fields {
    fields(&[
        ("cardHolderName", "\"Ada Lovelace\""),
        ("cardNumber", "\"4111111111111111\""),
        ("expirationMonth", "12"),
        ("expirationYear", "2030"),
        ("cvv", "\"737\""),
    ])
}

fn three_ds() -> Fields {
    fields(&[
        ("authenticationValue", "\"AAABBZEEBgAAAAAAAAQGAAAAAAA=\""),
        ("eci", "\"05\""),
        ("xid", "\"c2a3b6f0-5c52-4f8a-9d2f-6c1f4a1a7d11\""),
        ("version", "\"2.2.0\""),
        ("merchantName", "\"Example Shop\""),
        ("sli", "\"212\""),
    ])
}

fn payer() -> Fields {
    fields(&[
        ("clientIPAddress", "\"192.0.2.7\""),
        ("countryCode", "\"NL\""),
        ("address1", "\"Keizersgracht 1\""),
        ("postCode", "\"1015 CC\""),
        ("city", "\"Amsterdam\""),
        ("stateProvince", "\"NH\""),
    ])
}

fn charge() -> Fields {
    fields(&[
        ("currency", "\"USD\""),
        ("amount", "10.23"),
        ("card", &json(&card())),
        ("paymentGatewayAccountName", "\"stripe-primary\""),
    ])
}

fn capture() -> Fields {
    fields(&[
        ("currency", "\"USD\""),
        ("amount", "10.23"),
        ("refTransId", "\"pi_3Nx\""),
        ("paymentGatewayAccountName", "\"stripe-primary\""),
    ])
}

fn inline() -> String {
    r#"{"paymentGatewayName":"Stripe","credentials":[{"key":"SecretKey","value":"sk_test_1"}]}"#
        .to_owned()
}

fn read(kind: Kind, fields: &Fields) -> Result<PaymentRequest, FieldError> {
    payment(kind, json(fields).as_bytes(), TODAY)
}

fn authorization(request: PaymentRequest) -> Authorization<CardRef> {
    let Action::Authorize(authorization) = request.action else { panic!("no authorization") };
    *authorization
}

fn card_of(authorization: &Authorization<CardRef>) -> &CardRef {
    let Means::Card(card) = &authorization.means else { panic!("no card") };
    card
}

/// What is said of a charge whose `field` (of the card, if it is dotted) is `json`.
fn said(field: &'static str, value: &str) -> Result<(), FieldError> {
    let body = match field.split_once('.') {
        Some(("card", field)) => with(charge(), "card", &json(&with(card(), field, value))),
        Some(("payerDetails", field)) => {
            with(charge(), "payerDetails", &json(&with(payer(), field, value)))
        }
        Some(("storedCredential", field)) => {
            let first = fields(&[("usage", "\"First\"")]);
            with(charge(), "storedCredential", &json(&with(first, field, value)))
        }
        Some(("threeDS", field)) => {
            let three_ds = json(&with(three_ds(), field, value));
            with(charge(), "card", &json(&with(card(), "threeDSAuthentication", &three_ds)))
        }
        _ => with(charge(), field, value),
    };
    read(Kind::Charge, &body).map(|_| ())
}

#[test]
fn a_charge_with_everything_is_read() {
    let card = with(card(), "threeDSAuthentication", &json(&three_ds()));
    let mut body = with(charge(), "card", &json(&card));
    for (name, json) in [
        ("payerDetails", json(&payer())),
        ("isDigital", "true".into()),
        ("orderDesc", "\"Two tickets\"".into()),
        ("networkTokenBrand", "\"mastercard\"".into()),
        ("myRef", "\"order-1001\"".into()),
        ("certificateName", "null".into()),
    ] {
        body = with(body, name, &json);
    }
    let request = read(Kind::Charge, &body).unwrap();
    assert_eq!(request.merchant_reference.as_deref(), Some("order-1001"));
    assert!(
        matches!(&request.account, AccountChoice::Named(name) if name.as_str() == "stripe-primary")
    );
    let read = authorization(request);
    assert_eq!((read.amount.minor(), read.amount.currency().code()), (1023, "USD"));
    assert_eq!((read.capture, read.digital), (Capture::Now, Some(true)));
    assert_eq!(read.description.as_deref(), Some("Two tickets"));
    assert_eq!(read.network_token, Some(model::NetworkTokenBrand::MasterCard));
    assert_eq!((card_of(&read).expiry.month(), card_of(&read).expiry.year()), (12, 2030));
    let three_ds = read.three_ds.as_ref().unwrap();
    assert_eq!(
        (&*three_ds.eci, &*three_ds.version, three_ds.sli.as_deref()),
        ("05", "2.2.0", Some("212"))
    );
    let payer = read.payer.as_ref().unwrap();
    assert_eq!((&*payer.country, payer.ip.to_string()), ("NL", "192.0.2.7".to_owned()));
    assert_eq!((payer.post_code.as_deref(), payer.state.as_deref()), (Some("1015 CC"), Some("NH")));
    // This is the test that the values arrive at all.
    assert_eq!(card_of(&read).holder.expose(), "Ada Lovelace");
    // The same.
    assert!(
        matches!(&card_of(&read).number, NumberSource::Clear(pan) if pan.expose() == "4111111111111111")
    );
    // The same.
    assert!(matches!(&card_of(&read).cvv, Some(CvvSource::Clear(cvv)) if cvv.expose() == "737"));
}

#[test]
fn names_and_words_have_any_case() {
    let body = json(&charge()).replace("currency", "CURRENCY").replace("cardNumber", "CardNumber");
    let body = body.replace("\"USD\"", "\"usd\"");
    assert!(payment(Kind::Authorize, body.as_bytes(), TODAY).is_ok());
    let error = said("card.cardType", "\"visa\"");
    assert_eq!(error, Ok(()));
    let body = json(&with(charge(), "amount", "\"1\"")).replace("amount", "AMOUNT");
    assert_eq!(payment(Kind::Charge, body.as_bytes(), TODAY).unwrap_err().field, "amount");
}

#[test]
fn a_token_stands_for_a_number_and_for_a_cvv() {
    let quoted = format!("\"{TOKEN}\"");
    let card = with(with(card(), "cardNumber", &quoted), "cvv", &quoted);
    let read = read(Kind::Authorize, &with(charge(), "card", &json(&card))).unwrap();
    let read = authorization(read);
    assert_eq!(read.capture, Capture::Later);
    assert!(
        matches!(&card_of(&read).number, NumberSource::Token(token) if TOKEN.ends_with(token.as_str()))
    );
    assert!(
        matches!(&card_of(&read).cvv, Some(CvvSource::Token(token)) if TOKEN.ends_with(token.as_str()))
    );
}

#[test]
fn amounts_are_exact_or_refused_each_with_its_own_words() {
    for (currency, amount, expected) in [
        ("USD", "10.23", Ok(1023)),
        ("USD", "1e2", Ok(10_000)),
        ("JPY", "1500", Ok(1500)),
        ("KWD", "1.250", Ok(1250)),
        ("USD", "10.005", Err("has more decimal places than the currency")),
        ("JPY", "1.5", Err("has more decimal places than the currency")),
        ("USD", "1e400", Err("is larger than the largest amount")),
        ("USD", "-1", Err("must not be negative")),
        ("USD", "-0", Err("must not be negative")),
        ("USD", "0", Err("must be greater than zero")),
        ("USD", "0.00", Err("must be greater than zero")),
        ("USD", "NaN", Err("must be a decimal number")),
        ("USD", "Infinity", Err("must be a decimal number")),
        ("USD", "01", Err("must be a decimal number")),
        ("USD", "+1", Err("must be a decimal number")),
        ("USD", "1.", Err("must be a decimal number")),
        ("USD", ".5", Err("must be a decimal number")),
        ("USD", "\"10.00\"", Err("must be a number, not a string or another type")),
        ("USD", "true", Err("must be a number, not a string or another type")),
        ("USD", "[1]", Err("must be a number, not a string or another type")),
        ("USD", "null", Err("must not be null")),
    ] {
        for kind in [Kind::Charge, Kind::Authorize, Kind::Capture, Kind::Refund, Kind::Void] {
            let base =
                if schema::of(kind).name == "AuthRequestModel" { charge() } else { capture() };
            let body = with(with(base, "amount", amount), "currency", &format!("\"{currency}\""));
            let read = payment(kind, json(&body).as_bytes(), TODAY).map(|request| {
                let operation = model::Operation {
                    key: "k".into(),
                    merchant_reference: None,
                    action: request.action,
                };
                operation.amount().unwrap().minor()
            });
            let expected = expected.map_err(|problem| FieldError::new("amount", problem));
            assert_eq!(read, expected, "{kind:?} {amount} {currency}");
        }
    }
}

#[test]
fn what_cannot_be_meant_is_refused_by_field() {
    let long = |chars: usize| format!("\"{}\"", "x".repeat(chars));
    for (at, value, field, problem) in [
        ("currency", "\"XXX\"", "currency", "is not a supported ISO 4217 code"),
        ("currency", "978", "currency", "must be a string"),
        ("card", "[]", "card", "must be an object"),
        ("card", "null", "card", "card or userToken is required"),
        ("card.cardHolderName", "\"\"", "card.cardHolderName", "must not be empty"),
        ("card.cardHolderName", &long(129), "card.cardHolderName", "is longer than documented"),
        (
            "card.cardHolderName",
            "\"a\\u0000b\"",
            "card.cardHolderName",
            "must not hold control characters",
        ),
        (
            "card.cardHolderName",
            "\"\\ud800\"",
            "card.cardHolderName",
            "has an escape that stands for no character",
        ),
        ("card.cardNumber", "4111111111111111", "card.cardNumber", "must be a string"),
        (
            "card.cardNumber",
            "\"4111 1111 1111 1111\"",
            "card.cardNumber",
            "must be 12 to 19 digits without spaces, or '@' and a token",
        ),
        (
            "card.cardNumber",
            "\"4111111111111112\"",
            "card.cardNumber",
            "is not a card number: its check digit does not fit",
        ),
        (
            "card.cardNumber",
            "\"nQGywsQE9gbURtrXEjTZwtWqeMdK9nsO\"",
            "card.cardNumber",
            "must be 12 to 19 digits without spaces, or '@' and a token",
        ),
        ("card.cardNumber", "null", "card.cardNumber", "must not be null"),
        ("card.expirationMonth", "13", "card.expirationMonth", "is not in the documented range"),
        ("card.expirationMonth", "0", "card.expirationMonth", "is not in the documented range"),
        ("card.expirationMonth", "\"12\"", "card.expirationMonth", "must be a whole number"),
        ("card.expirationMonth", "1.5", "card.expirationMonth", "must be a whole number"),
        ("card.expirationMonth", "12e-1", "card.expirationMonth", "must be a whole number"),
        ("card.expirationMonth", "-1", "card.expirationMonth", "is not in the documented range"),
        ("card.expirationYear", "30", "card.expirationYear", "is not in the documented range"),
        (
            "card.expirationYear",
            "99999999999999999999",
            "card.expirationYear",
            "is not in the documented range",
        ),
        (
            "card.expirationYear",
            "2025",
            "card.expirationYear",
            "is in the past: the card has expired",
        ),
        ("card.cvv", "\"12\"", "card.cvv", "is shorter than documented"),
        ("card.cvv", "\"12345\"", "card.cvv", "must be 3 or 4 digits, or '@' and a token"),
        ("card.cvv", "737", "card.cvv", "must be a string"),
        ("card.issueNumber", "\"123\"", "card.issueNumber", "is longer than documented"),
        ("card.cardType", "\"Vis\"", "card.cardType", "is not one of the documented words"),
        ("threeDS.eci", "\"005\"", "card.threeDSAuthentication.eci", "is longer than documented"),
        (
            "threeDS.version",
            "\"v2\"",
            "card.threeDSAuthentication.version",
            "must be a version such as 2.2.0",
        ),
        (
            "threeDS.merchantName",
            "null",
            "card.threeDSAuthentication.merchantName",
            "must not be null",
        ),
        (
            "threeDS.authenticationValue",
            "\"a b\"",
            "card.threeDSAuthentication.authenticationValue",
            "must be base64",
        ),
        (
            "storedCredential.networkTransactionId",
            "\"060720116005060\"",
            "storedCredential.networkTransactionId",
            "a first payment has none yet",
        ),
        (
            "storedCredential.usage",
            "\"Merchant\"",
            "storedCredential.networkTransactionId",
            "is required where the merchant takes a payment",
        ),
        (
            "storedCredential",
            "{\"usage\":\"merchant\",\"networkTransactionId\":\"060720116005060\"}",
            "storedCredential.purpose",
            "is required where the merchant takes a payment",
        ),
        ("storedCredential", "{}", "storedCredential.usage", "is required"),
        (
            "payerDetails.clientIPAddress",
            "\"localhost\"",
            "payerDetails.clientIPAddress",
            "must be an IPv4 or IPv6 address",
        ),
        (
            "payerDetails.countryCode",
            "\"nl\"",
            "payerDetails.countryCode",
            "must be two capital letters (ISO 3166-1)",
        ),
        (
            "payerDetails.countryCode",
            "\"NLD\"",
            "payerDetails.countryCode",
            "is longer than documented",
        ),
        ("isDigital", "\"true\"", "isDigital", "must be true or false"),
        ("isDigital", "1", "isDigital", "must be true or false"),
        ("orderDesc", &long(256), "orderDesc", "is longer than documented"),
        ("myRef", &long(81), "myRef", "is longer than documented"),
        ("networkTokenBrand", "\"JCB\"", "networkTokenBrand", "is not one of the documented words"),
        (
            "paymentGatewayAccountName",
            "\"a/b\"",
            "paymentGatewayAccountName",
            "must hold only A-Z, a-z, 0-9, '_' and '-'",
        ),
        (
            "paymentGatewayAccountName",
            "null",
            "paymentGatewayAccountName",
            "paymentGatewayAccountName or paymentGatewayAccount is required",
        ),
        ("paymentGatewayAccount", "\"x\"", "paymentGatewayAccount", "must be an object"),
        ("paymentGatewayAccount", "{}", "paymentGatewayAccount.paymentGatewayName", "is required"),
        ("certificateName", "\"mine\"", "certificateName", "client certificates are not supported"),
    ] {
        assert_eq!(said(at, value), Err(FieldError::new(field, problem)), "{at}: {value}");
    }
}

#[test]
fn a_body_that_is_no_object_is_refused_as_a_whole() {
    let deep = |depth: usize| format!("{{\"card\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let amount_then = |rest: &str| format!("{{\"amount\":1{rest}").into_bytes();
    for (body, field, problem) in [
        (b"".to_vec(), "", "a JSON body is required"),
        (b" \r\n\t".to_vec(), "", "a JSON body is required"),
        (b"\xef\xbb\xbf{}".to_vec(), "", "must not begin with a byte order mark"),
        (b"{\"myRef\":\"\xff\"}".to_vec(), "", "must be UTF-8"),
        (deep(16).into_bytes(), "", "is nested too deeply"),
        (deep(60_000).into_bytes(), "", "is nested too deeply"),
        (b"[]".to_vec(), "", "must be an object"),
        (b"\"x\"".to_vec(), "", "must be an object"),
        (b"null".to_vec(), "", "must be an object"),
        (b"x".to_vec(), "", "is not valid JSON"),
        (b"{".to_vec(), "", "is not valid JSON"),
        (b"{} {}".to_vec(), "", "is not valid JSON"),
        (b"{}x".to_vec(), "", "is not valid JSON"),
        (b"{\"currency\" \"USD\"}".to_vec(), "currency", "is not valid JSON"),
        (b"{'currency':'USD'}".to_vec(), "", "is not valid JSON"),
        (amount_then(",}"), "", "is not valid JSON"),
        (amount_then(",\"card\":{\"cvv\":}}"), "card", "is not valid JSON"),
        (amount_then(",\"myRef\":\"a\nb\"}"), "myRef", "is not valid JSON"),
        (amount_then(" // one\n}"), "", "is not valid JSON"),
    ] {
        let error = payment(Kind::Charge, &body, TODAY).unwrap_err();
        let body = String::from_utf8_lossy(&body);
        assert_eq!(error, FieldError::new(field, problem), "{}", body.get(..60).unwrap_or(&body));
    }
    assert_ne!(payment(Kind::Charge, deep(15).as_bytes(), TODAY).unwrap_err().field, "");
}

#[test]
fn unknown_fields_are_refused_and_named_only_when_that_is_safe() {
    let in_card = |name| with(charge(), "card", &json(&with(card(), name, "1")));
    for (body, field, problem) in [
        (with(capture(), "fallbackUpgs", "[]"), "fallbackUpgs", "is not documented"),
        (with(capture(), "userToken", "\"x\""), "userToken", "is not documented"),
        (with(capture(), "generateToken", "true"), "generateToken", "is not documented"),
        (with(charge(), "refTransId", "\"x\""), "refTransId", "is not documented"),
        (in_card("pin"), "card.pin", "is not documented"),
        (in_card("4111111111111111"), "card", "has a field that is not documented"),
        (in_card(""), "card", "has a field that is not documented"),
        (with(charge(), "sk_live_x", "1"), "", "has a field that is not documented"),
        (
            with(charge(), "abcdefghijklmnopqrstuvwxy", "1"),
            "",
            "has a field that is not documented",
        ),
        (with(with(charge(), "zeta", "1"), "beta", "1"), "beta", "is not documented"),
        (with(with(charge(), "beta", "1"), "zeta", "1"), "beta", "is not documented"),
        (with(with(charge(), "beta", "1"), "amount", "-1"), "beta", "is not documented"),
    ] {
        let kind =
            if body.iter().any(|(name, _)| *name == "card") { Kind::Charge } else { Kind::Void };
        assert_eq!(read(kind, &body).unwrap_err(), FieldError::new(field, problem));
    }
}

#[test]
fn accounts_to_fall_back_to_are_read_in_their_order() {
    let list = r#"[{"paymentGatewayAccountName":"second"},
                   {"paymentGatewayAccountName":"third","pass3DSData":true}]"#;
    let request = read(Kind::Charge, &with(charge(), "fallbackUpgs", list)).unwrap();
    let found: Vec<_> =
        request.fallbacks.iter().map(|one| (one.account.as_str(), one.pass_three_ds)).collect();
    assert_eq!(found, [("second", false), ("third", true)]);
    let many = format!("[{}]", [r#"{"paymentGatewayAccountName":"abc"}"#; 8].join(","));
    let error = read(Kind::Charge, &with(charge(), "fallbackUpgs", &many)).unwrap_err();
    assert_eq!(error, FieldError::new("fallbackUpgs", "has more items than documented"));
}

#[test]
fn accounts_in_another_order_are_another_request() {
    let of = |names: [&str; 3]| {
        let one = |name| format!(r#"{{"paymentGatewayAccountName":"{name}"}}"#);
        let list = format!("[{}]", names.map(one).join(","));
        let mut all = compared(Kind::Charge, &with(charge(), "fallbackUpgs", &list));
        // They are compared as a set.
        all.sort();
        all
    };
    let orders = [
        ["one", "two", "six"],
        ["one", "six", "two"],
        ["two", "one", "six"],
        ["two", "six", "one"],
        ["six", "one", "two"],
        ["six", "two", "one"],
    ];
    for (nth, order) in orders.into_iter().enumerate() {
        let same = orders.into_iter().position(|other| of(other) == of(order));
        assert_eq!(same, Some(nth));
    }
}

/// A charge that is paid with what the gateway keeps.
fn by_token() -> Fields {
    with(without(charge(), "card"), "userToken", "\"cus_1/pm_1\"")
}

#[test]
fn a_gateways_name_for_a_card_stands_in_the_place_of_a_card() {
    let read_means = |body: &Fields| authorization(read(Kind::Charge, body).unwrap());
    let read_token = read_means(&by_token());
    // This is the test that the value arrives at all.
    assert!(matches!(&read_token.means, Means::Token(token) if token.expose() == "cus_1/pm_1"));
    assert!(!read_token.generate_token && !format!("{read_token:?}").contains("pm_1"));
    let kept = read_means(&with(charge(), "generateToken", "true"));
    assert!(kept.generate_token && matches!(kept.means, Means::Card(_)));
    for (body, field, problem) in [
        (without(charge(), "card"), "card", "card or userToken is required"),
        (with(by_token(), "card", &json(&card())), "userToken", "stands beside a card"),
        (with(by_token(), "generateToken", "true"), "userToken", "stands beside generateToken"),
        (
            with(by_token(), "networkTokenBrand", "\"Visa\""),
            "userToken",
            "stands beside networkTokenBrand",
        ),
        (
            with(by_token(), "fallbackUpgs", r#"[{"paymentGatewayAccountName":"second"}]"#),
            "userToken",
            "stands beside accounts to fall back to",
        ),
        (
            with(by_token(), "userToken", "\"a b\""),
            "userToken",
            "must hold only visible ASCII characters",
        ),
    ] {
        assert_eq!(read(Kind::Charge, &body).unwrap_err(), FieldError::new(field, problem));
    }
    let named = without(by_token(), "paymentGatewayAccountName");
    let two = with(named, "paymentGatewayAccountNames", r#"["first","second"]"#);
    let error = read(Kind::Charge, &two).unwrap_err();
    assert_eq!(error, FieldError::new("userToken", "stands beside accounts to fall back to"));
}

#[test]
fn what_the_gateway_keeps_needs_no_name_of_the_schemes() {
    let stored = "{\"usage\":\"Merchant\",\"purpose\":\"Recurring\"}";
    let read_it =
        authorization(read(Kind::Charge, &with(by_token(), "storedCredential", stored)).unwrap());
    let usage = read_it.stored.unwrap().usage;
    assert!(matches!(usage, StoredUsage::Merchant { original: None }));
    let error = read(Kind::Charge, &with(charge(), "storedCredential", stored)).unwrap_err();
    assert_eq!(error.field, "storedCredential.networkTransactionId");
}

#[test]
fn a_card_that_is_to_be_kept_is_read_with_its_accounts() {
    let plain = without(without(charge(), "currency"), "amount");
    let list = r#"[{"paymentGatewayAccountName":"second"}]"#;
    let request = read(Kind::Tokenize, &with(plain.clone(), "fallbackUpgs", list)).unwrap();
    assert_eq!(request.fallbacks.len(), 1);
    assert!(matches!(request.action, Action::Tokenize(_)) && request.merchant_reference.is_none());
    for (body, field, problem) in [
        (without(plain.clone(), "card"), "card", "is required"),
        (with(plain.clone(), "amount", "1"), "amount", "is not documented"),
        (with(plain, "userToken", "\"a\""), "userToken", "is not documented"),
    ] {
        assert_eq!(read(Kind::Tokenize, &body).unwrap_err(), FieldError::new(field, problem));
    }
}

#[test]
fn the_older_form_of_the_accounts_is_one_list_and_stands_alone() {
    const NAMES: &str = "paymentGatewayAccountNames";
    let plain = without(charge(), "paymentGatewayAccountName");
    let request = read(Kind::Charge, &with(plain.clone(), NAMES, r#"["first","second"]"#)).unwrap();
    assert!(matches!(&request.account, AccountChoice::Named(name) if name.as_str() == "first"));
    let [second] = &request.fallbacks[..] else { panic!("{request:?}") };
    assert_eq!((second.account.as_str(), second.pass_three_ds), ("second", false));
    // Both forms mean the same.
    let newer = with(charge(), "fallbackUpgs", r#"[{"paymentGatewayAccountName":"second"}]"#);
    let newer = with(newer, "paymentGatewayAccountName", "\"first\"");
    let older = with(plain.clone(), NAMES, r#"["first","second"]"#);
    assert_eq!(compared(Kind::Charge, &newer), compared(Kind::Charge, &older));
    for (list, problem) in [
        ("[]", "must not be empty"),
        ("[1]", "must be an array of strings"),
        (r#"["ab"]"#, "is shorter than documented"),
        (r#"["a b c"]"#, "must hold only A-Z, a-z, 0-9, '_' and '-'"),
        (r#"["abc","abc","abc","abc","abc","abc","abc"]"#, "has more items than documented"),
    ] {
        let error = read(Kind::Charge, &with(plain.clone(), NAMES, list)).unwrap_err();
        assert_eq!(error, FieldError::new(NAMES, problem), "{list}");
    }
    let both = read(Kind::Charge, &with(charge(), NAMES, r#"["first"]"#)).unwrap_err();
    assert_eq!(both, FieldError::new(NAMES, "stands beside another choice of an account"));
}

#[test]
fn a_payment_of_ours_needs_no_account_and_no_reference() {
    const ID: &str = "\"019a0000000000000000000000000001\"";
    let mine = with(without(capture(), "refTransId"), "transactionId", ID);
    let request = read(Kind::Capture, &without(mine.clone(), "paymentGatewayAccountName")).unwrap();
    assert!(request.payment.is_some() && matches!(request.account, AccountChoice::OfPayment));
    assert!(matches!(read(Kind::Capture, &mine).unwrap().account, AccountChoice::Named(_)));
    for wrong in ["\"019A0000000000000000000000000001\"", "\"1\"", "7"] {
        let error = read(Kind::Refund, &with(mine.clone(), "transactionId", wrong)).unwrap_err();
        assert_eq!(error.field, "transactionId", "{wrong}");
    }
    let error = read(Kind::Void, &without(capture(), "refTransId")).unwrap_err();
    assert_eq!(error, FieldError::new("refTransId", "refTransId or transactionId is required"));
}

/// The fields as they are compared.
fn compared(kind: Kind, body: &Fields) -> Vec<(&'static str, Vec<u8>)> {
    let mut found = Vec::new();
    compare::fields(&read(kind, body).unwrap(), &mut |name, parts| {
        found.push((name, parts.join(&0)));
    });
    found
}

#[test]
fn requests_are_compared_by_what_they_mean() {
    let charge = with(charge(), "payerDetails", &json(&payer()));
    let first = compared(Kind::Charge, &charge);
    let mut reversed = with(with(charge.clone(), "amount", "10.2300"), "currency", "\"usd\"");
    reversed.reverse();
    assert_eq!(compared(Kind::Charge, &reversed), first);
    let other_cvv = with(card(), "cvv", "\"999\"");
    assert_eq!(compared(Kind::Charge, &with(charge.clone(), "card", &json(&other_cvv))), first);
    assert!(!format!("{first:?}").contains("737"));
    for (field, body) in [
        ("amount", with(charge.clone(), "amount", "10.24")),
        ("currency", with(charge.clone(), "currency", "\"EUR\"")),
        (
            "card.cardNumber",
            with(
                charge.clone(),
                "card",
                &json(&with(card(), "cardNumber", "\"5555555555554444\"")),
            ),
        ),
        (
            "card.expirationYear",
            with(charge.clone(), "card", &json(&with(card(), "expirationYear", "2040"))),
        ),
        ("myRef", with(charge.clone(), "myRef", "\"another\"")),
        ("isDigital", with(charge.clone(), "isDigital", "true")),
        ("generateToken", with(charge.clone(), "generateToken", "true")),
        ("userToken", with(without(charge.clone(), "card"), "userToken", "\"cus_1/pm_1\"")),
        (
            "paymentGatewayAccountName",
            with(charge.clone(), "paymentGatewayAccountName", "\"other\""),
        ),
        ("paymentGatewayAccount", with(charge.clone(), "paymentGatewayAccount", &inline())),
        (
            "fallbackUpgs",
            with(charge.clone(), "fallbackUpgs", r#"[{"paymentGatewayAccountName":"abc"}]"#),
        ),
        (
            "payerDetails",
            with(charge.clone(), "payerDetails", &json(&with(payer(), "city", "\"Y\""))),
        ),
    ] {
        let other = compared(Kind::Charge, &body);
        let differs = other.iter().find(|one| !first.contains(one));
        assert_eq!(differs.map(|(name, _)| *name), Some(field));
        assert!(other.iter().all(|(name, _)| compare::name_of(name) == *name));
    }
    assert_ne!(compared(Kind::Authorize, &charge), first);
    assert_ne!(compared(Kind::Capture, &capture()), compared(Kind::Void, &capture()));
    let mine = |last: &str| {
        let id = format!("\"019a000000000000000000000000000{last}\"");
        compared(Kind::Capture, &with(without(capture(), "refTransId"), "transactionId", &id))
    };
    assert_eq!(mine("1"), mine("1"));
    assert_ne!(mine("1"), mine("2"), "of another payment");
}

#[test]
fn fields_that_come_twice_are_refused_in_any_case() {
    for (twice, field) in [
        ("\"amount\":10.23", "amount"),
        ("\"AMOUNT\":10.23", "amount"),
        ("\"amoun\\u0074\":10.23", "amount"),
        ("\"myRef\":null,\"myref\":null", "myRef"),
        ("\"myRef\":null,\"myref\":null,\"amount\":1", "amount"),
    ] {
        let body = json(&charge());
        let body = format!("{},{twice}}}", body.strip_suffix('}').unwrap());
        let error = payment(Kind::Charge, body.as_bytes(), TODAY).unwrap_err();
        assert_eq!(error, FieldError::new(field, "is given more than once"));
    }
    let card = json(&card()).replace("{", "{\"CVV\":\"737\",");
    let error = read(Kind::Charge, &with(charge(), "card", &card)).unwrap_err();
    assert_eq!(error, FieldError::new("card.cvv", "is given more than once"));
}

#[test]
fn what_is_required_is_asked_for() {
    for (name, field) in [
        ("currency", "currency"),
        ("amount", "amount"),
        ("card", "card"),
        ("paymentGatewayAccountName", "paymentGatewayAccountName"),
    ] {
        assert_eq!(read(Kind::Charge, &without(charge(), name)).unwrap_err().field, field);
    }
    for field in ["currency", "amount", "refTransId", "paymentGatewayAccountName"] {
        for kind in [Kind::Capture, Kind::Refund, Kind::Void] {
            assert_eq!(read(kind, &without(capture(), field)).unwrap_err().field, field);
        }
    }
    for (name, of, schema) in
        [("card", card(), &schema::CARD), ("payerDetails", payer(), &schema::PAYER)]
    {
        for field in schema.fields.iter().filter(|field| field.required) {
            let body = with(charge(), name, &json(&without(of.clone(), field.name)));
            let error = read(Kind::Charge, &body).unwrap_err();
            assert_eq!(error, FieldError::new(format!("{name}.{}", field.name), "is required"));
        }
    }
}

#[test]
fn a_card_is_good_through_its_month_and_may_expire_before_a_refund() {
    let of =
        |month, year| json(&with(with(card(), "expirationMonth", month), "expirationYear", year));
    assert!(read(Kind::Charge, &with(charge(), "card", &of("11", "2026"))).is_ok());
    let error = read(Kind::Charge, &with(charge(), "card", &of("10", "2026"))).unwrap_err();
    assert_eq!(error.field, "card.expirationMonth");
    for kind in [Kind::Capture, Kind::Refund, Kind::Void] {
        assert!(read(kind, &with(capture(), "card", &of("10", "2020"))).is_ok());
        assert_eq!(
            read(kind, &with(capture(), "card", "{}")).unwrap_err().field,
            "card.cardHolderName"
        );
    }
}

#[test]
fn a_whole_number_is_one_by_its_value() {
    let of = |month| json(&with(card(), "expirationMonth", month));
    for month in [
        "12",
        "12.0",
        "12.000",
        "1.2e1",
        "1.2E+1",
        "120e-1",
        "12e0",
        "0.12e2",
        "120000000000000000000000e-22",
    ] {
        assert!(read(Kind::Charge, &with(charge(), "card", &of(month))).is_ok(), "{month}");
    }
    for month in [
        "12.01",
        "125e-1",
        "12e-400",
        "12e400",
        "1e99999999999",
        "-12.0",
        "0.0",
        "-0.0e9",
        // Too many digits, and as many places.
        "99999999999999999999e-99",
        "1.00000000000000000000001",
    ] {
        let error = read(Kind::Charge, &with(charge(), "card", &of(month))).unwrap_err();
        assert_eq!(error.field, "card.expirationMonth", "{month}");
    }
}

#[test]
fn follow_ups_and_questions_are_read() {
    for kind in [Kind::Capture, Kind::Refund, Kind::Void] {
        let request = read(kind, &with(capture(), "myRef", "\"order-1\"")).unwrap();
        assert_eq!(request.merchant_reference.as_deref(), Some("order-1"));
        let operation =
            model::Operation { key: "k".into(), merchant_reference: None, action: request.action };
        assert_eq!(operation.kind(), kind);
    }
    let status = without(without(capture(), "currency"), "amount");
    let find = |fields: &Fields| {
        let Action::Status(find) = read(Kind::Status, fields).unwrap().action else {
            panic!("no question")
        };
        find
    };
    assert_eq!(find(&status), Find::Reference("pi_3Nx".into()));
    assert_eq!(find(&with(status.clone(), "myRef", "\"a\"")), Find::Reference("pi_3Nx".into()));
    let by_mine = with(without(status.clone(), "refTransId"), "myRef", "\"a\"");
    assert_eq!(find(&by_mine), Find::MerchantReference("a".into()));
    let error = read(Kind::Status, &without(status.clone(), "refTransId")).unwrap_err();
    assert_eq!(error, FieldError::new("refTransId", "refTransId or myRef is required"));
    let error = read(Kind::Status, &with(status, "refTransId", "\"..\"")).unwrap_err();
    assert_eq!(error.field, "refTransId", "a reference stands in paths");
}

#[test]
fn an_inline_account_wins_over_a_name() {
    let body = with(charge(), "paymentGatewayAccount", &inline());
    let AccountChoice::Inline { gateway, credentials } = read(Kind::Charge, &body).unwrap().account
    else {
        panic!("the name won")
    };
    assert_eq!(&*gateway, "Stripe");
    // This is the test that the value arrives.
    assert_eq!(credentials.find(&["secretkey"]).unwrap().expose(), "sk_test_1");
    assert!(read(Kind::Charge, &without(body, "paymentGatewayAccountName")).is_ok());
}

#[test]
fn accounts_are_read_pair_by_pair() {
    let of = |pairs: &str| {
        let body = format!("{{\"paymentGatewayName\":\"Adyen\",\"Credentials\":{pairs}}}");
        account(body.as_bytes()).map(|(account, _)| account.credentials.len())
    };
    let pair = |key: &str| format!("{{\"Key\":\"{key}\",\"Value\":\"v\"}}");
    let many = |n: usize| {
        let pairs: Vec<String> = (0..n).map(|nth| pair(&format!("k{nth}"))).collect();
        format!("[{}]", pairs.join(","))
    };
    assert_eq!(of("null"), Ok(0));
    assert_eq!(of("[]"), Ok(0));
    assert_eq!(of(&many(32)), Ok(32));
    let state = |more: &str| {
        let body = format!("{{\"paymentGatewayName\":\"Adyen\"{more}}}");
        account(body.as_bytes()).map(|(_, state)| state.is_enabled())
    };
    assert_eq!(state(""), Ok(true));
    assert_eq!(state(",\"enabled\":true"), Ok(true));
    assert_eq!(state(",\"enabled\":false"), Ok(false));
    for (pairs, field, problem) in [
        (many(33), "credentials", "has more items than documented"),
        ("{}".into(), "credentials", "must be an array"),
        ("[1]".into(), "credentials[0]", "must be an object"),
        (format!("[{},{{}}]", pair("a")), "credentials[1].key", "is required"),
        (format!("[{},{}]", pair("a"), pair("A")), "credentials[1].key", "is given more than once"),
        (
            "[{\"key\":\"a\",\"value\":\"é\"}]".into(),
            "credentials[0].value",
            "must hold only printable ASCII characters",
        ),
        ("[{\"key\":\"a\",\"value\":null}]".into(), "credentials[0].value", "must not be null"),
        (
            "[{\"key\":\"a\",\"value\":\"v\",\"note\":1}]".into(),
            "credentials[0].note",
            "is not documented",
        ),
    ] {
        assert_eq!(of(&pairs), Err(FieldError::new(field, problem)), "{pairs}");
    }
    assert_eq!(account(b"{}").unwrap_err().field, "paymentGatewayName");
}

#[test]
fn a_share_is_a_whole_number_of_percent() {
    for (body, expected) in [
        (r#"{"percent":0}"#, Ok((0, Force::No))),
        (r#"{"percent":100,"force":null}"#, Ok((100, Force::No))),
        (r#"{"Percent":50,"Force":true}"#, Ok((50, Force::Yes))),
        (r#"{"percent":101}"#, Err("is not in the documented range")),
        (r#"{"percent":-1}"#, Err("is not in the documented range")),
        (r#"{"percent":0.5}"#, Err("must be a whole number")),
        (r#"{"percent":"50"}"#, Err("must be a whole number")),
        ("{}", Err("is required")),
    ] {
        let read = switch(body.as_bytes()).map(|switch| (switch.percent, switch.force));
        assert_eq!(read, expected.map_err(|problem| FieldError::new("percent", problem)), "{body}");
    }
}

#[test]
fn any_text_may_be_kept_as_a_token() {
    // This is the test that the value arrives.
    let kept =
        |body: &str| string_token(body.as_bytes()).map(|input| input.payload.expose().to_owned());
    assert_eq!(kept("{\"payload\":\"4111111111111111\"}").as_deref(), Ok("4111111111111111"));
    assert_eq!(
        kept(r#"{"PAYLOAD":"{\"pan\":\"\u0000\ud83d\ude00\"}\n"}"#).as_deref(),
        Ok("{\"pan\":\"\0😀\"}\n")
    );
    let of = |chars: usize| format!("{{\"payload\":\"{}\"}}", "é".repeat(chars));
    assert_eq!(kept(&of(16_384)).unwrap().chars().count(), 16_384);
    assert_eq!(kept(&of(16_385)), Err(FieldError::new("payload", "is longer than documented")));
    assert_eq!(kept(&of(0)), Err(FieldError::new("payload", "must not be empty")));
    assert_eq!(kept("{}"), Err(FieldError::new("payload", "is required")));
}

#[test]
fn a_token_may_be_made_on_terms() {
    let body = r#"{"payload":"x","timeToLiveSeconds":60,
        "bindings":[{"paymentGatewayName":"Adyen"},
                    {"paymentGatewayName":"Stripe","paymentGatewayAccountName":"stripe-primary"}],
        "metadata":[{"key":"customer","value":"17"}]}"#;
    let input = string_token(body.as_bytes()).unwrap();
    assert_eq!(input.time_to_live_s, Some(60));
    let bound: Vec<_> = input
        .bindings
        .iter()
        .map(|one| (&*one.gateway, one.account.as_ref().map(AccountName::as_str)))
        .collect();
    assert_eq!(bound, [("Adyen", None), ("Stripe", Some("stripe-primary"))]);
    assert_eq!(input.metadata, [("customer".into(), "17".into())]);
    for (field, body) in [
        ("timeToLiveSeconds", r#"{"payload":"x","timeToLiveSeconds":0}"#),
        ("timeToLiveSeconds", r#"{"payload":"x","timeToLiveSeconds":315360001}"#),
        ("bindings[0].paymentGatewayName", r#"{"payload":"x","bindings":[{}]}"#),
        ("metadata[0].value", r#"{"payload":"x","metadata":[{"key":"a"}]}"#),
    ] {
        assert_eq!(string_token(body.as_bytes()).unwrap_err().field, field);
    }
}

/// JSON that is wrong for a field of any form.
fn wrong(form: &Form) -> &'static str {
    match form {
        Form::List { .. } | Form::Object(_) | Form::Texts { .. } => "0",
        Form::Amount
        | Form::Currency
        | Form::Flag
        | Form::Reserved(_)
        | Form::Text(_)
        | Form::Whole { .. }
        | Form::Word(_) => "{}",
    }
}

/// JSON that is right for a field.
fn right(name: &str) -> String {
    match name {
        "card" => json(&card()),
        "threeDSAuthentication" => json(&three_ds()),
        "payerDetails" => json(&payer()),
        "paymentGatewayAccount" => inline(),
        "bindings" | "credentials" | "fallbackUpgs" | "metadata" => "[]".into(),
        "refTransId" => "\"pi_3Nx\"".into(),
        "paymentGatewayAccountName" => "\"stripe-primary\"".into(),
        "paymentGatewayName" => "\"Stripe\"".into(),
        "key" | "value" | "payload" => "\"x\"".into(),
        "percent" => "50".into(),
        "purpose" => "\"Recurring\"".into(),
        "usage" => "\"Cardholder\"".into(),
        _ => {
            let all = [charge(), card(), three_ds(), payer()].concat();
            let found = all.into_iter().find(|(have, _)| *have == name);
            found.map_or("null".into(), |(_, json)| json)
        }
    }
}

fn token_with(list: &str, json_text: &str) -> Result<(), FieldError> {
    let body = format!("{{\"payload\":\"x\",\"{list}\":[{json_text}]}}");
    string_token(body.as_bytes()).map(|_| ())
}

/// What is said of a text where an object of `schema` stands.
fn read_as(schema: &Schema, json_text: &str) -> Result<(), FieldError> {
    let body = json_text.as_bytes();
    let inside = |name: &'static str, outer: Fields| {
        let body = with(outer, name, json_text);
        read(Kind::Charge, &body).map(|_| ())
    };
    match schema.name {
        "AuthRequestModel" => payment(Kind::Charge, body, TODAY).map(|_| ()),
        "CaptureVoidRequestModel" => payment(Kind::Void, body, TODAY).map(|_| ()),
        "RefundRequestModel" => payment(Kind::Refund, body, TODAY).map(|_| ()),
        "StatusRequestModel" => payment(Kind::Status, body, TODAY).map(|_| ()),
        "TokenizeRequestModel" => payment(Kind::Tokenize, body, TODAY).map(|_| ()),
        "CardInputModel" => inside("card", charge()),
        "FallbackUpg" => {
            let list = format!("[{json_text}]");
            read(Kind::Charge, &with(charge(), "fallbackUpgs", &list)).map(|_| ())
        }
        "PayerDetails" => inside("payerDetails", charge()),
        "StoredCredentialModel" => inside("storedCredential", charge()),
        "PaymentGatewayAccount" => inside("paymentGatewayAccount", charge()),
        "PaymentGatewayAccountInputModel" => account(body).map(|_| ()),
        "StagedCredentialsInputModel" => staged(body).map(|_| ()),
        "StringTokenInputModel" => string_token(body).map(|_| ()),
        "SwitchInputModel" => switch(body).map(|_| ()),
        "ThreeDSAuthenticationInputModel" => {
            let card = json(&with(card(), "threeDSAuthentication", json_text));
            read(Kind::Charge, &with(charge(), "card", &card)).map(|_| ())
        }
        "StringTokenBinding" => token_with("bindings", json_text),
        "StringTokenMetadata" => token_with("metadata", json_text),
        // "KeyValue"
        _ => {
            let account_of =
                format!("{{\"paymentGatewayName\":\"A\",\"credentials\":[{json_text}]}}");
            account(account_of.as_bytes()).map(|_| ())
        }
    }
}

#[test]
fn the_first_wrong_field_of_the_schema_is_told_whatever_the_order_of_the_input() {
    for schema in SCHEMAS {
        for first in 0..schema.fields.len() {
            let mut body: Fields = schema
                .fields
                .iter()
                .enumerate()
                .map(|(nth, field)| {
                    let value =
                        if nth < first { right(field.name) } else { wrong(&field.form).into() };
                    (field.name, value)
                })
                .collect();
            body.reverse();
            let error = read_as(schema, &json(&body)).unwrap_err();
            let expected = schema.fields[first].name;
            assert_eq!(error.field.rsplit('.').next(), Some(expected), "{}", schema.name);
        }
    }
}

#[test]
fn what_is_inside_has_its_turn_with_the_field_that_holds_it() {
    let card = json(&with(card(), "threeDSAuthentication", &json(&with(three_ds(), "eci", "1"))));
    let body = with(with(charge(), "card", &card), "isDigital", "0");
    assert_eq!(read(Kind::Charge, &body).unwrap_err().field, "card.threeDSAuthentication.eci");
}

#[test]
fn the_month_is_one_that_still_lasts_somewhere() {
    for (unix_s, year, month) in [
        (0, 1970, 1),
        (951_782_400 + 43_200, 2000, 2), // 29 February 2000, noon UTC
        (1_772_323_200, 2026, 2),        // 1 March 2026, midnight UTC
        (1_772_323_200 + 43_200, 2026, 3), // half a day later it is March everywhere
        (4_107_542_400 + 43_200, 2100, 3), // 2100 has no 29 February
        (u64::MAX, 9999, 12),
    ] {
        assert_eq!(YearMonth::anywhere_at(unix_s), YearMonth { year, month }, "{unix_s}");
    }
}

#[test]
fn errors_are_written_as_the_api_has_them() {
    let error = FieldError::new("card.cvv", "is required");
    assert_eq!(error.json(), r#"{"fieldName":"card.cvv","errors":["is required"]}"#);
    assert_eq!(error.to_string(), "card.cvv: is required");
    let error = FieldError::new("", "must be UTF-8");
    assert_eq!(error.json(), r#"{"fieldName":null,"errors":["must be UTF-8"]}"#);
}

/// What must never come back: it is no short plain word, and no text of ours has it.
const CANARY: &str = "c4n4ry";

fn all_readers(body: &[u8]) -> Vec<FieldError> {
    let mut errors: Vec<FieldError> =
        Kind::ALL.into_iter().filter_map(|kind| payment(kind, body, TODAY).err()).collect();
    errors.extend(account(body).err());
    errors.extend(string_token(body).err());
    errors
}

fn assert_silent(body: &str) {
    for error in all_readers(body.as_bytes()) {
        let said = format!("{error:?} {error} {}", error.json()).to_lowercase();
        assert!(!said.contains(CANARY) && !said.contains("4111"), "{said} of {body}");
    }
}

#[test]
fn no_error_holds_a_piece_of_the_input() {
    let values = [
        format!("\"{CANARY}\""),
        format!("\"{CANARY}\\ud800\""),
        format!("\"{}{CANARY}\"", "4111".repeat(300)),
        format!("{{\"{CANARY}\":\"{CANARY}\"}}"),
        format!("[\"{CANARY}\"]"),
        CANARY.to_owned(),
        "4111111111111112".to_owned(),
        "-4111.4111".to_owned(),
    ];
    let holders =
        [("card", card()), ("payerDetails", payer()), ("threeDSAuthentication", three_ds())];
    for schema in SCHEMAS {
        for field in schema.fields {
            for value in &values {
                let alone = format!("{{\"{}\":{value}}}", field.name);
                assert_silent(&alone);
                assert_silent(&json(&with(charge(), field.name, value)));
                assert_silent(&json(&with(capture(), field.name, value)));
                for (name, of) in &holders {
                    let inner = json(&with(of.clone(), field.name, value));
                    assert_silent(&json(&with(charge(), name, &inner)));
                    let card = json(&with(card(), name, &inner));
                    assert_silent(&json(&with(charge(), "card", &card)));
                }
                let account = format!("{{\"paymentGatewayName\":\"A\",\"credentials\":[{alone}]}}");
                assert_silent(&account);
                assert_silent(&json(&with(charge(), "paymentGatewayAccount", &account)));
            }
        }
    }
    for body in [format!("{{\"{CANARY}\":1}}"), CANARY.to_owned(), format!("{{\"amount\":{CANARY}")]
    {
        assert_silent(&body);
    }
}

/// JSON, or nearly, of names and values that the API has and of ones that it has not.
fn some_json() -> impl Strategy<Value = String> {
    let names: Vec<&str> =
        SCHEMAS.iter().flat_map(|schema| schema.fields).map(|field| field.name).collect();
    let leaf = prop_oneof![
        Just(format!("\"{CANARY}\"")),
        Just("\"USD\"".to_owned()),
        Just("\"4111111111111111\"".to_owned()),
        Just("null".to_owned()),
        "-?[0-9]{1,12}(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,4})?",
        "\"[ -~é]{0,40}\"",
        "[a-z{}\\[\\]\",:\\\\]{1,8}",
    ];
    leaf.prop_recursive(5, 40, 8, move |inner| {
        let name = prop_oneof![
            proptest::sample::select(names.clone()).prop_map(str::to_owned),
            Just(CANARY.to_owned()),
            "[A-Za-z0-9]{0,30}".prop_map(|name| format!("{CANARY}{name}")),
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec((name, inner), 0..8).prop_map(|pairs| {
                let pairs: Vec<String> =
                    pairs.into_iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
                format!("{{{}}}", pairs.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        all_readers(&body);
    }

    #[test]
    fn no_json_makes_it_panic_or_speak(body in some_json()) {
        for error in all_readers(body.as_bytes()) {
            prop_assert!(!error.json().to_lowercase().contains(CANARY), "{}", error.json());
        }
    }

    #[test]
    fn no_change_of_one_byte_makes_it_panic(at in 0usize..400, byte in any::<u8>()) {
        let mut body = json(&with(charge(), "payerDetails", &json(&payer()))).into_bytes();
        if let Some(place) = body.get_mut(at) {
            *place = byte;
        }
        all_readers(&body);
    }

    #[test]
    fn the_order_of_the_input_changes_nothing(
        seed in proptest::sample::subsequence(vec![0usize, 1, 2, 3], 0..=4),
        shuffled in Just(charge()).prop_shuffle(),
    ) {
        let mut ordered = charge();
        let mut shuffled = shuffled;
        for nth in seed {
            let (name, _) = charge()[nth];
            ordered = with(ordered, name, "{}");
            shuffled = with(shuffled, name, "{}");
        }
        let (ordered, shuffled) = (read(Kind::Charge, &ordered), read(Kind::Charge, &shuffled));
        prop_assert_eq!(ordered.map(|_| ()), shuffled.map(|_| ()));
    }
}

#[test]
fn a_shape_that_is_a_pattern_has_one() {
    for field in SCHEMAS.iter().flat_map(|schema| schema.fields) {
        if let Form::Text(text) = &field.form {
            let free = matches!(text.shape, Shape::Anything | Shape::IpAddress);
            assert_eq!(text.shape.pattern().is_none(), free, "{}", field.name);
        }
    }
}
