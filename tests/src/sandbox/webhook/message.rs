//! What each provider writes, and how it signs that.

use super::{Hook, Message};
use crate::sandbox::Provider;
use crate::sandbox::braintree::legacy_id;
use crate::sandbox::ledger::{Entry, Outcome, now_ms};
use boring::base64::encode_block;
use boring::hash::{hmac_sha1, hmac_sha256, hmac_sha512};
use boring::sha::sha1;
use model::{Amount, Currency};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

const JSON: &str = "application/json";

/// Tells of `entry`, whose payment was made by `first`. None: its provider does not tell of such.
pub(super) fn of(hook: &Hook, entry: &Entry, first: Option<&Entry>) -> Option<Message> {
    let good = entry.outcome == Outcome::Approved && !hook.denies;
    Some(match hook.provider {
        Provider::Adyen => adyen(hook, entry, good),
        Provider::AuthorizeNet => authorize_net(hook, entry),
        Provider::Braintree => return braintree(hook, entry, good),
        Provider::Checkout => checkout(hook, entry, good),
        Provider::Cybersource => cybersource(hook, entry),
        Provider::Stripe => stripe(hook, entry, first, good),
        Provider::Worldpay => worldpay(hook, entry, first, good),
        Provider::WorldpayWpg => worldpay_wpg(hook, entry, good),
    })
}

fn signature(key: &[u8], message: &str) -> [u8; 32] {
    // It fails only where memory does.
    hmac_sha256(key, message.as_bytes()).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or("0"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap_or_default()).collect()
}

fn currency(entry: &Entry) -> &str {
    entry.currency.as_deref().unwrap_or_default()
}

fn adyen(hook: &Hook, entry: &Entry, good: bool) -> Message {
    let (code, original) = match entry.operation {
        "capture" if !good => ("CAPTURE_FAILED", &*entry.payment),
        "capture" => ("CAPTURE", &*entry.payment),
        "refund" if !good => ("REFUND_FAILED", &*entry.payment),
        "refund" => ("REFUND", &*entry.payment),
        "void" => ("CANCELLATION", &*entry.payment),
        _ => ("AUTHORISATION", ""),
    };
    let success = if good || code.ends_with("_FAILED") { "true" } else { "false" };
    let value = entry.amount.unwrap_or_default();
    let reference = entry.reference.as_deref().unwrap_or_default();
    let (id, account, currency) = (&*entry.id, &*hook.account, currency(entry));
    let signed =
        format!("{id}:{original}:{account}:{reference}:{value}:{currency}:{code}:{success}");
    let hmac = encode_block(&signature(&unhex(&hook.secret), &signed));
    let item = json!({
        "additionalData": {"hmacSignature": hmac},
        "amount": {"currency": currency, "value": value},
        "eventCode": code,
        "eventDate": "2026-06-05T15:54:01+02:00",
        "merchantAccountCode": account,
        "merchantReference": reference,
        "originalReference": original,
        "pspReference": id,
        "success": success,
    });
    let items = json!([{ "NotificationRequestItem": item }]);
    let body = json!({"live": "false", "notificationItems": items}).to_string();
    Message { content_type: JSON, headers: Vec::new(), body }
}

fn authorize_net(hook: &Hook, entry: &Entry) -> Message {
    let payload = json!({
        "responseCode": 1, "entityName": "transaction", "id": entry.payment,
        "merchantReferenceId": entry.reference,
    });
    let body = json!({
        "notificationId": format!("{}-{}", entry.number, entry.id),
        "eventType": "net.authorize.payment.fraud.approved",
        "payload": payload,
    })
    .to_string();
    // It fails only where memory does.
    let told = hmac_sha512(hook.secret.as_bytes(), body.as_bytes()).unwrap_or([0; 64]);
    let header = format!("sha512={}", hex(&told).to_uppercase());
    Message { content_type: JSON, headers: vec![("x-anet-signature", header)], body }
}

