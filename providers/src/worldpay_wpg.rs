//! Worldpay WPG, the older interface in XML ("XML Direct").
//! <https://docs.worldpay.com/wpg>
//!
//! Everything goes to one address. A payment is one exchange; captures, cancellations and refunds are
//! only received. The document type fixes the order of the elements, which is that of the code here.

use crate::environment::{self, Hosts};
use crate::stored::{self, Kept, Usage};
use crate::three_ds::{self, Checked, Generation};
use crate::webhook::{Delivery, Receipt, Unproven};
use crate::wire::xml::Xml;
use crate::wire::{Answer, Body, HeaderText, Request, cut, path};
use crate::{
    CREDENTIALS, Cx, Declines, Found, Gateway, Lost, Provider, Refusal, Step, Validity, agreed,
};
use account::{MERCHANT_CODE, PASSWORD, USERNAME};
use answer::Expected;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::{
    Action, Amount, Authorization, Capture, Card, Currency, Find, FollowUp, Gone, Kind, Means, Notice,
    Operation, Payer, Report, Secret, StoredPurpose,
};

mod account;
mod answer;
mod lost;
mod notice;
mod token;

pub(crate) static PROVIDER: WorldpayWpg = WorldpayWpg;

#[derive(Debug)]
pub(crate) struct WorldpayWpg;

static GATEWAY: Gateway = Gateway {
    id: "WorldpayWPG",
    display_name: "Worldpay WPG",
    url: "https://www.worldpay.com",
    description: "Cards through the XML interface of Worldpay's older gateway. The account must be \
                  allowed to send card numbers.",
    credentials: &[USERNAME, PASSWORD, MERCHANT_CODE, environment::OPTIONAL],
    supports_network_token: false,
};

const HOSTS: Hosts = Hosts { live: "secure.worldpay.com", test: "secure-test.worldpay.com" };

const DOCUMENT_TYPE: &str = "<!DOCTYPE paymentService PUBLIC \"-//WorldPay//DTD WorldPay \
     PaymentService v1//EN\" \"http://dtd.worldpay.com/paymentService_v1.dtd\">\n";

/// How long an order's code is, in characters.
const ORDER_CODE_CHARS_MAX: usize = 64;
/// How many characters our name for a payment has: only such a one can be searched for.
const KEY_CHARS: usize = 32;
/// How long a description may be, in characters.
const DESCRIPTION_CHARS_MAX: usize = 50;

/// An order that nobody made, to see whether it may be asked for.
const NO_ORDER: &str = "orchestra-validation";

