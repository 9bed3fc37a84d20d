//! Adyen Checkout v71. <https://docs.adyen.com/api-explorer/Checkout/71/overview>
//!
//! A payment is one exchange, answered with its result. Captures, cancels and refunds are only
//! received: their results come later, by webhook. There is no way to ask for a payment's state; a
//! change whose answer was lost is asked for again under its key, which Adyen remembers.

use crate::credentials::CredentialSpec;
use crate::stored::{self, Kept, Usage};
use crate::three_ds::{self, Checked, Generation};
use crate::webhook::{Delivery, Receipt, Unproven};
use crate::wire::{Answer, Body, HeaderText, Request, cut, path};
use crate::{CREDENTIALS, Cx, Declines, Found, Gateway, Lost, Provider, Refusal, Step, Validity};
use crate::{agreed, settled};
use account::{
    API_KEY, HMAC_KEY, INTERACTIONS, LIVE_URL_PREFIX, MERCHANT_ACCOUNT, RECURRING_MODELS,
    RECURRING_PROCESSING_MODEL, RETURN_URL, SHOPPER_INTERACTION,
};
use address::Address;
use answer::Expected;
use method::{Keep, Method, Paid};
use model::{
    Action, Amount, Authorization, Capture, Card, Currency, Gone, Kind, Notice, Operation, Outcome, Rejected, Report, Secret, StoredPurpose,
};
use serde::Serialize;
use std::time::Duration;

mod account;
mod address;
mod answer;
mod decline;
mod method;
mod notice;

pub(crate) static PROVIDER: Adyen = Adyen;

#[derive(Debug)]
pub(crate) struct Adyen;

static GATEWAY: Gateway = Gateway {
    id: "Adyen",
    display_name: "Adyen",
    url: "https://www.adyen.com",
    description: "Cards through Checkout v71. The account must be allowed to send card numbers.",
    credentials: &[
        API_KEY,
        MERCHANT_ACCOUNT,
        LIVE_URL_PREFIX,
        SHOPPER_INTERACTION,
        RECURRING_PROCESSING_MODEL,
        RETURN_URL,
        HMAC_KEY,
    ],
    supports_network_token: false,
};

/// Adyen requires a URL in every payment. No shopper is ever sent there, because we never ask for
/// an authentication; the name is one that cannot exist (RFC 2606), so that nobody could be.
const RETURN_URL_DEFAULT: &str = "https://return.invalid/";

const TEST_AUTHORITY: &str = "checkout-test.adyen.com";
const LIVE_AUTHORITY_SUFFIX: &str = "-checkout-live.adyenpayments.com";

const VERSION: &str = "v71";

/// How long the value of a pair of metadata may be, in characters.
const METADATA_CHARS_MAX: usize = 80;

/// Adyen's word for a card that is kept until the shopper wants it.
const CARD_ON_FILE: &str = "CardOnFile";

/// How many characters every reference of Adyen's has.
const PSP_REFERENCE_LEN: usize = 16;

