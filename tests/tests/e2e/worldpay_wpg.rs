//! Worldpay's older gateway, from beginning to end.

use super::order::{Order, account, same, status, text, verdict};
use serde_json::json;
use tests::net::Net;
use tests::sandbox::Provider;
use tests::sandbox::fault::{Effect, Fault};

const ACCOUNT: &str = "worldpay-wpg";

/// A net with an account at WPG.
async fn net() -> Net {
    let net = Net::start().await.unwrap();
    let credentials = json!([{"key": "Username", "value": "exampleuser"},
                             {"key": "Password", "value": "example-password"},
                             {"key": "MerchantCode", "value": "SHOP"}]);
    account(&net, ACCOUNT, "WorldpayWPG", &credentials).await;
    net
}

#[tokio::test]
async fn wpg_charges_declines_and_is_not_asked_twice() {
    let net = net().await;
    let order = || Order::new(ACCOUNT, "10.50", "GBP").my_ref("ORD-77");
    let answer = order().charge(&net).await;
    same("worldpay-wpg-charge", &answer);
    let entry = net.sandbox.ledger().pop().unwrap();
    assert_eq!((entry.operation, entry.amount), ("charge", Some(1_050)));
    assert_eq!(entry.payment, text(&answer, "transactionId"));
    same("worldpay-wpg-declined", &order().holder("REFUSED51").charge(&net).await);
    for effect in [Effect::Cut, Effect::Half, Effect::Html, Effect::Status(500)] {
        net.sandbox.reset();
        net.sandbox.fault(Fault::once(effect).at(Provider::WorldpayWpg)).unwrap();
        assert_eq!(verdict(&order().charge(&net).await), "202 Accepted Unknown null false");
        assert_eq!((net.sandbox.ledger().len(), net.sandbox.requests()), (1, 1), "{effect:?}");
    }
}

#[tokio::test]
async fn wpg_holds_and_takes_every_change_for_later() {
    let net = net().await;
    let order = |amount| Order::new(ACCOUNT, amount, "GBP");
    let held = order("100.00").authorize(&net).await;
    same("worldpay-wpg-authorize", &held);
    let payment = text(&held, "gatewayReference");
    same("worldpay-wpg-capture-part", &order("60.00").of(&payment).capture(&net).await);
    same("worldpay-wpg-refund-part", &order("25.00").of(&payment).refund(&net).await);
    let too_much = order("60.00").of(&payment).refund(&net).await;
    assert_eq!(verdict(&too_much), "409 Rejected Refunded null false");
    same("worldpay-wpg-status", &status(&net, ACCOUNT, "refTransId", &payment).await);
    let second = text(&order("12.00").authorize(&net).await, "gatewayReference");
    same("worldpay-wpg-void", &order("12.00").of(&second).void(&net).await);
    let line = |entry: tests::sandbox::ledger::Entry| {
        format!("{} {}", entry.operation, entry.amount.unwrap_or_default())
    };
    let lines: Vec<_> = net.sandbox.ledger().into_iter().map(line).collect();
    let expected =
        ["authorize 10000", "capture 6000", "refund 2500", "authorize 1200", "void 1200"];
    assert_eq!(lines, expected);
}
