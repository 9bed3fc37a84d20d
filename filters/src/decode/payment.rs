//! Payment operations and the accounts they go through.

use crate::decode::card;
use crate::decode::object::Object;
use crate::decode::text::Text;
use crate::decode::{AccountChoice, AccountInput, Fallback, FieldError, PaymentRequest, YearMonth};
use model::money::NotAnAmount;
use model::{
    AccountName, AccountState, Action, Amount, Authorization, Capture, ChangeKind, Credentials,
    Currency, Find, FollowUp, Kind, Means, NetworkTokenBrand, Payer, Secret, Stored, StoredPurpose,
    StoredUsage, Tokenization, TransactionId,
};

/// The gateway's own name for a card, in the card's place.
const USER_TOKEN: &str = "userToken";
/// Asks for such a name.
const GENERATE_TOKEN: &str = "generateToken";

/// Reads a payment operation of this kind.
pub(super) fn read(
    kind: Kind,
    body: &Object<'_, '_>,
    today: YearMonth,
) -> Result<PaymentRequest, FieldError> {
    let action = match kind {
        Kind::Authorize => authorization(body, Capture::Later, today)?,
        Kind::Charge => authorization(body, Capture::Now, today)?,
        Kind::Capture => Action::Capture(follow_up(body)?),
        Kind::Refund => Action::Refund(refund(body)?),
        Kind::Void => Action::Void(follow_up(body)?),
        Kind::Status => Action::Status(find(body)?),
        Kind::Tokenize => tokenization(body, today)?,
    };
    let payment = transaction(kind, body)?;
    let (account, fallbacks) = match account_names(kind, body)? {
        Some(named) => named,
        None => (account_choice(body, payment.is_some())?, fallbacks(kind, body)?),
    };
    let merchant_reference = if kind == Kind::Tokenize { None } else { body.boxed("myRef")? };
    body.reserved("certificateName")?;
    check_means(&action, &fallbacks, body)?;
    Ok(PaymentRequest { action, merchant_reference, account, fallbacks, payment })
}

/// Reads an account with its credentials.
pub(super) fn account(object: &Object<'_, '_>) -> Result<AccountInput, FieldError> {
    let gateway = object.required_text("paymentGatewayName")?.to_box();
    Ok(AccountInput { gateway, credentials: credentials(object)? })
}

/// Reads an account that is to be stored, and whether it is to be used.
pub(super) fn stored_account(
    object: &Object<'_, '_>,
) -> Result<(AccountInput, AccountState), FieldError> {
    let input = account(object)?;
    let state = object.flag("enabled")?.map_or(AccountState::default(), AccountState::of);
    Ok((input, state))
}

/// Reads credentials, each of which may come once.
pub(super) fn credentials(object: &Object<'_, '_>) -> Result<Credentials, FieldError> {
    let mut pairs: Vec<(Box<str>, Secret)> = Vec::new();
    object.list("credentials", |item| {
        let name = item.required_text("key")?.to_box();
        if pairs.iter().any(|(have, _)| have.eq_ignore_ascii_case(&name)) {
            return Err(item.wrong("key", "is given more than once"));
        }
        pairs.push((name, item.required_text("value")?.into_secret()));
        Ok(())
    })?;
    Ok(Credentials::new(pairs))
}

fn authorization(
    body: &Object<'_, '_>,
    capture: Capture,
    today: YearMonth,
) -> Result<Action, FieldError> {
    let amount = amount(body)?;
    let card = body.object("card")?;
    let card = card.map(|card| card::read(&card, Some(today))).transpose()?;
    let payer = payer(body)?;
    let digital = body.flag("isDigital")?;
    let description = body.boxed("orderDesc")?;
    let network_token = network_token(body)?;
    let stored = stored(body, card.is_some())?;
    let token = body.text(USER_TOKEN)?.map(Text::into_secret);
    let generate_token = body.flag(GENERATE_TOKEN)?.unwrap_or_default();
    let (means, three_ds) = match (card, token) {
        (Some((card, three_ds)), None) => (Means::Card(card), three_ds),
        (None, Some(token)) => (Means::Token(token), None),
        (Some(_), Some(_)) => return Err(body.wrong(USER_TOKEN, "stands beside a card")),
        (None, None) => return Err(body.wrong("card", "card or userToken is required")),
    };
    Ok(Action::Authorize(Box::new(Authorization {
        amount,
        capture,
        description,
        digital,
        generate_token,
        means,
        network_token,
        payer,
        stored,
        three_ds,
    })))
}

fn tokenization(body: &Object<'_, '_>, today: YearMonth) -> Result<Action, FieldError> {
    // Nobody is authenticated for a card that is only kept.
    let (card, _) = card::read(&body.required_object("card")?, Some(today))?;
    let payer = payer(body)?;
    let network_token = network_token(body)?;
    Ok(Action::Tokenize(Box::new(Tokenization { card, network_token, payer })))
}

