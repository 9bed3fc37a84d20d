//! New credentials of an account, from staging to retirement, while payments go on.

use super::order::{Order, text, verdict};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tests::net::client::{Answer, Client, Http};
use tests::net::{ADYEN_KEY, ADYEN_MERCHANT, NO_FLOOD, Net, Options, STRIPE_KEY};
use tests::sandbox::Provider;
use tests::sandbox::fault::{Effect, Fault};
use tests::sandbox::standing::Standing;

const ACCOUNT: &str = "/PaymentGatewayAccounts/stripe-primary";
const NEW_KEY: &str = "sk_test_newOfTheTests9876543210";
const CLIENTS: usize = 4;
/// How many payments must have ended between two steps.
const PAYMENTS_BETWEEN: usize = 40;
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

async fn ask(net: &Net, method: &str, path: &str, body: Option<Value>) -> Answer {
    net.send(method, &format!("{ACCOUNT}{path}"), body.as_ref()).await.unwrap()
}

/// The answer to a request that must succeed.
async fn done(net: &Net, method: &str, path: &str, body: Option<Value>) -> Value {
    let answer = ask(net, method, path, body).await;
    assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
    assert!(!answer.text().contains(STRIPE_KEY) && !answer.text().contains(NEW_KEY));
    answer.json().unwrap_or_default()
}

fn secret_key(key: &str) -> Option<Value> {
    Some(json!({"credentials": [{"key": "SecretKey", "value": key}]}))
}

async fn charge(net: &Net) -> Answer {
    Order::new("stripe-primary", "9.99", "EUR").charge(net).await
}

fn ample() -> Options {
    let limits = format!("{NO_FLOOD}  quota:\n    requests: 1000000\n    window_s: 60\n");
    Options { limits, ..Options::default() }
}

/// What is said of the current credentials, or those staged.
async fn validity(net: &Net, path: &str) -> String {
    done(net, "POST", path, None).await["result"].as_str().unwrap().to_owned()
}

async fn actions(net: &Net) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(net.directory().join("vault/audit")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        found.extend(text.lines().map(str::to_owned));
    }
    found
}

#[tokio::test]
async fn an_account_is_validated_at_its_gateway() {
    let net = Net::start().await.unwrap();
    let validate = |name: &'static str| {
        let net = &net;
        async move {
            let path = format!("/PaymentGatewayAccounts/{name}/validate");
            let answer = net.send("POST", &path, None).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(!answer.text().contains("sk_") && !answer.text().contains("AQE"));
            text(&answer, "result")
        }
    };
    for name in ["stripe-primary", "adyen-backup"] {
        assert_eq!(validate(name).await, "Valid", "{name}");
    }
    assert_eq!(net.sandbox.questions(), 2);
    assert_eq!(validate("null-failure").await, "Valid");
    assert_eq!(net.sandbox.questions(), 2, "there is nobody to ask");
    for (standing, result) in
        [(Standing::Revoked, "CredentialsRefused"), (Standing::Restricted, "PermissionMissing")]
    {
        net.sandbox.stand(Provider::Stripe, STRIPE_KEY, standing).unwrap();
        net.sandbox.stand(Provider::Adyen, ADYEN_KEY, standing).unwrap();
        assert_eq!(validate("stripe-primary").await, result);
        assert_eq!(validate("adyen-backup").await, result);
    }
    net.sandbox.reset();
    for (effect, result) in [
        (Effect::Status(429), "ProviderUnavailable"),
        (Effect::Status(500), "ProviderUnavailable"),
        (Effect::Cut, "ProviderUnavailable"),
        (Effect::Half, "ProviderUnavailable"),
        (Effect::Html, "NotUnderstood"),
    ] {
        net.sandbox.fault(Fault::once(effect)).unwrap();
        assert_eq!(validate("adyen-backup").await, result, "{effect:?}");
    }
    for (name, gateway, credentials) in [
        (
            "unknown-1",
            "Stripe",
            json!([{"key": "SecretKey", "value": STRIPE_KEY},
                                       {"key": "StripeAccount", "value": "acct_unknown1"}]),
        ),
        (
            "unknown-2",
            "Adyen",
            json!([{"key": "ApiKey", "value": ADYEN_KEY},
                                      {"key": "MerchantAccount", "value": "Nobody"}]),
        ),
    ] {
        let body = json!({"paymentGatewayName": gateway, "credentials": credentials});
        let path = format!("/PaymentGatewayAccounts/{name}");
        assert_eq!(net.send("PUT", &path, Some(&body)).await.unwrap().status, 200);
        assert_eq!(validate(name).await, "AccountUnknown", "{name}");
    }
    assert!(net.sandbox.ledger().is_empty(), "no money moved");
    let name = "orchestra_account_validations_total{provider=\"stripe\",result=\"Valid\"}";
    assert_eq!(net.metric(name).await.unwrap(), 1);
}