impl Provider for Adyen {
    fn name(&self) -> &'static str {
        "adyen"
    }

    fn gateway(&self) -> &'static Gateway {
        &GATEWAY
    }

    fn request(&self, operation: &Operation<Card>, cx: &Cx<'_>) -> Result<Request, Refusal> {
        let account = merchant_account(cx)?;
        match &operation.action {
            Action::Authorize(authorization) => {
                let payment = Payment::of(operation, authorization, account, cx)?;
                post(&["payments"], Body::json(&payment), &operation.key, cx)
            }
            Action::Capture(earlier) | Action::Refund(earlier) | Action::Void(earlier) => {
                let reference = operation.reference();
                let change = Change { kind: operation.kind(), amount: earlier.amount, reference };
                change.request(&earlier.reference, &operation.key, cx)
            }
            Action::Status(_) => Err(Refusal::Unsupported),
            Action::Tokenize(tokenization) => {
                if tokenization.network_token.is_some() {
                    return Err(refuse("networkTokenBrand", "network tokens are not supported"));
                }
                let model = one_of(cx, &RECURRING_PROCESSING_MODEL, &RECURRING_MODELS)?;
                let model = model.unwrap_or(CARD_ON_FILE);
                let keep = Keep::of(&tokenization.card, account, model, &operation.key);
                post(&["storedPaymentMethods"], Body::json(&keep), &operation.key, cx)
            }
        }
    }

    fn outcome(&self, kind: Kind, answer: &Answer<'_>) -> Report {
        if kind == Kind::Tokenize {
            return method::read(None, answer);
        }
        answer::read(kind, answer, &Expected::default())
    }

    fn step(
        &self,
        operation: &Operation<Gone>,
        _nth: usize,
        answer: &Answer<'_>,
        _cx: &Cx<'_>,
    ) -> Step {
        if operation.kind() == Kind::Tokenize {
            return Step::Done(method::read(Some(&operation.key), answer));
        }
        let report = answer::read(operation.kind(), answer, &Expected::of(operation));
        Step::Done(agreed(operation, report))
    }

    fn token(
        &self,
        operation: &Operation<Gone>,
        _nth: usize,
        answer: &Answer<'_>,
    ) -> Option<Secret> {
        method::token(operation, answer)
    }

    /// Asks for the change once more, under the same key. There is nothing else to ask, and nothing at
    /// all for a payment, which would take the card.
    fn inquiry(&self, lost: &Lost<'_>, cx: &Cx<'_>) -> Result<Request, Refusal> {
        let change = Change { kind: lost.kind, amount: lost.amount, reference: lost.reference };
        change.request(lost.payment.ok_or(Refusal::Unsupported)?, lost.key, cx)
    }

    fn found(&self, lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
        settled(lost, answer::read(lost.kind, answer, &Expected::about(lost.payment)))
    }

    /// <https://docs.adyen.com/development-resources/api-idempotency> has named 31 days and 7.
    fn remembers(&self) -> Duration {
        Duration::from_hours(7 * 24)
    }

    /// Asks for the ways to pay with a card that the merchant account has.
    fn validation(&self, cx: &Cx<'_>) -> Result<Option<Request>, Refusal> {
        let account = merchant_account(cx)?;
        let question = Question { merchant_account: account, allowed_payment_methods: ["scheme"] };
        let request = sent(&["paymentMethods"], Body::json(&question), cx)?;
        Ok(Some(request.harmless()))
    }

    fn validity(&self, answer: &Answer<'_>) -> Validity {
        answer::validity(answer)
    }

    fn declines(&self) -> Declines {
        decline::DECLINES
    }

    fn notices(&self, delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<Vec<Notice>, Unproven> {
        notice::read(delivery, cx)
    }

    fn receipt(&self) -> Receipt {
        Receipt { body: "[accepted]", ..Receipt::EMPTY }
    }

    fn forbids_retry(&self, report: &Report) -> bool {
        crate::declines::says_stop(report.sub_code.as_deref())
    }

    /// The merchant account belongs to the credentials: one that they may not use is refused with
    /// them.
    fn refuses_account(&self, report: &Report) -> bool {
        match report.outcome {
            Outcome::Rejected(Rejected::Credentials) => true,
            Outcome::Rejected(Rejected::Configuration) => {
                report.code.as_deref() == Some(answer::INVALID_MERCHANT_ACCOUNT)
            }
            Outcome::Approved
            | Outcome::Declined(_)
            | Outcome::Pending
            | Outcome::Rejected(_)
            | Outcome::Unknown(_) => false,
        }
    }
}

// === writing ===

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payment<'a> {
    amount: Money,
    merchant_account: &'a str,
    reference: &'a str,
    payment_method: Method<'a>,
    return_url: &'a str,
    shopper_interaction: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    recurring_processing_model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shopper_reference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store_payment_method: Option<bool>,
    #[serde(rename = "shopperIP", skip_serializing_if = "Option::is_none")]
    shopper_ip: Option<std::net::IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    billing_address: Option<Address<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture_delay_hours: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_data: Option<AdditionalData>,
    authentication_data: AuthenticationData,
    #[serde(skip_serializing_if = "Option::is_none")]
    mpi_data: Option<MpiData<'a>>,
    metadata: Metadata<'a>,
}

/// The question whether an account is good.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    merchant_account: &'a str,
    allowed_payment_methods: [&'static str; 1],
}

