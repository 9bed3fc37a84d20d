//! What Authorize.Net tells of its own accord.
//! <https://developer.authorize.net/api/reference/features/webhooks.html>
//!
//! It is signed and has no time, so that it can be sent again by whoever saw it once. And what it
//! is about most of all, a payment that was held to be looked at, shows in the list where a lost one
//! is found. So no more is taken of it than which payment it is about.

use super::{SIGNATURE_KEY, is_id};
use crate::Cx;
use crate::webhook::{Delivery, Unproven, unhex};
use hmac::{Hmac, Mac as _};
use model::{About, Notice, Subject};
use serde::Deserialize;
use sha2::Sha512;

const HEADER: &str = "x-anet-signature";
const HASH: &str = "sha512=";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    notification_id: Box<str>,
    payload: Payload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    entity_name: String,
    id: String,
}

pub(super) fn read(delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<Vec<Notice>, Unproven> {
    prove(delivery, cx)?;
    let Told { notification_id, payload } = delivery.json()?;
    if payload.entity_name != "transaction" || !is_id(&payload.id) {
        return Ok(Vec::new());
    }
    let about = About {
        subject: Subject::Payment,
        key: None,
        payment_key: None,
        payment: Some(payload.id.into()),
        action: None,
        merchant_reference: None,
    };
    Ok(vec![Notice { name: notification_id, about, report: None }])
}

/// The key is the text as Authorize.Net shows it, and not what its digits stand for.
fn prove(delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<(), Unproven> {
    let key = cx.find(&SIGNATURE_KEY).ok_or(Unproven::NotExpected)?;
    let header = delivery.header(HEADER).ok_or(Unproven::Signature)?;
    let (hash, told) = header.split_at_checked(HASH.len()).ok_or(Unproven::Signature)?;
    let told = unhex(told).filter(|_| hash.eq_ignore_ascii_case(HASH));
    let told = told.ok_or(Unproven::Signature)?;
    // The key is exposed to compare signatures; no part of it is kept.
    let mac = Hmac::<Sha512>::new_from_slice(key.expose().as_bytes());
    let mac = mac.map_err(|_| Unproven::NotExpected)?.chain_update(delivery.body);
    mac.verify_slice(&told).map_err(|_| Unproven::Signature)
}

#[cfg(test)]
mod tests {
    use super::{HEADER, HASH};
    use crate::webhook::played::{NOW, cut, hex};
    use crate::webhook::{Unproven, played};
    use hmac::{Hmac, Mac as _};
    use model::Notice;
    use serde_json::json;

    fn key() -> String {
        "0".repeat(128)
    }

    fn read(header: &str, body: &str) -> Result<Vec<Notice>, Unproven> {
        played::read("authorize_net", &[("SignatureKey", &key())], (HEADER, header), body, NOW)
    }

    fn sign(body: &str) -> String {
        let mac = Hmac::<sha2::Sha512>::new_from_slice(key().as_bytes()).unwrap();
        format!("{HASH}{}", hex(&mac.chain_update(body).finalize().into_bytes()))
    }

    #[test]
    fn a_signature_is_over_the_body_with_the_text_of_the_key() {
        let body = "{\"notificationId\":\"d0e8e7fe-c3e7-4add-a480-27bc5ce28a18\",\
                    \"eventType\":\"net.authorize.payment.authcapture.created\"}";
        let good = "84830785410550415C1AD44F5D9410260787037E057337836F7AA61670993264345E46E5979A33\
                    D65C2C6E615D0F6E430F3199A6116766A5F57D1326E864662C";
        let header = format!("sha512={good}");
        assert_eq!(read(&header, body), Err(Unproven::Unreadable), "it is proven, and says nothing");
        assert_eq!(read(&header.to_lowercase(), body), Err(Unproven::Unreadable));
        for (header, body) in [
            (good, body),
            (&*format!("sha256={good}"), body),
            (cut(&header, 133), body),
            ("sha512=", body),
            ("", body),
            (&header, cut(body, 60)),
        ] {
            assert_eq!(read(header, body), Err(Unproven::Signature), "{header} {body}");
        }
        let nobody = played::read("authorize_net", &[], (HEADER, &header), body, NOW);
        assert_eq!(nobody, Err(Unproven::NotExpected));
    }

    #[test]
    fn a_payment_is_named_and_nothing_that_is_said_of_it_is_believed() {
        let told = |entity: &str, id: &str| {
            let payload = json!({"entityName": entity, "id": id, "responseCode": 1});
            let body = json!({"notificationId": "n", "eventType": "x", "payload": payload});
            read(&sign(&body.to_string()), &body.to_string()).unwrap()
        };
        let notices = told("transaction", "60198917640");
        assert_eq!(notices[0].about.payment.as_deref(), Some("60198917640"));
        assert_eq!((notices.len(), &notices[0].report), (1, &None));
        assert_eq!(told("customerProfile", "60198917640"), []);
        assert_eq!(told("transaction", "../60198917640"), []);
    }
}
