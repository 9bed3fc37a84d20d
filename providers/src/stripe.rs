//! Stripe PaymentIntents. <https://docs.stripe.com/api/payment_intents>
//!
//! A card number may not stand in a PaymentIntent, so a charge is two exchanges: the card becomes a
//! PaymentMethod, which moves no money, and the PaymentIntent names it.

use crate::credentials::{self, CredentialSpec, Identity};
use crate::stored::{self, Kept};
use crate::three_ds::{self, Checked};
use crate::webhook::{Delivery, Unproven};
use crate::wire::{Answer, Form, HeaderText, Request, cut, path, query};
use crate::{CREDENTIALS, Cx, Declines, Found, Gateway, Lost, Provider, Refusal, Step};
use crate::{Validity, agreed};
use answer::Expected;
use model::{
    Action, Amount, Authorization, Capture, Card, Currency, Find, FollowUp, Gone, Kind, Means,
    Notice, Operation, Outcome, Payer, Rejected, Report, Secret,
};
use std::time::Duration;
use token::Paid;

mod answer;
mod decline;
mod funds;
mod lost;
mod notice;
mod token;

pub(crate) static PROVIDER: Stripe = Stripe;

#[derive(Debug)]
pub(crate) struct Stripe;

static GATEWAY: Gateway = Gateway {
    id: "Stripe",
    display_name: "Stripe",
    url: "https://stripe.com",
    description: "Cards through PaymentIntents. The account must be allowed to send card numbers.",
    credentials: &[SECRET_KEY, STRIPE_ACCOUNT, WEBHOOK_SECRET],
    supports_network_token: false,
};

const SECRET_KEY: CredentialSpec = CredentialSpec {
    name: "SecretKey",
    aliases: &["apiKey", "API Key", "PrivateKey"],
    required: true,
    secret: true,
    form: credentials::Form::Prefixed {
        prefixes: &["sk_test_", "sk_live_", "rk_test_", "rk_live_"],
        rest_min: 10,
        max: 255,
    },
    form_text: "must be sk_test_, sk_live_, rk_test_ or rk_live_ and then at least 10 letters, \
                digits and _, at most 255 characters in all",
    // A test key in the place of a live one would approve payments that move no money.
    identity: Identity::Mode,
};

/// The connected account to act for (Stripe Connect).
const STRIPE_ACCOUNT: CredentialSpec = CredentialSpec {
    name: "StripeAccount",
    aliases: &[],
    required: false,
    secret: false,
    form: credentials::Form::Prefixed { prefixes: &["acct_"], rest_min: 1, max: 255 },
    form_text: "must be acct_ and then letters and digits, at most 255 characters in all",
    identity: Identity::Whole,
};

/// The secret of the endpoint to which Stripe sends its events.
const WEBHOOK_SECRET: CredentialSpec = CredentialSpec {
    name: "WebhookSecret",
    aliases: &["EndpointSecret"],
    required: false,
    secret: true,
    form: credentials::Form::Marked { prefixes: &["whsec_"], rest_min: 10, max: 255 },
    form_text: "must be whsec_ and then at least 10 visible characters, at most 255 in all",
    identity: Identity::None,
};

const AUTHORITY: &str = "api.stripe.com";

/// The version whose meaning this file was written for; without it the account's default decides.
///
/// What bounds it: `latest_charge` came with 2022-11-15; `payment_method_types`, which keeps other
/// methods (and with them redirects) out of an intent, is called `allowed_payment_method_types`
/// from 2026-09-30 on, and an unknown parameter is an error.
const VERSION: &str = "2025-03-31.basil";

/// The keys of our metadata.
const META_KEY: &str = "metadata[operation_key]";
const META_REFERENCE: &str = "metadata[merchant_reference]";

/// The longest description that an intent takes, in characters.
const DESCRIPTION_CHARS_MAX: usize = 1000;

/// The versions of 3-D Secure that may be handed in.
const THREE_DS_VERSIONS: [&str; 5] = ["1.0.2", "2.1.0", "2.2.0", "2.3.0", "2.3.1"];

/// A time after which no payment was made: 2100-01-01, in seconds since 1970.
const NO_PAYMENT_SINCE: &str = "4102444800";

/// The longest reference that is looked at, in bytes.
const REFERENCE_BYTES_MAX: usize = 255;

