//! What the questions and orders are about.

use super::{MERCHANT_ACCOUNT, currency, refuse};
use crate::stored::{self, Kept, Usage};
use crate::three_ds;
use crate::{Cx, Refusal};
use model::{Amount, Authorization, Card, FollowUp, Payer, StoredPurpose};
use serde::Serialize;

/// A card that is to be exchanged for a name. It lives as long as it takes to write the body.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tokenized<'a> {
    credit_card: CreditCard<'a>,
    options: TokenizeOptions,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreditCard<'a> {
    number: &'a str,
    expiration_month: String,
    expiration_year: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cvv: Option<&'a str>,
    cardholder_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    billing_address: Option<BillingAddress<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BillingAddress<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    street_address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extended_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locality: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    postal_code: Option<&'a str>,
    country_code: &'a str,
}

#[derive(Serialize)]
struct TokenizeOptions {
    validate: bool,
}

/// A charge or an authorisation of what the name stands for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Transacted<'a> {
    payment_method_id: &'a str,
    transaction: Transaction<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Options<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Transaction<'a> {
    amount: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant_account_id: Option<&'a str>,
    order_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_initiator: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    risk_data: Option<RiskData>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RiskData {
    customer_ip: std::net::IpAddr,
}

/// What is more to say of a payment; not there where there is nothing.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Options<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    external_vault: Option<ExternalVault<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    three_d_secure_authentication: Option<Authentication<'a>>,
}

/// A card that is kept elsewhere: with us.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalVault<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    verifying_network_transaction_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Authentication<'a> {
    pass_through: PassThrough<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PassThrough<'a> {
    eci_flag: &'static str,
    cavv: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    x_id: Option<&'a str>,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory_server_transaction_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Captured<'a> {
    transaction_id: &'a str,
    transaction: CapturedAmount,
}

#[derive(Serialize)]
struct CapturedAmount {
    amount: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refunded<'a> {
    transaction_id: &'a str,
    refund: Refund,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refund {
    amount: String,
    order_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reversed<'a> {
    pub(super) transaction_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Searched<'a> {
    pub(super) order_id: Search<'a>,
}

/// What an order id must be like.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Search<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    is: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    starts_with: Option<&'a str>,
}

// === impl Tokenized ===

impl<'a> Tokenized<'a> {
    pub(super) fn of(card: &'a Card, payer: Option<&'a Payer>) -> Self {
        Self {
            credit_card: CreditCard {
                // The number is exposed because the provider can only charge a card that it is told.
                number: card.pan.expose(),
                expiration_month: format!("{:02}", card.expiry.month()),
                expiration_year: card.expiry.year().to_string(),
                // The value is exposed because the issuer checks it; it is in this request only.
                cvv: card.cvv.as_ref().map(model::Cvv::expose),
                // The holder is exposed because this request is the one that carries the name.
                cardholder_name: card.holder.expose(),
                billing_address: payer.map(BillingAddress::of),
            },
            options: TokenizeOptions { validate: false },
        }
    }
}

// === impl BillingAddress ===

impl<'a> BillingAddress<'a> {
    /// Braintree has two lines: the second and the third of ours share one.
    fn of(payer: &'a Payer) -> Self {
        let [first, rest @ ..] = &payer.address;
        let rest: Vec<&str> = rest.iter().flatten().map(|line| &**line).collect();
        Self {
            street_address: first.as_deref(),
            extended_address: (!rest.is_empty()).then(|| rest.join(", ")),
            locality: payer.city.as_deref(),
            region: payer.state.as_deref(),
            postal_code: payer.post_code.as_deref(),
            country_code: &payer.country,
        }
    }
}

// === impl Transacted ===

