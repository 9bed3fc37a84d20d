//! A provider answers wrongly, in many ways, and the payment is known or in doubt as it really is.

use super::order::{Order, verdict};
use boring::ssl::SslVersion;
use std::time::Duration;
use tests::net::puppet::{Move, Puppet};
use tests::net::{Net, Options, PAUSE};

const APPROVED: &str = "200 Success Captured null false";
const UNKNOWN: &str = "202 Accepted Unknown null false";
/// What a log must not have.
const CANARY: &str = "canary";

/// The body of an approval.
fn approval(reference: &str) -> String {
    format!(
        r#"{{"pspReference":"{reference}","resultCode":"Authorised","amount":{{"currency":"USD","value":1050}}}}"#
    )
}

/// An answer with a length.
fn whole(line: &str, body: &str) -> String {
    format!("{line}\r\nx-c: {CANARY}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn approved(reference: &str) -> String {
    whole("HTTP/1.1 200 OK", &approval(reference))
}

fn say(text: &str) -> Move {
    Move::Say(text.as_bytes().to_vec())
}

async fn net(newest: SslVersion) -> Net {
    let options =
        Options { puppet: Some(newest), exchange_timeout_ms: 1_000, ..Options::default() };
    Net::with(options).await.unwrap()
}

/// Waits until the puppet has done all that it was told.
async fn played(puppet: &Puppet, scripts: usize) {
    while puppet.requests().1 < scripts {
        tokio::time::sleep(PAUSE).await;
    }
}

async fn charge(net: &Net) -> (String, String) {
    let answer = Order::new("adyen-backup", "10.50", "USD").charge(net).await;
    let reference = answer.json().unwrap()["gatewayReference"].to_string();
    (verdict(&answer), reference.replace('"', ""))
}

/// Each is played, and then an approval: it must be the one that was meant, however the connection was left.
async fn each(newest: SslVersion, cases: &[(&str, Vec<Move>, &str)]) {
    let net = net(newest).await;
    let puppet = net.puppet.as_ref().unwrap();
    for (nth, (name, moves, expected)) in cases.iter().enumerate() {
        puppet.play(moves.clone());
        let (found, _) = charge(&net).await;
        assert_eq!(found, *expected, "{name}");
        if !matches!(moves.last(), Some(Move::Drip(..))) {
            played(puppet, nth * 2 + 1).await;
        }
        let reference = format!("NEXTPAYMENT{nth:05}");
        puppet.play(vec![say(&approved(&reference))]);
        assert_eq!(charge(&net).await, (APPROVED.to_owned(), reference), "after: {name}");
        played(puppet, nth * 2 + 2).await;
        assert_eq!(puppet.requests().0, nth * 2 + 2, "{name}: nothing is sent twice");
    }
    // None of those in doubt is left open.
    while puppet.connections().1 > 1 {
        tokio::time::sleep(PAUSE).await;
    }
    for log in ["stdout.log", "stderr.log", "access.log"] {
        assert!(!net.read(log).contains(CANARY), "{log}");
    }
}

#[tokio::test]
async fn an_answer_that_is_whole_is_one_and_what_follows_it_is_none() {
    let good = approved("GOODANSWER000001");
    let decoy = whole("HTTP/1.1 200 OK", &approval("DECOY00000000001"));
    let body = approval("GOODANSWER000001");
    let to_end = format!("HTTP/1.1 200 OK\r\n\r\n{body}");
    let chunked = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x};{CANARY}=1\r\n{body}\r\n0\r\nx: y\r\n\r\n",
        body.len()
    );
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(8);
    let cases = [
        ("whole", vec![say(&good)], APPROVED),
        ("byte by byte", vec![Move::Spell(good.clone().into())], APPROVED),
        ("chunks", vec![say(&chunked)], APPROVED),
        ("chunks byte by byte", vec![Move::Spell(chunked.into())], APPROVED),
        ("interim answers", vec![say(&hints), say(&good)], APPROVED),
        ("old", vec![say(&good.replacen("1.1", "1.0", 1))], APPROVED),
        ("to the end", vec![say(&to_end), Move::End], APPROVED),
        ("two at once", vec![say(&format!("{good}{decoy}"))], APPROVED),
        ("two in two records", vec![say(&good), say(&decoy)], APPROVED),
        ("an interim answer behind it", vec![say(&good), say(&hints)], APPROVED),
        ("a line behind it", vec![say(&good), say("\r\n")], APPROVED),
        ("the end behind it", vec![say(&good), Move::End], APPROVED),
        ("cut behind it", vec![say(&good), Move::Cut], APPROVED),
        ("more, and the end", vec![say(&good), say("x"), Move::End], APPROVED),
        ("none, and a body", vec![say("HTTP/1.1 204 No\r\n\r\n"), say(&decoy)], UNKNOWN),
        ("none, and the end", vec![say("HTTP/1.1 204 No\r\n\r\n"), Move::End], UNKNOWN),
    ];
    each(SslVersion::TLS1_3, &cases).await;
}

