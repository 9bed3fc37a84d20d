//! Checkout.com Unified Payments. <https://api-reference.checkout.com>
//!
//! A payment is one exchange, answered with its result. Captures, voids and refunds are taken and
//! done later: their results come by webhook, and are among the payment's actions.

use crate::credentials::{CredentialSpec, Form, Identity};
use crate::stored::{self, Kept};
use crate::three_ds::{self, Checked};
use crate::webhook::{Delivery, Unproven};
use crate::wire::{Answer, Body, HeaderText, Request, cut, path, query};
use crate::{CREDENTIALS, Cx, Declines, Found, Gateway, Lost, Provider, Refusal, Step};
use crate::{Validity, agreed};
use answer::Expected;
use model::{
    Action, Amount, Authorization, Capture, Card, Currency, Find, FollowUp, Gone, Kind, Notice, Operation, Report, Secret, StoredPurpose,
};
use serde::Serialize;
use source::Source;

mod answer;
mod decline;
mod lost;
mod notice;
mod source;
mod token;

pub(crate) static PROVIDER: Checkout = Checkout;

#[derive(Debug)]
pub(crate) struct Checkout;

static GATEWAY: Gateway = Gateway {
    id: "Checkout",
    display_name: "Checkout.com",
    url: "https://www.checkout.com",
    description: "Cards through Unified Payments. The account must be allowed to send card numbers.",
    credentials: &[SECRET_KEY, PUBLIC_KEY, PROCESSING_CHANNEL, URL_PREFIX, SIGNATURE_KEY],
    supports_network_token: false,
};

/// What a key of the sandbox begins with.
const SANDBOX: &str = "sk_sbox_";

const SECRET_KEY: CredentialSpec = CredentialSpec {
    name: "SecretKey",
    aliases: &["apiKey", "API Key"],
    required: true,
    secret: true,
    form: Form::Marked { prefixes: &["sk_"], rest_min: 10, max: 255 },
    form_text: "must be sk_sbox_ or sk_ and then at least 10 visible characters, at most 255 in all",
    // A key of the sandbox in the place of a live one would approve payments that move no money.
    identity: Identity::Begins(SANDBOX),
};

/// What a card becomes a token with; no payment needs it.
const PUBLIC_KEY: CredentialSpec = CredentialSpec {
    name: "PublicKey",
    aliases: &["Public Key"],
    required: false,
    secret: false,
    form: Form::Marked { prefixes: &["pk_"], rest_min: 10, max: 255 },
    form_text: "must be pk_sbox_ or pk_ and then at least 10 visible characters, at most 255 in all",
    identity: Identity::None,
};

/// Which of the account's channels a payment is for. An account that has several must say.
const PROCESSING_CHANNEL: CredentialSpec = CredentialSpec {
    name: "ProcessingChannelId",
    aliases: &["ProcessingChannel"],
    required: false,
    secret: false,
    form: Form::Prefixed { prefixes: &["pc_"], rest_min: 1, max: 64 },
    form_text: "must be pc_ and then letters and digits, at most 64 characters in all",
    identity: Identity::Whole,
};

/// The account's own part of the host's name, which newer accounts have.
const URL_PREFIX: CredentialSpec = CredentialSpec {
    name: "UrlPrefix",
    aliases: &[],
    required: false,
    secret: false,
    form: Form::HostLabel { max: 63 },
    form_text: "must be 1 to 63 letters, digits and -, and not begin with -",
    identity: Identity::Whole,
};

/// What webhooks are signed with; an older account signs them with its secret key.
const SIGNATURE_KEY: CredentialSpec = CredentialSpec {
    name: "WebhookSignatureKey",
    aliases: &["SignatureKey"],
    required: false,
    secret: true,
    form: Form::Visible { min: 8, max: 255 },
    form_text: "must be 8 to 255 visible characters without blanks",
    identity: Identity::None,
};

const LIVE_AUTHORITY: &str = "api.checkout.com";
const SANDBOX_AUTHORITY: &str = "api.sandbox.checkout.com";

