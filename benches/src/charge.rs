//! The charge that is measured: as a merchant asks for it, and as each provider is asked for it.
//!
//! The provider's requests are written by the code that writes Orchestra's own, so that the
//! pass-through carries the same bytes to the sandbox.

use crate::script::{Expect, Script, Shot};
use anyhow::{Context, bail};
use model::{
    Action, Amount, Authorization, Capture, Card, Credentials, Currency, Expiry, Gone, Means,
    Operation, Pan, Secret,
};
use providers::wire::{Answer, Request};
use providers::{Cx, Provider, Step};

/// The card of every charge: a public test number that the sandbox approves.
pub const NUMBER: &str = "4111111111111111";
const HOLDER: &str = "Ann Example";
const EXPIRY: (u8, u16) = (3, 2030);
const AMOUNT_MINOR: u64 = 1099;
const CURRENCY: &str = "USD";

/// Sixteen characters that stand for the number of a charge until its request is a template. They
/// are letters, so that no encoding changes them.
const COUNT: &str = "countcountcountc";
/// Stands for the name of a Stripe payment method in the same way.
const METHOD: &str = "pm_methodmethodmethodmeth";

/// One of the accounts that charges go through.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// Its name at Orchestra.
    pub name: &'static str,
    /// The provider's name.
    pub provider: &'static str,
    /// The provider's host name.
    pub host: &'static str,
    pub credentials: &'static [(&'static str, &'static str)],
    /// What the provider's answer to a charge that it approves has.
    approved: &'static str,
    /// Such an answer, as the provider documents it, for what is measured without a sandbox.
    pub answer: &'static str,
}

/// The accounts that the bench measures.
pub const ACCOUNTS: [Account; 2] = [
    Account {
        name: "adyen-backup",
        provider: "adyen",
        host: "checkout-test.adyen.com",
        credentials: &[("ApiKey", "AQEbenchbenchbenchbench"), ("MerchantAccount", "BenchECOM")],
        approved: "Authorised",
        answer: ADYEN_ANSWER,
    },
    Account {
        name: "stripe-primary",
        provider: "stripe",
        host: "api.stripe.com",
        credentials: &[("SecretKey", "sk_test_benchbenchbenchbench")],
        approved: "succeeded",
        answer: STRIPE_ANSWER,
    },
];

const ADYEN_ANSWER: &str = r#"{"pspReference":"NC6HT9CRT65ZGN82","resultCode":"Authorised","merchantReference":"order-1","amount":{"currency":"USD","value":1099},"additionalData":{"authCode":"065696","avsResult":"7 Both postal code and address match","cardSummary":"1111","expiryDate":"3/2030","paymentMethod":"visa"}}"#;
const STRIPE_ANSWER: &str = r#"{"id":"pi_3Example0000000000001","object":"payment_intent","amount":1099,"amount_capturable":0,"amount_received":1099,"currency":"usd","capture_method":"automatic","created":1750000001,"customer":null,"last_payment_error":null,"livemode":false,"metadata":{},"next_action":null,"payment_method":"pm_1Example00000000000001","status":"succeeded","latest_charge":{"id":"ch_3Example0000000000001","object":"charge","amount":1099,"captured":true,"paid":true,"status":"succeeded","payment_method_details":{"type":"card","card":{"authorization_code":"123456","brand":"visa","last4":"1111"}}}}"#;

/// The body of the merchant's request, with a hole for the number of the charge.
pub fn merchant_body(account: &Account, token: &str) -> String {
    let (month, year) = EXPIRY;
    let amount = AMOUNT_MINOR;
    format!(
        r#"{{"currency":"{CURRENCY}","amount":{}.{:02},"card":{{"cardHolderName":"{HOLDER}","cardNumber":"@{token}","expirationMonth":{month},"expirationYear":{year}}},"paymentGatewayAccountName":"{}","myRef":"order-{{count}}"}}"#,
        amount / 100,
        amount % 100,
        account.name,
    )
}