#[tokio::test]
async fn a_body_that_was_cut_off_with_its_connection_is_no_answer() {
    let body = approval("GOODANSWER000001");
    let to_end = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{body}");
    let cases = [
        ("the end of TLS", vec![say(&to_end), Move::End], APPROVED),
        ("the end of TCP", vec![say(&to_end), Move::Cut], UNKNOWN),
        ("an error of TCP", vec![say(&to_end), Move::Reset], UNKNOWN),
    ];
    each(SslVersion::TLS1_3, &cases).await;
    each(SslVersion::TLS1_2, &cases).await;
}

#[tokio::test]
async fn what_is_no_answer_leaves_a_payment_in_doubt() {
    let body = approval("GOODANSWER000001");
    let good = approved("GOODANSWER000001");
    let head = |more: &str| format!("HTTP/1.1 200 OK\r\nx: {CANARY}\r\n{more}\r\n\r\n{body}");
    let chunk = |length: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{length}\r\n{body}\r\n0\r\n\r\n"
        )
    };
    let status = |status: &str| whole(&format!("HTTP/1.1 {status}"), &body);
    let length = body.len();
    let ended = |text: &str| vec![say(text), Move::End];
    let drip = |text: &str| vec![say("HTTP/1.1 200 OK\r\nx: "), drop_of(text)];
    let cases = [
        ("nothing", vec![Move::End], UNKNOWN),
        ("nothing, cut", vec![Move::Cut], UNKNOWN),
        ("nothing, reset", vec![Move::Reset], UNKNOWN),
        ("half a head", ended("HTTP/1.1 200 OK\r\ncontent-le"), UNKNOWN),
        ("a byte less", vec![say(good.split_at(good.len() - 1).0), Move::Cut], UNKNOWN),
        ("a byte less, reset", vec![say(good.split_at(good.len() - 1).0), Move::Reset], UNKNOWN),
        ("HTTP/0.9", ended(&body), UNKNOWN),
        ("a line before it", vec![say(&format!("\r\n{good}"))], UNKNOWN),
        ("interim answers", vec![say(&"HTTP/1.1 100 Continue\r\n\r\n".repeat(100))], UNKNOWN),
        ("another protocol", vec![say(&status("101 Switching"))], UNKNOWN),
        ("000", vec![say(&status("000 None"))], UNKNOWN),
        ("302", vec![say(&status("302 Found\r\nlocation: https://canary.example/"))], UNKNOWN),
        ("304", vec![say(&status("304 Not Modified"))], UNKNOWN),
        ("408", vec![say(&status("408 Request Timeout"))], UNKNOWN),
        ("600", vec![say(&status("600 What"))], UNKNOWN),
        ("999", vec![say(&status("999 What"))], UNKNOWN),
        ("1000", vec![say(&status("1000 What"))], UNKNOWN),
        ("gzip", vec![say(&whole("HTTP/1.1 200 OK\r\ncontent-encoding: gzip", "\x1f"))], UNKNOWN),
        ("two lengths", vec![say(&head("content-length: 3\r\ncontent-length: 4"))], UNKNOWN),
        ("a signed length", vec![say(&head(&format!("content-length: +{length}")))], UNKNOWN),
        ("a chunk with a sign", vec![say(&chunk(&format!("+{length:x}")))], UNKNOWN),
        ("a chunk with a prefix", vec![say(&chunk(&format!("0x{length:x}")))], UNKNOWN),
        ("a chunk behind a space", vec![say(&chunk(&format!(" {length:x}")))], UNKNOWN),
        ("a chunk without a length", vec![say(&chunk(""))], UNKNOWN),
        ("a chunk over all", vec![say(&chunk("ffffffffffffffff"))], UNKNOWN),
        ("many headers", vec![say(&head(&"x: y\r\n".repeat(128)))], UNKNOWN),
        ("a huge head", vec![say(&head(&"x".repeat(70_000)))], UNKNOWN),
        ("a huge body", vec![say(&head("content-length: 4194305"))], UNKNOWN),
        ("a drip in the head", drip("x"), UNKNOWN),
        ("a drip of lines", drip("x\r\n"), UNKNOWN),
    ];
    each(SslVersion::TLS1_3, &cases).await;
}

fn drop_of(text: &str) -> Move {
    Move::Drip(text.as_bytes().to_vec(), Duration::from_millis(50))
}