/// It tells of settlement only, in a form with a document in it.
fn braintree(hook: &Hook, entry: &Entry, good: bool) -> Option<Message> {
    let (what, refunded) = match entry.operation {
        "capture" | "charge" => ("sale", None),
        "refund" => ("credit", Some(&entry.payment)),
        _ => return None,
    };
    let kind = if good { "transaction_settled" } else { "transaction_settlement_declined" };
    let (status, code) = if good { ("settled", "4000") } else { ("settlement_declined", "4001") };
    let of = refunded.and_then(|id| legacy_id(id)).map_or(String::new(), |id| {
        format!("<refunded-transaction-id>{id}</refunded-transaction-id>")
    });
    let money = Currency::parse(currency(entry)).ok()?;
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<notification>\n  \
         <timestamp type=\"datetime\">2026-06-13T14:18:13Z</timestamp>\n  <kind>{kind}</kind>\n  \
         <subject>\n    <transaction>\n      <id>{}</id>\n      <status>{status}</status>\n      \
         <type>{what}</type>\n      <currency-iso-code>{}</currency-iso-code>\n      \
         <amount>{}</amount>\n      <order-id>{}</order-id>\n      {of}\n      \
         <processor-settlement-response-code>{code}</processor-settlement-response-code>\n    \
         </transaction>\n  </subject>\n</notification>\n",
        legacy_id(&entry.id)?,
        money.code(),
        Amount::new(entry.amount?, money).ok()?.decimal(),
        entry.reference.as_deref().unwrap_or_default(),
    );
    let payload = in_lines(&encode_block(document.as_bytes()));
    // It fails only where memory does.
    let told = hmac_sha1(&sha1(hook.secret.as_bytes()), payload.as_bytes()).unwrap_or_default();
    let signature = format!("{}|{}", hook.account, hex(&told));
    let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let body = format!("bt_signature={}&bt_payload={}", escaped(&signature), escaped(&payload));
    Some(Message { content_type: "application/x-www-form-urlencoded", headers: Vec::new(), body })
}

/// Base64 in lines of 60 characters, each with its end.
fn in_lines(base64: &str) -> String {
    let lines = base64.as_bytes().chunks(60).map(String::from_utf8_lossy);
    lines.map(|line| format!("{line}\n")).collect()
}

fn checkout(hook: &Hook, entry: &Entry, good: bool) -> Message {
    let word = match (entry.operation, good) {
        ("capture", true) => "payment_captured",
        ("capture", false) => "payment_capture_declined",
        ("refund", true) => "payment_refunded",
        ("refund", false) => "payment_refund_declined",
        ("void", true) => "payment_voided",
        ("void", false) => "payment_void_declined",
        (_, true) => "payment_approved",
        (_, false) => "payment_declined",
    };
    let body = json!({
        "id": format!("evt_{}{}", entry.number, entry.id),
        "type": word,
        "version": "1.0.0",
        "data": {
            "id": entry.payment, "action_id": entry.id, "amount": entry.amount,
            "currency": entry.currency, "reference": entry.reference,
            "response_code": if good { "10000" } else { "20005" },
            "metadata": {"operation_key": entry.idempotency_key},
        },
    })
    .to_string();
    let told = hex(&signature(hook.secret.as_bytes(), &body));
    Message { content_type: JSON, headers: vec![("cko-signature", told)], body }
}

fn cybersource(hook: &Hook, entry: &Entry) -> Message {
    let told = json!({"clientReferenceInformation": {"code": entry.reference}, "id": entry.id});
    let body = json!({"eventType": "payments.payments.updated", "payload": [{"data": told}]});
    let (body, time) = (body.to_string(), now_ms());
    let key = boring::base64::decode_block(&hook.secret).unwrap_or_default();
    let told = encode_block(&signature(&key, &format!("{time}.{body}")));
    let header = format!("t={time};keyId=08c94330-f618-42a3-b09d-e1e43be5efda;sig={told}");
    Message { content_type: JSON, headers: vec![("v-c-signature", header)], body }
}

