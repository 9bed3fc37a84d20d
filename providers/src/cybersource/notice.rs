//! What CyberSource tells of its own accord.
//! <https://developer.cybersource.com/docs/cybs/en-us/webhooks/implementation/all/rest/webhooks.html>
//!
//! The signature is documented, and what stands in the body differs from product to product. So no
//! more is taken of it than which request it is about: what became of that, CyberSource is asked.

use super::SIGNATURE_KEY;
use crate::Cx;
use crate::webhook::{self, Delivery, NOTICES_MAX, Signature, Unproven};
use model::{About, Notice, Subject};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

const HEADER: &str = "v-c-signature";

/// How old a signature may be: it is of the time of the event, and what is sent again has the same.
const TOLERANCE_S: u64 = 3_600;

/// How deep our name for a request may stand in a body, and under which names.
const DEPTH_MAX: usize = 8;
const REFERENCE: &str = "clientReferenceInformation";

#[derive(Deserialize)]
struct Told {
    #[serde(rename = "eventType")]
    _event_type: IgnoredAny,
    payload: Value,
}

pub(super) fn read(delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<Vec<Notice>, Unproven> {
    prove(delivery, cx)?;
    let told: Told = delivery.json()?;
    let mut keys = Vec::new();
    collect(&told.payload, DEPTH_MAX, &mut keys);
    let about = |key: Box<str>| About {
        subject: Subject::Payment,
        key: Some(key),
        payment_key: None,
        payment: None,
        action: None,
        merchant_reference: None,
    };
    let notice = |key: Box<str>| Notice { name: key.clone(), about: about(key), report: None };
    Ok(keys.into_iter().map(notice).collect())
}

fn prove(delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<(), Unproven> {
    let secret = cx.find(&SIGNATURE_KEY).ok_or(Unproven::NotExpected)?;
    let header = delivery.header(HEADER).ok_or(Unproven::Signature)?;
    let part = |wanted: &str| {
        let mut pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value).ok_or(Unproven::Signature)
    };
    let (time, told) = (part("t")?, part("sig")?);
    let signature = Signature::by_base64(secret)?.over(&[time.as_bytes(), b".", delivery.body]);
    if !signature.is_base64(told) {
        return Err(Unproven::Signature);
    }
    let signed: u64 = time.parse().map_err(|_| Unproven::Signature)?;
    webhook::is_near(signed.checked_div(1_000).unwrap_or_default(), cx.now, TOLERANCE_S)
}

/// Our names for requests, wherever they stand.
fn collect(value: &Value, depth: usize, keys: &mut Vec<Box<str>>) {
    let Some(deeper) = depth.checked_sub(1) else { return };
    match value {
        Value::Array(all) => all.iter().for_each(|one| collect(one, deeper, keys)),
        Value::Object(all) => {
            let code = all.get(REFERENCE).and_then(|reference| reference.get("code"));
            let key = code.and_then(Value::as_str).and_then(webhook::key);
            if let Some(key) = key.filter(|key| !keys.contains(key) && keys.len() < NOTICES_MAX) {
                keys.push(key);
            }
            all.values().for_each(|one| collect(one, deeper, keys));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::HEADER;
    use crate::webhook::played::{NOW, cut};
    use crate::webhook::{NOTICES_MAX, Signature, Unproven, played};
    use base64ct::{Base64, Encoding as _};
    use model::{Notice, Secret};
    use serde_json::{Value, json};

    const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const KEY: &str = "019a00000000000000000000000000aa";

    fn read(header: &str, body: &str, now: u64) -> Result<Vec<Notice>, Unproven> {
        let credentials = [("WebhookSignatureKey", SECRET)];
        played::read("cybersource", &credentials, (HEADER, header), body, now)
    }

    fn header(millis: u64, body: &str) -> String {
        let signed = format!("{millis}.{body}");
        let key = Signature::by_base64(&Secret::new(SECRET)).unwrap();
        let signature = Base64::encode_string(&key.over(&[signed.as_bytes()]).bytes());
        format!("t={millis};keyId=08c94330-f618-42a3-b09d-e1e43be5efda;sig={signature}")
    }

    fn body(codes: &[String]) -> String {
        let data = |code| json!({"data": {"clientReferenceInformation": {"code": code}}});
        let payload: Vec<Value> = codes.iter().map(data).collect();
        json!({"eventType": "payments.captures.accept", "payload": payload}).to_string()
    }

    #[test]
    fn a_signature_is_over_the_time_and_the_body_and_gets_old() {
        let body = body(&[KEY.into()]);
        let (millis, other) = (NOW * 1_000, header(NOW * 1_000, "{}"));
        let good = header(millis, &body);
        assert_eq!(read(&good, &body, NOW + 3_600).unwrap().len(), 1);
        for (header, body, now, why) in [
            (&*good, &*body, NOW + 3_601, Unproven::Old),
            (&good, cut(&body, 30), NOW, Unproven::Signature),
            (&other, &body, NOW, Unproven::Signature),
            (&good.replace(&millis.to_string(), "1750000000001"), &body, NOW, Unproven::Signature),
            (&good.replace("sig=", "sign="), &body, NOW, Unproven::Signature),
            ("", &body, NOW, Unproven::Signature),
        ] {
            assert_eq!(read(header, body, now), Err(why), "{header}");
        }
        let nobody = played::read("cybersource", &[], (HEADER, &good), &body, NOW);
        assert_eq!(nobody, Err(Unproven::NotExpected));
    }

    #[test]
    fn our_names_are_found_once_each_and_not_too_many_or_too_deep() {
        let told = |body: &str| read(&header(NOW * 1_000, body), body, NOW).unwrap();
        let notices = told(&body(&[KEY.into(), "ORD-1".into(), KEY.into()]));
        assert_eq!(notices.len(), 1);
        assert_eq!((notices[0].about.key.as_deref(), &notices[0].report), (Some(KEY), &None));
        let many: Vec<_> = (0..=NOTICES_MAX).map(|nth| format!("{nth:032x}")).collect();
        assert_eq!(told(&body(&many)).len(), NOTICES_MAX);
        let mut deep = json!({"clientReferenceInformation": {"code": KEY}});
        for _ in 0..20 {
            deep = json!([deep]);
        }
        let deep = json!({"eventType": "x", "payload": deep}).to_string();
        assert_eq!(told(&deep), []);
    }
}