#[tokio::test]
async fn credentials_that_cannot_be_meant_are_refused_by_field() {
    let net = Net::start().await.unwrap();
    let put = |body: Value| {
        let net = &net;
        async move { net.send("PUT", ACCOUNT, Some(&body)).await.unwrap() }
    };
    let inline = |account: Value| {
        let mut body: Value =
            serde_json::from_str(&Order::new("stripe-primary", "9.99", "EUR").body()).unwrap();
        body["paymentGatewayAccount"] = account;
        let net = &net;
        async move { net.send("POST", "/PaymentGateway/charge", Some(&body)).await.unwrap() }
    };
    for (credentials, field) in [
        (json!([]), "credentials.SecretKey"),
        (json!([{"key": "SecretKey", "value": "sk_canary"}]), "credentials.SecretKey"),
        (
            json!([{"key": "SecretKey", "value": STRIPE_KEY}, {"key": "canary", "value": "canary"}]),
            "credentials[1].key",
        ),
        (
            json!([{"key": "SecretKey", "value": STRIPE_KEY}, {"key": "apiKey", "value": STRIPE_KEY}]),
            "credentials[1].key",
        ),
        (
            json!([{"key": "SecretKey", "value": STRIPE_KEY},
                   {"key": "StripeAccount", "value": "canary"}]),
            "credentials.StripeAccount",
        ),
    ] {
        let body = json!({"paymentGatewayName": "Stripe", "credentials": credentials});
        let stored = put(body.clone()).await;
        assert_eq!((stored.status, text(&stored, "fieldName")), (400, field.to_owned()));
        let paid = inline(body).await;
        let inside = format!("paymentGatewayAccount.{field}");
        assert_eq!((paid.status, text(&paid, "fieldName")), (400, inside));
        for answer in [stored, paid] {
            assert!(!answer.text().contains("canary"), "{}", answer.text());
        }
    }
    assert_eq!(net.sandbox.requests(), 0);
}

/// Charges again and again until told to stop; every charge must be approved.
async fn keep_charging(client: Client, count: Arc<AtomicUsize>, stop: Arc<AtomicBool>) -> usize {
    let mut link = client.connect().await.unwrap();
    let body: Value =
        serde_json::from_str(&Order::new("stripe-primary", "9.99", "EUR").body()).unwrap();
    let mut charged = 0;
    while !stop.load(Ordering::SeqCst) {
        let answer = link.send("POST", "/PaymentGateway/charge", Some(&body)).await.unwrap();
        assert_eq!(verdict(&answer), "200 Success Captured null false", "{}", answer.text());
        charged += 1;
        count.fetch_add(1, Ordering::SeqCst);
    }
    charged
}