/// Checks what does not go with a gateway's own name for a card: it means nothing to anybody else, and
/// is nobody else's to know.
fn check_means(
    action: &Action,
    fallbacks: &[Fallback],
    body: &Object<'_, '_>,
) -> Result<(), FieldError> {
    let Action::Authorize(authorization) = action else { return Ok(()) };
    let problem = if !authorization.is_by_token() {
        return Ok(());
    } else if authorization.generate_token {
        "stands beside generateToken"
    } else if authorization.network_token.is_some() {
        "stands beside networkTokenBrand"
    } else if !fallbacks.is_empty() {
        "stands beside accounts to fall back to"
    } else {
        return Ok(());
    };
    Err(body.wrong(USER_TOKEN, problem))
}

fn follow_up(body: &Object<'_, '_>) -> Result<FollowUp, FieldError> {
    let found = earlier(body)?;
    network_token(body)?;
    Ok(found)
}

fn refund(body: &Object<'_, '_>) -> Result<FollowUp, FieldError> {
    let found = earlier(body)?;
    payer(body)?;
    network_token(body)?;
    Ok(found)
}

/// Reads how much of which earlier payment.
///
/// A card may be sent again, as the API has it. No provider needs it to find the payment, so it is
/// checked and dropped; that it expired since then does not matter.
fn earlier(body: &Object<'_, '_>) -> Result<FollowUp, FieldError> {
    let amount = amount(body)?;
    let reference = body.boxed("refTransId")?;
    if reference.is_none() && body.text("transactionId")?.is_none() {
        return Err(body.wrong("refTransId", "refTransId or transactionId is required"));
    }
    body.text("transactionId")?;
    let reference = reference.unwrap_or_default();
    if let Some(card) = body.object("card")? {
        drop(card::read(&card, None)?);
    }
    Ok(FollowUp::unknown(amount, reference))
}

fn find(body: &Object<'_, '_>) -> Result<Find, FieldError> {
    let reference = body.boxed("refTransId")?.map(Find::Reference);
    let merchant_reference = body.boxed("myRef")?.map(Find::MerchantReference);
    let found = reference
        .or(merchant_reference)
        .ok_or_else(|| body.wrong("refTransId", "refTransId or myRef is required"))?;
    network_token(body)?;
    Ok(found)
}

fn amount(body: &Object<'_, '_>) -> Result<Amount, FieldError> {
    let code = body.required_text("currency")?;
    let currency = Currency::parse(code.as_str())
        .map_err(|_| body.wrong("currency", "is not a supported ISO 4217 code"))?;
    let amount = Amount::parse(body.required_number("amount")?, currency)
        .map_err(|error| body.wrong("amount", amount_problem(error)))?;
    if amount.minor() == 0 {
        return Err(body.wrong("amount", "must be greater than zero"));
    }
    Ok(amount)
}

fn amount_problem(error: NotAnAmount) -> &'static str {
    match error {
        NotAnAmount::Negative => "must not be negative",
        NotAnAmount::NotANumber => "must be a decimal number",
        NotAnAmount::TooFine => "has more decimal places than the currency",
        NotAnAmount::TooLarge => "is larger than the largest amount",
    }
}

fn payer(body: &Object<'_, '_>) -> Result<Option<Payer>, FieldError> {
    let Some(payer) = body.object("payerDetails")? else { return Ok(None) };
    let ip = payer.required_text("clientIPAddress")?;
    let ip = ip.as_str().parse();
    let ip = ip.map_err(|_| payer.wrong("clientIPAddress", "must be an IPv4 or IPv6 address"))?;
    let country = payer.required_text("countryCode")?.to_box();
    let address = [payer.boxed("address1")?, payer.boxed("address2")?, payer.boxed("address3")?];
    let post_code = payer.boxed("postCode")?;
    let city = payer.boxed("city")?;
    let state = payer.boxed("stateProvince")?;
    Ok(Some(Payer { address, city, country, ip, post_code, state }))
}

fn network_token(body: &Object<'_, '_>) -> Result<Option<NetworkTokenBrand>, FieldError> {
    Ok(match body.word("networkTokenBrand")? {
        Some("Amex") => Some(NetworkTokenBrand::Amex),
        Some("MasterCard") => Some(NetworkTokenBrand::MasterCard),
        Some("Visa") => Some(NetworkTokenBrand::Visa),
        _ => None,
    })
}

