//! A card verification value behind a token is lent to one payment, or to one card that a gateway is to
//! keep, for all accounts that are asked.

use super::order::{Order, text, verdict};
use serde_json::{Value, json};
use tests::net::client::Answer;
use tests::net::{Net, Options};
use tests::sandbox::Provider;
use tests::sandbox::fault::{Effect, Fault, Operation};

const ACCEPTED: &str = "202 Accepted Unknown null false";
const CHARGED: &str = "200 Success Captured null false";

/// Keeps a value, and gives its token.
async fn kept(net: &Net) -> String {
    let kept = net.send("POST", "/StringTokens", Some(&json!({"payload": "737"}))).await.unwrap();
    text(&kept, "token")
}

async fn is_held(net: &Net, token: &str) -> bool {
    let meta = net.send("GET", &format!("/StringTokens/{token}/meta"), None).await.unwrap();
    meta.status == 200
}

async fn charge(net: &Net, token: &str, fallbacks: &[&str]) -> Answer {
    let order = Order::new("stripe-primary", "10.50", "USD").cvv(&format!("@{token}"));
    let mut body: Value = serde_json::from_str(&order.body()).unwrap();
    let one = |name: &&str| json!({"paymentGatewayAccountName": name});
    body["fallbackUpgs"] = fallbacks.iter().map(one).collect();
    net.send("POST", "/PaymentGateway/charge", Some(&body)).await.unwrap()
}

/// A fault after which it is certain that Stripe did nothing.
fn not_reached() -> Fault {
    Fault::once(Effect::Cut).before().at(Provider::Stripe).on(Operation::PaymentMethod)
}

#[tokio::test]
async fn a_verification_value_goes_along_to_the_account_that_is_asked_next() {
    let net = Net::start().await.unwrap();
    for fault in [
        not_reached(),
        Fault::once(Effect::Status(429)).before().at(Provider::Stripe).on(Operation::Charge),
    ] {
        net.sandbox.fault(fault).unwrap();
        let token = kept(&net).await;
        let answer = charge(&net, &token, &["adyen-backup"]).await;
        assert_eq!(verdict(&answer), CHARGED, "{}", answer.text());
        assert_eq!(answer.json().unwrap()["attempts"].as_array().map(Vec::len), Some(2));
        assert!(!is_held(&net, &token).await, "one payment used it up");
        let again = charge(&net, &token, &[]).await;
        assert_eq!((again.status, again.text().contains("card.cvv")), (400, true));
    }
}

#[tokio::test]
async fn a_verification_value_is_there_for_the_retry_when_nothing_was_done() {
    let net = Net::start().await.unwrap();
    let token = kept(&net).await;
    for _ in 0..2 {
        net.sandbox.fault(not_reached()).unwrap();
        let answer = charge(&net, &token, &[]).await;
        assert_eq!(verdict(&answer), "503 TemporaryFailure null null true");
        assert!(is_held(&net, &token).await);
    }
    let refused = charge(&net, &token, &["nobody-there"]).await;
    assert_eq!((refused.status, is_held(&net, &token).await), (400, true));
    assert_eq!(verdict(&charge(&net, &token, &[]).await), CHARGED);
    assert!(!is_held(&net, &token).await);
}

#[tokio::test]
async fn a_verification_value_ends_with_a_payment_that_may_have_been_made() {
    let net =
        Net::with(Options { exchange_timeout_ms: 1_000, ..Options::default() }).await.unwrap();
    let fault = Fault::once(Effect::Hang).at(Provider::Stripe).on(Operation::Charge);
    net.sandbox.fault(fault).unwrap();
    let token = kept(&net).await;
    // While a payment has it, no other one gets it.
    let (first, second) = tokio::join!(charge(&net, &token, &["adyen-backup"]), async {
        while net.sandbox.requests() < 2 {
            tokio::time::sleep(tests::net::PAUSE).await;
        }
        charge(&net, &token, &[]).await
    });
    assert_eq!(verdict(&first), ACCEPTED, "{}", first.text());
    assert_eq!((second.status, second.text().contains("card.cvv")), (400, true));
    assert!(!is_held(&net, &token).await);
    assert_eq!(net.metric("orchestra_vault{figure=\"cvvs_in_memory\"}").await.unwrap(), 0);
}

#[tokio::test]
async fn a_verification_value_ends_with_a_card_that_may_be_kept() {
    const BUSY: &str = "503 TemporaryFailure null null true";
    let net = Net::start().await.unwrap();
    let keeping = |effect| Fault::once(effect).at(Provider::Stripe).on(Operation::Keep);
    for (fault, said, held) in [
        (None, "200 Success null null false", false),
        (Some(keeping(Effect::Cut)), BUSY, false),
        (Some(keeping(Effect::Status(500))), BUSY, false),
        // The gateway did nothing for certain, and may be asked again.
        (Some(keeping(Effect::Status(429)).before()), BUSY, true),
        (Some(not_reached()), BUSY, true),
    ] {
        if let Some(fault) = &fault {
            net.sandbox.fault(fault.clone()).unwrap();
        }
        let token = kept(&net).await;
        let order = Order::new("stripe-primary", "10.50", "USD").cvv(&format!("@{token}"));
        let order: Value = serde_json::from_str(&order.body()).unwrap();
        let name = &order["paymentGatewayAccountName"];
        let body = json!({"card": order["card"], "paymentGatewayAccountName": name});
        let answer = net.send("POST", "/PaymentGateway/tokenize", Some(&body)).await.unwrap();
        assert_eq!(verdict(&answer), said, "{}", answer.text());
        assert_eq!(is_held(&net, &token).await, held, "{fault:?}");
    }
}
