//! What a merchant sends, and how its answers are compared.

use serde_json::Value;
use std::path::PathBuf;
use tests::net::Net;
use tests::net::client::{Answer, Http};

pub(crate) const VISA: &str = "4111111111111111";

/// A payment request under construction. Amounts are texts, so that every digit arrives.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    account: String,
    amount: String,
    currency: String,
    holder: String,
    number: String,
    cvv: String,
    reference: Option<String>,
    my_ref: Option<String>,
}

impl Order {
    pub(crate) fn new(account: &str, amount: &str, currency: &str) -> Self {
        Self {
            account: account.to_owned(),
            amount: amount.to_owned(),
            currency: currency.to_owned(),
            holder: "Ann Example".to_owned(),
            number: VISA.to_owned(),
            cvv: "737".to_owned(),
            reference: None,
            my_ref: None,
        }
    }

    pub(crate) fn number(self, number: &str) -> Self {
        Self { number: number.to_owned(), ..self }
    }

    pub(crate) fn cvv(self, cvv: &str) -> Self {
        Self { cvv: cvv.to_owned(), ..self }
    }

    pub(crate) fn holder(self, holder: &str) -> Self {
        Self { holder: holder.to_owned(), ..self }
    }

    /// The payment that is captured, voided or refunded.
    pub(crate) fn of(self, reference: &str) -> Self {
        Self { reference: Some(reference.to_owned()), ..self }
    }

    pub(crate) fn my_ref(self, my_ref: &str) -> Self {
        Self { my_ref: Some(my_ref.to_owned()), ..self }
    }

    pub(crate) fn body(&self) -> String {
        let Self { account, amount, currency, holder, number, cvv, reference, my_ref } = self;
        let more = |name: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!(",\"{name}\":\"{value}\"")).unwrap_or_default()
        };
        format!(
            r#"{{"currency":"{currency}","amount":{amount},"paymentGatewayAccountName":"{account}","card":{{"cardHolderName":"{holder}","cardNumber":"{number}","expirationMonth":3,"expirationYear":2030,"cvv":"{cvv}"}}{}{}}}"#,
            more("refTransId", reference),
            more("myRef", my_ref),
        )
    }

    async fn send(&self, net: &Net, method: &str, verb: &str) -> Answer {
        let client = net.client(Http::One);
        client.send_bytes(method, &format!("/PaymentGateway/{verb}"), self.body()).await.unwrap()
    }

    pub(crate) async fn charge(&self, net: &Net) -> Answer {
        self.send(net, "POST", "charge").await
    }

    pub(crate) async fn authorize(&self, net: &Net) -> Answer {
        self.send(net, "POST", "authorize").await
    }

    pub(crate) async fn capture(&self, net: &Net) -> Answer {
        self.send(net, "PUT", "capture").await
    }

    pub(crate) async fn refund(&self, net: &Net) -> Answer {
        self.send(net, "PUT", "refund").await
    }

    pub(crate) async fn void(&self, net: &Net) -> Answer {
        self.send(net, "DELETE", "void").await
    }
}

/// Asks for the status of a payment.
pub(crate) async fn status(net: &Net, account: &str, name: &str, value: &str) -> Answer {
    let body = serde_json::json!({"paymentGatewayAccountName": account, name: value});
    net.send("POST", "/PaymentGateway/status", Some(&body)).await.unwrap()
}

/// Stores an account.
pub(crate) async fn account(net: &Net, name: &str, gateway: &str, credentials: &Value) {
    let body = serde_json::json!({"paymentGatewayName": gateway, "credentials": credentials});
    let answer = net.send("PUT", &format!("/PaymentGatewayAccounts/{name}"), Some(&body)).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status, 200, "{name}: {}", answer.text());
}

/// The ledger in one line an entry.
pub(crate) fn ledger(net: &Net) -> Vec<String> {
    let line = |entry: tests::sandbox::ledger::Entry| {
        let amount = entry.amount.map_or("-".to_owned(), |amount| amount.to_string());
        let reason = entry.reason.map(|reason| format!(" {reason}")).unwrap_or_default();
        let currency = entry.currency.unwrap_or_default();
        format!("{} {:?} {amount} {currency}{reason}", entry.operation, entry.outcome)
    };
    net.sandbox.ledger().into_iter().map(line).collect()
}

/// A text of an answer's body, which must be there.
pub(crate) fn text(answer: &Answer, name: &str) -> String {
    let body = answer.json().unwrap();
    let found = body.get(name).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no {name} in {body}")).to_owned()
}

/// `status code state reason retryable`, with `null` for what is not there.
pub(crate) fn verdict(answer: &Answer) -> String {
    let body = answer.json().unwrap();
    let part = |name: &str| body[name].to_string().replace('"', "");
    let parts = ["operationResultCode", "state", "declineReason", "retryable"].map(part);
    format!("{} {}", answer.status, parts.join(" "))
}

/// Compares a whole body, byte for byte, with a file of `e2e/bodies`, one member a line.
///
/// What is new each time stands as `<transaction>` and `<reference>`; that the transaction's id has
/// its documented form is checked here. `BLESS=1` writes the files; the difference is the review.
pub(crate) fn same(name: &str, answer: &Answer) {
    let mut found = answer.text();
    let transaction = text(answer, "transactionId");
    assert_eq!(transaction.len(), 32, "{found}");
    assert!(transaction.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()), "{found}");
    found = found.replace(&transaction, "<transaction>");
    let body = answer.json().unwrap();
    for member in ["gatewayReference", "gatewayResultSubCode"] {
        if let Some(reference) = body[member].as_str().filter(|text| is_reference(text)) {
            found = found.replace(reference, "<reference>");
        }
    }
    let found = format!("{}\n{}\n", answer.status, found.replace(",\"", ",\n\""));
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/bodies");
    let path = folder.join(format!("{name}.txt"));
    if is_blessing() {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "the body differs from {}", path.display());
}

/// Whether a provider made this up: an id of Stripe, one of Adyen's 16 capitals and digits, one of
/// Worldpay's 25 characters; or whether it is the id of another transaction.
fn is_reference(text: &str) -> bool {
    let stripe = ["pi_", "re_"].iter().any(|prefix| text.starts_with(prefix));
    let capital = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let worldpay = ["pay", "cmd"].iter().any(|prefix| text.starts_with(prefix)) && text.len() == 25;
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ours = text.len() == 32 && text.bytes().all(lower);
    stripe || worldpay || ours || (text.len() == 16 && text.bytes().all(capital))
}

#[expect(clippy::disallowed_methods, reason = "a switch for the person who runs the tests")]
fn is_blessing() -> bool {
    std::env::var_os("BLESS").is_some()
}
