//! What Stripe tells of its own accord. <https://docs.stripe.com/webhooks>

use super::answer::{Expected, Intent, Refund};
use super::{STRIPE_ACCOUNT, WEBHOOK_SECRET};
use crate::Cx;
use crate::webhook::{self, Delivery, SIGNATURES_MAX, Signature, Unproven};
use model::{About, ChangeKind, Kind, Notice, Outcome, Report, Subject};
use serde::Deserialize;
use serde_json::value::RawValue;

const HEADER: &str = "stripe-signature";

/// How old a signature may be: Stripe signs again whatever it sends again.
const TOLERANCE_S: u64 = 300;

/// What happened, and to what.
#[derive(Deserialize)]
struct Event<'a> {
    id: Box<str>,
    r#type: &'a str,
    /// The connected account to which it happened.
    account: Option<&'a str>,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    object: &'a RawValue,
}

pub(super) fn read(delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<Vec<Notice>, Unproven> {
    prove(delivery, cx)?;
    let event: Event<'_> = delivery.json()?;
    check_account(&event, cx)?;
    let told = match event.r#type {
        "payment_intent.amount_capturable_updated"
        | "payment_intent.canceled"
        | "payment_intent.payment_failed"
        | "payment_intent.processing"
        | "payment_intent.succeeded" => payment(&parsed(event.data.object)?),
        "charge.refund.updated" | "refund.created" | "refund.failed" | "refund.updated" => {
            refund(parsed(event.data.object)?)
        }
        _ => None,
    };
    // What Stripe does not know itself tells nothing.
    let told = told.filter(|(_, report)| !matches!(report.outcome, Outcome::Unknown(_)));
    let name = event.id;
    Ok(told.map(|(about, report)| Notice { name, about, report: Some(report) }).into_iter().collect())
}

