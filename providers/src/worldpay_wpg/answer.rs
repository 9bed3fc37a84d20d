//! What WPG answers, and what it means.

use super::{is_order_code, token};
use crate::wire::xml::Element;
use crate::wire::{Answer, said};
use crate::worldpay::DECLINES;
use crate::{Validity, checks, doubted};
use model::{
    Action, AddressCheck, Amount, CvvCheck, Decline, Find, FollowUp, Kind, Operation, Outcome,
    Rejected, Report, State, Unknown,
};

pub(super) const UNREADABLE: Outcome = Outcome::Unknown(Unknown::Unreadable);

/// What WPG says where there is no such order.
const ORDER_UNKNOWN: &str = "could not find payment";

/// The code of an error of access: the merchant code is not one of these credentials.
const SECURITY: &str = "4";

/// What an answer must speak of, as far as it is known. Nothing is asked where nothing is given.
#[derive(Default)]
pub(super) struct Expected<'a> {
    order: Option<&'a str>,
    /// Who is to have the card that is kept.
    shopper: Option<&'a str>,
}

impl<'a> Expected<'a> {
    pub(super) fn of<C>(operation: &'a Operation<C>) -> Self {
        let order: &str = match &operation.action {
            Action::Authorize(_) => &operation.key,
            Action::Capture(FollowUp { reference, .. })
            | Action::Refund(FollowUp { reference, .. })
            | Action::Void(FollowUp { reference, .. })
            | Action::Status(Find::Reference(reference) | Find::MerchantReference(reference)) => {
                reference
            }
            Action::Tokenize(_) => {
                return Self { shopper: Some(&operation.key), ..Self::default() };
            }
        };
        Self::to(order)
    }

    /// An answer that speaks of this order.
    pub(super) fn to(order: &'a str) -> Self {
        Self { order: Some(order), ..Self::default() }
    }

    fn is_met(&self, code: &str) -> bool {
        self.order.is_none_or(|order| order == code)
    }
}