impl Provider for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    fn gateway(&self) -> &'static Gateway {
        &GATEWAY
    }

    fn request(&self, operation: &Operation<Card>, cx: &Cx<'_>) -> Result<Request, Refusal> {
        let key = &*operation.key;
        match &operation.action {
            Action::Authorize(authorization) => {
                // Checked now, because the second request must not be what fails.
                Terms::of(authorization)?;
                match &authorization.means {
                    Means::Card(card) => method(card, authorization.payer.as_ref(), key, cx),
                    Means::Token(token) => {
                        intent_request(operation, authorization, &Paid::of(token)?, cx)
                    }
                }
            }
            Action::Capture(FollowUp { amount, reference, .. }) => {
                let form = Form::new()
                    .pair("amount_to_capture", &units(*amount)?.to_string())
                    .pair("expand[]", "latest_charge");
                post(&["payment_intents", intent_id(reference)?, "capture"], form, &[key], cx)
            }
            Action::Refund(FollowUp { amount, reference, .. }) => {
                let form = Form::new()
                    .pair("payment_intent", intent_id(reference)?)
                    .pair("amount", &units(*amount)?.to_string());
                post(&["refunds"], marked(form, operation), &[key], cx)
            }
            Action::Status(find) => get(&status_path(find)?, cx),
            Action::Tokenize(tokenization) => {
                if tokenization.network_token.is_some() {
                    return Err(refuse("networkTokenBrand", "network tokens are not supported"));
                }
                method(&tokenization.card, tokenization.payer.as_ref(), key, cx)
            }
            Action::Void(FollowUp { reference, .. }) => {
                let path = ["payment_intents", intent_id(reference)?, "cancel"];
                post(&path, Form::new(), &[key], cx)
            }
        }
    }

    fn outcome(&self, kind: Kind, answer: &Answer<'_>) -> Report {
        if kind == Kind::Tokenize {
            return token::read(None, answer);
        }
        answer::read(kind, answer, &Expected::default())
    }

    /// Lists the payments of a time that has not come. What it takes is the right to read payments,
    /// which a restricted key has or has not, and nobody's payment is in the answer.
    fn validation(&self, cx: &Cx<'_>) -> Result<Option<Request>, Refusal> {
        let none = [("created[gte]", NO_PAYMENT_SINCE), ("limit", "1")];
        get(&query(&v1(&["payment_intents"]), &none), cx).map(Some)
    }

    fn validity(&self, answer: &Answer<'_>) -> Validity {
        answer::validity(answer)
    }

    fn step(
        &self,
        operation: &Operation<Gone>,
        nth: usize,
        answer: &Answer<'_>,
        cx: &Cx<'_>,
    ) -> Step {
        match next(operation, nth, answer, cx) {
            Ok(Some(request)) => Step::Send(request),
            Ok(None) if operation.kind() == Kind::Tokenize => {
                Step::Done(token::read(Some(&operation.key), answer))
            }
            Ok(None) => {
                let report = answer::read(operation.kind(), answer, &Expected::of(operation));
                Step::Done(agreed(operation, report))
            }
            Err(report) => Step::Done(*report),
        }
    }

    fn token(
        &self,
        operation: &Operation<Gone>,
        nth: usize,
        answer: &Answer<'_>,
    ) -> Option<Secret> {
        (nth > 0).then(|| token::kept(operation, answer).ok())?.map(|customer| customer.token())
    }

    fn declines(&self) -> Declines {
        decline::DECLINES
    }

    fn forbids_retry(&self, report: &Report) -> bool {
        decline::says_stop(report.sub_description.as_deref())
    }

    fn inquiry(&self, lost: &Lost<'_>, cx: &Cx<'_>) -> Result<Request, Refusal> {
        get(&lost::question(lost)?, cx)
    }

    fn found(&self, lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
        lost::found(lost, answer)
    }

    fn lag(&self) -> Duration {
        lost::LAG
    }

    fn funds_request(&self, cx: &Cx<'_>) -> Result<Option<Request>, Refusal> {
        get(&v1(&["balance"]), cx).map(Some)
    }

    fn funds(&self, answer: &Answer<'_>) -> crate::funds::Told {
        funds::read(answer)
    }

    fn notices(&self, delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<Vec<Notice>, Unproven> {
        notice::read(delivery, cx)
    }
}

// === writing ===

/// What Stripe must be able to take of an authorization, checked.
struct Terms<'a> {
    units: u64,
    /// Whether the card is kept from now on.
    kept: bool,
    /// Whether the merchant takes a payment with a card that Stripe keeps.
    off_session: bool,
    three_ds: Option<Checked<'a>>,
}

