//! What operators ask, as it travels, and what is refused.

use super::{Answer, CreateKey, NewKey, Request, gateway_for};
use model::{Credentials, Secret};

#[test]
fn a_request_is_read_as_it_was_written() {
    for text in [
        r#"{"createMerchant":{"merchant":"acme"}}"#,
        r#"{"createKey":{"merchant":"acme","name":"till","isSandbox":false,"scopes":["payments"],"expiresDays":30}}"#,
        r#"{"putAccount":{"merchant":"acme","name":"stripe-primary","gateway":"Stripe","credentials":[["SecretKey","a \" b"]]}}"#,
        r#""listMerchants""#,
    ] {
        let request: Request = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let long = "x".repeat(1_025);
    for text in [
        r#"{"createMerchant":{"merchant":"A B"}}"#,
        r#"{"createMerchant":{"merchant":"acme","more":1}}"#,
        r#"{"createKey":{"merchant":"acme","name":"till","isSandbox":false,"scopes":["all"],"expiresDays":null}}"#,
        r#"{"revokeKey":{"id":"short"}}"#,
        r#"{"putAccount":{"merchant":"acme","name":"one","gateway":"Stripe","credentials":[["a","b"],["A","c"]]}}"#,
        &format!(
            r#"{{"putAccount":{{"merchant":"acme","name":"one","gateway":"Stripe","credentials":[["a","{long}"]]}}}}"#
        ),
        r#""rotate""#,
    ] {
        assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
    }
}

#[test]
fn a_key_that_cannot_be_meant_is_refused() {
    let key = |name: &str, scopes: &[_], expires_days| CreateKey {
        merchant: model::MerchantId::parse("acme").unwrap(),
        name: name.into(),
        is_sandbox: true,
        scopes: scopes.to_vec(),
        expires_days,
    };
    let payments = [model::Scope::Payments];
    assert_eq!(key("till", &payments, Some(2)).spec(1_000).unwrap().expires, Some(173_800));
    assert_eq!(key("till", &payments, None).spec(1_000).unwrap().expires, None);
    for refused in [
        key("", &payments, None),
        key(" ", &payments, None),
        key("a\nb", &payments, None),
        key(&"x".repeat(65), &payments, None),
        key("till", &[], None),
        key("till", &payments, Some(0)),
        key("till", &payments, Some(3_651)),
    ] {
        assert!(refused.spec(1_000).is_err(), "{refused:?}");
    }
}

#[test]
fn an_account_needs_a_gateway_and_what_it_requires() {
    let none = Credentials::default();
    let key = Secret::new("sk_test_canary0123456789");
    let key = Credentials::new(vec![("secretkey".into(), key)]);
    let strange = Credentials::new(vec![("secretkey".into(), Secret::new("canary"))]);
    let empty = Credentials::new(vec![("SecretKey".into(), Secret::new(""))]);
    assert_eq!(gateway_for("nullsuccess", &none), Ok("NULLSuccess"));
    assert_eq!(gateway_for("stripe", &key), Ok("Stripe"));
    for (gateway, credentials) in [
        ("stripe", &none),
        ("stripe", &empty),
        ("stripe", &strange),
        ("nullsuccess", &key),
        ("strope", &key),
    ] {
        let refused = gateway_for(gateway, credentials).unwrap_err();
        assert!(!refused.to_string().contains("canary"), "{gateway}: {refused}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let answer = Answer::Key(NewKey { id: "id".into(), key: Secret::new("ork_canary") });
    assert!(!format!("{answer:?}").contains("canary"));
    let text = r#"{"putAccount":{"merchant":"acme","name":"one","gateway":"Stripe","credentials":[["a","canary"]]}}"#;
    let request: Request = serde_json::from_str(text).unwrap();
    assert!(!format!("{request:?}").contains("canary"));
}
