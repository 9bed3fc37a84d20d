//! Every way in which a payment does not succeed, and what the merchant is told.

use super::order::{Order, same, verdict};
use serde_json::json;
use tests::net::Net;
use tests::sandbox::Provider;
use tests::sandbox::fault::{Effect, Fault, Operation};
use tests::sandbox::ledger::Outcome;

#[tokio::test]
async fn each_number_of_stripe_is_declined_for_its_reason() {
    let net = Net::start().await.unwrap();
    for (number, reason, retryable) in [
        ("4000000000000002", "CardDeclined", false),
        ("4000000000009995", "InsufficientFunds", true),
        ("4000000000009987", "LostOrStolen", false),
        ("4000000000009979", "LostOrStolen", false),
        ("4000000000000069", "ExpiredCard", false),
        ("4000000000000127", "IncorrectCvv", false),
        ("4000000000000119", "ProcessingError", true),
        ("4000000000006975", "LimitExceeded", true),
        ("4100000000000019", "Fraud", false),
        ("4000002760003184", "AuthenticationRequired", true),
    ] {
        let order = Order::new("stripe-primary", "10.50", "USD").number(number);
        let expected = format!("409 Rejected Declined {reason} {retryable}");
        let answer = order.charge(&net).await;
        assert_eq!(verdict(&answer), expected, "{number}: {}", answer.text());
        let entry = net.sandbox.ledger().pop().unwrap();
        assert_eq!((entry.outcome, entry.pan.as_deref()), (Outcome::Declined, Some(number)));
    }
    let order = Order::new("stripe-primary", "10.50", "USD").number("4000000000009995");
    same("stripe-declined", &order.authorize(&net).await);
    let declined =
        "orchestra_operations_total{operation=\"charge\",outcome=\"declined\",provider=\"stripe\"}";
    assert_eq!(net.metric(declined).await.unwrap(), 10);
}

#[tokio::test]
async fn each_word_of_adyen_is_declined_for_its_reason() {
    let net = Net::start().await.unwrap();
    for (holder, reason, retryable) in [
        ("UNKNOWN", "ProcessingError", true),
        ("DECLINED", "CardDeclined", false),
        ("REFERRAL", "CardDeclined", false),
        ("ERROR", "ProcessingError", true),
        ("BLOCK_CARD", "CardNotSupported", false),
        ("CARD_EXPIRED", "ExpiredCard", false),
        ("INVALID_AMOUNT", "InvalidAmount", false),
        ("INVALID_CARD", "IncorrectNumber", false),
        ("ISSUER_UNAVAILABLE", "IssuerUnavailable", true),
        ("NOT_SUPPORTED", "CardNotSupported", false),
        ("NOT_3D_AUTHENTICATED", "AuthenticationRequired", true),
        ("NOT_ENOUGH_BALANCE", "InsufficientFunds", true),
        ("ACQUIRER_FRAUD", "Fraud", false),
        ("SHOPPER_CANCELLED", "CardDeclined", false),
        ("INVALID_PIN", "IncorrectPin", false),
        ("FRAUD", "Fraud", false),
        ("NOT_SUBMITTED", "ProcessingError", true),
        ("CVC_DECLINED", "IncorrectCvv", false),
        ("REVOCATION_OF_AUTH", "Revoked", false),
        ("WITHDRAWAL_COUNT_EXCEEDED", "LimitExceeded", true),
        ("AVS_DECLINED", "IncorrectAddress", false),
        ("AUTHENTICATION_REQUIRED", "AuthenticationRequired", true),
    ] {
        let order = Order::new("adyen-backup", "10.50", "USD").holder(holder);
        let expected = format!("409 Rejected Declined {reason} {retryable}");
        let answer = order.charge(&net).await;
        assert_eq!(verdict(&answer), expected, "{holder}: {}", answer.text());
        assert_eq!(net.sandbox.ledger().pop().unwrap().outcome, Outcome::Declined);
    }
    let order = Order::new("adyen-backup", "10.50", "USD").holder("NOT_ENOUGH_BALANCE");
    same("adyen-declined", &order.authorize(&net).await);
}

