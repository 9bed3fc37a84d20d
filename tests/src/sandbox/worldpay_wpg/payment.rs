//! Orders, and what is done to them.

use super::element::Element;
use super::{error, failure, order_error, reply};
use crate::sandbox::cards;
use crate::sandbox::ledger::{Entry, Outcome};
use crate::sandbox::worldpay::refusal::{self, NOT_A_TEST_CARD, Refusal};
use crate::sandbox::{Answer, Books};
use model::{Currency, Cvv, Expiry};

/// A payment, declined ones included.
#[derive(Clone, Debug)]
pub(super) struct Payment {
    order: String,
    currency: String,
    exponent: String,
    pub(super) authorised: u64,
    captured: u64,
    refunded: u64,
    refused: Option<Refusal>,
    /// To be captured at once.
    sale: bool,
    /// As it may be kept: see [`cards::kept`].
    number: String,
    checks: (&'static str, &'static str),
    event: &'static str,
    /// What the merchant called the last change.
    reference: Option<String>,
}

/// An amount in a document: units, currency, decimals.
fn amount(element: Option<&Element>) -> Option<(u64, String, String)> {
    let element = element?;
    let (currency, exponent) = (element.attribute("currencyCode")?, element.attribute("exponent")?);
    let known = Currency::parse(currency).is_ok() && matches!(exponent, "0" | "2" | "3");
    let units = element.attribute("value")?.parse().ok().filter(|units| *units > 0)?;
    known.then(|| (units, currency.to_owned(), exponent.to_owned()))
}

// === impl Payment ===

impl Payment {
    pub(super) fn of(order: &str, element: &Element) -> Result<Self, Answer> {
        let wrong = |text: &str| order_error(order, 7, text);
        let (authorised, currency, exponent) = amount(element.find("amount"))
            .ok_or_else(|| order_error(order, 5, "Order has invalid attributes"))?;
        let number = element.words("cardNumber");
        check_card(element).map_err(wrong)?;
        let holder = element.words("cardHolderName");
        if holder == "ERROR" {
            return Err(failure(500));
        }
        let unknown = cards::test_card(number).is_none().then_some(NOT_A_TEST_CARD);
        let refused = refusal::by_holder(holder).or(unknown);
        let sale = element.attribute("captureDelay") == Some("0");
        Ok(Self {
            order: order.to_owned(),
            currency,
            exponent,
            authorised,
            captured: if sale && refused.is_none() { authorised } else { 0 },
            refunded: 0,
            sale,
            number: cards::kept(number),
            checks: (cvc(element), avs(element)),
            event: if refused.is_some() { "REFUSED" } else { "AUTHORISED" },
            refused,
            reference: None,
        })
    }

