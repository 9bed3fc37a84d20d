//! Cards that are kept for later payments: what is agreed on once is taken again, by its name.

use super::order::{Order, account, text, verdict};
use serde_json::{Value, json};
use tests::net::Net;

const KEY: &str = "0123456789abcdef0123456789abcdef";
/// The secret that the sandbox shares with every merchant of CyberSource.
const SECRET: &str = "c2FuZGJveC1zaGFyZWQtc2VjcmV0LTAxMjM0NTY3ODk=";

/// Every provider that takes the scheme's name for an earlier payment, with an account there.
fn accounts() -> [(&'static str, Value); 6] {
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
    };
    let test = ("Environment", "Test");
    [
        (
            "AuthorizeNet",
            pairs(&[
                ("ApiLoginId", "x"),
                ("TransactionKey", KEY.split_at(16).0),
                ("Currency", "GBP"),
                test,
            ]),
        ),
        (
            "Braintree",
            pairs(&[
                ("PublicKey", "public_example1"),
                ("PrivateKey", KEY),
                ("MerchantAccountId", "shop_gbp"),
                ("Currency", "GBP"),
                test,
            ]),
        ),
        ("Checkout", pairs(&[("SecretKey", "sk_sbox_0123456789abcdef")])),
        (
            "CyberSource",
            pairs(&[("MerchantId", "x"), ("KeyId", KEY), ("SharedSecret", SECRET), test]),
        ),
        (
            "Worldpay",
            pairs(&[
                ("Username", "exampleuser"),
                ("Password", "example-password"),
                ("Entity", "default"),
                ("Narrative", "Example Shop"),
            ]),
        ),
        (
            "WorldpayWPG",
            pairs(&[
                ("Username", "exampleuser"),
                ("Password", "example-password"),
                ("MerchantCode", "SHOP"),
            ]),
        ),
    ]
}

async fn charge(net: &Net, name: &str, stored: &Value) -> tests::net::client::Answer {
    let mut body: Value = serde_json::from_str(&Order::new(name, "10.50", "GBP").body()).unwrap();
    body["storedCredential"] = stored.clone();
    net.send("POST", "/PaymentGateway/charge", Some(&body)).await.unwrap()
}

#[tokio::test]
async fn what_was_agreed_on_once_is_taken_again_by_the_schemes_name() {
    let net = Net::start().await.unwrap();
    for (gateway, credentials) in accounts() {
        account(&net, gateway, gateway, &credentials).await;
        let first = json!({"usage": "First", "purpose": "Recurring"});
        let first = charge(&net, gateway, &first).await;
        assert_eq!(verdict(&first), "200 Success Captured null false", "{}", first.text());
        // With the blanks that belong to it.
        let original = text(&first, "networkTransactionId");
        for stored in [
            json!({"usage": "Merchant", "purpose": "Recurring", "networkTransactionId": original}),
            json!({"usage": "Merchant", "purpose": "Unscheduled", "networkTransactionId": original}),
            json!({"usage": "Merchant", "purpose": "Installment", "networkTransactionId": original}),
            json!({"usage": "Cardholder"}),
        ] {
            let again = charge(&net, gateway, &stored).await;
            let case = format!("{gateway} {stored}: {}", again.text());
            assert_eq!(verdict(&again), "200 Success Captured null false", "{case}");
        }
    }
    assert_eq!(net.sandbox.ledger().len(), 5 * accounts().len());
}