async fn payments_go_on(count: &AtomicUsize) {
    let (before, began) = (count.load(Ordering::SeqCst), Instant::now());
    while count.load(Ordering::SeqCst) < before + PAYMENTS_BETWEEN {
        assert!(began.elapsed() < STEP_TIMEOUT, "no payment ends");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_under_load_loses_no_payment() {
    let net = Net::with(ample()).await.unwrap();
    let (count, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|nth| {
            let http = if nth % 2 == 0 { Http::One } else { Http::Two };
            tokio::spawn(keep_charging(net.client(http), count.clone(), stop.clone()))
        })
        .collect();
    payments_go_on(&count).await;
    let staged = done(&net, "PUT", "/staged", secret_key(NEW_KEY)).await;
    assert_eq!(
        (&staged["staged"]["state"], &staged["staged"]["percent"]),
        (&json!("Staged"), &json!(0))
    );
    // Not before it is known to be good.
    let early = ask(&net, "POST", "/staged/switch", Some(json!({"percent": 50}))).await;
    assert_eq!((early.status, text(&early, "code")), (409, "not-validated".into()));
    payments_go_on(&count).await;
    assert_eq!(validity(&net, "/staged/validate").await, "Valid");
    let half = done(&net, "POST", "/staged/switch", Some(json!({"percent": 50}))).await;
    assert_eq!(half["staged"]["state"], "Switched");
    // Not before all payments use it.
    let early = ask(&net, "POST", "/staged/retire", None).await;
    assert_eq!((early.status, text(&early, "code")), (409, "not-switched".into()));
    payments_go_on(&count).await;
    let shown = done(&net, "GET", "", None).await;
    let payments = |of: &str| shown["staged"][of]["payments"].as_u64().unwrap();
    assert!(payments("currentUses") > 0 && payments("stagedUses") > 0, "{shown}");
    done(&net, "POST", "/staged/switch", Some(json!({"percent": 100}))).await;
    payments_go_on(&count).await;
    let retired = done(&net, "POST", "/staged/retire", None).await;
    assert_eq!(retired.get("staged"), None);
    assert_eq!(retired["credentials"][0]["value"], "****3210");
    // A payment that began before may still be under way with the old key; then it may go.
    payments_go_on(&count).await;
    net.sandbox.stand(Provider::Stripe, STRIPE_KEY, Standing::Revoked).unwrap();
    payments_go_on(&count).await;
    stop.store(true, Ordering::SeqCst);
    let mut charged = 0;
    for task in tasks {
        charged += task.await.unwrap();
    }
    assert_eq!(net.sandbox.ledger().len(), charged, "each payment was made once");
    println!("{charged} payments during a rotation, 0 failed");
    let lines = actions(&net).await;
    for action in ["account.stage", "account.validate", "account.switch", "account.retire"] {
        let named = |line: &&String| line.contains(action) && line.contains("stripe-primary");
        assert!(lines.iter().any(|line| named(&line)), "no line of {action}");
    }
    assert!(lines.iter().all(|line| !line.contains(NEW_KEY) && !line.contains(STRIPE_KEY)));
}

#[tokio::test]
async fn bad_credentials_are_named_and_forced_ones_are_rolled_back() {
    let net = Net::start().await.unwrap();
    done(&net, "PUT", "/staged", secret_key(NEW_KEY)).await;
    net.sandbox.stand(Provider::Stripe, NEW_KEY, Standing::Revoked).unwrap();
    assert_eq!(validity(&net, "/staged/validate").await, "CredentialsRefused");
    assert_eq!(validity(&net, "/validate").await, "Valid", "those in use are good");
    let all = |force| Some(json!({"percent": 100, "force": force}));
    assert_eq!(ask(&net, "POST", "/staged/switch", all(false)).await.status, 409);
    done(&net, "POST", "/staged/switch", all(true)).await;
    let mut refused = 0;
    loop {
        let answer = charge(&net).await;
        if answer.status == 200 {
            break;
        }
        assert_eq!(verdict(&answer), "409 Rejected null null false", "{}", answer.text());
        refused += 1;
        assert!(refused <= 3, "it is not rolled back");
    }
    assert_eq!(refused, 3, "as many as documented");
    for _ in 0..5 {
        assert_eq!(charge(&net).await.status, 200);
    }
    assert_eq!(net.sandbox.ledger().len(), 6, "what was refused was not executed");
    let shown = done(&net, "GET", "", None).await;
    let staged = &shown["staged"];
    assert_eq!((&staged["state"], &staged["percent"]), (&json!("Failed"), &json!(0)));
    assert_eq!(staged["stagedUses"], json!({"payments": 3, "refusals": 3}));
    assert!(staged["failedTime"].is_string() && staged["validatedTime"].is_null());
    assert!(actions(&net).await.iter().any(|line| line.contains("account.roll-back")));
    for (name, value) in [
        ("orchestra_staged_accounts{state=\"failed\"}", 1),
        ("orchestra_staged_accounts{state=\"switched\"}", 0),
        ("orchestra_staged_payments_total{credentials=\"staged\",refused=\"yes\"}", 3),
        ("orchestra_rotation_steps_total{step=\"account.roll-back\",taken=\"yes\"}", 1),
    ] {
        assert_eq!(net.metric(name).await.unwrap(), value, "{name}");
    }
    // The gateway has it now, and so it may be tried again.
    net.sandbox.stand(Provider::Stripe, NEW_KEY, Standing::Good).unwrap();
    assert_eq!(ask(&net, "POST", "/staged/switch", all(false)).await.status, 409);
    assert_eq!(validity(&net, "/staged/validate").await, "Valid");
    assert_eq!(ask(&net, "DELETE", "/staged", None).await.status, 200);
    assert_eq!(ask(&net, "DELETE", "/staged", None).await.status, 200);
    let gone = ask(&net, "POST", "/staged/switch", all(true)).await;
    assert_eq!((gone.status, text(&gone, "code")), (404, "nothing-staged".into()));
    assert_eq!(charge(&net).await.status, 200);
}

#[tokio::test]
async fn a_payment_is_finished_with_either_credential_and_a_restart_keeps_the_step() {
    let mut net = Net::start().await.unwrap();
    let order = |amount: &str| Order::new("stripe-primary", amount, "EUR");
    let held = order("9.99").authorize(&net).await;
    let reference = text(&held, "gatewayReference");
    done(&net, "PUT", "/staged", secret_key(NEW_KEY)).await;
    assert_eq!(validity(&net, "/staged/validate").await, "Valid");
    done(&net, "POST", "/staged/switch", Some(json!({"percent": 100}))).await;
    net.kill().unwrap();
    net.serve().await.unwrap();
    let shown = done(&net, "GET", "", None).await;
    assert_eq!(
        (&shown["staged"]["state"], &shown["staged"]["percent"]),
        (&json!("Switched"), &json!(100))
    );
    assert_eq!(net.metric("orchestra_staged_accounts{state=\"switched\"}").await.unwrap(), 1);
    // Authorized with the old key, captured and refunded with the new one.
    net.sandbox.stand(Provider::Stripe, STRIPE_KEY, Standing::Revoked).unwrap();
    assert_eq!(order("9.99").of(&reference).capture(&net).await.status, 200);
    done(&net, "POST", "/staged/retire", None).await;
    assert_eq!(order("9.99").of(&reference).refund(&net).await.status, 200);
}

#[tokio::test]
async fn only_credentials_for_the_same_account_are_staged() {
    let net = Net::start().await.unwrap();
    let live = ask(&net, "PUT", "/staged", secret_key("sk_live_newOfTheTests9876543210")).await;
    assert_eq!((live.status, text(&live, "fieldName")), (400, "credentials.SecretKey".into()));
    let body = secret_key(NEW_KEY);
    let none = net.send("PUT", "/PaymentGatewayAccounts/nobody/staged", body.as_ref());
    let none = none.await.unwrap();
    assert_eq!((none.status, text(&none, "code")), (404, "no-such-account".into()));
    let path = "/PaymentGatewayAccounts/adyen-backup/staged";
    let adyen = |merchant: &str| {
        json!({"credentials": [{"key": "ApiKey", "value": "AQEanotherKeyOfTheTests0123456789"},
                               {"key": "MerchantAccount", "value": merchant}]})
    };
    let other = net.send("PUT", path, Some(&adyen("OtherECOM"))).await.unwrap();
    let field = "credentials.MerchantAccount";
    assert_eq!((other.status, text(&other, "fieldName")), (400, field.into()));
    let same = net.send("PUT", path, Some(&adyen(ADYEN_MERCHANT))).await.unwrap();
    assert_eq!(same.status, 200, "{}", same.text());
    assert!(same.text().contains(ADYEN_MERCHANT), "what is no secret is shown");
    // And only with the scope.
    let key = net.new_key("till", "payments").unwrap();
    let client = net.client(Http::One).with_key(&key);
    let refused = client.send("POST", &format!("{ACCOUNT}/validate"), None).await.unwrap();
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn operators_rotate_by_command() {
    let net = Net::start().await.unwrap();
    let accounts = |words: &[&str]| {
        let merchant = ["--merchant", tests::net::MERCHANT];
        net.run(&[&["accounts"], words, &merchant[..]].concat())
    };
    let new = net.directory().join("new-key");
    std::fs::write(&new, NEW_KEY).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    let credential = format!("SecretKey=file:{}", new.display());
    assert!(accounts(&["validate", "stripe-primary"]).unwrap().starts_with("Valid: "));
    let staged = accounts(&["stage", "stripe-primary", "--credential", &credential]).unwrap();
    assert!(staged.contains("\"Staged\"") && !staged.contains(NEW_KEY), "{staged}");
    let early = accounts(&["switch", "stripe-primary", "100"]).unwrap_err().to_string();
    assert!(early.contains("validate it first"), "{early}");
    net.sandbox.stand(Provider::Stripe, NEW_KEY, Standing::Revoked).unwrap();
    assert!(accounts(&["validate", "stripe-primary", "--staged"]).is_err(), "for scripts");
    net.sandbox.stand(Provider::Stripe, NEW_KEY, Standing::Good).unwrap();
    assert!(accounts(&["validate", "stripe-primary", "--staged"]).unwrap().starts_with("Valid: "));
    accounts(&["switch", "stripe-primary", "100"]).unwrap();
    assert_eq!(charge(&net).await.status, 200);
    // What the command says is what the program counts.
    let shown: Value =
        serde_json::from_str(&accounts(&["show", "stripe-primary"]).unwrap()).unwrap();
    assert_eq!(shown["staged"]["stagedUses"]["payments"], 1);
    let retired = accounts(&["retire", "stripe-primary"]).unwrap();
    assert!(retired.contains("****3210") && !retired.contains("staged"), "{retired}");
    assert!(accounts(&["unstage", "stripe-primary"]).is_ok());
    assert!(actions(&net).await.iter().any(|line| line.contains("account.retire")));
}