/// What the merchant sends to Orchestra.
pub fn by_merchant(account: &Account, key: &str, token: &str) -> Script {
    let head = format!(
        "POST /PaymentGateway/charge HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\n\
         content-type: application/json\r\naccept: application/json\r\n"
    );
    let expect = Expect { status: 200, marker: b"\"Success\"".to_vec(), yields: None };
    let body = merchant_body(account, token);
    Script { shots: vec![Shot::new(head.as_bytes(), body.as_bytes(), expect)] }
}

/// What Orchestra sends to the provider, to be sent through the pass-through.
///
/// # Errors
/// The provider does not take the charge, or takes it in a way that is not known here.
pub fn by_provider(account: &Account) -> anyhow::Result<Script> {
    let provider = providers::by_gateway(account.provider).context("there is no such provider")?;
    let credentials = account.credentials();
    let cx = Cx::timeless(&credentials);
    let operation = operation()?;
    let Ok(first) = provider.request(&operation, &cx) else {
        bail!("{} refuses the charge", account.provider);
    };
    let operation = operation.forget_card();
    let approved = || Expect { status: 200, marker: account.approved.into(), yields: None };
    let Some(second) = second(provider, &operation, &cx) else {
        return Ok(Script { shots: vec![shot(&first, approved())] });
    };
    let yields = Some(b"pm_".to_vec());
    let made = Expect { status: 200, marker: b"payment_method".to_vec(), yields };
    Ok(Script { shots: vec![shot(&first, made), shot(&second, approved())] })
}

/// The second request, of a provider that needs one.
fn second(provider: &dyn Provider, operation: &Operation<Gone>, cx: &Cx<'_>) -> Option<Request> {
    let body = format!(r#"{{"id":"{METHOD}","object":"payment_method","type":"card"}}"#);
    let answer = Answer { status: 200, body: body.as_bytes() };
    match provider.step(operation, 0, &answer, cx) {
        Step::Send(request) => Some(request),
        Step::Done(_) => None,
    }
}

/// The charge as the vault would give it to a provider.
pub fn operation() -> anyhow::Result<Operation<Card>> {
    let card = Card {
        pan: Pan::parse(NUMBER)?,
        cvv: None,
        holder: Secret::new(HOLDER),
        expiry: Expiry::new(EXPIRY.0, EXPIRY.1)?,
    };
    let authorization = Authorization {
        amount: Amount::new(AMOUNT_MINOR, Currency::parse(CURRENCY)?)?,
        capture: Capture::Now,
        description: None,
        digital: None,
        generate_token: false,
        means: Means::Card(card),
        network_token: None,
        payer: None,
        stored: None,
        three_ds: None,
    };
    Ok(Operation {
        key: format!("bench00000000000{COUNT}").into(),
        merchant_reference: Some(format!("order-{COUNT}").into()),
        action: Action::Authorize(Box::new(authorization)),
    })
}

/// A provider's request as HTTP/1.1, with holes where the stand-ins were.
fn shot(request: &Request, expect: Expect) -> Shot {
    let Request { method, authority, path, headers, body, .. } = request;
    let mut head = format!("{} {path} HTTP/1.1\r\nhost: {authority}\r\n", method.as_str());
    for (name, value) in headers {
        // The value is exposed because the pass-through carries what Orchestra would send; the
        // credentials are the constants above.
        head.push_str(&format!("{name}: {}\r\n", value.expose()));
    }
    let holes = |text: &str| text.replace(COUNT, "{count}").replace(METHOD, "{found}");
    let body = holes(&String::from_utf8_lossy(body.as_ref()));
    Shot::new(holes(&head).as_bytes(), body.as_bytes(), expect)
}

// === impl Account ===

impl Account {
    /// Its credentials as the vault would give them to the provider.
    pub fn credentials(&self) -> Credentials {
        let pairs = self.credentials.iter();
        Credentials::new(pairs.map(|(name, value)| ((*name).into(), Secret::new(*value))).collect())
    }
}