/// What a reply is about.
pub(super) enum Reply<'a> {
    /// An order that needs the cardholder.
    Challenge,
    Error(&'a Element),
    Payment { order: &'a str, payment: &'a Element },
    /// A change was received: how that is called, for which order.
    Received { word: &'a str, order: &'a str, amount: Option<Amount> },
    /// A card was kept.
    Token(&'a Element),
}

/// Finds what a document says. An order that is not the one that was meant is nothing.
pub(super) fn reply<'a>(document: &'a Element, expected: &Expected<'_>) -> Option<Reply<'a>> {
    let reply = document.is("paymentService").then(|| document.child("reply"))??;
    if let Some(error) = reply.child("error") {
        return Some(Reply::Error(error));
    }
    if let Some(ok) = reply.child("ok") {
        let received = ok.children().first()?;
        let order = received.attribute("orderCode").filter(|code| expected.is_met(code))?;
        let amount = received.child("amount").and_then(amount);
        return Some(Reply::Received { word: received.name(), order, amount });
    }
    if let Some(token) = reply.child("token") {
        return Some(Reply::Token(token));
    }
    let status = reply.child("orderStatus")?;
    let order = status.attribute("orderCode").filter(|code| expected.is_met(code))?;
    match (status.child("error"), status.child("payment"), status.child("challengeRequired")) {
        (Some(error), ..) => Some(Reply::Error(error)),
        (None, Some(payment), _) => Some(Reply::Payment { order, payment }),
        (None, None, Some(_)) => Some(Reply::Challenge),
        (None, None, None) => None,
    }
}

pub(super) fn read(kind: Kind, answer: &Answer<'_>, expected: &Expected<'_>) -> Report {
    if answer.status != 200 {
        return Report::bare(answer.by_status().unwrap_or(UNREADABLE));
    }
    let report = Element::parse(answer.body).and_then(|document| {
        let report = match (reply(&document, expected)?, kind) {
            (Reply::Error(error), _) => failed(kind, error),
            (Reply::Payment { order, payment }, Kind::Authorize | Kind::Charge) => {
                paid(kind, order, payment)
            }
            (Reply::Payment { order, payment }, Kind::Status) => {
                let report = told(Outcome::Approved, Some(state(payment)), order, payment);
                whole(report)
            }
            (Reply::Challenge, Kind::Authorize | Kind::Charge) => {
                let state = Some(State::Declined);
                let outcome = Outcome::Declined(Decline::AuthenticationRequired);
                Report { state, ..Report::bare(outcome) }
            }
            (Reply::Received { word, order, amount }, _) => {
                return received(kind, word, order, amount);
            }
            (Reply::Token(token), Kind::Tokenize) => token::read(token, expected.shopper),
            (Reply::Challenge | Reply::Payment { .. } | Reply::Token(_), _) => return None,
        };
        Some(report)
    });
    report.unwrap_or(Report::bare(UNREADABLE))
}

/// The receipt of a change, where it is of this kind.
fn received(kind: Kind, word: &str, order: &str, amount: Option<Amount>) -> Option<Report> {
    let fits = match kind {
        Kind::Capture => word == "captureReceived",
        Kind::Refund => word == "refundReceived",
        Kind::Void => matches!(word, "cancelReceived" | "voidReceived"),
        Kind::Authorize | Kind::Charge | Kind::Status | Kind::Tokenize => false,
    };
    let complete = kind == Kind::Void || amount.is_some();
    (fits && complete && is_order_code(order)).then(|| Report {
        state: Some(State::Pending),
        amount,
        reference: Some(order.into()),
        code: said(word),
        ..Report::bare(Outcome::Pending)
    })
}

/// The last that happened to a payment; none, where that is not known yet.
pub(super) fn last_event(payment: &Element) -> Option<&str> {
    payment.child("lastEvent").map(Element::words).filter(|word| !matches!(*word, "" | "null"))
}

fn paid(kind: Kind, order: &str, payment: &Element) -> Report {
    let charge = kind == Kind::Charge;
    let (outcome, state) = match last_event(payment) {
        // WPG was told to capture at once, and does so by itself.
        Some("AUTHORISED" | "CAPTURED" | "SETTLED" | "SETTLED_BY_MERCHANT") if charge => {
            (Outcome::Approved, State::Captured)
        }
        Some("AUTHORISED") => (Outcome::Approved, State::Authorized),
        // A hold that was taken is not what was asked.
        Some("CAPTURED" | "SETTLED" | "SETTLED_BY_MERCHANT") => (UNREADABLE, State::Captured),
        Some("REFUSED") => (Outcome::Declined(decline(payment)), State::Declined),
        Some("CANCELLED" | "EXPIRED") => {
            (Outcome::Declined(Decline::CardDeclined), State::Declined)
        }
        Some("SENT_FOR_AUTHORISATION") | None => (Outcome::Pending, State::Pending),
        // Something failed on the way to the issuer, and WPG does not say on which side of it.
        Some("ERROR") => (Outcome::Unknown(Unknown::UpstreamFailed), State::Unknown),
        Some(_) => (UNREADABLE, State::Unknown),
    };
    whole(told(outcome, Some(state), order, payment))
}

/// A payment that the issuer refused.
pub(super) fn refused(order: &str, payment: &Element) -> Report {
    told(Outcome::Declined(decline(payment)), Some(State::Declined), order, payment)
}

/// An approval of nobody knows what is no approval.
fn whole(report: Report) -> Report {
    let whole = report.reference.is_some() && report.amount.is_some();
    if whole { report } else { doubted(report) }
}

/// All that WPG says of a payment, with an outcome that somebody else decided.
pub(super) fn told(
    outcome: Outcome,
    state: Option<State>,
    order: &str,
    payment: &Element,
) -> Report {
    let refusal = payment.child("ISO8583ReturnCode");
    let scheme = payment.at(&["schemeResponse", "transactionIdentifier"]);
    Report {
        state,
        amount: payment.child("amount").and_then(amount),
        authorization_code: payment
            .child("AuthorisationId")
            .and_then(|element| element.attribute("id"))
            .and_then(said),
        reference: is_order_code(order).then(|| order.into()),
        code: refusal
            .and_then(|element| element.attribute("code"))
            .or(last_event(payment))
            .and_then(said),
        description: refusal.and_then(|element| element.attribute("description")).and_then(said),
        address_check: described(payment, "AVSResultCode").map(address),
        cvv_check: described(payment, "CVCResultCode").map(cvv),
        network_transaction_id: scheme.and_then(|scheme| checks::network_id(scheme.line())),
        ..Report::bare(outcome)
    }
}

fn described<'a>(payment: &'a Element, name: &str) -> Option<&'a str> {
    payment.child(name)?.attribute("description")
}

fn decline(payment: &Element) -> Decline {
    let code = payment.child("ISO8583ReturnCode").and_then(|element| element.attribute("code"));
    code.and_then(|code| DECLINES.find(code)).unwrap_or(Decline::Unmapped)
}

/// The letters of WPG, of the street and of the post code. The longer texts that are not here say that
/// nobody looked.
fn address(letter: &str) -> AddressCheck {
    let (street, post_code) = match letter {
        "A" | "APPROVED" => (Some(true), Some(true)),
        "B" => (None, Some(true)),
        "C" => (Some(false), Some(true)),
        "D" => (Some(true), None),
        "F" => (Some(true), Some(false)),
        "G" => (Some(false), None),
        "I" => (None, Some(false)),
        "FAILED" | "J" => (Some(false), Some(false)),
        _ => (None, None),
    };
    checks::address(street, post_code)
}

fn cvv(letter: &str) -> CvvCheck {
    match letter {
        "A" | "APPROVED" => CvvCheck::Match,
        "D" | "FAILED" => CvvCheck::NoMatch,
        _ => CvvCheck::NotChecked,
    }
}