impl<'a> Terms<'a> {
    fn of<C>(authorization: &'a Authorization<C>) -> Result<Self, Refusal> {
        if authorization.network_token.is_some() {
            return Err(refuse("networkTokenBrand", "network tokens are not supported"));
        }
        let three_ds = authorization.three_ds.as_ref().map(three_ds::check).transpose()?;
        if let Some(checked) = &three_ds {
            check_import(checked)?;
        }
        let kept = stored::check(authorization)?;
        let off_session = kept.is_some_and(Kept::is_by_merchant);
        if off_session && !authorization.is_by_token() {
            // Stripe keeps the scheme's name for what it stored, and takes none from elsewhere.
            return Err(refuse(stored::USAGE, "Stripe takes no network transaction id"));
        }
        let kept = kept.is_some_and(|kept| kept.usage == stored::Usage::First);
        Ok(Self { units: units(authorization.amount)?, kept, off_session, three_ds })
    }
}

/// What Stripe takes of an authentication done elsewhere is less than what the schemes have.
fn check_import(checked: &Checked<'_>) -> Result<(), Refusal> {
    if !THREE_DS_VERSIONS.contains(&checked.version) {
        return Err(refuse(three_ds::VERSION, "is not a version that Stripe takes"));
    }
    if checked.eci == "00" {
        return Err(refuse(three_ds::ECI, "is not an indicator that Stripe takes"));
    }
    Ok(())
}

/// What comes before the payment itself: the card is a PaymentMethod by now, and where it is to be
/// kept, a Customer gets it first.
fn next(
    operation: &Operation<Gone>,
    nth: usize,
    answer: &Answer<'_>,
    cx: &Cx<'_>,
) -> Result<Option<Request>, Box<Report>> {
    let keeps = operation.wants_token();
    let next = match (&operation.action, nth) {
        (Action::Authorize(authorization), _) if authorization.is_by_token() => return Ok(None),
        (Action::Authorize(_), 0) if keeps => {
            token::keep(operation, &answer::method_id(answer)?, cx).map(Request::harmless)
        }
        (Action::Authorize(authorization), 0) => {
            let method = answer::method_id(answer)?;
            intent_request(operation, authorization, &Paid::once(&method), cx)
        }
        (Action::Authorize(authorization), 1) if keeps => {
            let customer = token::kept(operation, answer)?;
            intent_request(operation, authorization, &customer.paid(), cx)
        }
        // Nobody knows of a card that is kept but by this answer: it counts as something done.
        (Action::Tokenize(_), 0) => token::keep(operation, &answer::method_id(answer)?, cx),
        _ => return Ok(None),
    };
    // The same terms were taken when the first request was written.
    next.map(Some).map_err(|_| Box::new(Report::bare(Outcome::Rejected(Rejected::Malformed))))
}

/// Has the card made a PaymentMethod, which alone is nothing.
fn method(
    card: &Card,
    payer: Option<&Payer>,
    key: &str,
    cx: &Cx<'_>,
) -> Result<Request, Refusal> {
    let form = card_form(card, payer);
    post(&["payment_methods"], form, &[key, "-pm"], cx).map(Request::harmless)
}

fn card_form(card: &Card, payer: Option<&Payer>) -> Form {
    let form = Form::new()
        .pair("type", "card")
        .pan("card[number]", &card.pan)
        .pair("card[exp_month]", &card.expiry.month().to_string())
        .pair("card[exp_year]", &card.expiry.year().to_string())
        .cvv("card[cvc]", card.cvv.as_ref())
        .secret("billing_details[name]", &card.holder);
    match payer {
        Some(payer) => billed(form, payer),
        None => form,
    }
}

/// Adds the address. Stripe has two lines: the second and the third of ours share one.
fn billed(form: Form, payer: &Payer) -> Form {
    let [line1, line2, line3] = payer.address.each_ref().map(Option::as_deref);
    let rest: Vec<&str> = [line2, line3].into_iter().flatten().collect();
    let rest = (!rest.is_empty()).then(|| rest.join(", "));
    form.pair_if("billing_details[address][line1]", line1)
        .pair_if("billing_details[address][line2]", rest.as_deref())
        .pair_if("billing_details[address][city]", payer.city.as_deref())
        .pair_if("billing_details[address][state]", payer.state.as_deref())
        .pair_if("billing_details[address][postal_code]", payer.post_code.as_deref())
        .pair("billing_details[address][country]", &payer.country)
}