#[tokio::test]
async fn a_refusal_of_us_is_not_a_decline() {
    let net = Net::start().await.unwrap();
    for (gateway, credentials) in [
        ("Stripe", json!([{"key": "SecretKey", "value": "sk_live_notForTheSandbox0000"}])),
        ("Stripe", json!([{"key": "SecretKey", "value": "rk_test_mayOnlyRead00000000"}])),
        (
            "Adyen",
            json!([{"key": "ApiKey", "value": "wrong-key-0000000000"},
                   {"key": "MerchantAccount", "value": "OrchestraNetECOM"}]),
        ),
        (
            "Adyen",
            json!([{"key": "ApiKey", "value": "AQEnetOfTheTests0000"},
                   {"key": "MerchantAccount", "value": "NobodyKnowsMe"}]),
        ),
    ] {
        let body = json!({"paymentGatewayName": gateway, "credentials": credentials});
        let path = "/PaymentGatewayAccounts/wrong";
        assert_eq!(net.send("PUT", path, Some(&body)).await.unwrap().status, 200);
        let answer = Order::new("wrong", "10.50", "USD").charge(&net).await;
        assert_eq!(verdict(&answer), "409 Rejected null null false", "{}", answer.text());
    }
    assert_eq!(net.sandbox.ledger().len(), 0);
}

#[tokio::test]
async fn what_may_have_happened_is_unknown_and_is_not_sent_again() {
    let net = Net::start().await.unwrap();
    let unknown = "202 Accepted Unknown null false";
    let not_sent = "503 TemporaryFailure null null true";
    for (effect, before, expected) in [
        (Effect::Cut, true, unknown),
        (Effect::Cut, false, unknown),
        (Effect::Half, false, unknown),
        (Effect::Html, false, unknown),
        (Effect::Html, true, unknown),
        (Effect::Status(500), true, unknown),
        (Effect::Status(500), false, unknown),
        (Effect::Status(503), true, unknown),
        (Effect::Status(429), true, not_sent),
    ] {
        for (provider, account) in
            [(Provider::Stripe, "stripe-primary"), (Provider::Adyen, "adyen-backup")]
        {
            net.sandbox.reset();
            let fault = Fault::once(effect).at(provider).on(Operation::Charge);
            net.sandbox.fault(if before { fault.before() } else { fault }).unwrap();
            let order = Order::new(account, "10.50", "USD").my_ref("ORD-9");
            let answer = order.charge(&net).await;
            let shown = format!("{account} {effect:?} before={before}: {}", answer.text());
            assert_eq!(verdict(&answer), expected, "{shown}");
            assert_eq!(net.sandbox.ledger().len(), usize::from(!before), "{shown}");
            let expected = if provider == Provider::Stripe { 2 } else { 1 };
            assert_eq!(net.sandbox.requests(), expected, "sent again? {shown}");
        }
    }
}

#[tokio::test]
async fn a_loss_before_any_money_moves_is_not_sent() {
    let net = Net::start().await.unwrap();
    for effect in [Effect::Cut, Effect::Half, Effect::Html, Effect::Status(500)] {
        net.sandbox.reset();
        net.sandbox.fault(Fault::once(effect).on(Operation::PaymentMethod)).unwrap();
        let answer = Order::new("stripe-primary", "10.50", "USD").charge(&net).await;
        assert_eq!(verdict(&answer), "503 TemporaryFailure null null true", "{effect:?}");
        assert_eq!(net.sandbox.ledger().len(), 0);
    }
}

#[tokio::test]
async fn a_connection_that_died_in_the_pool_costs_no_payment() {
    let net = Net::start().await.unwrap();
    let order = Order::new("adyen-backup", "10.50", "USD");
    for _ in 0..5 {
        net.sandbox.fault(Fault::once(Effect::Stale).on(Operation::Charge)).unwrap();
        assert_eq!(order.charge(&net).await.status, 200);
        let handshakes = net.sandbox.connections();
        // Until the sandbox has closed its end; what comes then must find a new connection.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let answer = order.charge(&net).await;
        assert_eq!(verdict(&answer), "200 Success Captured null false");
        assert_eq!(net.sandbox.connections(), handshakes + 1);
    }
    assert_eq!(net.sandbox.ledger().len(), 10);
}

#[tokio::test]
async fn a_provider_that_never_answers_is_given_up() {
    let options = tests::net::Options { exchange_timeout_ms: 1_000, ..Default::default() };
    let net = Net::with(options).await.unwrap();
    net.sandbox.fault(Fault::once(Effect::Hang).on(Operation::Charge)).unwrap();
    let answer = Order::new("stripe-primary", "10.50", "USD").charge(&net).await;
    assert_eq!(verdict(&answer), "202 Accepted Unknown null false");
    assert_eq!(net.sandbox.ledger().len(), 1);
}
