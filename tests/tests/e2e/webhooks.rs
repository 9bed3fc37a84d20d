//! What providers send of their own accord, on the whole program: signed by the sandbox, over TLS.

use super::order::{Order, account, text};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tests::net::client::{Answer, Http};
use tests::net::{ADYEN_KEY, ADYEN_MERCHANT, MERCHANT, Net, Options, STRIPE_KEY};
use tests::sandbox::Provider;
use tests::sandbox::fault::{Effect, Fault, Operation};
use tests::sandbox::webhook::{Hook, Moment};

/// How long what is told after an answer may take to be there.
pub(crate) const WITHIN: Duration = Duration::from_secs(30);
const STRIPE_SECRET: &str = "whsec_netOfTheTests0123456789";
const ADYEN_SECRET: &str = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056";
const AUTHORIZE_NET_SECRET: &str = "0f1e2d3c4b5a69780f1e2d3c4b5a69780f1e2d3c4b5a69780f1e2d3c4b5a6978\
    0f1e2d3c4b5a69780f1e2d3c4b5a69780f1e2d3c4b5a69780f1e2d3c4b5a6978";
const BRAINTREE_KEY: &str = "public_example1";
const BRAINTREE_SECRET: &str = "0123456789abcdef0123456789abcdef";
const PLAIN_SECRET: &str = "secret-of-the-webhooks-0123456789";
const CYBERSOURCE_SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn pairs(all: &[(&str, &str)]) -> Value {
    all.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
}

/// An account of each provider that sends webhooks, with its secret: provider, account, secret, and
/// what the provider calls the merchant.
const ALL: [(Provider, &str, &str, &str); 8] = [
    (Provider::Adyen, "adyen-backup", ADYEN_SECRET, ADYEN_MERCHANT),
    (Provider::AuthorizeNet, "authorize-net", AUTHORIZE_NET_SECRET, ""),
    (Provider::Braintree, "braintree", BRAINTREE_SECRET, BRAINTREE_KEY),
    (Provider::Checkout, "checkout", PLAIN_SECRET, ""),
    (Provider::Cybersource, "cybersource", CYBERSOURCE_SECRET, ""),
    (Provider::Stripe, "stripe-primary", STRIPE_SECRET, ""),
    (Provider::Worldpay, "worldpay", PLAIN_SECRET, ""),
    (Provider::WorldpayWpg, "worldpay-wpg", "", "SHOP"),
];

/// What an account at Adyen has that hears its webhooks.
pub(crate) fn adyen_credentials() -> Value {
    let key = ("HmacKey", ADYEN_SECRET);
    pairs(&[("ApiKey", ADYEN_KEY), ("MerchantAccount", ADYEN_MERCHANT), key])
}

async fn store(net: &Net, provider: Provider) {
    let (gateway, name, credentials) = match provider {
        Provider::Adyen => ("Adyen", "adyen-backup", adyen_credentials()),
        Provider::AuthorizeNet => {
            let all = [
                ("ApiLoginId", "5KP3u95bQpv"),
                ("TransactionKey", "346HZ32z3fP4hTG2"),
                ("Currency", "USD"),
                ("Environment", "Test"),
                ("SignatureKey", AUTHORIZE_NET_SECRET),
            ];
            ("AuthorizeNet", "authorize-net", pairs(&all))
        }
        Provider::Braintree => {
            let all = [
                ("PublicKey", BRAINTREE_KEY),
                ("PrivateKey", BRAINTREE_SECRET),
                ("MerchantAccountId", "shop_usd"),
                ("Currency", "USD"),
                ("Environment", "Test"),
            ];
            ("Braintree", "braintree", pairs(&all))
        }
        Provider::Checkout => {
            let key = ("SecretKey", "sk_sbox_netOfTheTests0123456789");
            ("Checkout", "checkout", pairs(&[key, ("WebhookSignatureKey", PLAIN_SECRET)]))
        }
        Provider::Cybersource => {
            let secret = "c2FuZGJveC1zaGFyZWQtc2VjcmV0LTAxMjM0NTY3ODk=";
            let all = [
                ("MerchantId", "orchestra_net"),
                ("KeyId", "08c94330-f618-42a3-b09d-e1e43be5efda"),
                ("SharedSecret", secret),
                ("Environment", "Test"),
                ("WebhookSignatureKey", CYBERSOURCE_SECRET),
            ];
            ("CyberSource", "cybersource", pairs(&all))
        }
        Provider::Stripe => {
            let all = [("SecretKey", STRIPE_KEY), ("WebhookSecret", STRIPE_SECRET)];
            ("Stripe", "stripe-primary", pairs(&all))
        }
        Provider::Worldpay => {
            let all = [
                ("Username", "exampleuser"),
                ("Password", "example-password"),
                ("Entity", "default"),
                ("Narrative", "Example Shop"),
                ("EventSecret", PLAIN_SECRET),
            ];
            ("Worldpay", "worldpay", pairs(&all))
        }
        Provider::WorldpayWpg => {
            let all = [
                ("Username", "exampleuser"),
                ("Password", "example-password"),
                ("MerchantCode", "SHOP"),
            ];
            ("WorldpayWPG", "worldpay-wpg", pairs(&all))
        }
    };
    account(net, name, gateway, &credentials).await;
}