#[derive(Serialize)]
struct Money {
    currency: String,
    value: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdditionalData {
    manual_capture: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AuthenticationData {
    attempt_authentication: &'static str,
}

#[derive(Serialize)]
struct MpiData<'a> {
    cavv: &'a str,
    eci: &'static str,
    #[serde(rename = "dsTransID", skip_serializing_if = "Option::is_none")]
    ds_trans_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xid: Option<&'a str>,
    #[serde(rename = "threeDSVersion")]
    three_ds_version: &'a str,
}

#[derive(Serialize)]
struct Metadata<'a> {
    operation_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
}

/// What is to be done to a payment.
#[derive(Clone, Copy)]
struct Change<'a> {
    kind: Kind,
    amount: Amount,
    reference: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Modification<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<Money>,
    merchant_account: &'a str,
    reference: &'a str,
}

// === impl Payment ===

impl<'a> Payment<'a> {
    fn of(
        operation: &'a Operation<Card>,
        authorization: &'a Authorization<Card>,
        merchant_account: &'a str,
        cx: &Cx<'a>,
    ) -> Result<Self, Refusal> {
        if authorization.network_token.is_some() {
            return Err(refuse("networkTokenBrand", "network tokens are not supported"));
        }
        let payer = authorization.payer.as_ref();
        let description = authorization.description.as_deref();
        let kept = stored::check(authorization)?;
        let original = kept.and_then(|kept| kept.original);
        let paid = Paid::of(authorization, &operation.key, original)?;
        let (shopper_interaction, recurring_processing_model) =
            interaction(kept, authorization, cx)?;
        let (capture_delay_hours, additional_data) = match authorization.capture {
            Capture::Later => (None, Some(AdditionalData { manual_capture: "true" })),
            Capture::Now => (Some(0), None),
        };
        Ok(Self {
            amount: Money::of(authorization.amount)?,
            merchant_account,
            reference: operation.reference(),
            payment_method: paid.method,
            return_url: return_url(cx)?,
            shopper_interaction,
            recurring_processing_model,
            shopper_reference: paid.shopper,
            store_payment_method: authorization.generate_token.then_some(true),
            shopper_ip: payer.map(|payer| payer.ip),
            country_code: payer.map(|payer| &*payer.country),
            billing_address: payer.and_then(Address::of),
            capture_delay_hours,
            additional_data,
            // Nobody could act: the cardholder is not with us. It becomes a refusal that says so.
            authentication_data: AuthenticationData { attempt_authentication: "never" },
            mpi_data: authorization.three_ds.as_ref().map(MpiData::of).transpose()?,
            metadata: Metadata {
                operation_key: &operation.key,
                description: description.map(|text| cut(text, METADATA_CHARS_MAX)),
            },
        })
    }
}

/// Who pays, and with what agreement: as the payment says, or else as the account does.
fn interaction<C>(
    kept: Option<Kept<'_>>,
    authorization: &Authorization<C>,
    cx: &Cx<'_>,
) -> Result<(&'static str, Option<&'static str>), Refusal> {
    let Some(Kept { usage, purpose, .. }) = kept else {
        // A card that Adyen keeps is paid with without its verification value.
        let by_token = authorization.is_by_token();
        let usual = if by_token { "ContAuth" } else { "Ecommerce" };
        let model = (by_token || authorization.generate_token).then_some(CARD_ON_FILE);
        let interaction = one_of(cx, &SHOPPER_INTERACTION, &INTERACTIONS)?.unwrap_or(usual);
        let chosen = one_of(cx, &RECURRING_PROCESSING_MODEL, &RECURRING_MODELS)?;
        return Ok((interaction, chosen.or(model)));
    };
    let model = match purpose {
        None => CARD_ON_FILE,
        Some(StoredPurpose::Installment | StoredPurpose::Recurring) => "Subscription",
        Some(StoredPurpose::Unscheduled) => "UnscheduledCardOnFile",
    };
    let interaction = if usage == Usage::First { "Ecommerce" } else { "ContAuth" };
    Ok((interaction, Some(model)))
}

// === impl Money ===

impl Money {
    fn of(amount: Amount) -> Result<Self, Refusal> {
        Ok(Self { currency: amount.currency().code().to_owned(), value: units(amount)? })
    }
}

// === impl MpiData ===