/// How long a reference may be for every card, in characters: American Express takes no more.
const REFERENCE_CHARS_MAX: usize = 30;
/// How long a description may be, in characters.
const DESCRIPTION_CHARS_MAX: usize = 100;
/// The most that can be asked for, in units: nine digits.
const UNITS_MAX: u64 = 999_999_999;
/// How long an id may be, in bytes.
const ID_BYTES_MAX: usize = 64;
/// A reference that no payment has, because ours are longer or the merchant's.
const NO_REFERENCE: &str = "0";

impl Provider for Checkout {
    fn name(&self) -> &'static str {
        "checkout"
    }

    fn gateway(&self) -> &'static Gateway {
        &GATEWAY
    }

    fn request(&self, operation: &Operation<Card>, cx: &Cx<'_>) -> Result<Request, Refusal> {
        match &operation.action {
            Action::Authorize(authorization) => {
                let payment = Payment::of(operation, authorization, cx)?;
                post(&["payments"], Body::json(&payment), &operation.key, cx)
            }
            Action::Capture(earlier) => {
                let mut change = Change::of(operation, Some(earlier.amount))?;
                change.capture_type = Some(capture_type(earlier));
                change.request(earlier, "captures", cx)
            }
            Action::Refund(earlier) => {
                Change::of(operation, Some(earlier.amount))?.request(earlier, "refunds", cx)
            }
            Action::Void(earlier) => Change::of(operation, None)?.request(earlier, "voids", cx),
            Action::Status(Find::Reference(reference)) => {
                get(&path(&["payments", payment_id(reference)?]), cx)
            }
            Action::Status(Find::MerchantReference(reference)) => get(&found_by(reference)?, cx),
            Action::Tokenize(tokenization) => token::request(tokenization, cx),
        }
    }

    fn outcome(&self, kind: Kind, answer: &Answer<'_>) -> Report {
        if kind == Kind::Tokenize {
            return token::read(answer);
        }
        answer::read(kind, answer, &Expected::default())
    }

    fn step(
        &self,
        operation: &Operation<Gone>,
        nth: usize,
        answer: &Answer<'_>,
        cx: &Cx<'_>,
    ) -> Step {
        match (operation.kind(), nth) {
            (Kind::Tokenize, 0) => {
                token::next(answer, cx).map_or_else(|report| Step::Done(*report), Step::Send)
            }
            (Kind::Tokenize, _) => Step::Done(token::read(answer)),
            (kind, _) => {
                let report = answer::read(kind, answer, &Expected::of(operation));
                Step::Done(agreed(operation, report))
            }
        }
    }

    fn token(
        &self,
        operation: &Operation<Gone>,
        nth: usize,
        answer: &Answer<'_>,
    ) -> Option<Secret> {
        token::told(operation, nth, answer)
    }

    /// Asks for the payments of a reference that no payment has.
    fn validation(&self, cx: &Cx<'_>) -> Result<Option<Request>, Refusal> {
        get(&listed(NO_REFERENCE), cx).map(Some)
    }

    fn validity(&self, answer: &Answer<'_>) -> Validity {
        answer::validity(answer)
    }

    fn declines(&self) -> Declines {
        decline::DECLINES
    }

    fn forbids_retry(&self, report: &Report) -> bool {
        crate::declines::says_stop(report.sub_description.as_deref())
    }

    fn inquiry(&self, lost: &Lost<'_>, cx: &Cx<'_>) -> Result<Request, Refusal> {
        get(&lost::question(lost)?, cx)
    }

    fn found(&self, lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
        lost::found(lost, answer)
    }

    fn notices(&self, delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<Vec<Notice>, Unproven> {
        notice::read(delivery, cx)
    }
}

// === writing ===

#[derive(Serialize)]
struct Payment<'a> {
    source: Source<'a>,
    amount: u64,
    currency: String,
    payment_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant_initiated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_payment_id: Option<&'a str>,
    reference: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    capture: bool,
    #[serde(rename = "3ds")]
    three_ds: ThreeDs<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    processing_channel_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_ip: Option<std::net::IpAddr>,
    metadata: Metadata<'a>,
}

/// An authentication done elsewhere; without one, nobody is asked to authenticate.
#[derive(Serialize)]
struct ThreeDs<'a> {
    enabled: bool,
    #[serde(flatten)]
    result: Option<Result3Ds<'a>>,
}

