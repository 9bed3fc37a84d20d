//! What is asked for: a payment, or a change of one. The members stand in the order of the schema.

use super::profile::Profile;
use super::{DUPLICATE_WINDOW_SECS, invoice, name, refuse, transaction_id};
use crate::stored::{self, Kept, Usage};
use crate::three_ds;
use crate::Refusal;
use crate::wire::cut;
use model::{Amount, Authorization, Capture, Card, Currency, FollowUp, Kind, Known, Means, Payer};
use serde::Serialize;

/// How long the parts of an address may be, in characters.
const NAME_CHARS_MAX: usize = 50;
const STREET_CHARS_MAX: usize = 60;
const CITY_CHARS_MAX: usize = 40;
const POST_CODE_CHARS_MAX: usize = 20;
const DESCRIPTION_CHARS_MAX: usize = 255;

/// What stands for the expiry date of a card of which four digits are known.
const MASKED_EXPIRY: &str = "XXXX";

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Transaction<'a> {
    transaction_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<Payment<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Profile<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ref_trans_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Order<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer: Option<Customer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bill_to: Option<BillTo<'a>>,
    #[serde(rename = "customerIP", skip_serializing_if = "Option::is_none")]
    customer_ip: Option<std::net::IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cardholder_authentication: Option<Authentication<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_settings: Option<Settings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_fields: Option<UserFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    processing_options: Option<ProcessingOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subsequent_auth_information: Option<Subsequent<'a>>,
}

/// What a kept card is used for. Truths are texts here.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessingOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    is_first_subsequent_auth: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_subsequent_auth: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_stored_credentials: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Subsequent<'a> {
    original_network_trans_id: &'a str,
}

/// Whom a profile is made for.
#[derive(Serialize)]
struct Customer<'a> {
    id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Payment<'a> {
    credit_card: CreditCard<'a>,
}

/// A card, or what a refund must know of it. It lives as long as it takes to write the body.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreditCard<'a> {
    card_number: &'a str,
    expiration_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    card_code: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Order<'a> {
    invoice_number: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BillTo<'a> {
    first_name: &'a str,
    last_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    city: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zip: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Authentication<'a> {
    authentication_indicator: &'a str,
    cardholder_authentication_value: &'a str,
}

#[derive(Serialize)]
struct Settings {
    setting: &'static [Setting],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Setting {
    setting_name: &'static str,
    setting_value: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserFields<'a> {
    user_field: [UserField<'a>; 1],
}

#[derive(Serialize)]
struct UserField<'a> {
    name: &'static str,
    value: &'a str,
}

/// What a payment says of its card, and of who keeps it.
#[derive(Default)]
struct Paying<'a> {
    payment: Option<Payment<'a>>,
    profile: Option<Profile<'a>>,
    customer: Option<Customer<'a>>,
    bill_to: Option<BillTo<'a>>,
}

/// Nothing is approved in part, and the very same request is not done twice.
const PAYING: &[Setting] = &[
    Setting { setting_name: "allowPartialAuth", setting_value: "false" },
    Setting { setting_name: "duplicateWindow", setting_value: DUPLICATE_WINDOW_SECS },
];
const REFUNDING: &[Setting] =
    &[Setting { setting_name: "duplicateWindow", setting_value: DUPLICATE_WINDOW_SECS }];