fn intent_request<C>(
    operation: &Operation<C>,
    authorization: &Authorization<C>,
    paid: &Paid<'_>,
    cx: &Cx<'_>,
) -> Result<Request, Refusal> {
    let terms = Terms::of(authorization)?;
    let currency = authorization.amount.currency().code().to_ascii_lowercase();
    let description = authorization.description.as_deref();
    let form = Form::new()
        .pair("amount", &terms.units.to_string())
        .pair("currency", &currency)
        .pair_if("customer", paid.customer)
        .pair("payment_method", paid.method)
        .pair("payment_method_types[]", "card")
        .pair("confirm", "true")
        .pair("capture_method", capture_method(authorization.capture))
        // Nobody could act: the cardholder is not with us. It becomes a decline that says so.
        .pair("error_on_requires_action", "true")
        .pair_if("off_session", terms.off_session.then_some("true"))
        .pair_if("setup_future_usage", terms.kept.then_some("off_session"))
        .pair_if("description", description.map(|text| cut(text, DESCRIPTION_CHARS_MAX)));
    let form = authenticated(marked(form, operation), terms.three_ds.as_ref());
    let form = form.pair("expand[]", "latest_charge");
    post(&["payment_intents"], form, &[&operation.key], cx)
}

fn capture_method(capture: Capture) -> &'static str {
    match capture {
        Capture::Later => "manual",
        Capture::Now => "automatic",
    }
}

/// Adds the names by which the merchant, and we, find it again.
fn marked<C>(form: Form, operation: &Operation<C>) -> Form {
    form.pair(META_REFERENCE, operation.reference()).pair(META_KEY, &operation.key)
}

/// Adds an authentication done elsewhere. The security level (`sli`) has no place at Stripe.
fn authenticated(form: Form, checked: Option<&Checked<'_>>) -> Form {
    let Some(checked) = checked else { return form };
    form.pair("payment_method_options[card][three_d_secure][version]", checked.version)
        .secret("payment_method_options[card][three_d_secure][cryptogram]", checked.value)
        .pair("payment_method_options[card][three_d_secure][transaction_id]", checked.transaction)
        .pair(
            "payment_method_options[card][three_d_secure][electronic_commerce_indicator]",
            checked.eci,
        )
}

fn post(
    segments: &[&str],
    form: Form,
    idempotency_key: &[&str],
    cx: &Cx<'_>,
) -> Result<Request, Refusal> {
    let key = HeaderText::new(idempotency_key)
        .map_err(|_| refuse("myRef", "is not an idempotency key"))?;
    let request = Request::post(AUTHORITY, v1(segments), form.into_body());
    Ok(signed(request, cx)?
        .header("content-type", HeaderText::of("application/x-www-form-urlencoded"))
        .header("idempotency-key", key))
}

fn get(path: &str, cx: &Cx<'_>) -> Result<Request, Refusal> {
    signed(Request::get(AUTHORITY, path.to_owned()), cx)
}

fn signed(request: Request, cx: &Cx<'_>) -> Result<Request, Refusal> {
    let key = cx.need(&SECRET_KEY, "SecretKey is missing")?;
    // The key is exposed because Stripe knows the merchant by it.
    let bearer = HeaderText::new(&["Bearer ", key.expose()])
        .map_err(|_| refuse(CREDENTIALS, "SecretKey is not a key of Stripe"))?;
    let request = request
        .header("authorization", bearer)
        .header("stripe-version", HeaderText::of(VERSION));
    let Some(account) = cx.find(&STRIPE_ACCOUNT) else { return Ok(request) };
    // The account's id is exposed because the header names it; it is not a secret.
    let account = id(account.expose(), "acct_")
        .and_then(|account| HeaderText::new(&[account]).ok())
        .ok_or(refuse(CREDENTIALS, "StripeAccount is not an account of Stripe"))?;
    Ok(request.header("stripe-account", account))
}

fn status_path(find: &Find) -> Result<String, Refusal> {
    match find {
        Find::Reference(reference) => match id(reference, "re_") {
            Some(refund) => Ok(v1(&["refunds", refund])),
            None => Ok(query(
                &v1(&["payment_intents", intent_id(reference)?]),
                &[("expand[]", "latest_charge")],
            )),
        },
        Find::MerchantReference(reference) => {
            // A quote could end the text and begin another clause; there is no way to write it
            // that Stripe documents for every such character.
            let strange = |c: char| c.is_control() || matches!(c, '\'' | '"' | '\\');
            if reference.is_empty() || reference.contains(strange) {
                return Err(refuse("myRef", "cannot be searched for at Stripe"));
            }
            let wanted = format!("metadata['merchant_reference']:'{reference}'");
            Ok(query(
                &v1(&["payment_intents", "search"]),
                &[("query", &wanted), ("expand[]", "data.latest_charge")],
            ))
        }
    }
}

fn v1(segments: &[&str]) -> String {
    let mut all = vec!["v1"];
    all.extend_from_slice(segments);
    path(&all)
}