#[derive(Serialize)]
struct Result3Ds<'a> {
    eci: &'static str,
    cryptogram: &'a str,
    xid: &'a str,
    version: &'a str,
}

#[derive(Serialize)]
struct Metadata<'a> {
    merchant_reference: &'a str,
    operation_key: &'a str,
}

/// A capture, a void or a refund.
#[derive(Serialize)]
struct Change<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture_type: Option<&'static str>,
    reference: &'a str,
    metadata: Metadata<'a>,
}

// === impl Payment ===

impl<'a> Payment<'a> {
    fn of(
        operation: &'a Operation<Card>,
        authorization: &'a Authorization<Card>,
        cx: &Cx<'a>,
    ) -> Result<Self, Refusal> {
        if authorization.network_token.is_some() {
            return Err(refuse("networkTokenBrand", "network tokens are not supported"));
        }
        let payer = authorization.payer.as_ref();
        let description = authorization.description.as_deref();
        let kept = stored::check(authorization)?;
        Ok(Self {
            source: Source::of(authorization, kept)?,
            amount: units(authorization.amount)?,
            currency: authorization.amount.currency().code().to_owned(),
            payment_type: kept.map_or("Regular", payment_type),
            merchant_initiated: kept.is_some_and(Kept::is_by_merchant).then_some(true),
            previous_payment_id: kept.and_then(|kept| kept.original),
            reference: reference_sent(operation.reference(), &operation.key),
            description: description.map(|text| cut(text, DESCRIPTION_CHARS_MAX)),
            capture: authorization.capture == Capture::Now,
            three_ds: ThreeDs::of(authorization.three_ds.as_ref())?,
            processing_channel_id: channel(cx)?,
            payment_ip: payer.map(|payer| payer.ip),
            metadata: Metadata::of(operation),
        })
    }
}

/// What kind of agreement there is; what the cardholder pays himself is a payment as any other.
fn payment_type(kept: Kept<'_>) -> &'static str {
    match kept.purpose {
        None => "Regular",
        Some(StoredPurpose::Installment) => "Installment",
        Some(StoredPurpose::Recurring) => "Recurring",
        Some(StoredPurpose::Unscheduled) => "Unscheduled",
    }
}

// === impl ThreeDs ===

impl<'a> ThreeDs<'a> {
    fn of(three_ds: Option<&'a model::ThreeDs>) -> Result<Self, Refusal> {
        let Some(three_ds) = three_ds else { return Ok(Self { enabled: false, result: None }) };
        let Checked { value, eci, transaction, version, .. } = three_ds::check(three_ds)?;
        let result = Result3Ds {
            eci,
            // The value is exposed because the issuer checks it; the provider passes it on.
            cryptogram: value.expose(),
            xid: transaction,
            version,
        };
        Ok(Self { enabled: true, result: Some(result) })
    }
}

// === impl Metadata ===

impl<'a> Metadata<'a> {
    fn of<C>(operation: &'a Operation<C>) -> Self {
        Self { merchant_reference: operation.reference(), operation_key: &operation.key }
    }
}

/// The reference that a payment gets: the merchant's where every card takes it, else what fits of
/// our key. The whole of both is in the metadata.
fn reference_sent<'a>(reference: &'a str, key: &'a str) -> &'a str {
    let fits = reference.chars().count() <= REFERENCE_CHARS_MAX;
    cut(if fits { reference } else { key }, REFERENCE_CHARS_MAX)
}

// === impl Change ===

impl<'a> Change<'a> {
    fn of(operation: &'a Operation<Card>, amount: Option<Amount>) -> Result<Self, Refusal> {
        Ok(Self {
            amount: amount.map(units).transpose()?,
            capture_type: None,
            // Not the merchant's, which several changes of one payment may share.
            reference: cut(&operation.key, REFERENCE_CHARS_MAX),
            metadata: Metadata::of(operation),
        })
    }

    fn request(&self, earlier: &FollowUp, what: &str, cx: &Cx<'_>) -> Result<Request, Refusal> {
        let path = ["payments", payment_id(&earlier.reference)?, what];
        post(&path, Body::json(self), self.metadata.operation_key, cx)
    }
}

/// Whether more may be captured afterwards. Checkout.com voids what is left after one that is final, and
/// takes one that says nothing for final: so only that is which certainly leaves nothing. What an earlier
/// one was to take is left as long as that one may fail.
fn capture_type(earlier: &FollowUp) -> &'static str {
    let leaves_nothing = earlier.known.as_ref().is_some_and(|known| {
        let taken = known.captured.minor().saturating_add(earlier.amount.minor());
        taken >= known.authorized.minor() && !known.capture_is_open
    });
    if leaves_nothing { "Final" } else { "NonFinal" }
}