pub(super) fn paid<'a>(
    key: &'a str,
    reference: &'a str,
    authorization: &'a Authorization<Card>,
    currency: Currency,
) -> Result<Transaction<'a>, Refusal> {
    if authorization.network_token.is_some() {
        return Err(refuse("networkTokenBrand", "network tokens are not supported"));
    }
    let (transaction_type, kind) = match authorization.capture {
        Capture::Now => ("authCaptureTransaction", Kind::Charge),
        Capture::Later => ("authOnlyTransaction", Kind::Authorize),
    };
    if authorization.amount.minor() == 0 && authorization.capture == Capture::Now {
        return Err(refuse("amount", "must be more than zero"));
    }
    let payer = authorization.payer.as_ref();
    let checked = authorization.three_ds.as_ref().map(three_ds::check).transpose()?;
    let description = authorization.description.as_deref();
    let kept = stored::check(authorization)?;
    let Paying { payment, profile, customer, bill_to } = Paying::of(key, authorization)?;
    Ok(Transaction {
        payment,
        profile,
        order: Some(Order {
            invoice_number: invoice(kind, key),
            description: description.map(|text| cut(text, DESCRIPTION_CHARS_MAX)),
        }),
        customer,
        bill_to,
        customer_ip: payer.map(|payer| payer.ip),
        cardholder_authentication: checked.as_ref().map(Authentication::of),
        transaction_settings: Some(Settings { setting: PAYING }),
        user_fields: Some(UserFields {
            user_field: [UserField { name: "merchant_reference", value: reference }],
        }),
        processing_options: kept.map(ProcessingOptions::of),
        subsequent_auth_information: kept
            .and_then(|kept| kept.original)
            .map(|original_network_trans_id| Subsequent { original_network_trans_id }),
        ..moved(transaction_type, authorization.amount, currency)?
    })
}

pub(super) fn captured(
    earlier: &FollowUp,
    currency: Currency,
) -> Result<Transaction<'_>, Refusal> {
    // A second capture is refused there too; here, a lost one cannot be taken for the first.
    if earlier.known.as_ref().is_some_and(|known| known.captures > 0) {
        return Err(refuse("refTransId", "was captured before; Authorize.Net captures once"));
    }
    Ok(Transaction {
        ref_trans_id: Some(transaction_id(&earlier.reference)?),
        ..moved("priorAuthCaptureTransaction", earlier.amount, currency)?
    })
}

pub(super) fn refunded<'a>(
    key: &str,
    earlier: &'a FollowUp,
    currency: Currency,
) -> Result<Transaction<'a>, Refusal> {
    let id = transaction_id(&earlier.reference)?;
    // Of a card that Authorize.Net keeps, its own answer told it.
    let ending = |known: &'a Known| known.last_four.as_deref().or(known.memo.as_deref());
    let last_four = earlier.known.as_ref().and_then(ending);
    let unknown = refuse(
        "refTransId",
        "was not made here, and Authorize.Net refunds only who knows the end of the card number",
    );
    Ok(Transaction {
        payment: Some(Payment { credit_card: CreditCard::ending(last_four.ok_or(unknown)?) }),
        ref_trans_id: Some(id),
        order: Some(Order { invoice_number: invoice(Kind::Refund, key), description: None }),
        transaction_settings: Some(Settings { setting: REFUNDING }),
        ..moved("refundTransaction", earlier.amount, currency)?
    })
}

pub(super) fn voided(earlier: &FollowUp) -> Result<Transaction<'_>, Refusal> {
    let ref_trans_id = Some(transaction_id(&earlier.reference)?);
    Ok(Transaction { transaction_type: "voidTransaction", ref_trans_id, ..Transaction::default() })
}

/// What moves an amount, which must be of the account's currency.
fn moved<'a>(
    transaction_type: &'static str,
    amount: Amount,
    currency: Currency,
) -> Result<Transaction<'a>, Refusal> {
    if amount.currency() != currency {
        return Err(refuse("currency", "is not the currency of the account at Authorize.Net"));
    }
    if amount.minor() == 0 && transaction_type != "authOnlyTransaction" {
        return Err(refuse("amount", "must be more than zero"));
    }
    Ok(Transaction {
        transaction_type,
        amount: Some(amount.decimal()),
        currency_code: Some(currency.code().to_owned()),
        ..Transaction::default()
    })
}

// === impl Paying ===

