//! Stripe: what is refused, what is declined, and what may follow what.

use super::talk::{STRIPE_KEY, Talk, VERSION, read};
use serde_json::Value;
use tests::net::client::Http;

const GOOD: &str = "4242424242424242";

/// `status type code decline_code param`, with `-` for what is not there.
fn refusal((status, body): &(u16, Value)) -> String {
    let part = |name: &str| body["error"][name].as_str().unwrap_or("-").to_owned();
    let parts = ["type", "code", "decline_code", "param"].map(part);
    format!("{status} {}", parts.join(" "))
}

#[tokio::test]
async fn parameters_are_checked_as_strictly_as_documented() {
    let talk = Talk::start();
    let bad = "400 invalid_request_error";
    for (path, form, expected) in [
        ("/v1/payment_intents", "amount=1&currency=usd&x=1", "parameter_unknown - x"),
        ("/v1/payment_intents", "currency=usd", "parameter_missing - amount"),
        ("/v1/payment_intents", "amount=100", "parameter_missing - currency"),
        ("/v1/payment_intents", "amount=1.5&currency=usd", "parameter_invalid_integer - amount"),
        ("/v1/payment_intents", "amount=0&currency=usd", "parameter_invalid_integer - amount"),
        ("/v1/payment_intents", "amount=-5&currency=usd", "parameter_invalid_integer - amount"),
        ("/v1/payment_intents", "amount=49&currency=usd", "amount_too_small - amount"),
        ("/v1/payment_intents", "amount=100000000&currency=usd", "amount_too_large - amount"),
        ("/v1/payment_intents", "amount=1001&currency=kwd", "- - amount"),
        ("/v1/payment_intents", "amount=150&currency=isk", "- - amount"),
        ("/v1/payment_intents", "amount=100&currency=xxx", "- - currency"),
        ("/v1/payment_intents", "amount=100&amount=100&currency=usd", "- - -"),
        ("/v1/payment_intents", "amount=100&currency=usd&confirm=yes", "- - confirm"),
        (
            "/v1/payment_intents",
            "amount=100&currency=usd&confirm=true",
            "payment_intent_unexpected_state - -",
        ),
        (
            "/v1/payment_intents",
            "amount=100&currency=usd&allowed_payment_method_types[]=card",
            "parameter_unknown - allowed_payment_method_types",
        ),
        (
            "/v1/payment_intents",
            "amount=100&currency=usd&payment_method_options[card][three_d_secure][version]=2.2.0",
            "parameter_missing - payment_method_options[card][three_d_secure][cryptogram]",
        ),
        ("/v1/payment_methods", "type=card", "parameter_missing - card"),
        ("/v1/payment_methods", "type=card&card[number]=1", "parameter_missing - card[exp_month]"),
        ("/v1/refunds", "", "parameter_missing - -"),
    ] {
        let answer = talk.ask_stripe("POST", path, form).await;
        assert_eq!(refusal(&answer), format!("{bad} {expected}"), "{path} {form}");
    }
    assert_eq!(talk.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_card_is_checked_when_it_is_handed_in() {
    let talk = Talk::start();
    for (card, expected) in [
        (
            "[number]=4242424242424241&card[exp_month]=12&card[exp_year]=2035",
            "incorrect_number - number",
        ),
        (
            "[number]=4242424242424242&card[exp_month]=13&card[exp_year]=2035",
            "invalid_expiry_month - exp_month",
        ),
        (
            "[number]=4242424242424242&card[exp_month]=12&card[exp_year]=2020",
            "invalid_expiry_year - exp_year",
        ),
        (
            "[number]=4242424242424242&card[exp_month]=12&card[exp_year]=2035&card[cvc]=12",
            "invalid_cvc - cvc",
        ),
    ] {
        let form = format!("type=card&card{card}");
        let answer = talk.ask_stripe("POST", "/v1/payment_methods", &form).await;
        assert_eq!(refusal(&answer), format!("402 card_error {expected}"), "{card}");
    }
}

#[tokio::test]
async fn keys_versions_addresses_and_content_types_are_checked() {
    let talk = Talk::start();
    let client = || talk.client(Http::One);
    let form = "content-type";
    let urlencoded = "application/x-www-form-urlencoded";
    let good = format!("Bearer {STRIPE_KEY}");
    for (key, version, kind, path, expected) in [
        ("", VERSION, urlencoded, "/v1/refunds", 401),
        ("Bearer sk_live_0123456789", VERSION, urlencoded, "/v1/refunds", 401),
        ("Bearer sk_test_", VERSION, urlencoded, "/v1/refunds", 401),
        ("Bearer rk_test_0123456789", VERSION, urlencoded, "/v1/refunds", 403),
        (good.as_str(), "", urlencoded, "/v1/refunds", 400),
        (good.as_str(), "2020-08-27", urlencoded, "/v1/refunds", 400),
        (good.as_str(), VERSION, "application/json", "/v1/refunds", 400),
        (good.as_str(), VERSION, urlencoded, "/v1/nothing", 404),
    ] {
        let client = client()
            .with_header("authorization", key)
            .with_header("stripe-version", version)
            .with_header(form, kind);
        let answer = client.send_bytes("POST", &format!("/stripe{path}"), "a=1").await;
        let (status, body) = read(answer);
        assert_eq!(status, expected, "{key} {version} {kind} {path}: {body}");
    }
}

#[tokio::test]
async fn every_documented_number_is_declined_as_documented() {
    let talk = Talk::start();
    for (number, code, decline) in [
        ("4000000000000002", "card_declined", "generic_decline"),
        ("4000000000009995", "card_declined", "insufficient_funds"),
        ("4000000000009987", "card_declined", "lost_card"),
        ("4000000000009979", "card_declined", "stolen_card"),
        ("4000000000000069", "expired_card", "expired_card"),
        ("4000000000000127", "incorrect_cvc", "incorrect_cvc"),
        ("4000000000000119", "processing_error", "processing_error"),
        ("4000000000006975", "card_declined", "card_velocity_exceeded"),
        ("4100000000000019", "card_declined", "fraudulent"),
    ] {
        let (status, body) = talk.intent(number, "amount=1099&currency=usd", "").await;
        let error = &body["error"];
        assert_eq!((status, error["code"].as_str()), (402, Some(code)), "{number}");
        assert_eq!(error["decline_code"], decline);
        assert_eq!(error["payment_intent"]["status"], "requires_payment_method");
        assert_eq!(error["payment_intent"]["last_payment_error"]["decline_code"], decline);
        assert_eq!(error["payment_intent"]["latest_charge"], error["charge"]);
        let entry = talk.sandbox.ledger().pop().unwrap();
        assert_eq!((entry.pan.as_deref(), entry.reason.as_deref()), (Some(number), Some(decline)));
    }
    // Only test cards are approved, and only they are kept whole.
    let stranger = ["42424242", "00000000"].concat();
    let (_, body) = talk.intent(&stranger, "amount=1099&currency=usd", "").await;
    assert_eq!(body["error"]["decline_code"], "testmode_decline");
    assert_eq!(talk.sandbox.ledger().pop().unwrap().pan.unwrap(), "424242…0000");
}

#[tokio::test]
async fn authentication_is_required_unless_it_is_handed_in() {
    let talk = Talk::start();
    let number = "4000002760003184";
    let amount = "amount=1099&currency=eur";
    let (status, body) = talk.intent(number, amount, "error_on_requires_action=true").await;
    assert_eq!((status, body["error"]["code"].as_str()), (402, Some("authentication_required")));
    let (_, body) = talk.intent(number, amount, "return_url=https://shop.example").await;
    assert_eq!(body["status"], "requires_action");
    let three_ds = "payment_method_options[card][three_d_secure]";
    let proof = format!(
        "{three_ds}[version]=2.2.0&{three_ds}[cryptogram]=AAABBWFlmQAAAABjRWWZEEFgFz8%3D&\
         {three_ds}[transaction_id]=b8fb4ecc&{three_ds}[electronic_commerce_indicator]=05"
    );
    let (_, body) = talk.intent(number, amount, &proof).await;
    assert_eq!(body["status"], "succeeded");
}

#[tokio::test]
async fn a_part_is_captured_the_rest_released_and_a_part_refunded() {
    let talk = Talk::start();
    let more = "capture_method=manual&metadata[order_id]=ORD-1";
    let (_, intent) = talk.intent(GOOD, "amount=1099&currency=usd", more).await;
    let id = intent["id"].as_str().unwrap();
    assert_eq!(
        (&intent["status"], &intent["amount_capturable"]),
        (&"requires_capture".into(), &1099.into())
    );
    let capture = format!("/v1/payment_intents/{id}/capture");
    let too_much = talk.ask_stripe("POST", &capture, "amount_to_capture=1100").await;
    assert_eq!(
        refusal(&too_much),
        "400 invalid_request_error amount_too_large - amount_to_capture"
    );
    let (_, captured) = talk.ask_stripe("POST", &capture, "amount_to_capture=500").await;
    assert_eq!(
        (&captured["status"], &captured["amount_received"]),
        (&"succeeded".into(), &500.into())
    );
    let again = talk.ask_stripe("POST", &capture, "").await;
    assert_eq!(refusal(&again), "400 invalid_request_error payment_intent_unexpected_state - -");
    assert_eq!(again.1["error"]["payment_intent"]["id"], id);
    let cancel = talk.ask_stripe("POST", &format!("/v1/payment_intents/{id}/cancel"), "").await;
    assert_eq!(refusal(&cancel), "400 invalid_request_error payment_intent_unexpected_state - -");

    let refund = |amount: &str| format!("payment_intent={id}{amount}");
    let (_, part) = talk.ask_stripe("POST", "/v1/refunds", &refund("&amount=200")).await;
    assert_eq!((&part["amount"], &part["status"]), (&200.into(), &"succeeded".into()));
    let more = talk.ask_stripe("POST", "/v1/refunds", &refund("&amount=301")).await;
    assert_eq!(refusal(&more), "400 invalid_request_error - - amount");
    let (_, rest) = talk.ask_stripe("POST", "/v1/refunds", &refund("")).await;
    assert_eq!(rest["amount"], 300);
    let none = talk.ask_stripe("POST", "/v1/refunds", &refund("")).await;
    assert_eq!(refusal(&none), "400 invalid_request_error charge_already_refunded - -");
    let list = format!("/v1/refunds?payment_intent={id}&limit=1");
    let (_, list) = talk.ask_stripe("GET", &list, "").await;
    assert_eq!((&list["data"][0]["amount"], &list["has_more"]), (&300.into(), &true.into()));

    let lines = [
        "authorize Approved 1099 USD",
        "capture Approved 500 USD",
        "refund Approved 200 USD",
        "refund Approved 300 USD",
    ];
    assert_eq!(talk.lines(), lines);
    let first = talk.sandbox.ledger().swap_remove(0);
    assert_eq!(
        (first.pan.unwrap(), first.reference.unwrap()),
        (GOOD.to_owned(), "ORD-1".to_owned())
    );
}

#[tokio::test]
async fn a_hold_is_cancelled_once_and_is_found_by_its_metadata() {
    let talk = Talk::start();
    let more = "capture_method=manual&metadata[order_id]=ORD-2&expand[]=latest_charge";
    let (_, intent) = talk.intent(GOOD, "amount=5000&currency=jpy", more).await;
    assert_eq!(intent["latest_charge"]["payment_method_details"]["card"]["last4"], "4242");
    let id = intent["id"].as_str().unwrap();
    let search = "/v1/payment_intents/search?query=metadata%5B'order_id'%5D:'ORD-2'";
    let (_, found) = talk.ask_stripe("GET", search, "").await;
    assert_eq!(found["data"][0]["id"], id);
    let refund = talk.ask_stripe("POST", "/v1/refunds", &format!("payment_intent={id}")).await;
    assert_eq!(
        refusal(&refund),
        "400 invalid_request_error payment_intent_unexpected_state - payment_intent"
    );
    let path = format!("/v1/payment_intents/{id}/cancel");
    let (_, canceled) = talk.ask_stripe("POST", &path, "cancellation_reason=duplicate").await;
    assert_eq!(
        (&canceled["status"], &canceled["cancellation_reason"]),
        (&"canceled".into(), &"duplicate".into())
    );
    let again = talk.ask_stripe("POST", &path, "").await;
    assert_eq!(refusal(&again), "400 invalid_request_error payment_intent_unexpected_state - -");
    let (_, shown) = talk.ask_stripe("GET", &format!("/v1/payment_intents/{id}"), "").await;
    assert_eq!(shown["status"], "canceled");
    let missing = talk.ask_stripe("GET", "/v1/payment_intents/pi_none", "").await;
    assert_eq!(refusal(&missing), "404 invalid_request_error resource_missing - intent");
    assert_eq!(talk.lines(), ["authorize Approved 5000 JPY", "void Approved 5000 JPY"]);
}

#[tokio::test]
async fn a_payment_method_is_good_for_one_payment() {
    let talk = Talk::start();
    let method = talk.method(GOOD).await;
    let form = format!("amount=1099&currency=usd&payment_method={method}&confirm=true");
    assert_eq!(talk.ask_stripe("POST", "/v1/payment_intents", &form).await.0, 200);
    let again = talk.ask_stripe("POST", "/v1/payment_intents", &form).await;
    assert_eq!(refusal(&again), "400 invalid_request_error - - payment_method");
    assert_eq!(talk.lines().len(), 1);
}

#[tokio::test]
async fn a_key_is_executed_once_and_never_for_two_requests() {
    let talk = Talk::start();
    let client = talk.stripe().with_header("idempotency-key", "k-1");
    let method = talk.method(GOOD).await;
    let form =
        |amount| format!("amount={amount}&currency=usd&payment_method={method}&confirm=true");
    let path = "/stripe/v1/payment_intents";
    let first = client.send_bytes("POST", path, form(1099)).await.unwrap();
    let second = client.send_bytes("POST", path, form(1099)).await.unwrap();
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!(first.body, second.body);
    assert_eq!(
        (first.header("idempotent-replayed"), second.header("idempotent-replayed")),
        ("", "true")
    );
    let other = read(client.send_bytes("POST", path, form(1100)).await);
    assert_eq!(refusal(&other), "400 idempotency_error - - -");
    assert_eq!(talk.lines().len(), 1);
    assert_eq!(talk.sandbox.ledger().pop().unwrap().idempotency_key.unwrap(), "k-1");
}

#[tokio::test]
async fn a_host_name_or_a_path_chooses_the_provider_also_over_h2() {
    let talk = Talk::start();
    for http in [Http::One, Http::Two] {
        let (status, body) = read(talk.client(http).send("GET", "/stripe/v1/refunds", None).await);
        assert_eq!((status, &body["error"]["type"]), (401, &"invalid_request_error".into()));
        let (status, body) = read(talk.client(http).send("GET", "/adyen/v71/payments", None).await);
        assert_eq!((status, &body["errorCode"]), (401, &"000".into()));
        let (status, _) = read(talk.client(http).send("GET", "/v1/refunds", None).await);
        assert_eq!(status, 404);
    }
    let by_host = talk.client(Http::One).with_header("host", "api.stripe.com");
    assert_eq!(read(by_host.send("GET", "/v1/refunds", None).await).0, 401);
}

#[tokio::test]
async fn nobody_lists_or_finds_the_payments_of_another_account() {
    let talk = Talk::start();
    talk.intent(GOOD, "amount=5000&currency=usd", "metadata[order_id]=ORD-3").await;
    let search = "/v1/payment_intents/search?query=metadata%5B'order_id'%5D:'ORD-3'";
    for path in ["/v1/payment_intents?limit=3", search] {
        let own = talk.stripe();
        let other = talk.stripe().with_header("stripe-account", "acct_other");
        for (client, count) in [(own, 1), (other, 0)] {
            let (_, page) = read(client.send_bytes("GET", &format!("/stripe{path}"), "").await);
            assert_eq!(page["data"].as_array().map(Vec::len), Some(count), "{path}");
        }
    }
}