/// One of the signatures must be good: there are several while a secret is exchanged.
fn prove(delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<(), Unproven> {
    let secret = cx.find(&WEBHOOK_SECRET).ok_or(Unproven::NotExpected)?;
    let header = delivery.header(HEADER).ok_or(Unproven::Signature)?;
    let pairs = || header.split(',').filter_map(|pair| pair.trim().split_once('='));
    let time = pairs().find(|(name, _)| *name == "t").map(|(_, time)| time);
    let time = time.ok_or(Unproven::Signature)?;
    let signature = Signature::by_text(secret)?.over(&[time.as_bytes(), b".", delivery.body]);
    let mut told = pairs().filter(|(name, _)| *name == "v1").take(SIGNATURES_MAX);
    if !told.any(|(_, told)| signature.is_hex(told)) {
        return Err(Unproven::Signature);
    }
    let signed = time.parse().map_err(|_| Unproven::Signature)?;
    webhook::is_near(signed, cx.now, TOLERANCE_S)
}

/// A platform gets the events of all its accounts, signed with one secret.
fn check_account(event: &Event<'_>, cx: &Cx<'_>) -> Result<(), Unproven> {
    // The account's id is exposed to be compared; it is not a secret.
    let ours = cx.find(&STRIPE_ACCOUNT).map(model::Secret::expose);
    let same = event.account.is_none() || event.account == ours;
    same.then_some(()).ok_or(Unproven::Account)
}

fn parsed<'a, T: Deserialize<'a>>(object: &'a RawValue) -> Result<T, Unproven> {
    // The parser's error is dropped on purpose: it quotes the input.
    serde_json::from_str(object.get()).map_err(|_| Unproven::Unreadable)
}

/// An intent tells of the payment, and of its one capture or its end where it was to be captured
/// later. Its metadata has the key of the payment.
fn payment(intent: &Intent) -> Option<(About, Report)> {
    let (subject, kind) = match (intent.is_captured_later(), intent.status()) {
        (_, "canceled") => (Subject::Change(ChangeKind::Void), Kind::Void),
        (true, "succeeded") => (Subject::Change(ChangeKind::Capture), Kind::Capture),
        (true, _) => (Subject::Payment, Kind::Authorize),
        (false, _) => (Subject::Payment, Kind::Charge),
    };
    let report = intent.report(kind, &Expected::default());
    let (key, payment) = (intent.key().and_then(webhook::key), report.reference.clone());
    let about = About {
        subject,
        key,
        payment_key: None,
        payment,
        action: None,
        merchant_reference: None,
    };
    Some((about, report))
}

/// A refund made elsewhere has no key of ours.
fn refund(refund: Refund) -> Option<(About, Report)> {
    let (key, payment) = (refund.key().and_then(webhook::key), refund.payment());
    let report = refund.report(Kind::Refund, &Expected::default());
    let about = About {
        subject: Subject::Change(ChangeKind::Refund),
        key,
        payment_key: None,
        payment,
        action: report.reference.clone(),
        merchant_reference: None,
    };
    Some((about, report))
}

#[cfg(test)]
mod tests {
    use super::HEADER;
    use crate::webhook::played::{NOW, cut, hex};
    use crate::webhook::{Signature, Unproven, played};
    use model::{Amount, ChangeKind, Currency, Notice, Outcome, Secret, Subject};
    use serde_json::{Value, json};

    const SECRET: &str = "whsec_test_0123456789abcdef";
    const KEY: &str = "019a00000000000000000000000000aa";

    fn read(header: &str, body: &str, now: u64) -> Result<Vec<Notice>, Unproven> {
        played::read("stripe", &[("WebhookSecret", SECRET)], (HEADER, header), body, now)
    }

    fn v1(time: u64, body: &str) -> String {
        let signed = format!("{time}.{body}");
        let signature = Signature::by_text(&Secret::new(SECRET)).unwrap().over(&[signed.as_bytes()]);
        hex(&signature.bytes())
    }

    fn event(kind: &str, object: &Value) -> String {
        json!({"id": "evt_1", "object": "event", "type": kind, "data": {"object": object}}).to_string()
    }

    fn told(kind: &str, object: &Value) -> Vec<Notice> {
        let body = event(kind, object);
        read(&format!("t={NOW},v1={}", v1(NOW, &body)), &body, NOW).unwrap()
    }

    fn intent(status: &str, method: &str) -> Value {
        json!({
            "id": "pi_3Example0000000000001", "object": "payment_intent", "amount": 1099,
            "amount_received": 500, "capture_method": method, "currency": "usd", "status": status,
            "metadata": {"operation_key": KEY}, "latest_charge": "ch_1",
        })
    }

    /// The vector, and all that must not pass for it.
    #[test]
    fn a_signature_is_over_the_time_and_the_body_and_gets_old() {
        let body = r#"{"id":"evt_1","object":"event","type":"payment_intent.succeeded"}"#;
        let v1 = "e0014b398f9c733ee07fe3b9f15719c88af2dc36a0a6fd5a13bd35600ffdd792";
        let zeros = "0".repeat(64);
        let proven = Err(Unproven::Unreadable);
        for (header, body, now, expected) in [
            (format!("t={NOW},v1={v1}"), body, NOW, &proven),
            (format!("t={NOW},v1={v1}"), body, NOW + 300, &proven),
            (format!("t={NOW},v1={zeros},v1={v1},v0={zeros}"), body, NOW, &proven),
            (format!("t={NOW},v1={v1}"), body, NOW + 301, &Err(Unproven::Old)),
            (format!("t={NOW},v1={v1}"), body, NOW - 301, &Err(Unproven::Old)),
            (format!("t={},v1={v1}", NOW + 1), body, NOW, &Err(Unproven::Signature)),
            (format!("t={NOW},v1={v1}"), cut(body, 40), NOW, &Err(Unproven::Signature)),
            (format!("t={NOW},v0={v1}"), body, NOW, &Err(Unproven::Signature)),
            (format!("v1={v1}"), body, NOW, &Err(Unproven::Signature)),
            (format!("t={NOW},v1={}", cut(v1, 62)), body, NOW, &Err(Unproven::Signature)),
            (format!("t={NOW},v1={zeros}"), body, NOW, &Err(Unproven::Signature)),
            (String::new(), body, NOW, &Err(Unproven::Signature)),
        ] {
            assert_eq!(read(&header, body, now), *expected, "{header} {body} {now}");
        }
        let nobody = played::read("stripe", &[], (HEADER, "t=1,v1=00"), body, NOW);
        assert_eq!(nobody, Err(Unproven::NotExpected));
    }

    #[test]
    fn an_intent_tells_of_the_payment_its_capture_or_its_end() {
        let take = Subject::Change(ChangeKind::Capture);
        for (kind, status, method, subject, outcome) in [
            ("succeeded", "succeeded", "manual", take, Outcome::Approved),
            ("amount_capturable_updated", "requires_capture", "manual", Subject::Payment, Outcome::Approved),
            ("processing", "processing", "automatic", Subject::Payment, Outcome::Pending),
            ("canceled", "canceled", "manual", Subject::Change(ChangeKind::Void), Outcome::Approved),
        ] {
            let notices = told(&format!("payment_intent.{kind}"), &intent(status, method));
            let [notice] = &notices[..] else { panic!("{kind}: {notices:?}") };
            let report = notice.report.as_ref().unwrap();
            assert_eq!((notice.about.subject, report.outcome), (subject, outcome), "{kind}");
            assert_eq!(notice.about.key.as_deref(), Some(KEY));
            assert_eq!(notice.about.payment.as_deref(), Some("pi_3Example0000000000001"));
        }
        let taken = told("payment_intent.succeeded", &intent("succeeded", "manual"));
        let amount = taken[0].report.as_ref().unwrap().amount;
        assert_eq!(amount, Amount::new(500, Currency::USD).ok());
        // A part of a charge was taken: what that is, nobody says.
        assert_eq!(told("payment_intent.succeeded", &intent("succeeded", "automatic")), []);
        assert_eq!(told("payment_intent.created", &intent("requires_payment_method", "manual")), []);
        assert_eq!(told("customer.created", &json!({"object": "customer"})), []);
    }

    #[test]
    fn a_refund_is_told_by_its_own_name_and_key() {
        for (kind, status, outcome) in [
            ("refund.created", "pending", "pending"),
            ("charge.refund.updated", "succeeded", "approved"),
            ("refund.failed", "failed", "declined"),
        ] {
            let refund = json!({
                "id": "re_1", "object": "refund", "amount": 200, "currency": "usd",
                "payment_intent": "pi_1", "status": status, "metadata": {"operation_key": KEY},
            });
            let notices = told(kind, &refund);
            let [Notice { about, report: Some(report), .. }] = &notices[..] else { panic!("{kind}") };
            assert_eq!(about.subject, Subject::Change(ChangeKind::Refund));
            assert_eq!(report.outcome.word(), outcome, "{kind}");
            let names = [&about.key, &about.payment, &about.action].map(Option::as_deref);
            assert_eq!(names, [Some(KEY), Some("pi_1"), Some("re_1")]);
        }
    }

    #[test]
    fn what_happened_at_another_connected_account_is_refused() {
        let event = |account: Option<&str>| {
            let body = json!({
                "id": "evt_1", "type": "customer.created", "account": account,
                "data": {"object": {}},
            });
            let body = body.to_string();
            (format!("t={NOW},v1={}", v1(NOW, &body)), body)
        };
        let ours = [("WebhookSecret", SECRET), ("StripeAccount", "acct_1")];
        for (credentials, account, expected) in [
            (&ours[..1], None, Ok(vec![])),
            (&ours[..1], Some("acct_1"), Err(Unproven::Account)),
            (&ours[..], Some("acct_1"), Ok(vec![])),
            (&ours[..], Some("acct_2"), Err(Unproven::Account)),
        ] {
            let (header, body) = event(account);
            let found = played::read("stripe", credentials, (HEADER, &header), &body, NOW);
            assert_eq!(found, expected, "{account:?}");
        }
    }
}