impl<'a> Paying<'a> {
    fn of(key: &'a str, authorization: &'a Authorization<Card>) -> Result<Self, Refusal> {
        Ok(match &authorization.means {
            Means::Card(card) => Self {
                payment: Some(Payment { credit_card: CreditCard::of(card) }),
                profile: authorization.generate_token.then(Profile::new),
                customer: authorization.generate_token.then(|| Customer { id: name(key) }),
                bill_to: Some(BillTo::of(card, authorization.payer.as_ref())),
            },
            // Who pays is in the profile, and has no place beside it.
            Means::Token(token) => Self { profile: Some(Profile::of(token)?), ..Self::default() },
        })
    }
}

// === impl Payment ===

impl<'a> Payment<'a> {
    /// A card that is only to be kept: its verification value is for a payment.
    pub(super) fn unverified(card: &'a Card) -> Self {
        Self { credit_card: CreditCard { card_code: None, ..CreditCard::of(card) } }
    }
}

// === impl CreditCard ===

impl<'a> CreditCard<'a> {
    fn of(card: &'a Card) -> Self {
        Self {
            // The number is exposed because the provider can only charge a card that it is told.
            card_number: card.pan.expose(),
            expiration_date: format!("{}-{:02}", card.expiry.year(), card.expiry.month()),
            // The value is exposed because the issuer checks it; it is in this request and no other.
            card_code: card.cvv.as_ref().map(model::Cvv::expose),
        }
    }

    fn ending(last_four: &'a str) -> Self {
        let expiration_date = MASKED_EXPIRY.to_owned();
        Self { card_number: last_four, expiration_date, card_code: None }
    }
}

// === impl ProcessingOptions ===

impl ProcessingOptions {
    fn of(kept: Kept<'_>) -> Self {
        let yes = Some("true");
        match kept.usage {
            Usage::First => Self { is_first_subsequent_auth: yes, ..Self::default() },
            Usage::Cardholder => Self { is_stored_credentials: yes, ..Self::default() },
            Usage::Merchant => Self { is_subsequent_auth: yes, ..Self::default() },
        }
    }
}

// === impl BillTo ===

impl<'a> BillTo<'a> {
    /// Authorize.Net wants two names and has one line: the last word of the holder's name is the
    /// last name, and our three lines share the one.
    pub(super) fn of(card: &'a Card, payer: Option<&'a Payer>) -> Self {
        // The holder is exposed because this request is the one that carries the name.
        let name = card.holder.expose();
        let (first_name, last_name) = name.rsplit_once(' ').unwrap_or((name, name));
        let lines = payer.map(|payer| payer.address.iter().flatten().map(|line| &**line));
        let address = lines.map(|lines| lines.collect::<Vec<_>>().join(", "));
        let part = |text: Option<&'a str>, max| text.map(|text| cut(text, max));
        Self {
            first_name: cut(first_name, NAME_CHARS_MAX),
            last_name: cut(last_name, NAME_CHARS_MAX),
            address: address
                .filter(|address| !address.is_empty())
                .map(|address| cut(&address, STREET_CHARS_MAX).to_owned()),
            city: part(payer.and_then(|payer| payer.city.as_deref()), CITY_CHARS_MAX),
            state: part(payer.and_then(|payer| payer.state.as_deref()), CITY_CHARS_MAX),
            zip: part(payer.and_then(|payer| payer.post_code.as_deref()), POST_CODE_CHARS_MAX),
            country: payer.map(|payer| &*payer.country),
        }
    }
}

// === impl Authentication ===

impl<'a> Authentication<'a> {
    /// The indicator has one digit; the version and the transaction have no place.
    fn of(checked: &three_ds::Checked<'a>) -> Self {
        Self {
            authentication_indicator: checked.eci.strip_prefix('0').unwrap_or(checked.eci),
            // The value is exposed because the issuer checks it; the provider passes it on.
            cardholder_authentication_value: checked.value.expose(),
        }
    }
}