impl<'a> Transacted<'a> {
    pub(super) fn of<C>(
        payment_method_id: &'a str,
        order_id: String,
        authorization: &'a Authorization<C>,
        cx: &Cx<'a>,
    ) -> Result<Self, Refusal> {
        if authorization.network_token.is_some() {
            return Err(refuse("networkTokenBrand", "network tokens are not supported"));
        }
        let checked = authorization.three_ds.as_ref().map(three_ds::check).transpose()?;
        let kept = stored::check(authorization)?;
        let customer_ip = authorization.payer.as_ref().map(|payer| payer.ip);
        let transaction = Transaction {
            amount: counted(authorization.amount, cx)?,
            // The account is exposed because it says who is paid; it is not a secret.
            merchant_account_id: cx.find(&MERCHANT_ACCOUNT).map(model::Secret::expose),
            order_id,
            payment_initiator: kept.and_then(initiator),
            risk_data: customer_ip.map(|customer_ip| RiskData { customer_ip }),
        };
        // What Braintree keeps is kept nowhere else.
        let theirs = authorization.is_by_token() || authorization.generate_token;
        let said = checked.is_some() || kept.is_some() && !theirs;
        let options = said.then(|| Options {
            external_vault: kept.filter(|_| !theirs).map(ExternalVault::of),
            three_d_secure_authentication: checked.as_ref().map(Authentication::of),
        });
        Ok(Self { payment_method_id, transaction, options })
    }
}

/// Who pays for what; what the cardholder pays himself is said by nothing.
fn initiator(kept: Kept<'_>) -> Option<&'static str> {
    match (kept.usage, kept.purpose?) {
        (Usage::First, StoredPurpose::Installment) => Some("INSTALLMENT_FIRST"),
        (Usage::First, StoredPurpose::Recurring) => Some("RECURRING_FIRST"),
        (Usage::Merchant, StoredPurpose::Installment) => Some("INSTALLMENT"),
        (Usage::Merchant, StoredPurpose::Recurring) => Some("RECURRING"),
        (Usage::Merchant, StoredPurpose::Unscheduled) => Some("UNSCHEDULED"),
        (Usage::First, StoredPurpose::Unscheduled) | (Usage::Cardholder, _) => None,
    }
}

// === impl ExternalVault ===

impl<'a> ExternalVault<'a> {
    fn of(kept: Kept<'a>) -> Self {
        let status = if kept.usage == Usage::First { "WILL_VAULT" } else { "VAULTED" };
        Self { status, verifying_network_transaction_id: kept.original }
    }
}

// === impl Authentication ===

impl<'a> Authentication<'a> {
    fn of(checked: &three_ds::Checked<'a>) -> Self {
        let second = checked.generation == three_ds::Generation::Second;
        let pass_through = PassThrough {
            eci_flag: checked.eci,
            // The value is exposed because the issuer checks it; the provider passes it on.
            cavv: checked.value.expose(),
            x_id: (!second).then_some(checked.transaction),
            version: checked.version,
            directory_server_transaction_id: second.then_some(checked.transaction),
        };
        Self { pass_through }
    }
}

// === impl Captured ===

impl<'a> Captured<'a> {
    pub(super) fn of(
        transaction_id: &'a str,
        earlier: &FollowUp,
        cx: &Cx<'_>,
    ) -> Result<Self, Refusal> {
        // A second capture is refused there too; here, a lost one cannot be taken for the first.
        if earlier.known.as_ref().is_some_and(|known| known.captures > 0) {
            return Err(refuse("refTransId", "was captured before; what was left was given back"));
        }
        let transaction = CapturedAmount { amount: counted(earlier.amount, cx)? };
        Ok(Self { transaction_id, transaction })
    }
}

// === impl Refunded ===

impl<'a> Refunded<'a> {
    pub(super) fn of(
        transaction_id: &'a str,
        order_id: String,
        earlier: &FollowUp,
        cx: &Cx<'_>,
    ) -> Result<Self, Refusal> {
        let refund = Refund { amount: counted(earlier.amount, cx)?, order_id };
        Ok(Self { transaction_id, refund })
    }
}

// === impl Search ===

impl<'a> Search<'a> {
    pub(super) fn is(order_id: &'a str) -> Self {
        Self { is: Some(order_id), starts_with: None }
    }

    pub(super) fn begins(with: &'a str) -> Self {
        Self { is: None, starts_with: Some(with) }
    }
}

/// An amount of the merchant account's currency, as Braintree writes it.
fn counted(amount: Amount, cx: &Cx<'_>) -> Result<String, Refusal> {
    if amount.currency() != currency(cx)? {
        return Err(refuse("currency", "is not the currency of the merchant account"));
    }
    if amount.minor() == 0 {
        return Err(refuse("amount", "must be more than zero"));
    }
    Ok(amount.decimal())
}