impl<'a> MpiData<'a> {
    fn of(three_ds: &'a model::ThreeDs) -> Result<Self, Refusal> {
        let Checked { value, eci, generation, transaction, version } = three_ds::check(three_ds)?;
        let (ds_trans_id, xid) = match generation {
            Generation::First => (None, Some(transaction)),
            Generation::Second => (Some(transaction), None),
        };
        Ok(Self {
            // The value is exposed because the issuer checks it; the provider passes it on.
            cavv: value.expose(),
            eci,
            ds_trans_id,
            xid,
            three_ds_version: version,
        })
    }
}

// === impl Change ===

impl Change<'_> {
    /// Asks for it, under this key: the same bytes whenever it is asked for.
    fn request(self, payment: &str, key: &str, cx: &Cx<'_>) -> Result<Request, Refusal> {
        let (path, amount) = match self.kind {
            Kind::Capture => ("captures", Some(self.amount)),
            Kind::Refund => ("refunds", Some(self.amount)),
            Kind::Void => ("cancels", None),
            Kind::Authorize | Kind::Charge | Kind::Status | Kind::Tokenize => {
                return Err(Refusal::Unsupported);
            }
        };
        let body = Modification {
            amount: amount.map(Money::of).transpose()?,
            merchant_account: merchant_account(cx)?,
            reference: self.reference,
        };
        post(&["payments", psp(payment)?, path], Body::json(&body), key, cx)
    }
}

fn merchant_account<'a>(cx: &Cx<'a>) -> Result<&'a str, Refusal> {
    let account = cx.need(&MERCHANT_ACCOUNT, "MerchantAccount is missing")?;
    // The account's name is exposed because every request names it; it is not a secret.
    Ok(account.expose())
}

fn post(segments: &[&str], body: Body, key: &str, cx: &Cx<'_>) -> Result<Request, Refusal> {
    let key =
        HeaderText::new(&[key]).map_err(|_| refuse("myRef", "is not an idempotency key"))?;
    Ok(sent(segments, body, cx)?.header("idempotency-key", key))
}

fn sent(segments: &[&str], body: Body, cx: &Cx<'_>) -> Result<Request, Refusal> {
    let (authority, base) = endpoint(cx)?;
    let mut all = base.to_vec();
    all.extend_from_slice(segments);
    let api_key = cx.need(&API_KEY, "ApiKey is missing")?;
    // The key is exposed because Adyen knows the merchant by it.
    let api_key = HeaderText::new(&[api_key.expose()])
        .map_err(|_| refuse(CREDENTIALS, "ApiKey is not a key of Adyen"))?;
    Ok(Request::post(authority, path(&all), body)
        .header("x-api-key", api_key)
        .header("content-type", HeaderText::of("application/json")))
}

/// The host and the beginning of the path. The prefix can only be a part of one label of the name,
/// so that it cannot lead anywhere but to Adyen.
fn endpoint(cx: &Cx<'_>) -> Result<(String, &'static [&'static str]), Refusal> {
    let Some(prefix) = cx.find(&LIVE_URL_PREFIX) else {
        return Ok((TEST_AUTHORITY.to_owned(), &[VERSION]));
    };
    // The prefix is exposed because it is a part of the host's name; it is not a secret.
    let prefix = prefix.expose();
    let well_formed = LIVE_URL_PREFIX.form.holds(prefix);
    if !well_formed {
        return Err(refuse(CREDENTIALS, "LiveUrlPrefix is not a prefix of Adyen's live endpoint"));
    }
    let authority = format!("{}{LIVE_AUTHORITY_SUFFIX}", prefix.to_ascii_lowercase());
    Ok((authority, &["checkout", VERSION]))
}

fn return_url<'a>(cx: &Cx<'a>) -> Result<&'a str, Refusal> {
    let Some(url) = cx.find(&RETURN_URL) else { return Ok(RETURN_URL_DEFAULT) };
    // The URL is exposed because the payment names it; it is not a secret.
    let url = url.expose();
    if !RETURN_URL.form.holds(url) {
        return Err(refuse(CREDENTIALS, "ReturnUrl is not a URL"));
    }
    Ok(url)
}

/// The option's value as Adyen writes it, whatever case the account has.
fn one_of(
    cx: &Cx<'_>,
    spec: &CredentialSpec,
    words: &'static [&'static str],
) -> Result<Option<&'static str>, Refusal> {
    let Some(value) = cx.find(spec) else { return Ok(None) };
    // The option is exposed to be compared with the words; it is not a secret.
    let value = value.expose();
    let word = words.iter().copied().find(|word| word.eq_ignore_ascii_case(value));
    word.map(Some).ok_or(refuse(CREDENTIALS, "an option is not one of the words that Adyen has"))
}

