//! A sandbox, and a client that speaks to both providers.

use anyhow::Result;
use serde_json::Value;
use std::net::Ipv4Addr;
use tests::net::certificates::{Authority, Kind};
use tests::net::client::{Answer, Client, Http};
use tests::sandbox::{Sandbox, Settings, Tls};

pub(crate) const STRIPE_KEY: &str = "sk_test_0123456789";
pub(crate) const ADYEN_KEY: &str = "AQE0123456789abcdef";
pub(crate) const VERSION: &str = "2025-03-31.basil";

/// A running sandbox and the authority that signed its certificate.
pub(crate) struct Talk {
    pub(crate) sandbox: Sandbox,
    authority: Authority,
}

impl Talk {
    pub(crate) fn start() -> Self {
        Self::with(Tls::Modern)
    }

    pub(crate) fn with(tls: Tls) -> Self {
        let authority = Authority::new("Tests of the Sandbox").unwrap();
        let leaf = authority.leaf(&["localhost", "api.stripe.com"], Kind::Ecdsa).unwrap();
        let sandbox = Sandbox::start(&Settings {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            certificate: leaf.certificate,
            key: leaf.key,
            tls,
            threads: 1,
        });
        Self { sandbox: sandbox.unwrap(), authority }
    }

    pub(crate) fn client(&self, http: Http) -> Client {
        Client::new(self.sandbox.address(), self.authority.certificate().clone(), http)
    }

    /// A client with the headers that Stripe wants.
    pub(crate) fn stripe(&self) -> Client {
        self.client(Http::One)
            .with_header("authorization", &format!("Bearer {STRIPE_KEY}"))
            .with_header("stripe-version", VERSION)
            .with_header("content-type", "application/x-www-form-urlencoded")
    }

    /// A client with the headers that Adyen wants.
    pub(crate) fn adyen(&self) -> Client {
        self.client(Http::One).with_key(ADYEN_KEY)
    }

    /// A client with the headers that Worldpay wants.
    pub(crate) fn worldpay(&self, media: &str) -> Client {
        // `exampleuser:example-password`
        let basic = "Basic ZXhhbXBsZXVzZXI6ZXhhbXBsZS1wYXNzd29yZA==";
        self.client(Http::One)
            .with_header("authorization", basic)
            .with_header("content-type", media)
            .with_header("accept", media)
    }

    /// One request to Worldpay, at a path or at the link that it gave.
    pub(crate) async fn ask_worldpay(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let path = path.strip_prefix("https://try.access.worldpay.com").unwrap_or(path);
        let media = match path.starts_with("/paymentQueries") {
            true => "application/vnd.worldpay.payment-queries-v1.hal+json",
            false if path == "/tokens" => "application/vnd.worldpay.tokens-v3.hal+json",
            false => "application/vnd.worldpay.payments-v7+json",
        };
        read(self.worldpay(media).send(method, &format!("/worldpay{path}"), body).await)
    }

    /// One request to Stripe.
    pub(crate) async fn ask_stripe(&self, method: &str, path: &str, form: &str) -> (u16, Value) {
        read(self.stripe().send_bytes(method, &format!("/stripe{path}"), form.to_owned()).await)
    }

    /// One request to Adyen.
    pub(crate) async fn ask_adyen(&self, path: &str, body: &Value) -> (u16, Value) {
        read(self.adyen().send("POST", &format!("/adyen/v71{path}"), Some(body)).await)
    }

    /// A payment method of a card.
    pub(crate) async fn method(&self, number: &str) -> String {
        let form = format!(
            "type=card&card[number]={number}&card[exp_month]=12&card[exp_year]=2035&card[cvc]=123"
        );
        let (status, method) = self.ask_stripe("POST", "/v1/payment_methods", &form).await;
        assert_eq!(status, 200, "{method}");
        method["id"].as_str().unwrap().to_owned()
    }

    /// A confirmed intent over `amount` with a card; `more` is added to the form.
    pub(crate) async fn intent(&self, number: &str, amount: &str, more: &str) -> (u16, Value) {
        let method = self.method(number).await;
        let form = format!("{amount}&payment_method={method}&confirm=true&{more}");
        self.ask_stripe("POST", "/v1/payment_intents", &form).await
    }

    /// The ledger in one line an entry: operation, outcome, amount, currency, reason.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |entry: tests::sandbox::ledger::Entry| {
            let amount = entry.amount.map_or("-".to_owned(), |amount| amount.to_string());
            let currency = entry.currency.unwrap_or_default();
            let reason = entry.reason.map(|reason| format!(" {reason}")).unwrap_or_default();
            format!("{} {:?} {amount} {currency}{reason}", entry.operation, entry.outcome)
        };
        self.sandbox.ledger().into_iter().map(line).collect()
    }
}

/// The status and the JSON of an answer.
pub(crate) fn read(answer: Result<Answer>) -> (u16, Value) {
    let answer = answer.unwrap();
    (answer.status, answer.json().unwrap())
}

/// The request with the value at a pointer replaced, or removed when it is null.
pub(crate) fn replaced(mut request: Value, pointer: &str, value: &Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = request.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(name);
    } else {
        parent.insert(name.to_owned(), value.clone());
    }
    request
}
