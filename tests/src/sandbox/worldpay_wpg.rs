//! Worldpay's older gateway: the `paymentService` documents of WPG, as its integrations show them.
//!
//! Errors are answered with status 200, changes are only received, and elements stand in the order
//! that the document type fixes.

mod element;
mod payment;
mod token;

use super::fault::Operation;
use super::idempotency::Claim;
use super::recent::Recent;
use super::{Answer, Books, Order as AnyOrder, Received, Ticket};
use bytes::Bytes;
use element::Element;
use payment::Payment;

/// Where it is.
pub(super) const HOSTS: &[&str] = &["secure-test.worldpay.com"];
/// How many orders are remembered; the oldest go first.
pub(super) const ORDERS_MAX: usize = 50_000;
/// How short a password may be, in bytes.
const PASSWORD_BYTES_MIN: usize = 8;

const PATH: &str = "/jsp/merchant/xml/paymentService.jsp";
const DOCUMENT_TYPE: &str = "<!DOCTYPE paymentService PUBLIC \"-//WorldPay//DTD WorldPay \
     PaymentService v1//EN\" \"http://dtd.worldpay.com/paymentService_v1.dtd\">";

/// Everything that WPG remembers.
#[derive(Debug)]
pub(super) struct WorldpayWpg {
    /// By merchant code and order code.
    orders: Recent<(String, String), Payment>,
    /// The cards that are kept.
    tokens: Recent<token::Names, Element>,
}

/// A document that was understood.
#[derive(Debug)]
pub(super) struct Order {
    merchant: String,
    /// What stands in `submit`, `modify` or `inquiry`.
    part: Element,
}

/// What WPG answers with a status of its own.
pub(super) fn failure(status: u16) -> Answer {
    let body = Bytes::from_static(b"<html><body><h1>Error</h1></body></html>");
    Answer { status, content_type: "text/html; charset=utf-8", headers: Vec::new(), body }
}

/// What is answered to credentials that were taken back.
pub(super) fn revoked() -> Answer {
    failure(401)
}

/// What is answered to credentials that may not do this.
pub(super) fn forbidden() -> Answer {
    failure(403)
}

/// The credentials in a request, as they were sent.
pub(super) fn key(received: &Received) -> &str {
    super::worldpay::key(received)
}

/// A reply of this contents.
fn reply(contents: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{DOCUMENT_TYPE}\n\
         <paymentService version=\"1.4\"><reply>{contents}</reply></paymentService>"
    );
    let content_type = "text/xml; charset=utf-8";
    Answer { status: 200, content_type, headers: Vec::new(), body: Bytes::from(body) }
}

fn error(code: u8, text: &str) -> Answer {
    reply(&format!("<error code=\"{code}\"><![CDATA[{text}]]></error>"))
}

/// An error about an order. Codes of orders have no characters that need care.
fn order_error(order: &str, code: u8, text: &str) -> Answer {
    let error = format!("<error code=\"{code}\"><![CDATA[{text}]]></error>");
    reply(&format!("<orderStatus orderCode=\"{order}\">{error}</orderStatus>"))
}

// === impl WorldpayWpg ===

impl Default for WorldpayWpg {
    fn default() -> Self {
        Self { orders: Recent::new(ORDERS_MAX), tokens: Recent::new(ORDERS_MAX) }
    }
}

impl WorldpayWpg {
    /// Reads a request: credentials, address, document, merchant.
    pub(super) fn begin(&mut self, received: &Received) -> Result<Ticket, Answer> {
        authenticate(received)?;
        if received.method != http::Method::POST || received.path != PATH {
            return Err(failure(404));
        }
        if received.header("content-type") != Some("text/xml") {
            return Err(failure(415));
        }
        let document = Element::parse(&received.body).filter(Element::is_in_order);
        let document = document.ok_or_else(|| error(2, "Something went wrong."))?;
        let merchant = document.attribute("merchantCode").unwrap_or_default().to_owned();
        let verb = document.children.into_iter().next();
        let part = verb.and_then(|verb| verb.children.into_iter().next());
        let part = part.ok_or_else(|| error(2, "Something went wrong."))?;
        let code = part.attribute("orderCode").unwrap_or_default();
        if merchant.contains("UNKNOWN") {
            return Err(order_error(code, 4, "Security violation"));
        }
        let amount = part.find("amount").and_then(|amount| amount.attribute("value"));
        let amount = amount.and_then(|value| value.parse().ok());
        let operation = operation(&part);
        let order = AnyOrder::WorldpayWpg(Order { merchant, part });
        Ok(Ticket { operation, amount, key: None, order })
    }

    /// Executes an order.
    pub(super) fn execute(&mut self, order: Order, _: Option<Claim>, books: &Books) -> Answer {
        let Order { merchant, part } = order;
        let name = (merchant, part.attribute("orderCode").unwrap_or_default().to_owned());
        let served = match &*part.name {
            "order" => self.pay(name, &part, books),
            "paymentTokenCreate" => self.keep(&name.0, &part),
            "orderInquiry" => self.orders.get(&name).map(Payment::shown).ok_or_else(|| absent(&name.1)),
            _ => self.change(&name, &part, books),
        };
        served.unwrap_or_else(|refused| refused)
    }

    /// There is nothing to free.
    pub(super) fn abandon(&mut self, _: Option<Claim>) {}

    fn pay(
        &mut self,
        name: (String, String),
        order: &Element,
        books: &Books,
    ) -> Result<Answer, Answer> {
        if self.orders.get(&name).is_some() {
            return Err(order_error(&name.1, 5, "Duplicate Order"));
        }
        let order = self.with_card(&name, order)?;
        let payment = Payment::of(&name.1, &order)?;
        payment.write(books, payment.verb(), payment.authorised, None, None);
        let kept = payment.is_good().then(|| self.keep_paid(&name.0, &order)).flatten();
        let shown = payment.shown_with(&kept.unwrap_or_default());
        self.orders.insert(name, payment);
        Ok(shown)
    }

    fn change(
        &mut self,
        name: &(String, String),
        modification: &Element,
        books: &Books,
    ) -> Result<Answer, Answer> {
        let payment = self.orders.get_mut(name).ok_or_else(|| absent(&name.1))?;
        let change = modification.children.first().ok_or_else(|| error(2, "Nothing to do"))?;
        payment.change(change, books)
    }
}

fn absent(order: &str) -> Answer {
    order_error(order, 5, "Could not find payment for order")
}

fn authenticate(received: &Received) -> Result<(), Answer> {
    let plain = boring::base64::decode_block(key(received)).ok();
    let plain = plain.and_then(|bytes| String::from_utf8(bytes).ok());
    let known = plain.as_deref().and_then(|text| text.split_once(':')).is_some_and(|(user, word)| {
        !user.is_empty() && word.len() >= PASSWORD_BYTES_MIN
    });
    if known { Ok(()) } else { Err(revoked()) }
}

fn operation(part: &Element) -> Operation {
    let change = part.children.first().map(|child| &*child.name);
    match (&*part.name, change) {
        ("order", _) if part.attribute("captureDelay") == Some("0") => Operation::Charge,
        ("order", _) => Operation::Authorize,
        ("orderInquiry", _) => Operation::Read,
        ("paymentTokenCreate", _) => Operation::Keep,
        (_, Some("capture")) => Operation::Capture,
        (_, Some("refund")) => Operation::Refund,
        (_, _) => Operation::Void,
    }
}
