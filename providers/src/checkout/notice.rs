//! What Checkout.com tells of its own accord.
//! <https://www.checkout.com/docs/developer-resources/webhooks>

use super::answer::{Metadata, amount};
use super::decline::DECLINES;
use super::{SIGNATURE_KEY, id};
use crate::Cx;
use crate::webhook::{self, Delivery, Signature, Unproven};
use crate::wire::said;
use model::{About, ChangeKind, Currency, Decline, Notice, Outcome, Report, Subject};
use serde::Deserialize;

const HEADER: &str = "cko-signature";

#[derive(Deserialize)]
struct Event<'a> {
    id: Box<str>,
    r#type: &'a str,
    data: Deed,
}

/// What happened to a payment.
#[derive(Deserialize)]
struct Deed {
    id: Option<String>,
    action_id: Option<String>,
    amount: Option<u64>,
    auth_code: Option<String>,
    currency: Option<String>,
    metadata: Option<Metadata>,
    response_code: Option<String>,
    response_summary: Option<String>,
}

pub(super) fn read(delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<Vec<Notice>, Unproven> {
    let key = cx.find(&SIGNATURE_KEY).ok_or(Unproven::NotExpected)?;
    let told = delivery.header(HEADER).ok_or(Unproven::Signature)?;
    if !Signature::by_text(key)?.over(&[delivery.body]).is_hex(told) {
        return Err(Unproven::Signature);
    }
    let event: Event<'_> = delivery.json()?;
    let Some((subject, outcome)) = event.data.outcome(event.r#type) else { return Ok(Vec::new()) };
    Ok(event.data.notice(event.id, subject, outcome).into_iter().collect())
}

// === impl Deed ===

impl Deed {
    fn outcome(&self, word: &str) -> Option<(Subject, Outcome)> {
        use ChangeKind::{Capture, Refund, Void};
        let (done, pending, refused) = (Outcome::Approved, Outcome::Pending, self.decline());
        Some(match word {
            // An authorization of zero only verifies the card.
            "card_verified" | "payment_approved" => (Subject::Payment, done),
            "payment_pending" => (Subject::Payment, pending),
            "card_verification_declined" | "payment_declined" | "payment_canceled" => {
                (Subject::Payment, refused)
            }
            "payment_captured" => (Subject::Change(Capture), done),
            "payment_capture_pending" => (Subject::Change(Capture), pending),
            "payment_capture_declined" => (Subject::Change(Capture), refused),
            "payment_refunded" => (Subject::Change(Refund), done),
            "payment_refund_pending" => (Subject::Change(Refund), pending),
            "payment_refund_declined" => (Subject::Change(Refund), refused),
            "payment_voided" => (Subject::Change(Void), done),
            "payment_void_declined" => (Subject::Change(Void), refused),
            _ => return None,
        })
    }

    fn decline(&self) -> Outcome {
        let code = self.response_code.as_deref();
        Outcome::Declined(code.and_then(|code| DECLINES.find(code)).unwrap_or(Decline::Unmapped))
    }

    fn notice(&self, name: Box<str>, subject: Subject, outcome: Outcome) -> Option<Notice> {
        let payment: Box<str> = id(self.id.as_deref()?, "pay_")?.into();
        let action = self.action_id.as_deref().and_then(|action| id(action, "act_"));
        let currency = self.currency.as_deref().and_then(|code| Currency::parse(code).ok());
        let report = Report {
            amount: self.amount.zip(currency).and_then(|(units, currency)| amount(units, currency)),
            authorization_code: self.auth_code.as_deref().and_then(said),
            reference: Some(payment.clone()),
            code: self.response_code.as_deref().and_then(said),
            description: self.response_summary.as_deref().and_then(said),
            ..Report::bare(outcome)
        };
        let about = About {
            subject,
            key: self.metadata.as_ref().and_then(Metadata::key).and_then(webhook::key),
            payment_key: None,
            payment: Some(payment),
            action: action.filter(|_| subject != Subject::Payment).map(Into::into),
            merchant_reference: None,
        };
        Some(Notice { name, about, report: Some(report) })
    }
}

#[cfg(test)]
mod tests {
    use super::HEADER;
    use crate::webhook::played::{NOW, cut, hex};
    use crate::webhook::{Signature, Unproven, played};
    use model::{Amount, ChangeKind, Currency, Notice, Outcome, Secret, Subject};
    use serde_json::{Value, json};

    const SECRET: &str = "8V8x0dLK%AyD*DNS8JJr";
    const KEY: &str = "019a00000000000000000000000000aa";

    fn read(signature: &str, body: &str) -> Result<Vec<Notice>, Unproven> {
        let credentials = [("WebhookSignatureKey", SECRET)];
        played::read("checkout", &credentials, (HEADER, signature), body, NOW)
    }

    fn told(kind: &str, data: Value) -> Vec<Notice> {
        let body = json!({"id": "evt_1", "type": kind, "data": data}).to_string();
        let signature = Signature::by_text(&Secret::new(SECRET)).unwrap().over(&[body.as_bytes()]);
        read(&hex(&signature.bytes()), &body).unwrap()
    }

    #[test]
    fn a_signature_is_over_the_body() {
        let body = r#"{"id":"evt_az5sblvku4ge3dwpztvyizgcau","type":"payment_approved"}"#;
        let good = "0f19bef5afe4f0ff6161b7739ed059825fda2b83d1efca3e51a6c547162fb6e1";
        assert_eq!(read(good, body), Err(Unproven::Unreadable), "it is proven, and says nothing");
        for (signature, body) in [
            (&*"0".repeat(64), body),
            (cut(good, 62), body),
            ("", body),
            (good, cut(body, 60)),
            (good, r#"{"id":"evt_az5sblvku4ge3dwpztvyizgcau","type":"payment_captured"}"#),
        ] {
            assert_eq!(read(signature, body), Err(Unproven::Signature), "{signature} {body}");
        }
        let nobody = played::read("checkout", &[], (HEADER, good), body, NOW);
        assert_eq!(nobody, Err(Unproven::NotExpected));
    }

    #[test]
    fn every_documented_word_is_a_standing_or_nothing() {
        use ChangeKind::{Capture, Refund, Void};
        let change = Subject::Change;
        for (word, expected) in [
            ("payment_approved", Some((Subject::Payment, "approved"))),
            ("payment_declined", Some((Subject::Payment, "declined"))),
            ("payment_pending", Some((Subject::Payment, "pending"))),
            ("payment_canceled", Some((Subject::Payment, "declined"))),
            ("payment_expired", None),
            ("payment_captured", Some((change(Capture), "approved"))),
            ("payment_capture_declined", Some((change(Capture), "declined"))),
            ("payment_capture_pending", Some((change(Capture), "pending"))),
            ("payment_voided", Some((change(Void), "approved"))),
            ("payment_void_declined", Some((change(Void), "declined"))),
            ("payment_refunded", Some((change(Refund), "approved"))),
            ("payment_refund_declined", Some((change(Refund), "declined"))),
            ("payment_refund_pending", Some((change(Refund), "pending"))),
            ("card_verified", Some((Subject::Payment, "approved"))),
            ("card_verification_declined", Some((Subject::Payment, "declined"))),
            ("payment_chargeback", None),
        ] {
            let data = json!({
                "id": "pay_exampleexampleexampleexam1", "action_id": "act_exampleexampleexampleexam4",
                "amount": 1099, "currency": "EUR", "response_code": "20051",
                "metadata": {"operation_key": KEY},
            });
            let notices = told(word, data);
            let found = notices.first().map(|notice| {
                let report = notice.report.as_ref().unwrap();
                assert_eq!(report.amount, Amount::new(1099, Currency::EUR).ok());
                assert_eq!(notice.about.key.as_deref(), Some(KEY));
                assert_eq!(notice.about.action.is_some(), notice.about.subject != Subject::Payment);
                (notice.about.subject, report.outcome.word())
            });
            assert_eq!(found, expected, "{word}");
        }
        let bare = told("payment_declined", json!({"id": "pay_1", "response_code": "20051"}));
        let outcome = bare[0].report.as_ref().unwrap().outcome;
        assert_eq!(outcome, Outcome::Declined(model::Decline::InsufficientFunds));
    }
}