fn found_by(reference: &str) -> Result<String, Refusal> {
    let whole = !reference.is_empty() && reference.chars().count() <= REFERENCE_CHARS_MAX;
    if !whole {
        return Err(refuse("myRef", "is longer than the references that Checkout.com can look for"));
    }
    Ok(listed(reference))
}

/// The payments of a reference, the newest first.
fn listed(reference: &str) -> String {
    query(&path(&["payments"]), &[("limit", "100"), ("skip", "0"), ("reference", reference)])
}

fn post(segments: &[&str], body: Body, key: &str, cx: &Cx<'_>) -> Result<Request, Refusal> {
    let key =
        HeaderText::new(&[key]).map_err(|_| refuse("myRef", "is not an idempotency key"))?;
    let request = signed(|authority| Request::post(authority, path(segments), body), cx)?;
    Ok(request
        .header("content-type", HeaderText::of("application/json"))
        .header("cko-idempotency-key", key))
}

fn get(path: &str, cx: &Cx<'_>) -> Result<Request, Refusal> {
    signed(|authority| Request::get(authority, path.to_owned()), cx)
}

fn signed(
    request: impl FnOnce(String) -> Request,
    cx: &Cx<'_>,
) -> Result<Request, Refusal> {
    let key = cx.need(&SECRET_KEY, "SecretKey is missing")?;
    keyed(request(base(cx)?), key, "SecretKey is not a key of Checkout.com")
}

fn keyed(request: Request, key: &Secret, problem: &'static str) -> Result<Request, Refusal> {
    // The key is exposed because Checkout.com knows the merchant by it.
    let bearer = HeaderText::new(&["Bearer ", key.expose()]);
    let bearer = bearer.map_err(|_| refuse(CREDENTIALS, problem))?;
    Ok(request.header("authorization", bearer))
}

/// The host: the secret key decides between the sandbox and the live platform.
fn base(cx: &Cx<'_>) -> Result<String, Refusal> {
    let key = cx.need(&SECRET_KEY, "SecretKey is missing")?;
    // The key is exposed for its first letters, which say where it is good.
    let test = key.expose().starts_with(SANDBOX);
    authority(if test { SANDBOX_AUTHORITY } else { LIVE_AUTHORITY }, cx)
}

/// The prefix can only be one label of the name, so that it cannot lead anywhere but to Checkout.com.
fn authority(base: &str, cx: &Cx<'_>) -> Result<String, Refusal> {
    let Some(prefix) = cx.find(&URL_PREFIX) else { return Ok(base.to_owned()) };
    // The prefix is exposed because it is a part of the host's name; it is not a secret.
    let prefix = prefix.expose();
    if !URL_PREFIX.form.holds(prefix) {
        return Err(refuse(CREDENTIALS, "UrlPrefix is not a part of a host's name"));
    }
    Ok(format!("{}.{base}", prefix.to_ascii_lowercase()))
}

fn channel<'a>(cx: &Cx<'a>) -> Result<Option<&'a str>, Refusal> {
    let Some(channel) = cx.find(&PROCESSING_CHANNEL) else { return Ok(None) };
    // The channel's id is exposed because the payment names it; it is not a secret.
    let channel = channel.expose();
    if !PROCESSING_CHANNEL.form.holds(channel) {
        return Err(refuse(CREDENTIALS, "ProcessingChannelId is not a channel of Checkout.com"));
    }
    Ok(Some(channel))
}

fn payment_id(reference: &str) -> Result<&str, Refusal> {
    id(reference, "pay_").ok_or(refuse("refTransId", "is not a payment of Checkout.com"))
}

