//! A client that leaves does not change what becomes of its payment.

use super::order::Order;
use std::time::{Duration, Instant};
use tests::net::Net;
use tests::net::client::{Client, Http};
use tests::sandbox::fault::{Effect, Fault, Operation};
use tokio::io::AsyncWriteExt as _;

/// How long log and metrics may take until they agree with the ledger.
const AGREED_WITHIN: Duration = Duration::from_secs(30);

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    /// It closes both directions of TCP.
    Fin,
    /// It resets the stream of HTTP/2 and keeps the connection.
    Reset,
    /// It resets the TCP connection.
    Rst,
}

fn head(net: &Net, length: usize) -> String {
    format!(
        "POST /PaymentGateway/charge HTTP/1.1\r\nhost: localhost\r\nx-api-key: {}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n",
        net.key
    )
}

/// Sends the order, and leaves as soon as the provider has the request.
async fn send_and_leave(net: &Net, client: Client, order: &Order, leaves: Leaves) {
    let body = order.body();
    match leaves {
        Leaves::Fin | Leaves::Rst => {
            let mut stream = client.tls().await.unwrap();
            stream.write_all(head(net, body.len()).as_bytes()).await.unwrap();
            stream.write_all(body.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            until_received(net).await;
            if let Leaves::Rst = leaves {
                // With no time to linger, closing is a reset.
                stream.get_ref().set_zero_linger().unwrap();
            }
            drop(stream);
        }
        Leaves::Reset => {
            let mut link = client.connect().await.unwrap();
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            tokio::select! {
                answer = link.send("POST", "/PaymentGateway/charge", Some(&body)) => {
                    panic!("answered before it could leave: {answer:?}")
                }
                () = until_received(net) => {}
            }
            // The request was given up in between; the connection still serves.
            let key = link.send("GET", "/Utils/apiKey", None).await.unwrap();
            assert_eq!(key.status, 200);
        }
    }
}

/// Waits until the provider has the request that moves money.
async fn until_received(net: &Net) {
    while net.sandbox.requests() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn leave_during_a_charge(leaves: Leaves, effect: Effect, outcome: &str, executed: usize) {
    let net = Net::start().await.unwrap();
    let fault = Fault::once(effect).on(Operation::Charge);
    let fault = if executed == 0 { fault.before() } else { fault };
    net.sandbox
        .fault(Fault::once(Effect::Delay(300)).before().on(Operation::PaymentMethod))
        .unwrap();
    net.sandbox.fault(fault).unwrap();
    let http = if let Leaves::Reset = leaves { Http::Two } else { Http::One };
    let order = Order::new("stripe-primary", "10.50", "USD");
    send_and_leave(&net, net.client(http), &order, leaves).await;

    let metric = format!(
        "orchestra_operations_total{{operation=\"charge\",outcome=\"{outcome}\",provider=\"stripe\"}}"
    );
    let began = Instant::now();
    loop {
        let counted = net.metric(&metric).await.unwrap();
        let logged = charges_logged(&net);
        let entries = net.sandbox.ledger();
        if counted == 1 && logged.len() == 1 && entries.len() == executed {
            assert_eq!(logged[0].0, outcome, "{leaves:?}");
            if let Some(entry) = entries.first() {
                assert_eq!(entry.idempotency_key.as_ref(), Some(&logged[0].1));
            }
            break;
        }
        assert!(
            began.elapsed() < AGREED_WITHIN,
            "{leaves:?}: counted {counted}, logged {logged:?}, executed {entries:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Outcome and transaction of every charge in the access log.
fn charges_logged(net: &Net) -> Vec<(String, String)> {
    // The last line may be half written when it is read; then it counts next time.
    let text = net.read("access.log");
    let lines = text.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    let payments = lines.filter(|line| line["payment"]["operation"] == "charge");
    let part = |line: &serde_json::Value, name: &str| {
        line["payment"][name].as_str().unwrap_or_default().to_owned()
    };
    payments.map(|line| (part(&line, "outcome"), part(&line, "transactionId"))).collect()
}

#[tokio::test]
async fn a_client_that_closes_has_paid_all_the_same() {
    leave_during_a_charge(Leaves::Fin, Effect::Delay(300), "approved", 1).await;
}

#[tokio::test]
async fn a_client_that_resets_its_connection_has_paid_all_the_same() {
    leave_during_a_charge(Leaves::Rst, Effect::Delay(300), "approved", 1).await;
}

#[tokio::test]
async fn a_client_that_resets_its_stream_has_paid_all_the_same() {
    leave_during_a_charge(Leaves::Reset, Effect::Delay(300), "approved", 1).await;
}

#[tokio::test]
async fn what_is_lost_on_both_sides_is_logged_as_unknown() {
    leave_during_a_charge(Leaves::Rst, Effect::Cut, "unknown", 1).await;
}