pub(super) fn amount(element: &Element) -> Option<Amount> {
    let part = |name| element.attribute(name);
    super::amount(part("value")?, part("currencyCode")?, part("exponent")?)
}

/// The state of a payment. What went back in part looks as what went back in whole.
pub(super) fn state(payment: &Element) -> State {
    match last_event(payment) {
        Some("AUTHORISED") => State::Authorized,
        Some(
            "CAPTURED" | "SETTLED" | "SETTLED_BY_MERCHANT" | "REFUND_FAILED" | "CHARGED_BACK"
            | "CHARGEBACK_REVERSED" | "INFORMATION_REQUESTED" | "INFORMATION_SUPPLIED",
        ) => State::Captured,
        Some("REFUSED") => State::Declined,
        Some("CANCELLED" | "EXPIRED") => State::Voided,
        Some("SENT_FOR_REFUND" | "REFUNDED" | "REFUNDED_BY_MERCHANT") => State::Refunded,
        Some("SENT_FOR_AUTHORISATION") | None => State::Pending,
        Some(_) => State::Unknown,
    }
}

/// Whether an error says that there is no such order.
pub(super) fn is_absent(error: &Element) -> bool {
    error.attribute("code") == Some("5") && speaks(error, ORDER_UNKNOWN)
}

fn speaks(error: &Element, of: &str) -> bool {
    error.words().to_ascii_lowercase().contains(of)
}

fn failed(kind: Kind, error: &Element) -> Report {
    let outcome = failure(kind, error);
    let report = Report {
        state: match outcome {
            Outcome::Declined(_) => Some(State::Declined),
            Outcome::Rejected(Rejected::NotFound) => Some(State::Unknown),
            Outcome::Approved | Outcome::Pending | Outcome::Rejected(_) | Outcome::Unknown(_) => {
                None
            }
        },
        code: error.attribute("code").and_then(said),
        ..Report::bare(outcome)
    };
    // A text about wrong credentials may quote them.
    if outcome == Outcome::Rejected(Rejected::Credentials) {
        return report;
    }
    Report { description: said(error.words()), ..report }
}

fn failure(kind: Kind, error: &Element) -> Outcome {
    let is_new = matches!(kind, Kind::Authorize | Kind::Charge | Kind::Tokenize);
    match error.attribute("code") {
        // The same request was there before: what became of that is not in this answer.
        _ if speaks(error, "duplicate") => Outcome::Unknown(Unknown::Interrupted),
        // It failed inside, or is out of order, and does not say whether before or after.
        Some("1" | "8") => Outcome::Unknown(Unknown::UpstreamFailed),
        Some("2" | "3" | "6") => Outcome::Rejected(Rejected::Malformed),
        Some(SECURITY) => Outcome::Rejected(Rejected::Configuration),
        Some("5") if is_absent(error) => Outcome::Rejected(Rejected::NotFound),
        Some("5") if is_new => Outcome::Rejected(Rejected::Malformed),
        Some("5") => Outcome::Rejected(Rejected::State),
        Some("7") if is_new => details(error),
        Some("7") => Outcome::Rejected(Rejected::Malformed),
        _ => UNREADABLE,
    }
}

/// Which of the card's details are wrong: WPG looks at them before any issuer does.
fn details(error: &Element) -> Outcome {
    if speaks(error, "card number") {
        Outcome::Declined(Decline::IncorrectNumber)
    } else if speaks(error, "expir") {
        Outcome::Declined(Decline::ExpiredCard)
    } else if speaks(error, "cvc") || speaks(error, "security code") {
        Outcome::Declined(Decline::IncorrectCvv)
    } else {
        Outcome::Rejected(Rejected::Malformed)
    }
}

/// Whether the report says that the account itself was refused.
pub(super) fn refuses_account(report: &Report) -> bool {
    match report.outcome {
        Outcome::Rejected(Rejected::Credentials) => true,
        Outcome::Rejected(Rejected::Configuration) => report.code.as_deref() == Some(SECURITY),
        Outcome::Approved
        | Outcome::Declined(_)
        | Outcome::Pending
        | Outcome::Rejected(_)
        | Outcome::Unknown(_) => false,
    }
}

/// Reads the answer to the question for an order that nobody made.
pub(super) fn validity(answer: &Answer<'_>) -> Validity {
    let document = (answer.status == 200).then(|| Element::parse(answer.body)).flatten();
    let Some(document) = document else { return Validity::by_status(answer) };
    match reply(&document, &Expected::default()) {
        Some(Reply::Payment { .. }) => Validity::Valid,
        Some(Reply::Error(error)) if is_absent(error) => Validity::Valid,
        Some(Reply::Error(error)) => match error.attribute("code") {
            Some(SECURITY) => Validity::AccountUnknown,
            Some("1" | "8") => Validity::ProviderUnavailable,
            _ => Validity::NotUnderstood,
        },
        Some(Reply::Challenge | Reply::Received { .. } | Reply::Token(_)) | None => {
            Validity::NotUnderstood
        }
    }
}