fn psp(reference: &str) -> Result<&str, Refusal> {
    psp_reference(reference).ok_or(refuse("refTransId", "is not a payment of Adyen"))
}

fn psp_reference(text: &str) -> Option<&str> {
    let well_formed =
        text.len() == PSP_REFERENCE_LEN && text.bytes().all(|b| b.is_ascii_alphanumeric());
    well_formed.then_some(text)
}

fn refuse(name: &'static str, problem: &'static str) -> Refusal {
    Refusal::Field { name, problem }
}

// === amounts ===

/// How many decimal places Adyen counts a currency with: ISO 4217's, but for four currencies.
/// <https://docs.adyen.com/development-resources/currency-codes>
fn places(currency: Currency) -> Option<u8> {
    match (currency.code(), currency.exponent()) {
        ("CVE" | "IDR", _) => Some(0),
        ("CLP" | "ISK", _) => Some(2),
        (_, places @ 0..=3) => Some(places),
        _ => None,
    }
}

fn units(amount: Amount) -> Result<u64, Refusal> {
    let places = places(amount.currency())
        .ok_or(refuse("currency", "is not a currency that Adyen documents"))?;
    amount
        .in_units(places)
        .map_err(|_| refuse("amount", "is finer than Adyen's unit of this currency"))
}

#[cfg(test)]
mod tests {
    use super::account::LIVE_PREFIX_BYTES_MAX;
    use super::{LIVE_AUTHORITY_SUFFIX, endpoint, places, psp_reference};
    use crate::Cx;
    use model::{Credentials, Currency, Secret};

    /// ISO 4217, and what Adyen's documentation says otherwise.
    #[test]
    fn amounts_are_counted_as_adyen_documents_it() {
        for currency in Currency::all() {
            let expected = match (currency.code(), currency.exponent()) {
                ("CLP" | "ISK", 0) => Some(2),
                ("CVE" | "IDR", 2) => Some(0),
                ("CLF" | "UYW", 4) => None,
                (_, exponent) => Some(exponent),
            };
            assert_eq!(places(currency), expected, "{currency:?}");
        }
        let listed = |list: &str| -> Vec<_> {
            list.split(' ').map(|code| places(Currency::parse(code).unwrap())).collect()
        };
        let three = listed("BHD JOD KWD LYD OMR TND IQD");
        assert!(three.iter().all(|places| *places == Some(3)));
        let zero = listed("DJF GNF JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF");
        assert!(zero.iter().all(|places| *places == Some(0)));
    }

    #[test]
    fn the_live_prefix_is_a_part_of_one_label() {
        for (prefix, expected) in [
            ("1797a841fbb37ca7-Example", Some("1797a841fbb37ca7-example")),
            (&"a".repeat(49), Some(&*"a".repeat(49))),
            (&"a".repeat(50), None),
            ("evil.example/", None),
            ("evil.example#", None),
            ("a@b", None),
            ("-a", None),
            ("a b", None),
            ("ä", None),
        ] {
            let pairs = vec![("liveurlprefix".into(), Secret::new(prefix))];
            let credentials = Credentials::new(pairs);
            let found = endpoint(&Cx::timeless(&credentials)).ok().map(|(host, _)| host);
            let expected = expected.map(|label| format!("{label}{LIVE_AUTHORITY_SUFFIX}"));
            assert_eq!(found, expected, "{prefix}");
        }
        assert_eq!(LIVE_PREFIX_BYTES_MAX + "-checkout-live".len(), 63);
    }

    #[test]
    fn references_are_sixteen_letters_and_digits() {
        for (text, expected) in [
            ("NC6HT9CRT65ZGN82", true),
            ("8816178952380553", true),
            ("", false),
            ("NC6HT9CRT65ZGN8", false),
            ("NC6HT9CRT65ZGN823", false),
            ("NC6HT9CRT65/GN82", false),
            ("ÄÄÄÄÄÄÄÄ", false),
        ] {
            assert_eq!(psp_reference(text).is_some(), expected, "{text}");
        }
    }
}