/// The text, where it is an id of the kind that begins with `prefix`.
fn id<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(prefix)?;
    let well_formed = !rest.is_empty()
        && text.len() <= ID_BYTES_MAX
        && rest.bytes().all(|b| b.is_ascii_alphanumeric());
    well_formed.then_some(text)
}

fn refuse(name: &'static str, problem: &'static str) -> Refusal {
    Refusal::Field { name, problem }
}

// === amounts ===

/// How many decimal places Checkout.com counts a currency with.
/// <https://www.checkout.com/docs/developer-resources/calculating-the-amount>
fn places(currency: Currency) -> Option<u8> {
    match (currency.code(), currency.exponent()) {
        (
            "BIF" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "VND"
            | "VUV" | "XAF" | "XOF" | "XPF",
            _,
        ) => Some(0),
        ("BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND", _) => Some(3),
        ("CLP", _) | (_, 2) => Some(2),
        _ => None,
    }
}

fn units(amount: Amount) -> Result<u64, Refusal> {
    let places = places(amount.currency())
        .ok_or(refuse("currency", "is not a currency that Checkout.com documents"))?;
    let units = amount
        .in_units(places)
        .map_err(|_| refuse("amount", "is finer than Checkout.com's unit of this currency"))?;
    match (places, units) {
        (_, UNITS_MAX..) if units > UNITS_MAX => Err(refuse("amount", "has more than nine digits")),
        (3, units) if !units.is_multiple_of(10) => {
            Err(refuse("amount", "must end in 0 at the third decimal place"))
        }
        (_, units) => Ok(units),
    }
}

#[cfg(test)]
mod tests {
    use super::{id, places, reference_sent, units};
    use model::{Amount, Currency};

    /// The table of Checkout.com's documentation, beside ISO 4217.
    #[test]
    fn amounts_are_counted_as_checkout_documents_it() {
        let listed = |list: &str, code: &str| list.split(' ').any(|listed| listed == code);
        for currency in Currency::all() {
            let code = currency.code();
            let zero = "BIF DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF";
            let expected = match (code, currency.exponent()) {
                (code, _) if listed(zero, code) => Some(0),
                (code, _) if listed("BHD IQD JOD KWD LYD OMR TND", code) => Some(3),
                ("CLP", _) | (_, 2) => Some(2),
                // ISO 4217 gives it no decimals, and Checkout.com does not list it.
                ("UYI", _) | (_, 4) => None,
                _ => panic!("{code}"),
            };
            assert_eq!(places(currency), expected, "{code}");
        }
    }

    #[test]
    fn what_checkout_cannot_count_is_refused() {
        for (text, code, expected) in [
            ("10.99", "USD", Some(1099)),
            ("1500", "JPY", Some(1500)),
            ("1500", "CLP", Some(150_000)),
            ("1.250", "KWD", Some(1250)),
            ("1.255", "KWD", None),
            ("0.00", "USD", Some(0)),
            ("9999999.99", "USD", Some(999_999_999)),
            ("10000000.00", "USD", None),
        ] {
            let amount = Amount::parse(text, Currency::parse(code).unwrap()).unwrap();
            assert_eq!(units(amount).ok(), expected, "{text} {code}");
        }
    }

    #[test]
    fn a_reference_that_not_every_card_takes_becomes_our_key() {
        let key = "k0000000000000000000000000000001";
        assert_eq!(reference_sent("ORD-1", key), "ORD-1");
        assert_eq!(reference_sent(&"ä".repeat(30), key), "ä".repeat(30));
        let cut = "k00000000000000000000000000000";
        assert_eq!(reference_sent(&"a".repeat(31), key), cut);
        assert_eq!(reference_sent(key, key), cut);
    }

    #[test]
    fn ids_are_a_prefix_and_letters_and_digits() {
        for (text, expected) in [
            ("pay_exampleexampleexampleexam1", true),
            ("pay_", false),
            ("pay_a/b", false),
            ("act_a", false),
            (&format!("pay_{}", "a".repeat(61)), false),
        ] {
            assert_eq!(id(text, "pay_").is_some(), expected, "{text}");
        }
    }
}
