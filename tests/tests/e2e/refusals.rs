//! Every request that goes no further, with its status and its stable code.

use super::order::{Order, VISA, text};
use serde_json::json;
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use tests::net::client::{Http, raw};
use tests::net::{Net, Options};
use tokio::net::TcpStream;

/// How long a server may keep a raw connection open after it has answered.
const RAW_TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn who_may_not_is_told_so() {
    let net = Net::start().await.unwrap();
    let good = net.client(Http::Two);
    let forged = format!("{}AAAAAA", net.key.get(..net.key.len() - 6).unwrap());
    for client in [
        good.clone().without_key(),
        good.clone().with_key("nonsense"),
        good.clone().with_key(&forged),
        good.clone().with_key(""),
    ] {
        let answer = client.send("GET", "/Utils/apiKey", None).await.unwrap();
        assert_eq!((answer.status, text(&answer, "code")), (401, "unauthorized".into()));
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    let revoked = net.new_key("till", "payments").unwrap();
    let client = good.clone().with_key(&revoked);
    assert_eq!(client.send("GET", "/Utils/apiKey", None).await.unwrap().status, 200);
    let id = revoked.split('_').nth(2).unwrap();
    let id = id.get(..12).unwrap();
    net.run(&["keys", "revoke", id]).unwrap();
    assert_eq!(client.send("GET", "/Utils/apiKey", None).await.unwrap().status, 401);

    // A key may do what its scopes say.
    let token = text(
        &good.send("POST", "/StringTokens", Some(&json!({"payload": "x"}))).await.unwrap(),
        "token",
    );
    let token = format!("/StringTokens/{token}");
    let narrow = net.new_key("narrow", "tokens").unwrap();
    let client = good.clone().with_key(&narrow);
    assert_eq!(client.send("GET", &format!("{token}/meta"), None).await.unwrap().status, 200);
    for (method, path) in [
        ("GET", token.as_str()),
        ("GET", "/PaymentGatewayAccounts"),
        ("GET", "/PaymentGatewayAccounts/stripe-primary"),
    ] {
        let answer = client.send(method, path, None).await.unwrap();
        assert_eq!((answer.status, text(&answer, "code")), (403, "forbidden".into()), "{path}");
    }
    let order = Order::new("stripe-primary", "10.50", "USD").body();
    let answer = client.send_bytes("POST", "/PaymentGateway/charge", order).await.unwrap();
    assert_eq!((answer.status, text(&answer, "code")), (403, "forbidden".into()));
    assert_eq!(net.sandbox.requests(), 0);
}

#[tokio::test]
async fn what_is_not_there_is_told_so() {
    let net = Net::start().await.unwrap();
    for (method, path, status, code, allow) in [
        ("GET", "/", 404, "not-found", ""),
        ("GET", "/PaymentGateway/nothing", 404, "not-found", ""),
        ("PUT", "/PaymentGateway/charge", 405, "method-not-allowed", "POST"),
        ("DELETE", "/PaymentGateway", 405, "method-not-allowed", "GET, HEAD"),
        ("PATCH", "/Utils/apiKey", 405, "method-not-allowed", "GET, HEAD"),
        ("GET", "/StringTokens", 405, "method-not-allowed", "POST"),
        ("GET", "/PaymentGateway%2Fcharge", 400, "malformed-path", ""),
        ("GET", "/PaymentGatewayAccounts/../x", 400, "malformed-path", ""),
        ("GET", "/PaymentGatewayAccounts/nobody", 404, "no-such-account", ""),
        ("GET", "/StringTokens/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 404, "no-such-token", ""),
    ] {
        for http in [Http::One, Http::Two] {
            let answer = net.client(http).send(method, path, None).await.unwrap();
            let shown = format!("{http:?} {method} {path}: {}", answer.text());
            assert_eq!((answer.status, answer.header("allow")), (status, allow), "{shown}");
            assert_eq!(text(&answer, "code"), code, "{shown}");
            assert_eq!(text(&answer, "type"), format!("urn:problem-type:orchestra:{code}"));
            assert_eq!(text(&answer, "requestId"), answer.header("x-request-id"));
        }
    }
    let bad_name = net.send("GET", "/PaymentGatewayAccounts/a.b", None).await.unwrap();
    assert_eq!(bad_name.status, 400);
}

/// A request for the listener without TLS, with the usual headers and these.
fn request(net: &Net, head: &str, headers: &str, body: &str) -> String {
    format!("{head} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {}\r\n{headers}\r\n{body}", net.key)
}

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_not_read() {
    let net = Net::start().await.unwrap();
    let post = "POST /StringTokens";
    let json = "content-type: application/json\r\n";
    let body = r#"{"payload":"x"}"#;
    let length = format!("content-length: {}\r\n", body.len());
    let chunked = "transfer-encoding: chunked\r\n";
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let many = (0..80).fold(String::new(), |mut all, n| {
        write!(all, "x-{n}: y\r\n").unwrap();
        all
    });
    let long_path = format!("GET /{}", "a".repeat(1_100));
    for (head, headers, body, status, code) in [
        (post, format!("{json}{length}"), body, 201, ""),
        (post, format!("{json}{chunked}"), chunks.as_str(), 201, ""),
        (post, format!("{json}{length}content-length: 3\r\n"), body, 400, ""),
        (post, format!("{json}{length}{chunked}"), chunks.as_str(), 400, "ambiguous-framing"),
        (post, format!("{json}x: a\n{length}"), body, 400, "malformed-head"),
        (post, format!("{json}x: a\r\n b\r\n{length}"), body, 400, ""),
        (
            post,
            format!("{json}transfer-encoding: gzip, chunked\r\n"),
            chunks.as_str(),
            400,
            "transfer-coding-refused",
        ),
        (post, format!("{json}content-length: +15\r\n"), body, 400, ""),
        (post, json.to_owned(), "", 411, "length-required"),
        (
            post,
            format!("content-type: text/plain\r\n{length}"),
            body,
            415,
            "unsupported-media-type",
        ),
        (post, length.clone(), body, 415, "unsupported-media-type"),
        (
            post,
            format!("{json}{length}content-encoding: gzip\r\n"),
            body,
            415,
            "unsupported-encoding",
        ),
        (post, format!("{json}content-length: 70000\r\n"), "", 413, "body-too-large"),
        (post, format!("{json}{length}expect: 200-ok\r\n"), body, 417, "expectation-failed"),
        (
            post,
            format!("{json}{length}connection: upgrade\r\nupgrade: websocket\r\n"),
            body,
            400,
            "upgrade-refused",
        ),
        (post, format!("{json}{length}x-api-key: {}\r\n", net.key), body, 400, "duplicate-header"),
        ("GET /Utils/apiKey#x", String::new(), "", 400, "malformed-path"),
        ("GET /Utils/apiKey", length.clone(), body, 400, "unexpected-body"),
        ("GET /Utils/apiKey", many.clone(), "", 431, "head-too-large"),
        (long_path.as_str(), String::new(), "", 414, "path-too-long"),
    ] {
        let bytes = request(&net, head, &format!("{headers}connection: close\r\n"), body);
        // Two `connection` headers are one header; only the upgrade asks for another.
        let bytes =
            if headers.contains("upgrade:") { request(&net, head, &headers, body) } else { bytes };
        let answer = raw(net.plain(), bytes.as_bytes(), RAW_TIMEOUT).await.unwrap();
        let line = answer.lines().next().unwrap_or_default();
        assert!(line.contains(&format!(" {status} ")), "{head} {headers:?}: {answer}");
        if !code.is_empty() {
            assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{head}: {answer}");
        }
    }
    // What follows a refused request is never the next one.
    let smuggled = request(
        &net,
        post,
        &format!("{json}{length}{chunked}"),
        &format!("0\r\n\r\n{}", request(&net, "GET /Utils/apiKey", "", "")),
    );
    let answer = raw(net.plain(), smuggled.as_bytes(), RAW_TIMEOUT).await.unwrap();
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
}

/// It takes a minute, after which Pingora would end by itself.
#[tokio::test]
async fn a_body_has_all_the_time_that_it_may_take() {
    let limits = "  body_timeout_ms: 61000\n".to_owned();
    let net = Net::with(Options { limits, ..Options::default() }).await.unwrap();
    let json = "content-type: application/json\r\ncontent-length: 20\r\n";
    let head = request(&net, "POST /StringTokens", json, "{\"pay");
    let answer = raw(net.plain(), head.as_bytes(), Duration::from_secs(90)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("slow-body"), "{answer}");
}

#[tokio::test]
async fn who_is_too_slow_or_too_long_is_cut_off() {
    let limits =
        "  head_timeout_ms: 300\n  body_timeout_ms: 300\n  body_bytes_max: 2048\n".to_owned();
    let net = Net::with(Options { limits, ..Options::default() }).await.unwrap();
    let head = request(
        &net,
        "POST /StringTokens",
        "content-type: application/json\r\ncontent-length: 20\r\n",
        "{\"pay",
    );
    let answer = raw(net.plain(), head.as_bytes(), RAW_TIMEOUT).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("slow-body"), "{answer}");
    let half = head.get(..20).unwrap();
    let answer = raw(net.plain(), half.as_bytes(), RAW_TIMEOUT).await.unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let endless = format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(100_000));
    // It is cut while it is written, or afterwards.
    raw(net.plain(), endless.as_bytes(), RAW_TIMEOUT).await.ok();
    for why in ["slow_head", "long_head"] {
        let cut = format!("orchestra_connections_cut_total{{why=\"{why}\"}}");
        assert_eq!(net.metric(&cut).await.unwrap(), 1, "{why}");
    }
    // A body whose length nobody said is counted while it comes.
    let chunk = format!("{:x}\r\n{}\r\n", 1_500, "x".repeat(1_500));
    let chunks = format!("{chunk}{chunk}0\r\n\r\n");
    let headers = "content-type: application/json\r\ntransfer-encoding: chunked\r\n";
    let bytes = request(&net, "POST /StringTokens", headers, &chunks);
    let answer = raw(net.plain(), bytes.as_bytes(), RAW_TIMEOUT).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let big = json!({"payload": "x".repeat(3_000)});
    let answer = net.client(Http::Two).send("POST", "/StringTokens", Some(&big)).await.unwrap();
    assert_eq!((answer.status, text(&answer, "code")), (413, "body-too-large".into()));
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let limits = "  quota:\n    requests: 20\n    window_s: 60\n".to_owned();
    let net = Net::with(Options { limits, ..Options::default() }).await.unwrap();
    let key = net.new_key("busy", "tokens").unwrap();
    let mut link = net.client(Http::Two).with_key(&key).connect().await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..25 {
        answers.push(link.send("GET", "/Utils/apiKey", None).await.unwrap());
    }
    let first = &answers[0];
    assert!(first.header("ratelimit").contains("r=19"), "{}", first.header("ratelimit"));
    assert!(
        first.header("ratelimit-policy").contains("q=20"),
        "{}",
        first.header("ratelimit-policy")
    );
    let last = &answers[24];
    assert_eq!((last.status, text(last, "code")), (429, "quota-exceeded".into()));
    assert!(last.header("retry-after").parse::<u64>().unwrap() >= 1);
    // Another key has a quota of its own.
    assert_eq!(net.send("GET", "/Utils/apiKey", None).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_address_that_floods_is_told_when_to_come_back() {
    let limits = "  flood_per_address_per_s: 10\n".to_owned();
    let net = Net::with(Options { limits, ..Options::default() }).await.unwrap();
    let mut link = net.client(Http::Two).without_key().connect().await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..100 {
        answers.push(link.send("GET", "/Utils/apiKey", None).await.unwrap());
    }
    let flood = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!((text(flood, "code"), flood.header("retry-after")), ("flood".into(), "1"));
}

#[tokio::test]
async fn past_the_limits_a_connection_is_closed_at_once_and_a_place_comes_free_again() {
    for (setting, label) in
        [("connections_max", "total"), ("connections_per_address_max", "address")]
    {
        let limits = format!("  {setting}: 3\n");
        let net = Net::with(Options { limits, ..Options::default() }).await.unwrap();
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(net.client(Http::One).connect().await.unwrap());
        }
        for link in &mut held {
            assert_eq!(link.send("GET", "/Utils/apiKey", None).await.unwrap().status, 200);
        }
        let bytes = request(&net, "GET /Utils/apiKey", "connection: close\r\n", "");
        let refused = raw(net.plain(), bytes.as_bytes(), RAW_TIMEOUT).await.unwrap();
        assert_eq!(refused, "", "{setting}");
        let counter = format!("orchestra_connections_refused_total{{limit=\"{label}\"}}");
        assert_eq!(net.metric(&counter).await.unwrap(), 1, "{setting}");
        held.clear();
        while !raw(net.plain(), bytes.as_bytes(), RAW_TIMEOUT).await.unwrap().contains(" 200 ") {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_connection_has_its_place_before_the_handshake() {
    for (setting, label) in
        [("connections_max", "total"), ("connections_per_address_max", "address")]
    {
        let limits = format!("  {setting}: 3\n");
        let net = Net::with(Options { limits, ..Options::default() }).await.unwrap();
        until(&net, "orchestra_connections", 0).await;
        let mut silent = Vec::new();
        for _ in 0..4 {
            silent.push(TcpStream::connect(net.tls()).await.unwrap());
        }
        let refused = format!("orchestra_connections_refused_total{{limit=\"{label}\"}}");
        until(&net, &refused, 1).await;
        until(&net, "orchestra_connections", 3).await;
        // Whoever leaves gives the place back, though there never was a handshake.
        silent.clear();
        until(&net, "orchestra_connections", 0).await;
        assert_eq!(net.send("GET", "/Utils/apiKey", None).await.unwrap().status, 200, "{setting}");
    }
}

/// Waits until a metric has this value.
async fn until(net: &Net, metric: &str, value: u64) {
    let began = Instant::now();
    while net.metric(metric).await.unwrap() != value {
        assert!(began.elapsed() < RAW_TIMEOUT, "{metric} is not {value}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_program_log_holds_no_path_of_a_client_that_broke_off() {
    let mut net = Net::start().await.unwrap();
    let head = request(
        &net,
        "POST /PaymentGateway/charge?canary=4e1f",
        "content-type: application/json\r\ncontent-length: 500\r\n",
        "{\"amount\":",
    );
    drop(raw(net.plain(), head.as_bytes(), Duration::from_millis(1)).await.unwrap());
    while !net.read("access.log").contains("\"client_gone\":true") {
        tokio::task::yield_now().await;
    }
    net.kill().unwrap();
    for file in ["stderr.log", "stdout.log", "access.log"] {
        assert!(!net.read(file).contains("4e1f"), "{file}: {}", net.read(file));
    }
}

#[tokio::test]
async fn a_body_that_says_what_cannot_be_names_the_field_and_no_value() {
    let net = Net::start().await.unwrap();
    let good = Order::new("stripe-primary", "10.50", "USD").body();
    let change = |from: &str, to: &str| good.replacen(from, to, 1);
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for (body, field) in [
        (String::new(), None),
        ("{".to_owned(), None),
        (deep, None),
        ("[]".to_owned(), None),
        (change("{", "{\"secret\":\"canary\","), Some("secret")),
        (change("{", "{\"amount\":1,"), Some("amount")),
        (change("\"currency\":\"USD\",", ""), Some("currency")),
        (change("USD", "canary"), Some("currency")),
        (change("\"expirationMonth\":3", "\"expirationMonth\":13"), Some("card.expirationMonth")),
        (
            change("\"expirationMonth\":3", "\"expirationMonth\":\"canary\""),
            Some("card.expirationMonth"),
        ),
        (change("\"expirationYear\":2030", "\"expirationYear\":2019"), Some("card.expirationYear")),
        (change("\"cvv\":\"737\"", "\"cvv\":\"canary\""), Some("card.cvv")),
        (change(VISA, "4111111111111112"), Some("card.cardNumber")),
        (change("stripe-primary", "no such account"), Some("paymentGatewayAccountName")),
    ] {
        let answer =
            net.client(Http::Two).send_bytes("POST", "/PaymentGateway/charge", body.clone()).await;
        let answer = answer.unwrap();
        let shown = format!("{body}: {} {}", answer.status, answer.text());
        let expected = if body.is_empty() { [400, 411] } else { [400, 400] };
        assert!(expected.contains(&answer.status), "{shown}");
        assert!(!answer.text().contains("canary") && !answer.text().contains("4111"), "{shown}");
        if answer.status == 400 {
            let json = answer.json().unwrap();
            assert_eq!(json["fieldName"].as_str(), field, "{shown}");
            assert!(!json["errors"].as_array().unwrap().is_empty(), "{shown}");
        }
    }
    assert_eq!(net.sandbox.requests(), 0);
}