/// A net whose accounts have the secrets of their webhooks.
pub(crate) async fn net() -> Net {
    let options = Options { exchange_timeout_ms: 1_000, ..Options::default() };
    let net = Net::with(options).await.unwrap();
    for (provider, ..) in ALL {
        store(&net, provider).await;
    }
    net
}

/// The usual way to hear of a provider's doings.
pub(crate) fn hook(net: &Net, provider: Provider, when: Moment) -> Hook {
    let (_, account, secret, merchant) =
        ALL.into_iter().find(|(one, ..)| *one == provider).unwrap();
    Hook {
        provider,
        to: net.tls(),
        host: "localhost".to_owned(),
        path: format!("/Webhooks/{MERCHANT}/{account}"),
        authority: net.read("ca.pem"),
        secret: secret.to_owned(),
        account: merchant.to_owned(),
        when,
        times: 1,
        denies: false,
    }
}

fn account_of(provider: Provider) -> &'static str {
    ALL.into_iter().find(|(one, ..)| *one == provider).unwrap().1
}

pub(crate) async fn transaction(net: &Net, id: &str) -> Value {
    let answer = net.send("GET", &format!("/Transactions/{id}"), None).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().unwrap()
}

/// Waits until the payment looks as it should.
pub(crate) async fn until(net: &Net, id: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let found = transaction(net, id).await;
        if holds(&found) {
            return found;
        }
        assert!(began.elapsed() < WITHIN, "{found} {:?}", net.sandbox.told());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until so many webhooks were answered, and gives their statuses.
async fn told(net: &Net, count: usize) -> Vec<Option<u16>> {
    let began = Instant::now();
    loop {
        let told = net.sandbox.told();
        if told.len() >= count {
            return told.iter().map(|told| told.status).collect();
        }
        assert!(began.elapsed() < WITHIN, "{told:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn change(net: &Net, verb: &str, id: &str, amount: &str) -> Answer {
    change_called(net, verb, (id, amount), None).await
}

/// Changes a payment, by a reference of the merchant's own for that.
async fn change_called(
    net: &Net,
    verb: &str,
    (id, amount): (&str, &str),
    my_ref: Option<&str>,
) -> Answer {
    let method = if verb == "void" { "DELETE" } else { "PUT" };
    let my_ref = my_ref.map_or(String::new(), |my_ref| format!(r#","myRef":"{my_ref}""#));
    let body = format!(r#"{{"currency":"USD","amount":{amount},"transactionId":"{id}"{my_ref}}}"#);
    let path = format!("/PaymentGateway/{verb}");
    net.client(Http::One).send_bytes(method, &path, body).await.unwrap()
}

/// What must be the same whatever came first: all but names and times.
fn essence(found: &Value) -> Value {
    let mut found = found.clone();
    let changes = found["changes"].as_array().cloned().unwrap_or_default();
    let changes = changes.iter().map(|c| (&c["operationType"], &c["outcome"], &c["amount"]));
    let changes = json!(changes.collect::<Vec<_>>());
    let attempts = found["attempts"].as_array().cloned().unwrap_or_default();
    let attempts = attempts.iter().map(|a| (&a["account"], &a["outcome"]));
    let attempts = json!(attempts.collect::<Vec<_>>());
    found["named"] = json!(found["gatewayReference"].is_string());
    let all = found.as_object_mut().unwrap();
    for name in ["transactionId", "creationTime", "gatewayReference", "networkTransactionId"] {
        all.remove(name);
    }
    all.insert("changes".to_owned(), changes);
    all.insert("attempts".to_owned(), attempts);
    found
}

/// The ways in which the answer and the webhook can meet: when it is told, how often, and what
/// happens to the answer.
const MEETINGS: [(&str, Moment, u32, Option<Effect>); 8] = [
    ("before", Moment::Before, 1, None),
    ("before, twice", Moment::Before, 2, None),
    ("after", Moment::After, 1, None),
    ("after, twice", Moment::After, 2, None),
    ("the answer lost, before", Moment::Before, 1, Some(Effect::Cut)),
    ("the answer lost, after", Moment::After, 2, Some(Effect::Hang)),
    ("the answer an error, before", Moment::Before, 1, Some(Effect::Status(500))),
    ("the answer an error, after", Moment::After, 2, Some(Effect::Status(500))),
];

#[tokio::test]
async fn a_payment_ends_the_same_whichever_of_answer_and_webhook_comes_first() {
    let net = net().await;
    for provider in [
        Provider::Adyen,
        Provider::Braintree,
        Provider::Checkout,
        Provider::Stripe,
        Provider::Worldpay,
    ] {
        for my_ref in [None, Some("ORD-1001")] {
            let mut all = Vec::new();
            for (name, when, times, effect) in MEETINGS {
                net.sandbox.reset();
                net.sandbox.hook(Hook { times, ..hook(&net, provider, when) }).unwrap();
                if let Some(effect) = effect {
                    let fault = Fault::once(effect).on(Operation::Charge);
                    net.sandbox.fault(fault.at(provider)).unwrap();
                }
                let order = Order::new(account_of(provider), "10.50", "USD");
                let order = my_ref.map_or(order.clone(), |my_ref| order.my_ref(my_ref));
                let answer = order.charge(&net).await;
                let expected = if effect.is_some() { 202 } else { 200 };
                assert_eq!(answer.status, expected, "{provider:?} {name}: {}", answer.text());
                let id = text(&answer, "transactionId");
                let statuses = told(&net, times.try_into().unwrap()).await;
                assert!(statuses.iter().all(|status| *status == Some(200)), "{statuses:?}");
                let found = until(&net, &id, |found| found["state"] == "Captured").await;
                all.push((name, essence(&found)));
                assert_eq!(net.sandbox.ledger().len(), 1, "{provider:?} {name}");
            }
            let (_, first) = all[0].clone();
            for (name, found) in all {
                assert_eq!(found, first, "{provider:?} {my_ref:?} {name}");
            }
        }
    }
    assert_eq!(net.metric("orchestra_vault{figure=\"payments_in_doubt\"}").await.unwrap(), 0);
}

#[tokio::test]
async fn a_webhook_that_nobody_acknowledged_comes_again_and_then_no_more() {
    let mut net = net().await;
    net.sandbox.hook(hook(&net, Provider::Adyen, Moment::Asked)).unwrap();
    let cut = Fault::once(Effect::Cut).on(Operation::Charge);
    net.sandbox.fault(cut.at(Provider::Adyen)).unwrap();
    let answer = Order::new("adyen-backup", "10.50", "USD").charge(&net).await;
    let id = text(&answer, "transactionId");
    let told = async |net: &Net| {
        net.sandbox.tell(Provider::Adyen).await.unwrap();
        let tally = net.sandbox.tally();
        (net.sandbox.told().len(), tally.acknowledged, tally.untold)
    };
    net.kill().unwrap();
    assert_eq!(told(&net).await, (1, 0, 1));
    assert_eq!(told(&net).await, (2, 0, 1));
    net.serve().await.unwrap();
    assert_eq!(transaction(&net, &id).await["state"], "Unknown");
    assert_eq!(told(&net).await, (3, 1, 0));
    assert_eq!(transaction(&net, &id).await["state"], "Captured");
    assert_eq!(told(&net).await, (3, 1, 0));
}

#[tokio::test]
async fn nobody_else_is_asked_once_a_webhook_tells_that_what_was_given_up_stands() {
    let net = net().await;
    net.sandbox.hook(hook(&net, Provider::Adyen, Moment::Before)).unwrap();
    // It says that it is too busy, and has done it.
    let busy = Fault::once(Effect::Status(429)).on(Operation::Charge);
    net.sandbox.fault(busy.at(Provider::Adyen)).unwrap();
    let order = Order::new("adyen-backup", "10.50", "USD");
    let mut body: Value = serde_json::from_str(&order.body()).unwrap();
    body["fallbackUpgs"] = json!([{"paymentGatewayAccountName": "stripe-primary"}]);
    let answer = net.send("POST", "/PaymentGateway/charge", Some(&body)).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = text(&answer, "transactionId");
    let found = until(&net, &id, |found| found["state"] == "Captured").await;
    assert_eq!(essence(&found)["attempts"], json!([["adyen-backup", "approved"]]));
    assert_eq!(net.sandbox.ledger().len(), 1);
}

#[tokio::test]
async fn a_capture_ends_the_same_whichever_of_answer_and_webhook_comes_first() {
    let net = net().await;
    let mine = Some("CAP-1001");
    for (denies, my_ref) in [(false, None), (true, None), (false, mine), (true, mine)] {
        let mut all = Vec::new();
        for (name, when, times, effect) in MEETINGS {
            net.sandbox.reset();
            let held = Order::new("adyen-backup", "10.50", "USD").authorize(&net).await;
            let id = text(&held, "transactionId");
            let hook = Hook { times, denies, ..hook(&net, Provider::Adyen, when) };
            net.sandbox.hook(hook).unwrap();
            if let Some(effect) = effect {
                net.sandbox.fault(Fault::once(effect).on(Operation::Capture)).unwrap();
            }
            let answer = change_called(&net, "capture", (&id, "4.20"), my_ref).await;
            assert_eq!(answer.status, 202, "{name}: {}", answer.text());
            let (outcome, state) =
                if denies { ("declined", "Authorized") } else { ("approved", "Captured") };
            let found = until(&net, &id, |found| found["changes"][0]["outcome"] == outcome).await;
            told(&net, times.try_into().unwrap()).await;
            assert_eq!(found["state"], state, "{name}: {found}");
            let amounts = ["capturedAmount", "pendingCaptureAmount"].map(|n| found[n].to_string());
            let captured = if denies { "0.0" } else { "4.2" };
            assert_eq!(amounts, [captured, "0.0"], "{name}");
            all.push(essence(&found));
            // What failed may be tried again, and what was done may not.
            let again = change(&net, "capture", &id, "10.50").await;
            assert_eq!(again.status, if denies { 202 } else { 409 }, "{name}: {}", again.text());
        }
        assert!(all.iter().all(|found| *found == all[0]), "{all:?}");
    }
}

#[tokio::test]
async fn what_is_pending_at_each_provider_ends_by_its_webhook() {
    let net = net().await;
    for (provider, account, ..) in ALL {
        net.sandbox.reset();
        net.sandbox.hook(hook(&net, provider, Moment::Asked)).unwrap();
        let held = Order::new(account, "10.50", "USD").authorize(&net).await;
        let id = text(&held, "transactionId");
        // Some answer with what became of it. Their answers are lost.
        let at_once = matches!(
            provider,
            Provider::AuthorizeNet | Provider::Braintree | Provider::Cybersource | Provider::Stripe
        );
        if at_once {
            let fault = Fault::once(Effect::Cut).on(Operation::Capture);
            net.sandbox.fault(fault).unwrap();
        }
        let taken = change(&net, "capture", &id, "10.50").await;
        assert_eq!(taken.status, 202, "{provider:?}: {}", taken.text());
        let before = transaction(&net, &id).await;
        if !at_once {
            assert_eq!(before["changes"][0]["outcome"], "pending", "{provider:?} {before}");
            assert_eq!(before["pendingCaptureAmount"].to_string(), "10.5", "{provider:?}");
        }
        net.sandbox.tell(provider).await.unwrap();
        let after = transaction(&net, &id).await;
        assert_eq!(after["changes"][0]["outcome"], "approved", "{:?}", net.sandbox.told());
        assert_eq!(after["pendingCaptureAmount"].to_string(), "0.0", "{provider:?}");
        let told = net.sandbox.told();
        assert!(told.iter().all(|told| told.status == Some(200)), "{told:?}");
        let receipt = match provider {
            Provider::Adyen => "[accepted]",
            Provider::WorldpayWpg => "[OK]",
            Provider::AuthorizeNet
            | Provider::Braintree
            | Provider::Checkout
            | Provider::Cybersource
            | Provider::Stripe
            | Provider::Worldpay => "",
        };
        assert!(told.iter().all(|told| told.body == receipt), "{told:?}");
    }
}

#[tokio::test]
async fn what_is_told_while_nobody_can_be_asked_about_it_is_told_again() {
    let net = net().await;
    let provider = Provider::AuthorizeNet;
    net.sandbox.hook(hook(&net, provider, Moment::Asked)).unwrap();
    let held = Order::new("authorize-net", "10.50", "USD").authorize(&net).await;
    let id = text(&held, "transactionId");
    net.sandbox.fault(Fault::once(Effect::Cut).on(Operation::Capture).at(provider)).unwrap();
    let mute = Fault::standing(Effect::Status(500)).on(Operation::Read);
    net.sandbox.fault(mute.at(provider)).unwrap();
    assert_eq!(change(&net, "capture", &id, "10.50").await.status, 202);
    net.sandbox.tell(provider).await.unwrap();
    let first = net.sandbox.told();
    assert!(!first.is_empty() && first.iter().all(|told| told.status == Some(503)), "{first:?}");
    net.sandbox.calm();
    net.sandbox.tell(provider).await.unwrap();
    let second = net.sandbox.told().split_off(first.len());
    assert!(!second.is_empty() && second.iter().all(|told| told.status == Some(200)), "{second:?}");
    assert_eq!(transaction(&net, &id).await["changes"][0]["outcome"], "approved");
}

#[tokio::test]
async fn a_refund_that_fails_later_is_taken_back() {
    let net = net().await;
    for provider in [
        Provider::Adyen,
        Provider::Braintree,
        Provider::Checkout,
        Provider::Stripe,
        Provider::Worldpay,
    ] {
        net.sandbox.reset();
        let paid = Order::new(account_of(provider), "10.50", "USD").charge(&net).await;
        let id = text(&paid, "transactionId");
        let denying = Hook { denies: true, ..hook(&net, provider, Moment::Asked) };
        net.sandbox.hook(denying).unwrap();
        change(&net, "refund", &id, "3").await;
        let found = transaction(&net, &id).await;
        assert_eq!(
            (&found["state"], found["refundedAmount"].to_string()),
            (&json!("Refunded"), "3.0".into())
        );
        net.sandbox.tell(provider).await.unwrap();
        let found = transaction(&net, &id).await;
        let amounts = ["refundedAmount", "pendingRefundAmount"].map(|name| found[name].to_string());
        assert_eq!(amounts, ["0.0", "0.0"], "{provider:?} {:?}", net.sandbox.told());
        assert_eq!(found["state"], "Captured", "{provider:?}");
        // So that it can be given back again, if the gateway lets it.
        let requests = net.sandbox.requests();
        change(&net, "refund", &id, "10.50").await;
        assert_eq!(net.sandbox.requests(), requests + 1, "{provider:?}");
    }
}

/// Sends a body as it is, without a key, and says how it was answered.
async fn post(net: &Net, path: &str, headers: &[(&'static str, &str)], body: &str) -> String {
    let mut client = net.client(Http::Two).without_key();
    for (name, value) in headers {
        client = client.with_header(name, value);
    }
    let answer = client.send_bytes("POST", path, body.to_owned()).await.unwrap();
    let code = answer.json().ok().and_then(|body| body["code"].as_str().map(str::to_owned));
    format!("{} {}", answer.status, code.unwrap_or_default())
}

#[tokio::test]
async fn nobody_but_the_accounts_provider_is_believed() {
    let net = net().await;
    let held = Order::new("adyen-backup", "10.50", "USD").authorize(&net).await;
    let id = text(&held, "transactionId");
    let good = || hook(&net, Provider::Adyen, Moment::Asked);
    change(&net, "capture", &id, "10.50").await;
    let before = transaction(&net, &id).await;
    let elsewhere = |account: &str| format!("/Webhooks/{MERCHANT}/{account}");
    for (name, wrong) in [
        ("another secret", Hook { secret: "00".repeat(32), ..good() }),
        ("no secret", Hook { secret: String::new(), ..good() }),
        ("another merchant account", Hook { account: "AnotherECOM".to_owned(), ..good() }),
        ("an account of another gateway", Hook { path: elsewhere("checkout"), ..good() }),
        ("an account without a secret", Hook { path: elsewhere("null-success"), ..good() }),
        ("an account that there is not", Hook { path: elsewhere("nobody"), ..good() }),
        ("another merchant", Hook { path: "/Webhooks/nobody/adyen-backup".to_owned(), ..good() }),
    ] {
        net.sandbox.reset();
        net.sandbox.hook(wrong).unwrap();
        // Anything that is told of will do.
        Order::new("adyen-backup", "1.00", "USD").charge(&net).await;
        net.sandbox.tell(Provider::Adyen).await.unwrap();
        let told = net.sandbox.told();
        assert_eq!(told.len(), 1, "{name}");
        assert_eq!(told[0].status, Some(400), "{name}: {told:?}");
        assert!(told[0].body.contains("\"code\":\"webhook-refused\""), "{name}: {told:?}");
    }
    assert_eq!(transaction(&net, &id).await, before);
    let refused =
        net.metric("orchestra_webhooks_refused_total{reason=\"signature\"}").await.unwrap();
    // Of the two with a wrong secret, and of the one that Checkout.com did not sign.
    assert_eq!(refused, 3);
    let path = format!("/Webhooks/{MERCHANT}/stripe-primary");
    let signature = ("stripe-signature", "t=1750000000,v1=00");
    let large = "x".repeat(70_000);
    for (headers, body, expected) in [
        (&[signature][..], "{}", "400 webhook-refused"),
        (&[signature, signature], "{}", "400 webhook-refused"),
        (&[], "{}", "400 webhook-refused"),
        (&[], &large, "413 body-too-large"),
        (&[("content-encoding", "gzip")], "{}", "415 unsupported-encoding"),
    ] {
        assert_eq!(post(&net, &path, headers, body).await, expected, "{headers:?}");
    }
}

/// What a gateway that asks for a proof is answered.
async fn asked(net: &Net, account: &str, query: &str) -> (u16, String) {
    let client = net.client(Http::Two).without_key();
    let path = format!("/Webhooks/{MERCHANT}/{account}{query}");
    let answer = client.send("GET", &path, None).await.unwrap();
    (answer.status, answer.text())
}

#[tokio::test]
async fn braintree_gets_a_proof_that_it_is_heard_and_nobody_else_gets_anything_signed() {
    let net = net().await;
    let challenge = "20f9f8ed05f77439fe955c977e4c8a53";
    let key = boring::sha::sha1(BRAINTREE_SECRET.as_bytes());
    let told = boring::hash::hmac_sha1(&key, challenge.as_bytes()).unwrap();
    let told: String = told.iter().map(|byte| format!("{byte:02x}")).collect();
    let query = format!("?bt_challenge={challenge}");
    let expected = (200, format!("{BRAINTREE_KEY}|{told}"));
    assert_eq!(asked(&net, "braintree", &query).await, expected);
    let notification = "?bt_challenge=PG5vdGlmaWNhdGlvbj48a2luZD5j";
    for (account, query) in [
        ("braintree", ""),
        ("braintree", notification),
        ("stripe-primary", &query),
        ("nobody", &query),
    ] {
        let (status, body) = asked(&net, account, query).await;
        assert_eq!(status, 400, "{account} {query}: {body}");
        assert!(body.contains("\"code\":\"webhook-refused\""), "{account} {query}: {body}");
    }
}

#[tokio::test]
async fn a_charge_whose_settlement_is_declined_at_braintree_is_taken_back_for_good() {
    let net = net().await;
    let hook = |denies| Hook { denies, ..hook(&net, Provider::Braintree, Moment::Asked) };
    net.sandbox.hook(hook(true)).unwrap();
    let charged = Order::new("braintree", "10.50", "USD").charge(&net).await;
    let held = Order::new("braintree", "4.20", "USD").authorize(&net).await;
    let (charged, held) = (text(&charged, "transactionId"), text(&held, "transactionId"));
    assert_eq!(change(&net, "capture", &held, "4.20").await.status, 200);
    // That it was settled comes late.
    net.sandbox.hook(hook(false)).unwrap();
    net.sandbox.tell(Provider::Braintree).await.unwrap();
    let told = net.sandbox.told();
    assert!(told.len() == 4 && told.iter().all(|told| told.status == Some(200)), "{told:?}");
    let found = transaction(&net, &charged).await;
    assert_eq!(found["state"], "Declined", "{found}");
    let found = transaction(&net, &held).await;
    assert_eq!(found["changes"][0]["outcome"], "declined", "{found}");
    assert_eq!(found["capturedAmount"].to_string(), "0.0", "{found}");
}

#[tokio::test]
async fn a_webhook_is_taken_once_and_what_is_not_ours_is_acknowledged() {
    let mut net = net().await;
    net.sandbox.hook(Hook { times: 2, ..hook(&net, Provider::Adyen, Moment::Asked) }).unwrap();
    let held = Order::new("adyen-backup", "10.50", "USD").authorize(&net).await;
    let id = text(&held, "transactionId");
    change(&net, "capture", &id, "10.50").await;
    net.sandbox.tell(Provider::Adyen).await.unwrap();
    let heard = async |net: &Net, result: &str| {
        let name = format!("orchestra_notices_total{{provider=\"adyen\",result=\"{result}\"}}");
        net.metric(&name).await.unwrap()
    };
    // The authorization was known, the capture was not; both were told twice.
    assert_eq!((heard(&net, "known").await, heard(&net, "moved").await), (1, 1));
    assert_eq!(heard(&net, "repeated").await, 2);
    let before = transaction(&net, &id).await;
    assert_eq!(before["changes"][0]["outcome"], "approved");
    // It is acknowledged only when it is on the disk, and stays known.
    net.kill().unwrap();
    net.serve().await.unwrap();
    assert_eq!(transaction(&net, &id).await, before);
    // Somebody else's payment, at the same gateway.
    net.sandbox.reset();
    net.sandbox.hook(hook(&net, Provider::Adyen, Moment::Asked)).unwrap();
    let paid = Order::new("adyen-backup", "3.00", "USD").charge(&net).await;
    assert_eq!(paid.status, 200);
    account(&net, "adyen-other", "Adyen", &adyen_credentials()).await;
    net.sandbox.reset();
    let path = format!("/Webhooks/{MERCHANT}/adyen-other");
    let elsewhere = Hook { path, ..hook(&net, Provider::Adyen, Moment::Asked) };
    net.sandbox.hook(elsewhere).unwrap();
    let paid = Order::new("adyen-backup", "4.00", "USD").charge(&net).await;
    let id = text(&paid, "transactionId");
    let before = transaction(&net, &id).await;
    net.sandbox.tell(Provider::Adyen).await.unwrap();
    assert_eq!(told(&net, 1).await, [Some(200)]);
    assert_eq!(transaction(&net, &id).await, before);
    assert_eq!(heard(&net, "foreign").await, 1);
}
