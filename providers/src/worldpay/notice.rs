//! What Worldpay tells of its own accord. <https://docs.worldpay.com/access/products/events>
//!
//! An event has our name for a payment and not Worldpay's, nor the links by which it is captured,
//! voided and refunded. So of a payment that was made Worldpay is asked.

use super::account::EVENT_SECRET;
use super::amount;
use crate::Cx;
use crate::webhook::{self, Delivery, SIGNATURES_MAX, Signature, Unproven};
use crate::wire::said;
use model::{About, Amount, ChangeKind, Decline, Notice, Outcome, Report, Subject};
use serde::Deserialize;

const HEADER: &str = "event-signature";
/// What stands before a signature: the name of its key and of the hash.
const HASH: &str = "SHA256";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    event_id: Box<str>,
    event_details: Details,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    /// Our name for the payment.
    transaction_reference: Option<String>,
    /// Our name for a part of it that is taken or given back.
    reference: Option<String>,
    r#type: String,
    amount: Option<Told>,
}

/// An amount. Only here is it called so.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    value: u64,
    currency_code: String,
}

pub(super) fn read(delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<Vec<Notice>, Unproven> {
    prove(delivery, cx)?;
    let Event { event_id, event_details } = delivery.json()?;
    Ok(event_details.notice(event_id).into_iter().collect())
}

/// How the signature is written is not documented: both ways to write it are taken.
fn prove(delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<(), Unproven> {
    let secret = cx.find(&EVENT_SECRET).ok_or(Unproven::NotExpected)?;
    let header = delivery.header(HEADER).ok_or(Unproven::Signature)?;
    let signature = Signature::by_text(secret)?.over(&[delivery.body]);
    // The name of a key has no slash; base64 may have some.
    let parts = header.split(',').map(|part| part.trim().splitn(3, '/'));
    let mut told = parts.take(SIGNATURES_MAX).filter_map(|mut part| {
        let (_key, hash, told) = (part.next()?, part.next()?, part.next()?);
        hash.eq_ignore_ascii_case(HASH).then_some(told)
    });
    let good = told.any(|told| signature.is_hex(told) || signature.is_base64(told));
    good.then_some(()).ok_or(Unproven::Signature)
}

// === impl Details ===

impl Details {
    fn outcome(&self) -> Option<(Subject, Outcome)> {
        use ChangeKind::{Capture, Refund, Void};
        let (done, pending) = (Outcome::Approved, Outcome::Pending);
        let failed = Outcome::Declined(Decline::ProcessingError);
        Some(match &*self.r#type {
            "sentForAuthorization" => (Subject::Payment, pending),
            "authorized" => (Subject::Payment, done),
            "refused" => (Subject::Payment, Outcome::Declined(Decline::CardDeclined)),
            "sentForSettlement" => (Subject::Change(Capture), pending),
            "settled" => (Subject::Change(Capture), done),
            "settlementFailed" => (Subject::Change(Capture), failed),
            "cancelled" => (Subject::Change(Void), done),
            "sentForRefund" => (Subject::Change(Refund), pending),
            "refunded" => (Subject::Change(Refund), done),
            "refundFailed" => (Subject::Change(Refund), failed),
            _ => return None,
        })
    }

    fn notice(&self, name: Box<str>) -> Option<Notice> {
        let (subject, outcome) = self.outcome()?;
        let payment = self.transaction_reference.as_deref().and_then(webhook::key)?;
        let part = self.reference.as_deref().and_then(webhook::key);
        let report = Report {
            amount: self.amount.as_ref().and_then(Told::read),
            code: said(&self.r#type),
            ..Report::bare(outcome)
        };
        let about = About {
            subject,
            key: part.or(Some(payment.clone())),
            payment_key: Some(payment),
            payment: None,
            action: None,
            merchant_reference: None,
        };
        let made = subject == Subject::Payment && !matches!(outcome, Outcome::Declined(_));
        Some(Notice { name, about, report: Some(report).filter(|_| !made) })
    }
}

// === impl Told ===

impl Told {
    fn read(&self) -> Option<Amount> {
        amount(self.value, &self.currency_code)
    }
}

#[cfg(test)]
mod tests {
    use super::HEADER;
    use crate::webhook::played::{NOW, cut, hex};
    use crate::webhook::{Signature, Unproven, played};
    use base64ct::{Base64, Encoding as _};
    use model::{Amount, ChangeKind, Currency, Notice, Secret, Subject};
    use serde_json::json;

    const SECRET: &str = "event secret of a merchant";
    const PAYMENT: &str = "019a00000000000000000000000000aa";
    const PART: &str = "019a00000000000000000000000000bb";

    fn read(signature: &str, body: &str) -> Result<Vec<Notice>, Unproven> {
        played::read("worldpay", &[("EventSecret", SECRET)], (HEADER, signature), body, NOW)
    }

    fn sign(body: &str) -> Vec<u8> {
        Signature::by_text(&Secret::new(SECRET)).unwrap().over(&[body.as_bytes()]).bytes()
    }

    fn event(word: &str, part: Option<&str>) -> String {
        json!({"eventId": "bb55ca5a-e05c-47e1-8e94-e88bac1a0a17", "eventDetails": {
            "classification": "payment", "transactionReference": PAYMENT, "reference": part,
            "type": word, "amount": {"value": 1099, "currencyCode": "EUR"},
        }})
        .to_string()
    }

    #[test]
    fn one_signature_of_several_must_be_good_in_either_writing() {
        let body = event("settled", None);
        let (bytes, zeros) = (sign(&body), "0".repeat(64));
        let (good, other) = (hex(&bytes), Base64::encode_string(&bytes));
        for header in [
            format!("1/SHA256/{good}"),
            format!("1/SHA256/{other}"),
            format!("1/SHA256/{zeros},2/sha256/{good}"),
        ] {
            assert_eq!(read(&header, &body).unwrap().len(), 1, "{header}");
        }
        for header in [
            good.clone(),
            format!("1/SHA512/{good}"),
            format!("1/SHA256/{zeros}"),
            format!("1/SHA256/{}", cut(&good, 62)),
            String::new(),
        ] {
            assert_eq!(read(&header, &body), Err(Unproven::Signature), "{header}");
        }
        let header = format!("1/SHA256/{good}");
        assert_eq!(read(&header, cut(&body, body.len().saturating_sub(1))), Err(Unproven::Signature));
        assert_eq!(read(&header, &event("refunded", None)), Err(Unproven::Signature));
    }

    #[test]
    fn every_word_about_what_we_ask_for_is_read() {
        use ChangeKind::{Capture, Refund, Void};
        let change = Subject::Change;
        for (word, expected) in [
            ("sentForAuthorization", Some((Subject::Payment, "ask"))),
            ("authorized", Some((Subject::Payment, "ask"))),
            ("refused", Some((Subject::Payment, "declined"))),
            ("sentForSettlement", Some((change(Capture), "pending"))),
            ("settled", Some((change(Capture), "approved"))),
            ("settlementFailed", Some((change(Capture), "declined"))),
            ("cancelled", Some((change(Void), "approved"))),
            ("sentForRefund", Some((change(Refund), "pending"))),
            ("refunded", Some((change(Refund), "approved"))),
            ("refundFailed", Some((change(Refund), "declined"))),
            ("tokenCreated", None),
            ("chargedBack", None),
        ] {
            for (part, key) in [(None, PAYMENT), (Some(PART), PART), (Some("theirs"), PAYMENT)] {
                let body = event(word, part);
                let notices = read(&format!("1/SHA256/{}", hex(&sign(&body))), &body).unwrap();
                let found = notices.first().map(|notice| {
                    assert_eq!(notice.about.key.as_deref(), Some(key));
                    assert_eq!(notice.about.payment_key.as_deref(), Some(PAYMENT));
                    let Some(report) = &notice.report else { return (notice.about.subject, "ask") };
                    assert_eq!(report.amount, Amount::new(1099, Currency::EUR).ok());
                    (notice.about.subject, report.outcome.word())
                });
                assert_eq!(found, expected, "{word}");
            }
        }
    }
}