fn intent_id(reference: &str) -> Result<&str, Refusal> {
    id(reference, "pi_").ok_or(refuse("refTransId", "is not a payment of Stripe"))
}

/// The text, where it is an id of the kind that begins with `prefix`.
fn id<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(prefix)?;
    let well_formed = !rest.is_empty()
        && text.len() <= REFERENCE_BYTES_MAX
        && rest.bytes().all(|b| b.is_ascii_alphanumeric());
    well_formed.then_some(text)
}

fn refuse(name: &'static str, problem: &'static str) -> Refusal {
    Refusal::Field { name, problem }
}

// === amounts ===

/// How many decimal places Stripe counts a currency with, where that is documented or follows from
/// the rule. <https://docs.stripe.com/currencies>
///
/// UGX stands in the list of currencies without decimals and, with its own rule, among the special
/// cases; the special case is followed, as ISK's is.
fn places(currency: Currency) -> Option<u8> {
    match currency.code() {
        "BIF" | "CLP" | "DJF" | "GNF" | "JPY" | "KMF" | "KRW" | "MGA" | "PYG" | "RWF" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => Some(0),
        "ISK" | "UGX" => Some(2),
        "BHD" | "JOD" | "KWD" | "OMR" | "TND" => Some(3),
        _ => (currency.exponent() == 2).then_some(2),
    }
}

fn units(amount: Amount) -> Result<u64, Refusal> {
    let places = places(amount.currency())
        .ok_or(refuse("currency", "is not a currency that Stripe documents"))?;
    let units = amount
        .in_units(places)
        .map_err(|_| refuse("amount", "is finer than Stripe's unit of this currency"))?;
    match (places, units) {
        (_, 0) => Err(refuse("amount", "must be more than zero")),
        (3, units) if !units.is_multiple_of(10) => {
            Err(refuse("amount", "must end in 0 at the third decimal place"))
        }
        (_, units) => Ok(units),
    }
}

#[cfg(test)]
mod tests {
    use super::{GATEWAY, PROVIDER, VERSION, id, places, units};
    use crate::Provider;
    use crate::wire::HeaderText;
    use model::{Amount, Currency};

    /// The table of Stripe's documentation, beside ISO 4217.
    #[test]
    fn amounts_are_counted_as_stripe_documents_it() {
        let listed = |list: &str, code: &str| list.split(' ').any(|listed| listed == code);
        for currency in Currency::all() {
            let code = currency.code().to_owned();
            let zero = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF";
            let expected = match (&*code, currency.exponent()) {
                (code, _) if listed(zero, code) => Some(0),
                (code, _) if listed("BHD JOD KWD OMR TND", code) => Some(3),
                ("ISK" | "UGX", _) => Some(2),
                // ISO 4217 gives them no, three or four decimals, and Stripe does not list them.
                ("IQD" | "LYD" | "UYI" | "CLF" | "UYW", _) => None,
                (_, exponent) => Some(exponent),
            };
            assert_eq!(places(currency), expected, "{code}");
        }
    }

    #[test]
    fn what_stripe_cannot_count_is_refused() {
        for (text, code, expected) in [
            ("10.99", "USD", Some(1099)),
            ("1500", "JPY", Some(1500)),
            ("1500", "ISK", Some(150_000)),
            ("1500", "UGX", Some(150_000)),
            ("1500.00", "MGA", Some(1500)),
            ("1500.50", "MGA", None),
            ("1.250", "KWD", Some(1250)),
            ("1.255", "KWD", None),
            ("1.255", "LYD", None),
            ("0.00", "USD", None),
        ] {
            let amount = Amount::parse(text, Currency::parse(code).unwrap()).unwrap();
            assert_eq!(units(amount).ok(), expected, "{text} {code}");
        }
    }

    #[test]
    fn ids_are_a_prefix_and_letters_and_digits() {
        for (text, expected) in [
            ("pi_3Example0000000000001", true),
            ("pi_", false),
            ("pi_a/b", false),
            ("pi_a_secret_b", false),
            ("pi_ä", false),
            ("ch_a", false),
            (&format!("pi_{}", "a".repeat(253)), false),
        ] {
            assert_eq!(id(text, "pi_").is_some(), expected, "{text}");
        }
    }

    #[test]
    fn the_version_is_a_header_and_lies_between_what_bounds_it() {
        assert!(HeaderText::new(&[VERSION]).is_ok());
        assert!(("2024-12-18".."2026-09-30").contains(&VERSION));
        assert_eq!(PROVIDER.gateway().id, GATEWAY.id);
    }
}