impl Provider for WorldpayWpg {
    fn name(&self) -> &'static str {
        "worldpay_wpg"
    }

    fn gateway(&self) -> &'static Gateway {
        &GATEWAY
    }

    fn declines(&self) -> Declines {
        crate::worldpay::DECLINES
    }

    fn request(&self, operation: &Operation<Card>, cx: &Cx<'_>) -> Result<Request, Refusal> {
        match &operation.action {
            Action::Authorize(authorization) => {
                let body = order(operation, authorization, cx)?;
                changing(body, &operation.key, cx)
            }
            Action::Capture(earlier) => {
                let (day, month, year) = date(cx.now)?;
                let body = modification(earlier, cx, |xml, amount| {
                    xml.open("capture", &[("reference", &operation.key)]);
                    let parts = [("dayOfMonth", &*day), ("month", &*month), ("year", &*year)];
                    xml.empty("date", &parts);
                    amount.write(xml);
                })?;
                changing(body, &operation.key, cx)
            }
            Action::Refund(earlier) => {
                let body = modification(earlier, cx, |xml, amount| {
                    xml.open("refund", &[("reference", &operation.key)]);
                    amount.write(xml);
                })?;
                changing(body, &operation.key, cx)
            }
            Action::Void(earlier) => {
                let body = modification(earlier, cx, |xml, _| xml.empty("cancel", &[]))?;
                changing(body, &operation.key, cx)
            }
            Action::Status(Find::Reference(reference)) => asking(order_code(reference)?, cx),
            Action::Status(Find::MerchantReference(reference)) => asking(key(reference)?, cx),
            Action::Tokenize(tokenization) => {
                let body = token::create(&operation.key, tokenization, cx)?;
                changing(body, &operation.key, cx)
            }
        }
    }

    fn outcome(&self, kind: Kind, answer: &Answer<'_>) -> Report {
        answer::read(kind, answer, &Expected::default())
    }

    fn step(
        &self,
        operation: &Operation<Gone>,
        _nth: usize,
        answer: &Answer<'_>,
        _cx: &Cx<'_>,
    ) -> Step {
        let report = answer::read(operation.kind(), answer, &Expected::of(operation));
        Step::Done(agreed(operation, report))
    }

    fn token(
        &self,
        operation: &Operation<Gone>,
        _nth: usize,
        answer: &Answer<'_>,
    ) -> Option<Secret> {
        token::told(operation, answer)
    }

    /// Asks for an order that nobody made.
    fn validation(&self, cx: &Cx<'_>) -> Result<Option<Request>, Refusal> {
        asking(NO_ORDER, cx).map(Some)
    }

    fn validity(&self, answer: &Answer<'_>) -> Validity {
        answer::validity(answer)
    }

    /// The merchant code belongs to the credentials: one that they may not use is refused with them.
    fn refuses_account(&self, report: &Report) -> bool {
        answer::refuses_account(report)
    }

    fn inquiry(&self, lost: &Lost<'_>, cx: &Cx<'_>) -> Result<Request, Refusal> {
        match (lost.kind, lost.payment) {
            (Kind::Authorize | Kind::Charge, _) => asking(key(lost.key)?, cx),
            (Kind::Capture | Kind::Refund | Kind::Void, Some(payment)) => {
                asking(order_code(payment)?, cx)
            }
            (Kind::Capture | Kind::Refund | Kind::Void, None)
            | (Kind::Status | Kind::Tokenize, _) => {
                Err(Refusal::Unsupported)
            }
        }
    }

    fn found(&self, lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
        lost::read(lost, answer)
    }

    fn notices(&self, delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<Vec<Notice>, Unproven> {
        notice::read(delivery, cx)
    }

    fn receipt(&self) -> Receipt {
        Receipt { body: "[OK]", ..Receipt::EMPTY }
    }
}

// === writing ===

/// An amount as WPG writes it, which says how many of its digits are decimals.
struct Money {
    value: String,
    currency: String,
    exponent: String,
}

/// What an order is paid with.
enum Paid<'a> {
    /// A card, and who is to have its token.
    Card(&'a Card, Option<&'a str>),
    Token { shopper: &'a str, token: &'a str },
}

/// Begins a document in the name of the merchant.
fn service(cx: &Cx<'_>) -> Result<Xml, Refusal> {
    let code = cx.need(&MERCHANT_CODE, "MerchantCode is missing")?;
    let mut xml = Xml::new(DOCUMENT_TYPE);
    // The code is exposed because every request names it; it is not a secret.
    xml.open("paymentService", &[("version", "1.4"), ("merchantCode", code.expose())]);
    Ok(xml)
}