/// Reads what the schemes want to know of a payment with a kept card.
///
/// What the merchant makes himself must say at which payment it was agreed on, unless it is paid with
/// what the gateway keeps (`with_card` is false): the gateway knows.
fn stored(body: &Object<'_, '_>, with_card: bool) -> Result<Option<Stored>, FieldError> {
    const ORIGINAL: &str = "networkTransactionId";
    let Some(stored) = body.object("storedCredential")? else { return Ok(None) };
    let usage = stored.word("usage")?;
    let purpose = match stored.word("purpose")? {
        Some("Installment") => Some(StoredPurpose::Installment),
        Some("Recurring") => Some(StoredPurpose::Recurring),
        Some("Unscheduled") => Some(StoredPurpose::Unscheduled),
        _ => None,
    };
    let usage = match (usage, stored.boxed(ORIGINAL)?) {
        (Some("First"), None) => StoredUsage::First,
        (Some("First"), Some(_)) => {
            return Err(stored.wrong(ORIGINAL, "a first payment has none yet"));
        }
        (Some("Cardholder"), original) => StoredUsage::Cardholder { original },
        (Some("Merchant"), None) if with_card => {
            return Err(stored.wrong(ORIGINAL, "is required where the merchant takes a payment"));
        }
        (Some("Merchant"), original) => StoredUsage::Merchant { original },
        _ => return Err(stored.wrong("usage", "is required")),
    };
    let by_merchant = matches!(usage, StoredUsage::Merchant { .. });
    if by_merchant && purpose.is_none() {
        return Err(stored.wrong("purpose", "is required where the merchant takes a payment"));
    }
    Ok(Some(Stored { usage, purpose }))
}

/// Reads which payment of ours is to be changed.
fn transaction(kind: Kind, body: &Object<'_, '_>) -> Result<Option<TransactionId>, FieldError> {
    if ChangeKind::of(kind).is_none() {
        return Ok(None);
    }
    let text = body.text("transactionId")?;
    Ok(text.and_then(|text| TransactionId::parse(text.as_str()).ok()))
}

/// Reads the accounts in the older form of the API: one list of names, the first of which is the
/// account itself. It takes the place of the other fields.
fn account_names(
    kind: Kind,
    body: &Object<'_, '_>,
) -> Result<Option<(AccountChoice, Vec<Fallback>)>, FieldError> {
    const NAMES: &str = "paymentGatewayAccountNames";
    if !falls_back(kind) {
        return Ok(None);
    }
    let Some(names) = body.texts(NAMES)? else { return Ok(None) };
    let others = body.text("paymentGatewayAccountName")?.is_some()
        || body.object("paymentGatewayAccount")?.is_some()
        || !fallbacks(kind, body)?.is_empty();
    if others {
        return Err(body.wrong(NAMES, "stands beside another choice of an account"));
    }
    let name = |text: &str| {
        AccountName::parse(text).map_err(|_| body.wrong(NAMES, "is not the name of an account"))
    };
    let (first, rest) =
        names.split_first().ok_or_else(|| body.wrong(NAMES, "must not be empty"))?;
    let fallback = |account| Fallback { account, pass_three_ds: false };
    let rest = rest.iter().map(|text| name(text).map(fallback)).collect::<Result<_, _>>()?;
    Ok(Some((AccountChoice::Named(name(first)?), rest)))
}

/// Whether it may go to another account than the first.
fn falls_back(kind: Kind) -> bool {
    matches!(kind, Kind::Authorize | Kind::Charge | Kind::Tokenize)
}

/// Reads which accounts are tried after the first.
fn fallbacks(kind: Kind, body: &Object<'_, '_>) -> Result<Vec<Fallback>, FieldError> {
    if !falls_back(kind) {
        return Ok(Vec::new());
    }
    body.list("fallbackUpgs", |one| {
        const NAME: &str = "paymentGatewayAccountName";
        let name = one.required_text(NAME)?;
        let account = AccountName::parse(name.as_str());
        let account = account.map_err(|_| one.wrong(NAME, "is not the name of an account"))?;
        let pass_three_ds = one.flag("pass3DSData")?.unwrap_or_default();
        one.reserved("paymentGatewayCertName")?;
        Ok(Fallback { account, pass_three_ds })
    })
}

fn account_choice(
    body: &Object<'_, '_>,
    payment_is_known: bool,
) -> Result<AccountChoice, FieldError> {
    const NAME: &str = "paymentGatewayAccountName";
    let name = body.text(NAME)?;
    if let Some(inline) = body.object("paymentGatewayAccount")? {
        let AccountInput { gateway, credentials } = account(&inline)?;
        return Ok(AccountChoice::Inline { gateway, credentials });
    }
    if name.is_none() && payment_is_known {
        return Ok(AccountChoice::OfPayment);
    }
    let problem = "paymentGatewayAccountName or paymentGatewayAccount is required";
    name.and_then(|name| AccountName::parse(name.as_str()).ok())
        .map(AccountChoice::Named)
        .ok_or_else(|| body.wrong(NAME, problem))
}
