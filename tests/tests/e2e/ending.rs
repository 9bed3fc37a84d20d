//! The end of the program, and what is under way then.

use super::order::{Order, text};
use std::time::Duration;
use tests::net::Net;
use tests::net::client::Http;

const CHARGE: &str = "/PaymentGateway/charge";
/// The sandbox takes its time over this one.
const SLOW: &str = "9001.00";

#[tokio::test]
async fn what_is_under_way_ends_before_the_program() {
    let mut net = Net::start().await.unwrap();
    let client = net.client(Http::One);
    let slow = Order::new("stripe-primary", SLOW, "EUR").body();
    let paying = tokio::spawn(async move { client.send_bytes("POST", CHARGE, slow).await });
    while net.metric("orchestra_payments_in_flight").await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    net.terminate().unwrap();
    let refused = loop {
        let quick = Order::new("null-success", "1.00", "EUR").body();
        let answer = net.client(Http::Two).send_bytes("POST", CHARGE, quick).await.unwrap();
        // The signal may not have arrived yet.
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!((refused.status, text(&refused, "code")), (503, "overloaded".into()));
    let paid = paying.await.unwrap().unwrap();
    assert_eq!((paid.status, text(&paid, "operationResultCode")), (200, "Success".into()));
    assert!(net.ended().await.unwrap().success());
    let lines = net.access_log().unwrap();
    assert_eq!(
        lines.iter().filter(|line| line["payment"]["account"] == "stripe-primary").count(),
        1
    );
}
