//! What was done at an account, and what it holds.

use super::order::{Order, account, text};
use serde_json::{Value, json};
use tests::net::{Net, STRIPE_KEY};
use tests::sandbox::Provider;
use tests::sandbox::fault::{Effect, Fault, Operation};
use tests::sandbox::standing::Standing;

async fn balance(net: &Net, account: &str, query: &str) -> Value {
    let path = format!("/PaymentGatewayAccounts/{account}/balance{query}");
    let answer = net.send("GET", &path, None).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().unwrap()
}

/// The sums of the journal, a line for each currency.
fn journal(balance: &Value) -> Vec<String> {
    let names = [
        "currency",
        "payments",
        "paymentsInDoubt",
        "authorizedAmount",
        "capturedAmount",
        "pendingCaptureAmount",
        "refundedAmount",
        "pendingRefundAmount",
    ];
    let part = |of: &Value, name: &str| of[name].to_string().replace('"', "");
    let line = |of: &Value| names.map(|name| part(of, name)).join(" ");
    balance["journal"]["currencies"].as_array().unwrap().iter().map(line).collect()
}

#[tokio::test]
async fn the_journal_and_the_gateway_say_what_each_knows() {
    let net = Net::start().await.unwrap();
    let empty = balance(&net, "stripe-primary", "").await;
    assert_eq!(journal(&empty), Vec::<String>::new());
    assert_eq!(empty["gateway"]["result"], "Told");
    let order = |amount: &str, currency: &str| Order::new("stripe-primary", amount, currency);
    let paid = order("10.50", "USD").charge(&net).await;
    order("2.50", "USD").of(&text(&paid, "gatewayReference")).refund(&net).await;
    let held = order("100.00", "USD").authorize(&net).await;
    let taken = order("60.00", "USD").of(&text(&held, "gatewayReference")).capture(&net).await;
    assert_eq!(taken.status, 200);
    order("1050", "JPY").charge(&net).await;
    order("7.00", "USD").number("4000000000009995").charge(&net).await;
    // Another account's payments are its own.
    Order::new("adyen-backup", "5.00", "USD").charge(&net).await;
    let found = balance(&net, "stripe-primary", "").await;
    let expected = ["JPY 1 0 0 1050 0 0 0", "USD 3 0 40.0 70.5 0.0 2.5 0.0"];
    assert_eq!(journal(&found), expected, "{found}");
    assert_eq!(
        (&found["journal"]["truncated"], &found["journal"]["next"]),
        (&json!(false), &Value::Null)
    );
    let told: Vec<_> = found["gateway"]["currencies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            format!("{} {} {}", one["currency"], one["availableAmount"], one["pendingAmount"])
        })
        .collect();
    assert_eq!(told, ["\"JPY\" 1050 0", "\"USD\" 68.0 0.0"]);
    for of in ["journal", "gateway"] {
        assert!(found[of]["asOf"].as_str().unwrap().ends_with('Z'), "{found}");
    }
    let none = balance(&net, "stripe-primary", "?until=1").await;
    assert_eq!(journal(&none), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_pending_or_in_doubt_is_told_apart() {
    let net = Net::start().await.unwrap();
    let order = |amount: &str| Order::new("adyen-backup", amount, "USD");
    let held = order("10.00").authorize(&net).await;
    let reference = text(&held, "gatewayReference");
    assert_eq!(order("4.00").of(&reference).capture(&net).await.status, 202);
    assert_eq!(order("1.00").of(&reference).refund(&net).await.status, 202);
    net.sandbox.fault(Fault::once(Effect::Cut).on(Operation::Charge)).unwrap();
    assert_eq!(order("50.00").charge(&net).await.status, 202);
    let found = balance(&net, "adyen-backup", "").await;
    assert_eq!(journal(&found), ["USD 2 1 6.0 0.0 4.0 0.0 1.0"], "{found}");
    assert_eq!(found["gateway"]["result"], "NotSupported");
}

#[tokio::test]
async fn a_gateway_that_fails_does_not_keep_the_journal_back() {
    let net = Net::start().await.unwrap();
    Order::new("stripe-primary", "10.50", "USD").charge(&net).await;
    let expected = ["USD 1 0 0.0 10.5 0.0 0.0 0.0"];
    for (effect, result) in [
        (Effect::Cut, "ProviderUnavailable"),
        (Effect::Status(503), "ProviderUnavailable"),
        (Effect::Html, "NotUnderstood"),
        (Effect::Half, "ProviderUnavailable"),
    ] {
        net.sandbox.fault(Fault::once(effect).on(Operation::Read)).unwrap();
        let found = balance(&net, "stripe-primary", "").await;
        assert_eq!(found["gateway"]["result"], result, "{effect:?}");
        assert_eq!(found["gateway"]["currencies"], json!([]));
        assert_eq!(journal(&found), expected, "{effect:?}");
    }
    for (standing, result) in
        [(Standing::Revoked, "CredentialsRefused"), (Standing::Restricted, "PermissionMissing")]
    {
        net.sandbox.stand(Provider::Stripe, STRIPE_KEY, standing).unwrap();
        let found = balance(&net, "stripe-primary", "").await;
        assert_eq!(found["gateway"]["result"], result);
        assert_eq!(journal(&found), expected);
    }
    let absent = net.send("GET", "/PaymentGatewayAccounts/nobody/balance", None).await.unwrap();
    assert_eq!((absent.status, text(&absent, "code")), (404, "no-such-account".into()));
    account(&net, "another", "NULLSuccess", &json!([])).await;
    let wrong = net.send("GET", "/PaymentGatewayAccounts/another/balance?state=x", None).await;
    assert_eq!(wrong.unwrap().status, 400);
    let key = net.new_key("accounts-only", "accounts").unwrap();
    let client = net.client(tests::net::client::Http::One).with_key(&key);
    let path = "/PaymentGatewayAccounts/stripe-primary/balance";
    assert_eq!(client.send("GET", path, None).await.unwrap().status, 403);
}