    pub(super) fn verb(&self) -> &'static str {
        if self.sale { "charge" } else { "authorize" }
    }

    /// Whether it was not refused.
    pub(super) fn is_good(&self) -> bool {
        self.refused.is_none()
    }

    /// The order as replies show it.
    pub(super) fn shown(&self) -> Answer {
        self.shown_with("")
    }

    /// The same, with what stands beside the payment.
    pub(super) fn shown_with(&self, beside: &str) -> Answer {
        let Self { order, event, checks: (cvc, avs), .. } = self;
        let outcome = match self.refused {
            Some(Refusal { code, description }) => {
                format!("<ISO8583ReturnCode code=\"{code}\" description=\"{description}\"/>")
            }
            None => "<AuthorisationId id=\"622206\"/>".to_owned(),
        };
        let reference = self.reference.as_ref();
        let reference = reference.map(|name| format!("<reference>{name}</reference>"));
        reply(&format!(
            "<orderStatus orderCode=\"{order}\"><payment><paymentMethod>VISA-SSL</paymentMethod>{}\
             <lastEvent>{event}</lastEvent>{}{outcome}<CVCResultCode description=\"{cvc}\"/>\
             <AVSResultCode description=\"{avs}\"/><schemeResponse>\
             <transactionIdentifier>060720116005060</transactionIdentifier></schemeResponse>\
             </payment>{beside}</orderStatus>",
            self.amount(self.authorised),
            reference.unwrap_or_default(),
        ))
    }

    fn amount(&self, units: u64) -> String {
        format!(
            "<amount value=\"{units}\" currencyCode=\"{}\" exponent=\"{}\" \
             debitCreditIndicator=\"credit\"/>",
            self.currency, self.exponent
        )
    }

    /// Does it, or says why it cannot be done. What the order does not allow is an error at once.
    pub(super) fn change(&mut self, change: &Element, books: &Books) -> Result<Answer, Answer> {
        let told = amount(change.find("amount"));
        let told = told.filter(|(_, currency, exponent)| {
            *currency == self.currency && *exponent == self.exponent
        });
        let reference = change.attribute("reference").map(str::to_owned);
        let (verb, moved, event) = match (&*change.name, told) {
            ("cancel", _) => ("void", self.authorised, "CANCELLED"),
            ("capture", Some((units, ..))) => ("capture", units, "CAPTURED"),
            ("refund", Some((units, ..))) => ("refund", units, "SENT_FOR_REFUND"),
            _ => return Err(error(5, "Order has invalid attributes")),
        };
        self.apply(verb, moved).map_err(|text| order_error(&self.order, 5, text))?;
        self.event = event;
        self.reference = reference.clone();
        self.write(books, verb, moved, reference, Some(new_id()));
        let amount = if verb == "void" { String::new() } else { self.amount(moved) };
        let word = format!("{}Received", change.name);
        Ok(reply(&format!("<ok><{word} orderCode=\"{}\">{amount}</{word}></ok>", self.order)))
    }

    fn apply(&mut self, verb: &str, moved: u64) -> Result<(), &'static str> {
        let closed = self.refused.is_some() || self.event == "CANCELLED";
        match verb {
            _ if closed => Err("The order is closed"),
            "capture" if !self.sale && moved <= self.authorised.saturating_sub(self.captured) => {
                self.captured = self.captured.saturating_add(moved);
                Ok(())
            }
            "refund" if moved <= self.captured.saturating_sub(self.refunded) => {
                self.refunded = self.refunded.saturating_add(moved);
                Ok(())
            }
            "void" if self.captured == 0 => Ok(()),
            _ => Err("Requested amount exceeds the balance"),
        }
    }

    pub(super) fn write(
        &self,
        books: &Books,
        operation: &'static str,
        moved: u64,
        reference: Option<String>,
        id: Option<String>,
    ) {
        let reason = self.refused.map(|refusal| refusal.code.to_owned());
        books.write(Entry {
            number: 0,
            at: 0,
            provider: "worldpay_wpg",
            operation,
            outcome: if reason.is_some() { Outcome::Declined } else { Outcome::Approved },
            reason,
            id: id.unwrap_or_else(|| self.order.clone()),
            payment: self.order.clone(),
            amount: Some(moved),
            currency: Some(self.currency.clone()),
            pan: Some(self.number.clone()),
            reference: reference.or_else(|| Some(self.order.clone())),
            idempotency_key: None,
        });
    }
}

fn new_id() -> String {
    crate::sandbox::worldpay::new_id("wpg")
}

/// What WPG looks at before it asks anybody.
pub(super) fn check_card(element: &Element) -> Result<(), &'static str> {
    if !cards::is_number(element.words("cardNumber")) {
        return Err("Invalid payment details : Card number");
    }
    let date = element.find("date");
    let part = |name: &str| date.and_then(|date| date.attribute(name)).unwrap_or_default();
    let expiry = part("month").parse().ok().zip(part("year").parse().ok());
    if expiry.is_none_or(|(month, year)| Expiry::new(month, year).is_err()) {
        return Err("Invalid payment details : Expiry date");
    }
    let cvc = element.words("cvc");
    if cvc.is_empty() || Cvv::parse(cvc).is_ok() { Ok(()) } else { Err("Invalid CVC") }
}

/// By the values that Worldpay publishes for tests.
fn cvc(element: &Element) -> &'static str {
    match element.words("cvc") {
        "" => "B",
        "111" => "C",
        "444" | "4444" => "D",
        _ => "A",
    }
}

fn avs(element: &Element) -> &'static str {
    match element.words("postalCode") {
        "" => "H",
        "CCCC" => "C",
        "FFFF" => "F",
        "JJJJ" => "J",
        _ => "A",
    }
}