/// A new payment. Its code is ours: WPG takes each only once, and a merchant may use its own again.
fn order(
    operation: &Operation<Card>,
    authorization: &Authorization<Card>,
    cx: &Cx<'_>,
) -> Result<Body, Refusal> {
    if authorization.network_token.is_some() {
        return Err(refuse("networkTokenBrand", "network tokens are not supported"));
    }
    let paid = Paid::of(operation, authorization)?;
    let amount = Money::of(authorization.amount)?;
    let checked = authorization.three_ds.as_ref().map(three_ds::check).transpose()?;
    let kept = stored::check(authorization)?;
    let capture_delay = match authorization.capture {
        Capture::Later => "OFF",
        Capture::Now => "0",
    };
    let description = authorization.description.as_deref().unwrap_or(operation.reference());
    let mut xml = service(cx)?;
    xml.open("submit", &[]);
    xml.open("order", &[("orderCode", &operation.key), ("captureDelay", capture_delay)]);
    xml.text("description", cut(description, DESCRIPTION_CHARS_MAX));
    amount.write(&mut xml);
    xml.open("paymentDetails", &[]);
    match &paid {
        Paid::Card(card, _) => write_card(&mut xml, card, authorization.payer.as_ref()),
        Paid::Token { token, .. } => token::write_token(&mut xml, token),
    }
    if let Some(kept) = &kept {
        write_stored(&mut xml, kept);
    }
    if let Some(payer) = &authorization.payer {
        let ip = payer.ip.to_string();
        xml.empty("session", &[("id", &operation.key), ("shopperIPAddress", &ip)]);
    }
    if let Some(checked) = &checked {
        write_three_ds(&mut xml, checked);
    }
    xml.close();
    if let Some(shopper) = paid.shopper() {
        token::write_shopper(&mut xml, shopper);
    }
    if authorization.generate_token {
        token::write_wish(&mut xml, &operation.key);
    }
    Ok(xml.into_body())
}

fn write_expiry(xml: &mut Xml, card: &Card) {
    xml.open("expiryDate", &[]);
    let month = format!("{:02}", card.expiry.month());
    xml.empty("date", &[("month", &month), ("year", &card.expiry.year().to_string())]);
    xml.close();
}

fn write_card(xml: &mut Xml, card: &Card, payer: Option<&Payer>) {
    xml.open("CARD-SSL", &[]);
    xml.pan("cardNumber", &card.pan);
    write_expiry(xml, card);
    xml.secret("cardHolderName", &card.holder);
    xml.cvv("cvc", card.cvv.as_ref());
    if let Some(payer) = payer.filter(|payer| has_address(payer)) {
        write_address(xml, payer);
    }
    xml.close();
}

fn write_stored(xml: &mut Xml, kept: &Kept<'_>) {
    let purpose = kept.purpose.map(|purpose| match purpose {
        StoredPurpose::Installment => "INSTALMENT",
        StoredPurpose::Recurring => "RECURRING",
        StoredPurpose::Unscheduled => "UNSCHEDULED",
    });
    let (usage, reason) = match kept.usage {
        Usage::First => ("FIRST", "customerInitiatedReason"),
        Usage::Cardholder => ("USED", "customerInitiatedReason"),
        Usage::Merchant => ("USED", "merchantInitiatedReason"),
    };
    let mut attributes = vec![("usage", usage)];
    attributes.extend(purpose.map(|purpose| (reason, purpose)));
    match kept.original {
        Some(original) => {
            xml.open("storedCredentials", &attributes);
            xml.text("schemeTransactionIdentifier", original);
            xml.close();
        }
        None => xml.empty("storedCredentials", &attributes),
    }
}

/// A country alone is no address.
fn has_address(payer: &Payer) -> bool {
    let [line1, ..] = &payer.address;
    line1.is_some() || payer.city.is_some() || payer.post_code.is_some()
}

fn write_address(xml: &mut Xml, payer: &Payer) {
    let [line1, line2, line3] = payer.address.each_ref().map(Option::as_deref);
    xml.open("cardAddress", &[]);
    xml.open("address", &[]);
    xml.text_if("address1", line1);
    xml.text_if("address2", line2);
    xml.text_if("address3", line3);
    xml.text_if("postalCode", payer.post_code.as_deref());
    xml.text_if("city", payer.city.as_deref());
    xml.text_if("state", payer.state.as_deref());
    xml.text("countryCode", &payer.country);
    xml.close();
    xml.close();
}

fn write_three_ds(xml: &mut Xml, checked: &Checked<'_>) {
    let transaction = match checked.generation {
        Generation::First => "xid",
        Generation::Second => "dsTransactionId",
    };
    xml.open("info3DSecure", &[]);
    xml.text("threeDSVersion", checked.version);
    xml.text(transaction, checked.transaction);
    xml.secret("cavv", checked.value);
    xml.text("eci", checked.eci);
    xml.close();
}

