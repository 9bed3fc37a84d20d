//! Misbehaviour to order, and the control interface.

use super::talk::{Talk, read};
use boring::ssl::{SslConnector, SslMethod, SslVerifyMode, SslVersion};
use serde_json::json;
use tests::net::client::Http;
use tests::sandbox::fault::{BY_AMOUNT, Effect, Fault, Operation, When};
use tests::sandbox::{Provider, Tls};
use tokio::net::TcpStream;

const INTENTS: &str = "/stripe/v1/payment_intents";

/// A form that charges a built-in payment method.
fn charge(amount: u64) -> String {
    format!("amount={amount}&currency=usd&payment_method=pm_card_visa&confirm=true")
}

#[tokio::test]
async fn each_effect_is_what_it_says_and_executes_as_it_says() {
    let talk = Talk::start();
    for (fault, answered, executed) in [
        (Fault::once(Effect::Cut).before(), "none", 0),
        (Fault::once(Effect::Cut), "none", 1),
        (Fault::once(Effect::Half), "none", 1),
        (Fault::once(Effect::Html), "200 text/html; charset=utf-8", 1),
        (Fault::once(Effect::Html).before(), "200 text/html; charset=utf-8", 0),
        (Fault::once(Effect::WrongType), "200 text/plain", 1),
        (Fault::once(Effect::Status(429)).before(), "429 application/json; charset=utf-8", 0),
        (Fault::once(Effect::Status(500)), "500 application/json; charset=utf-8", 1),
        (Fault::once(Effect::Status(503)).before(), "503 application/json; charset=utf-8", 0),
        (Fault::once(Effect::Delay(30)), "200 application/json; charset=utf-8", 1),
        (Fault::once(Effect::Delay(30)).before(), "200 application/json; charset=utf-8", 1),
        (Fault::once(Effect::Stale), "200 application/json; charset=utf-8", 1),
    ] {
        talk.sandbox.reset();
        talk.sandbox.fault(fault.clone()).unwrap();
        let answer = talk.stripe().send_bytes("POST", INTENTS, charge(1099)).await;
        let heard = answer.map_or("none".to_owned(), |answer| {
            format!("{} {}", answer.status, answer.header("content-type"))
        });
        assert_eq!(heard, answered, "{fault:?}");
        assert_eq!(talk.lines().len(), executed, "{fault:?}");
        // It was one-shot.
        let next = talk.stripe().send_bytes("POST", INTENTS, charge(1099)).await.unwrap();
        assert_eq!(
            (next.status, next.header("content-type")),
            (200, "application/json; charset=utf-8")
        );
    }
}

#[tokio::test]
async fn a_hanging_request_goes_on_when_its_client_has_left() {
    let talk = Talk::start();
    talk.sandbox.fault(Fault::once(Effect::Delay(50)).before().on(Operation::Charge)).unwrap();
    let client = talk.stripe();
    let task = tokio::spawn(async move { client.send_bytes("POST", INTENTS, charge(1099)).await });
    while talk.sandbox.requests() == 0 {
        tokio::task::yield_now().await;
    }
    task.abort();
    while talk.lines().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(talk.lines(), ["charge Approved 1099 USD"]);
}

#[tokio::test]
async fn a_key_in_flight_is_a_conflict() {
    let talk = Talk::start();
    talk.sandbox.fault(Fault::once(Effect::Hang).at(Provider::Stripe)).unwrap();
    talk.sandbox.fault(Fault::once(Effect::Delay(600_000)).before().at(Provider::Adyen)).unwrap();
    let stripe = talk.stripe().with_header("idempotency-key", "k");
    // A hang after the execution has executed: the same key replays.
    let hanging = stripe.clone();
    let task = tokio::spawn(async move { hanging.send_bytes("POST", INTENTS, charge(1099)).await });
    while talk.lines().is_empty() {
        tokio::task::yield_now().await;
    }
    let again = stripe.send_bytes("POST", INTENTS, charge(1099)).await.unwrap();
    assert_eq!((again.status, again.header("idempotent-replayed")), (200, "true"));
    task.abort();
    // A delay before the execution is in flight.
    talk.sandbox.fault(Fault::once(Effect::Delay(600_000)).before()).unwrap();
    let stripe = stripe.with_header("idempotency-key", "k2");
    let waiting = talk.stripe().with_header("idempotency-key", "k2");
    let before = talk.sandbox.requests();
    let task = tokio::spawn(async move { waiting.send_bytes("POST", INTENTS, charge(1099)).await });
    while talk.sandbox.requests() == before {
        tokio::task::yield_now().await;
    }
    drop(stripe);
    let again = talk.stripe().with_header("idempotency-key", "k2");
    let (status, body) = read(again.send_bytes("POST", INTENTS, charge(1099)).await);
    assert_eq!((status, body["error"]["code"].as_str()), (409, Some("idempotency_key_in_use")));
    task.abort();
}

