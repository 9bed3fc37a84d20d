//! What Adyen tells of its own accord. <https://docs.adyen.com/development-resources/webhooks>

use super::account::{HMAC_KEY, MERCHANT_ACCOUNT};
use super::answer::Told;
use super::psp_reference;
use crate::Cx;
use crate::webhook::{self, Delivery, NOTICES_MAX, Signature, Unproven};
use crate::wire::said;
use model::{About, ChangeKind, Decline, Notice, Outcome, Rejected, Report, Secret, Subject};
use serde::Deserialize;

/// Several things that happened.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    notification_items: Vec<Wrapped>,
}

#[derive(Deserialize)]
struct Wrapped {
    #[serde(rename = "NotificationRequestItem")]
    item: Item,
}

/// One of them. Nothing is read here but what the signature is over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    additional_data: Option<Additional>,
    amount: Option<Told>,
    event_code: String,
    merchant_account_code: String,
    #[serde(default)]
    merchant_reference: String,
    #[serde(default)]
    original_reference: String,
    psp_reference: String,
    success: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Additional {
    hmac_signature: Option<String>,
}

/// All of a delivery is believed, or nothing of it.
pub(super) fn read(delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<Vec<Notice>, Unproven> {
    let key = cx.find(&HMAC_KEY).ok_or(Unproven::NotExpected)?;
    let account = cx.find(&MERCHANT_ACCOUNT).ok_or(Unproven::NotExpected)?;
    let batch: Batch = delivery.json()?;
    if batch.notification_items.is_empty() || batch.notification_items.len() > NOTICES_MAX {
        return Err(Unproven::Unreadable);
    }
    let items = || batch.notification_items.iter().map(|wrapped| &wrapped.item);
    items().try_for_each(|item| item.prove(key))?;
    // The account's name is exposed to be compared; it is not a secret.
    if items().any(|item| item.merchant_account_code != account.expose()) {
        return Err(Unproven::Account);
    }
    Ok(items().filter_map(Item::notice).collect())
}

// === impl Item ===

impl Item {
    /// The signature is over eight values with colons between them, which nothing escapes.
    fn prove(&self, key: &Secret) -> Result<(), Unproven> {
        let told = self.additional_data.as_ref().and_then(|data| data.hmac_signature.as_deref());
        let told = told.ok_or(Unproven::Signature)?;
        let amount = self.amount.as_ref();
        let value = amount.map(|told| told.value.to_string()).unwrap_or_default();
        let values: [&str; 8] = [
            &self.psp_reference,
            &self.original_reference,
            &self.merchant_account_code,
            &self.merchant_reference,
            &value,
            amount.map_or("", |told| told.currency.as_str()),
            &self.event_code,
            &self.success,
        ];
        let signed = values.join(":");
        let good = Signature::by_hex(key)?.over(&[signed.as_bytes()]).is_base64(told);
        good.then_some(()).ok_or(Unproven::Signature)
    }

    /// What it tells, where it is about something that we ask for.
    fn notice(&self) -> Option<Notice> {
        let (subject, outcome) = self.outcome()?;
        let is_payment = subject == Subject::Payment;
        let payment = if is_payment { &self.psp_reference } else { &self.original_reference };
        let payment: Box<str> = psp_reference(payment)?.into();
        let action = psp_reference(&self.psp_reference).filter(|_| !is_payment).map(Into::into);
        let key = webhook::key(&self.merchant_reference);
        let reference = (key.is_none() && !self.merchant_reference.is_empty())
            .then(|| self.merchant_reference.as_str().into());
        let report = Report {
            amount: self.amount.as_ref().and_then(Told::read),
            reference: Some(payment.clone()),
            code: said(&self.event_code),
            ..Report::bare(outcome)
        };
        let name = [&*self.event_code, &self.psp_reference, &self.success].join(":").into();
        let merchant_reference = reference;
        let about = About {
            subject,
            key,
            payment_key: None,
            payment: Some(payment),
            action,
            merchant_reference,
        };
        Some(Notice { name, about, report: Some(report) })
    }

    /// <https://docs.adyen.com/development-resources/webhooks/webhook-types>
    fn outcome(&self) -> Option<(Subject, Outcome)> {
        let good = match &*self.success {
            "true" => true,
            "false" => false,
            _ => return None,
        };
        let failed = Outcome::Declined(Decline::ProcessingError);
        let change = |kind, good| {
            // What Adyen only received turned out not to be allowed.
            let refused = Outcome::Rejected(Rejected::State);
            (Subject::Change(kind), if good { Outcome::Approved } else { refused })
        };
        Some(match &*self.event_code {
            "AUTHORISATION" if good => (Subject::Payment, Outcome::Approved),
            "AUTHORISATION" => (Subject::Payment, Outcome::Declined(Decline::CardDeclined)),
            "CANCELLATION" => change(ChangeKind::Void, good),
            "CAPTURE" => change(ChangeKind::Capture, good),
            "CAPTURE_FAILED" => (Subject::Change(ChangeKind::Capture), failed),
            "REFUND" => change(ChangeKind::Refund, good),
            "REFUND_FAILED" | "REFUNDED_REVERSED" => (Subject::Change(ChangeKind::Refund), failed),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::webhook::played::NOW;
    use crate::webhook::{NOTICES_MAX, Signature, Unproven, played};
    use base64ct::{Base64, Encoding as _};
    use model::{Amount, ChangeKind, Currency, Notice, Outcome, Secret, Subject};
    use serde_json::{Value, json};

    const HEX: &str = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056";
    const KEY: &str = "019a00000000000000000000000000aa";

    fn read(account: &str, items: &[Value]) -> Result<Vec<Notice>, Unproven> {
        let wrapped: Vec<_> =
            items.iter().map(|item| json!({"NotificationRequestItem": item})).collect();
        let body = json!({"live": "false", "notificationItems": wrapped}).to_string();
        let credentials = [("HmacKey", HEX), ("MerchantAccount", account)];
        played::read("adyen", &credentials, ("content-type", "application/json"), &body, NOW)
    }

    fn item(code: &str, psp: &str, original: &str, reference: &str, success: &str) -> Value {
        let signed = format!("{psp}:{original}:Shop:{reference}:1099:EUR:{code}:{success}");
        let key = Signature::by_hex(&Secret::new(HEX)).unwrap();
        let signature = Base64::encode_string(&key.over(&[signed.as_bytes()]).bytes());
        json!({
            "eventCode": code, "pspReference": psp, "originalReference": original, "success": success,
            "merchantAccountCode": "Shop", "merchantReference": reference,
            "amount": {"currency": "EUR", "value": 1099}, "reason": "065696:1111:03/2030",
            "additionalData": {"hmacSignature": signature},
        })
    }

    /// Both vectors, and all that must not pass for them.
    #[test]
    fn a_signature_is_over_the_eight_values() {
        let vector = |reference: &str, value: u64, success: &str, signature: &str| {
            json!({
                "eventCode": "AUTHORISATION", "merchantReference": reference, "success": success,
                "amount": {"currency": if value == 1130 { "EUR" } else { "SEK" }, "value": value},
                "merchantAccountCode": if value == 1130 { "TestMerchant" } else { "ExampleMerchant" },
                "pspReference": if value == 1130 { "7914073381342284" } else { "8535000000000001" },
                "additionalData": {"hmacSignature": signature},
            })
        };
        let published = "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0=";
        let colons = "3jYCj1Ln1se1tucddkuL/RHoRCjT9my7Vny7Su2nVzc=";
        let reference = "TestPayment-1407325143704";
        let good = vector(reference, 1130, "true", published);
        let other = vector("14-08-2020-09:53:00", 7500, "false", colons);
        assert_eq!(read("TestMerchant", std::slice::from_ref(&good)).unwrap().len(), 1);
        assert_eq!(read("ExampleMerchant", std::slice::from_ref(&other)).unwrap().len(), 1);
        // A good one does not vouch for another in the same delivery.
        let wrong = Err(Unproven::Signature);
        let forged = vector(reference, 1130, "false", published);
        assert_eq!(read("TestMerchant", &[good.clone(), forged]), wrong);
        assert_eq!(read("TestMerchant", &[vector("another", 1130, "true", published)]), wrong);
        assert_eq!(read("TestMerchant", &[vector(reference, 1130, "true", colons)]), wrong);
        assert_eq!(read("TestMerchant", &[vector(reference, 1130, "true", "")]), wrong);
        assert_eq!(read("Another", std::slice::from_ref(&good)), Err(Unproven::Account));
        assert_eq!(read("TestMerchant", &[good.clone(), other]), Err(Unproven::Account));
        assert_eq!(read("TestMerchant", &[]), Err(Unproven::Unreadable));
        let many = vec![good; NOTICES_MAX + 1];
        assert_eq!(read("TestMerchant", &many), Err(Unproven::Unreadable));
        let cut = played::read("adyen", &[("HmacKey", HEX)], ("a", "b"), "{\"live\":", NOW);
        assert_eq!(cut, Err(Unproven::NotExpected), "without a merchant account nothing is");
    }

    #[test]
    fn every_code_that_is_about_what_we_ask_for_is_read() {
        use ChangeKind::{Capture, Refund, Void};
        let change = Subject::Change;
        for (code, success, expected) in [
            ("AUTHORISATION", "true", Some((Subject::Payment, "approved"))),
            ("AUTHORISATION", "false", Some((Subject::Payment, "declined"))),
            ("CANCELLATION", "true", Some((change(Void), "approved"))),
            ("CANCELLATION", "false", Some((change(Void), "rejected"))),
            ("CAPTURE", "true", Some((change(Capture), "approved"))),
            ("CAPTURE", "false", Some((change(Capture), "rejected"))),
            ("CAPTURE_FAILED", "true", Some((change(Capture), "declined"))),
            ("REFUND", "true", Some((change(Refund), "approved"))),
            ("REFUND", "false", Some((change(Refund), "rejected"))),
            ("REFUND_FAILED", "true", Some((change(Refund), "declined"))),
            ("REFUNDED_REVERSED", "true", Some((change(Refund), "declined"))),
            ("CAPTURE", "perhaps", None),
            ("CHARGEBACK", "true", None),
            ("REPORT_AVAILABLE", "true", None),
        ] {
            let (psp, payment) = ("VK9DRSLLRCQ2WN82", "NC6HT9CRT65ZGN82");
            let original = if code == "AUTHORISATION" { "" } else { payment };
            let psp = if original.is_empty() { payment } else { psp };
            let notices = read("Shop", &[item(code, psp, original, KEY, success)]).unwrap();
            let found = notices.first().map(|notice| {
                let report = notice.report.as_ref().unwrap();
                assert_eq!(report.amount, Amount::new(1099, Currency::EUR).ok());
                assert_eq!(report.reference.as_deref(), Some(payment));
                assert_eq!(notice.about.payment.as_deref(), Some(payment));
                let is_change = notice.about.subject != Subject::Payment;
                assert_eq!(notice.about.action.as_deref(), is_change.then_some(psp));
                assert_eq!(notice.about.key.as_deref(), Some(KEY));
                assert_eq!(&*notice.name, format!("{code}:{psp}:{success}"));
                (notice.about.subject, report.outcome.word())
            });
            assert_eq!(found, expected, "{code} {success}");
        }
    }

    #[test]
    fn a_reference_of_the_merchants_is_no_key_and_no_card_is_kept() {
        let all = read("Shop", &[item("AUTHORISATION", "NC6HT9CRT65ZGN82", "", "ORD-1001", "true")]);
        let all = all.unwrap();
        assert_eq!(all[0].about.key, None);
        assert_eq!(all[0].about.merchant_reference.as_deref(), Some("ORD-1001"));
        assert_eq!(all[0].report.as_ref().unwrap().outcome, Outcome::Approved);
        assert!(!format!("{all:?}").contains("1111"), "the reason has digits of the card");
    }
}