/// A change of an order: what is to be done stands alone in it.
fn modification(
    earlier: &FollowUp,
    cx: &Cx<'_>,
    write: impl FnOnce(&mut Xml, &Money),
) -> Result<Body, Refusal> {
    let amount = Money::of(earlier.amount)?;
    let code = order_code(&earlier.reference)?;
    let mut xml = service(cx)?;
    xml.open("modify", &[]);
    xml.open("orderModification", &[("orderCode", code)]);
    write(&mut xml, &amount);
    Ok(xml.into_body())
}

/// The question for an order.
fn asking(code: &str, cx: &Cx<'_>) -> Result<Request, Refusal> {
    let mut xml = service(cx)?;
    xml.open("inquiry", &[]);
    xml.empty("orderInquiry", &[("orderCode", code)]);
    sent(xml.into_body(), cx).map(Request::harmless)
}

/// WPG takes an idempotency key, and does not say for how long it remembers it.
fn changing(body: Body, key: &str, cx: &Cx<'_>) -> Result<Request, Refusal> {
    let key = HeaderText::new(&[key]).map_err(|_| refuse("myRef", "is not an idempotency key"))?;
    Ok(sent(body, cx)?.header("idempotency-key", key))
}

fn sent(body: Body, cx: &Cx<'_>) -> Result<Request, Refusal> {
    let username = cx.need(&USERNAME, "Username is missing")?;
    let password = cx.need(&PASSWORD, "Password is missing")?;
    let authorization = HeaderText::basic(username, password)
        .map_err(|_| refuse(CREDENTIALS, "Username or Password is not one of Worldpay"))?;
    let path = path(&["jsp", "merchant", "xml", "paymentService.jsp"]);
    Ok(Request::post(HOSTS.optional(cx)?, path, body)
        .header("authorization", authorization)
        .header("content-type", HeaderText::of("text/xml")))
}

/// Day, month and year, in UTC.
fn date(now: u64) -> Result<(String, String, String), Refusal> {
    let time = i64::try_from(now).ok().and_then(|now| Timestamp::from_second(now).ok());
    // The clock of the program is the one that is wrong here.
    let time = time.ok_or(Refusal::Unsupported)?.to_zoned(TimeZone::UTC);
    let (day, month, year) = (time.day(), time.month(), time.year());
    Ok((format!("{day:02}"), format!("{month:02}"), year.to_string()))
}

fn order_code(text: &str) -> Result<&str, Refusal> {
    is_order_code(text)
        .then_some(text)
        .ok_or(refuse("refTransId", "is not an order code of Worldpay"))
}

/// Visible characters but quotes and angle brackets.
fn is_order_code(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'<' | b'>' | b'&');
    (1..=ORDER_CODE_CHARS_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

/// WPG searches by the order's code only, which is ours.
fn key(text: &str) -> Result<&str, Refusal> {
    let is_key = text.len() == KEY_CHARS
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9'));
    is_key.then_some(text).ok_or(Refusal::Unsupported)
}

fn refuse(name: &'static str, problem: &'static str) -> Refusal {
    Refusal::Field { name, problem }
}

// === impl Paid ===

impl<'a> Paid<'a> {
    fn of(
        operation: &'a Operation<Card>,
        authorization: &'a Authorization<Card>,
    ) -> Result<Self, Refusal> {
        let wished = authorization.generate_token.then_some(&*operation.key);
        match &authorization.means {
            Means::Card(card) => Ok(Self::Card(card, wished)),
            Means::Token(token) => {
                token::of(token).map(|(shopper, token)| Self::Token { shopper, token })
            }
        }
    }

    fn shopper(&self) -> Option<&'a str> {
        match self {
            Self::Card(_, shopper) => *shopper,
            Self::Token { shopper, .. } => Some(shopper),
        }
    }
}