#[tokio::test]
async fn public_amounts_do_what_their_table_says() {
    let talk = Talk::start();
    for (amount, when, effect) in BY_AMOUNT {
        if effect == Effect::Hang {
            continue;
        }
        talk.sandbox.reset();
        let answer = talk.stripe().send_bytes("POST", INTENTS, charge(amount)).await;
        match effect {
            Effect::Status(status) => assert_eq!(answer.unwrap().status, status),
            Effect::Cut | Effect::Half => assert!(answer.is_err()),
            Effect::Delay(_) | Effect::Hang | Effect::Html | Effect::Stale | Effect::WrongType => {
                assert_eq!(answer.unwrap().status, 200);
            }
        }
        assert_eq!(talk.lines().len(), usize::from(when == When::After), "{amount}");
    }
}

#[tokio::test]
async fn the_control_interface_orders_shows_and_forgets() {
    let talk = Talk::start();
    let client = talk.client(Http::Two);
    let order = json!({"provider": "stripe", "operation": "charge", "effect": {"status": 503},
                       "when": "before", "times": 1});
    assert_eq!(read(client.send("POST", "/_sandbox/faults", Some(&order)).await).0, 201);
    assert_eq!(talk.stripe().send_bytes("POST", INTENTS, charge(1099)).await.unwrap().status, 503);
    assert_eq!(talk.stripe().send_bytes("POST", INTENTS, charge(1099)).await.unwrap().status, 200);
    for senseless in
        [json!({"effect": "half", "when": "before"}), json!({"effect": "explode"}), json!({})]
    {
        let (status, body) = read(client.send("POST", "/_sandbox/faults", Some(&senseless)).await);
        assert_eq!(status, 400, "{body}");
    }
    let (_, ledger) = read(client.send("GET", "/_sandbox/ledger", None).await);
    assert_eq!(
        (&ledger["entries"][0]["operation"], &ledger["written"]),
        (&"charge".into(), &1.into())
    );
    assert_eq!(
        (&ledger["entries"][0]["pan"], &ledger["requests"]),
        (&"4242424242424242".into(), &2.into())
    );
    let (_, later) = read(client.send("GET", "/_sandbox/ledger?after=1", None).await);
    assert_eq!(later["entries"], json!([]));
    assert_eq!(read(client.send("POST", "/_sandbox/reset", None).await).0, 200);
    let (_, ledger) = read(client.send("GET", "/_sandbox/ledger", None).await);
    assert_eq!((&ledger["entries"], &ledger["requests"]), (&json!([]), &0.into()));
    let (_, table) = read(client.send("GET", "/_sandbox/faults", None).await);
    assert_eq!(table["byAmount"].as_array().unwrap().len(), BY_AMOUNT.len());
}

#[tokio::test]
async fn an_outdated_sandbox_speaks_1_1_and_nothing_newer() {
    let talk = Talk::with(Tls::Outdated);
    assert!(talk.client(Http::One).tls().await.is_err());
    assert_eq!(talk.sandbox.connections(), 0);
    let mut builder = SslConnector::builder(SslMethod::tls()).unwrap();
    builder.set_min_proto_version(Some(SslVersion::TLS1)).unwrap();
    builder.set_verify(SslVerifyMode::NONE);
    let stream = TcpStream::connect(talk.sandbox.address()).await.unwrap();
    let old = tokio_boring::connect(builder.build().configure().unwrap(), "localhost", stream);
    assert_eq!(old.await.unwrap().ssl().version_str(), "TLSv1.1");
}