fn stripe(hook: &Hook, entry: &Entry, first: Option<&Entry>, good: bool) -> Message {
    let (kind, object) = match entry.operation {
        "refund" => ("refund.updated", refund(entry, good)),
        _ => intent(entry, first, good),
    };
    let body = json!({
        "id": format!("evt_{}{}", entry.number, entry.id), "object": "event", "type": kind,
        "livemode": false, "data": {"object": object},
    });
    let (body, time) = (body.to_string(), now_ms() / 1_000);
    let told = hex(&signature(hook.secret.as_bytes(), &format!("{time}.{body}")));
    let header = format!("t={time},v1={told}");
    let content_type = "application/json; charset=utf-8";
    Message { content_type, headers: vec![("stripe-signature", header)], body }
}

fn refund(entry: &Entry, good: bool) -> Value {
    json!({
        "id": entry.id, "object": "refund", "amount": entry.amount,
        "currency": currency(entry).to_lowercase(), "payment_intent": entry.payment,
        "status": if good { "succeeded" } else { "failed" },
        "metadata": {"operation_key": entry.idempotency_key},
    })
}

fn intent(entry: &Entry, first: Option<&Entry>, good: bool) -> (&'static str, Value) {
    let first = first.unwrap_or(entry);
    let (kind, status) = match (entry.operation, good) {
        (_, false) => ("payment_intent.payment_failed", "requires_payment_method"),
        ("authorize", _) => ("payment_intent.amount_capturable_updated", "requires_capture"),
        ("void", _) => ("payment_intent.canceled", "canceled"),
        _ => ("payment_intent.succeeded", "succeeded"),
    };
    let later = first.operation == "authorize";
    let object = json!({
        "id": entry.payment, "object": "payment_intent", "amount": first.amount,
        "amount_received": entry.amount, "currency": currency(entry).to_lowercase(),
        "capture_method": if later { "manual" } else { "automatic" }, "status": status,
        "last_payment_error": (!good).then(|| json!({"type": "card_error", "code": "card_declined"})),
        "metadata": {"operation_key": first.idempotency_key},
    });
    (kind, object)
}

fn worldpay(hook: &Hook, entry: &Entry, first: Option<&Entry>, good: bool) -> Message {
    let word = match (entry.operation, good) {
        ("capture", true) => "settled",
        ("capture", false) => "settlementFailed",
        ("refund", true) => "refunded",
        ("refund", false) => "refundFailed",
        ("void", true) => "cancelled",
        ("void", false) => "error",
        (_, true) => "authorized",
        (_, false) => "refused",
    };
    let body = json!({
        "eventId": format!("event-{}-{}", entry.number, entry.id),
        "eventTimestamp": "2026-06-13T14:18:13.407",
        "eventDetails": {
            "classification": "payment", "type": word, "date": "2026-06-13",
            "transactionReference": first.and_then(|first| first.reference.clone()),
            "reference": entry.reference,
            "amount": {"value": entry.amount, "currencyCode": entry.currency},
        },
    })
    .to_string();
    let told = format!("1/SHA256/{}", hex(&signature(hook.secret.as_bytes(), &body)));
    let content_type = "application/vnd.worldpay.events-v1.hal+json";
    Message { content_type, headers: vec![("event-signature", told)], body }
}

/// Not signed: nothing in it is believed.
fn worldpay_wpg(hook: &Hook, entry: &Entry, good: bool) -> Message {
    let event = match (entry.operation, good) {
        ("capture" | "charge", true) => "CAPTURED",
        ("refund", true) => "REFUNDED",
        ("refund", false) => "REFUND_FAILED",
        ("void", true) => "CANCELLED",
        (_, true) => "AUTHORISED",
        (_, false) => "REFUSED",
    };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <!DOCTYPE paymentService PUBLIC \"-//WorldPay//DTD WorldPay PaymentService v1//EN\" \
         \"http://dtd.worldpay.com/paymentService_v1.dtd\">\
         <paymentService version=\"1.4\" merchantCode=\"{}\"><notify>\
         <orderStatusEvent orderCode=\"{}\"><payment><lastEvent>{event}</lastEvent></payment>\
         </orderStatusEvent></notify></paymentService>",
        hook.account, entry.payment
    );
    Message { content_type: "text/xml", headers: Vec::new(), body }
}