// === impl Money ===

impl Money {
    fn of(amount: Amount) -> Result<Self, Refusal> {
        let currency = amount.currency();
        let places = places(currency)
            .ok_or(refuse("currency", "is not a currency that Worldpay documents"))?;
        let units = amount
            .in_units(places)
            .map_err(|_| refuse("amount", "is finer than Worldpay's unit of this currency"))?;
        if units == 0 {
            return Err(refuse("amount", "must be more than zero"));
        }
        let currency = currency.code().to_owned();
        Ok(Self { value: units.to_string(), currency, exponent: places.to_string() })
    }

    fn write(&self, xml: &mut Xml) {
        let Self { value, currency, exponent } = self;
        xml.empty("amount", &[("value", value), ("currencyCode", currency), ("exponent", exponent)]);
    }
}

// === amounts ===

/// How many decimal places WPG counts a currency with. It is told with each amount, so that a
/// difference is a refusal and not another amount.
fn places(currency: Currency) -> Option<u8> {
    match (currency.code(), currency.exponent()) {
        ("GNF" | "HUF" | "IDR" | "JPY" | "KMF" | "KRW" | "MGA" | "PYG" | "RWF" | "VND" | "XAF"
        | "XOF" | "XPF", _) => Some(0),
        (_, 3) => Some(3),
        (_, 4) => None,
        _ => Some(2),
    }
}

/// An amount that WPG tells.
fn amount(value: &str, currency: &str, exponent: &str) -> Option<Amount> {
    let currency = Currency::parse(currency).ok()?;
    Amount::from_units(value.parse().ok()?, exponent.parse().ok()?, currency).ok()
}

#[cfg(test)]
mod tests {
    use super::{Money, date, is_order_code, places};
    use model::{Amount, Currency};

    #[test]
    fn amounts_are_counted_as_worldpay_lists_it() {
        let listed = |list: &str| -> Vec<_> {
            list.split(' ').map(|code| places(Currency::parse(code).unwrap())).collect()
        };
        let zero = listed("HUF IDR JPY KRW XOF XAF XPF GNF PYG RWF VND KMF MGA");
        assert!(zero.iter().all(|places| *places == Some(0)));
        let three = listed("BHD KWD OMR TND LYD JOD IQD");
        assert!(three.iter().all(|places| *places == Some(3)));
        assert!(listed("EUR GBP USD CLP ISK UGX").iter().all(|places| *places == Some(2)));
        assert_eq!(listed("CLF UYW"), [None, None]);
        for (text, code, expected) in [
            ("10.99", "GBP", Some("1099")),
            ("1500", "CLP", Some("150000")),
            ("1500.00", "HUF", Some("1500")),
            ("1500.50", "HUF", None),
            ("0.00", "GBP", None),
        ] {
            let amount = Amount::parse(text, Currency::parse(code).unwrap()).unwrap();
            let value = Money::of(amount).ok().map(|money| money.value);
            assert_eq!(value.as_deref(), expected, "{text} {code}");
        }
    }

    #[test]
    fn a_date_is_that_of_utc() {
        for (now, expected) in [
            (0, ("01", "01", "1970")),
            (1_782_518_399, ("26", "06", "2026")),
            (1_709_164_800, ("29", "02", "2024")),
        ] {
            let (day, month, year) = date(now).unwrap();
            assert_eq!((&*day, &*month, &*year), expected, "{now}");
        }
        assert!(date(u64::MAX).is_err());
    }

    #[test]
    fn order_codes_hold_no_blanks_quotes_or_brackets() {
        for (text, expected) in [
            ("ORD-1001!", true),
            (&"a".repeat(64), true),
            (&"a".repeat(65), false),
            ("", false),
            ("a b", false),
            ("a\"b", false),
            ("a<b", false),
            ("a&amp;b", false),
            ("ä", false),
        ] {
            assert_eq!(is_order_code(text), expected, "{text}");
        }
    }
}
