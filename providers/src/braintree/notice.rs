//! What Braintree tells of its own accord, and the proof that it asks for before.
//! <https://developer.paypal.com/braintree/docs/guides/webhooks/parse>
//!
//! It is a form with a document in it, signed over its text, and tells about settlement only. The
//! document calls a payment as the older API did, but repeats the order id, which has our key. What was
//! settled is asked for by that. What was not settled after all is believed: nobody asks about what is
//! known already.
//!
//! The hash is SHA-1, because Braintree has no other. A keyed hash does not rest on what SHA-1 has lost,
//! that nobody can make two texts with the same hash. Braintree documents no age at which a notice
//! is too old, and an old one sent again changes nothing: a failure is the last word.

use super::decline::DECLINES;
use super::{PRIVATE_KEY, PUBLIC_KEY, key_of};
use crate::Cx;
use crate::webhook::{Delivery, SIGNATURES_MAX, Unproven, hex, member, unhex};
use crate::wire::said;
use crate::wire::xml::Element;
use base64ct::{Base64, Base64Unpadded, Encoding as _};
use hmac::{Hmac, Mac as _};
use model::{About, Amount, ChangeKind, Currency, Decline, Notice, Outcome, Report, Subject};
use sha1::{Digest as _, Sha1};
use zeroize::Zeroizing;

const CHALLENGE: &str = "bt_challenge";
/// How long a challenge is, in hexadecimal digits.
const CHALLENGE_DIGITS: std::ops::RangeInclusive<usize> = 20..=32;
/// How long Braintree's name for a payment may be in a notice, in characters.
const ID_CHARS_MAX: usize = 64;

pub(super) fn read(delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<Vec<Notice>, Unproven> {
    let payload = proven(delivery, cx)?;
    let document = document(&payload).ok_or(Unproven::Unreadable)?;
    let kind = told(&document, "kind").ok_or(Unproven::Unreadable)?;
    let notice = match kind {
        "transaction_settled" => notice(kind, &document, |_| None),
        "transaction_settlement_declined" => notice(kind, &document, |one| Some(declined(one))),
        // Disputes, payouts, subscriptions, and a try whether somebody hears it.
        _ => return Ok(Vec::new()),
    };
    Ok(vec![notice.ok_or(Unproven::Unreadable)?])
}

/// Signs what Braintree asks for as it signs itself. Nothing that begins with a hexadecimal digit in
/// lower case is the base64 of a document: whoever gets this signed has no notice.
pub(super) fn proof(query: &str, cx: &Cx<'_>) -> Result<String, Unproven> {
    let challenge = member(query, CHALLENGE).filter(|text| is_challenge(text));
    let challenge = challenge.ok_or(Unproven::Unreadable)?;
    let mac = keyed(cx)?.chain_update(challenge).finalize().into_bytes();
    Ok(format!("{}|{}", public_key(cx)?, hex(&mac)))
}

fn is_challenge(text: &str) -> bool {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    CHALLENGE_DIGITS.contains(&text.len()) && text.bytes().all(digit)
}

// === proving ===

/// The text that was signed.
fn proven(delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<String, Unproven> {
    let (public, mac) = (public_key(cx)?, keyed(cx)?);
    let payload = delivery.field("bt_payload").filter(|text| text.bytes().all(is_in_lines));
    let payload = payload.ok_or(Unproven::Signature)?;
    let signature = delivery.field("bt_signature").ok_or(Unproven::Signature)?;
    let signed = signed_with(public, &signature).and_then(unhex).ok_or(Unproven::Signature)?;
    let mac = mac.chain_update(&payload);
    // The end of the last line may have been lost on the way.
    let ends = ["", "\n"].map(|end| mac.clone().chain_update(end).verify_slice(&signed));
    ends.iter().any(Result::is_ok).then_some(payload).ok_or(Unproven::Signature)
}

/// The signature among pairs of a public key and one.
fn signed_with<'a>(public: &str, signature: &'a str) -> Option<&'a str> {
    let pairs = signature.split('&').take(SIGNATURES_MAX).filter_map(|pair| pair.split_once('|'));
    pairs.filter(|(key, _)| *key == public).map(|(_, signed)| signed).next()
}

fn keyed(cx: &Cx<'_>) -> Result<Hmac<Sha1>, Unproven> {
    let private = cx.find(&PRIVATE_KEY).ok_or(Unproven::NotExpected)?;
    // The key is exposed to compare signatures; no part of it is kept.
    let key: Zeroizing<[u8; 20]> = Zeroizing::new(Sha1::digest(private.expose()).into());
    Hmac::new_from_slice(&*key).map_err(|_| Unproven::NotExpected)
}

fn public_key<'a>(cx: &Cx<'a>) -> Result<&'a str, Unproven> {
    // The public key is exposed to be named; it is not a secret.
    cx.find(&PUBLIC_KEY).map(model::Secret::expose).ok_or(Unproven::NotExpected)
}

/// Base64 in lines.
fn is_in_lines(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'\n')
}

// === reading ===

fn document(payload: &str) -> Option<Element> {
    let bytes = Base64::decode_vec(&payload.replace('\n', "")).ok()?;
    Element::parse(&bytes).filter(|document| document.is("notification"))
}

fn told<'a>(element: &'a Element, name: &str) -> Option<&'a str> {
    element.child(name).map(Element::words).filter(|text| !text.is_empty())
}

/// What is told of a transaction. It has no name of its own, but is told once of each.
fn notice(
    kind: &str,
    document: &Element,
    report: impl FnOnce(&Element) -> Option<Report>,
) -> Option<Notice> {
    let transaction = document.at(&["subject", "transaction"])?;
    let id = told(transaction, "id").filter(|id| is_id(id))?;
    let change = match told(transaction, "type")? {
        "credit" => ChangeKind::Refund,
        "sale" => ChangeKind::Capture,
        _ => return None,
    };
    let refund = change == ChangeKind::Refund;
    let of = told(transaction, "refunded-transaction-id").filter(|id| is_id(id));
    let about = About {
        subject: Subject::Change(change),
        key: told(transaction, "order-id").and_then(key_of),
        payment_key: None,
        payment: if refund { of } else { Some(id) }.map(|id| global("transaction", id)),
        action: refund.then(|| global("refund", id)),
        merchant_reference: None,
    };
    Some(Notice { name: format!("{kind}/{id}").into(), about, report: report(transaction) })
}

/// How GraphQL calls what the older API calls so. Braintree shows it, and promises nothing: by it a
/// payment is looked for, and no other has such a name.
fn global(what: &str, id: &str) -> Box<str> {
    Base64Unpadded::encode_string(format!("{what}_{id}").as_bytes()).into()
}

fn is_id(text: &str) -> bool {
    text.len() <= ID_CHARS_MAX && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The processor does not settle it, or takes the settlement back.
fn declined(transaction: &Element) -> Report {
    let code = told(transaction, "processor-settlement-response-code");
    let why = code.and_then(|code| DECLINES.find(code)).unwrap_or(Decline::Unmapped);
    let text = told(transaction, "processor-settlement-response-text");
    let currency = told(transaction, "currency-iso-code").map(Currency::parse);
    let amount = told(transaction, "amount").zip(currency.and_then(Result::ok));
    Report {
        amount: amount.and_then(|(amount, currency)| Amount::parse(amount, currency).ok()),
        code: code.and_then(said),
        description: text.and_then(said),
        ..Report::bare(Outcome::Declined(why))
    }
}

#[cfg(test)]
mod tests {
    use super::{document, keyed};
    use crate::by_gateway;
    use crate::webhook::played::{NOW, cut, hex};
    use crate::webhook::{Unproven, played};
    use crate::Cx;
    use base64ct::{Base64, Encoding as _};
    use hmac::Mac as _;
    use model::{
        Amount, ChangeKind, Credentials, Currency, Decline, Notice, Outcome, Report, Secret,
        Subject,
    };
    use proptest::prelude::*;

    const PUBLIC: &str = "public_key_example";
    const PRIVATE: &str = "private_key_example";
    const KEY: &str = "019a00000000000000000000000000aa";
    /// A try whether somebody hears it, and its signature.
    const TRY: &str = "PG5vdGlmaWNhdGlvbj48a2luZD5jaGVjazwva2luZD48L25vdGlmaWNhdGlvbj4=";
    const TRY_SIGNED: &str = "32a40e24939faf30b0906f19d5ce156301f010a0";

    fn credentials() -> [(&'static str, &'static str); 2] {
        [("PublicKey", PUBLIC), ("PrivateKey", PRIVATE)]
    }

    fn read(signature: &str, payload: &str) -> Result<Vec<Notice>, Unproven> {
        read_form(&format!("bt_signature={}&bt_payload={}", escaped(signature), escaped(payload)))
    }

    fn read_form(body: &str) -> Result<Vec<Notice>, Unproven> {
        let header = ("content-type", "application/x-www-form-urlencoded");
        played::read("braintree", &credentials(), header, body, NOW)
    }

    fn escaped(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02X}")).collect()
    }

    fn with_cx<T>(pairs: &[(&str, &str)], run: impl FnOnce(&Cx<'_>) -> T) -> T {
        let pair =
            |(name, value): &(&str, &str)| (name.to_ascii_lowercase().into(), Secret::new(*value));
        let credentials = Credentials::new(pairs.iter().map(pair).collect());
        run(&Cx::timeless(&credentials))
    }

    fn sign(text: &str) -> String {
        let mac = with_cx(&credentials(), |cx| keyed(cx).unwrap());
        format!("{PUBLIC}|{}", hex(&mac.chain_update(text).finalize().into_bytes()))
    }

    fn proof(pairs: &[(&str, &str)], query: &str) -> Result<String, Unproven> {
        with_cx(pairs, |cx| by_gateway("braintree").unwrap().proof(query, cx))
    }

    /// What is believed of a document that is signed.
    fn signed(document: &str) -> Result<Vec<Notice>, Unproven> {
        let payload = Base64::encode_string(document.as_bytes());
        let lines: Vec<_> = payload.as_bytes().chunks(60).map(String::from_utf8_lossy).collect();
        let payload = format!("{}\n", lines.join("\n"));
        read(&sign(&payload), &payload)
    }

    fn settlement(kind: &str, transaction: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<notification>\n  \
             <timestamp type=\"datetime\">2026-06-13T14:18:13Z</timestamp>\n  <kind>{kind}</kind>\n  \
             <subject><transaction>{transaction}</transaction></subject>\n</notification>\n"
        )
    }

    #[test]
    fn a_signature_is_over_the_text_of_the_payload_with_the_hash_of_the_private_key() {
        let good = format!("{PUBLIC}|{TRY_SIGNED}");
        let line = format!("{TRY}\n");
        // Its last line end is signed, whether or not it arrives.
        assert_eq!((read(&good, TRY), read(&good, &line)), (Ok(vec![]), Ok(vec![])));
        let among = format!("other_public_key|{}&{good}", "0".repeat(40));
        assert_eq!(read(&among, TRY), Ok(vec![]));
        assert_eq!(read(&sign(TRY), TRY), Ok(vec![]), "without the line end");
        for (signature, payload) in [
            (&*format!("other_public_key|{TRY_SIGNED}"), TRY),
            (&format!("{PUBLIC}|{}", "0".repeat(40)), TRY),
            (cut(&good, 57), TRY),
            (TRY_SIGNED, TRY),
            ("", TRY),
            (&good, cut(TRY, 60)),
            (&good, &format!("{TRY}\n\n")),
            (&good, ""),
        ] {
            assert_eq!(read(signature, payload), Err(Unproven::Signature), "{signature} {payload}");
        }
        let few = "a|0&".repeat(8);
        assert_eq!(read(&format!("{few}{good}"), TRY), Err(Unproven::Signature), "too many");
        for form in [
            format!("bt_payload={}", escaped(TRY)),
            format!("bt_signature={}", escaped(&good)),
            format!("bt_signature={0}&bt_payload={1}&bt_payload={1}", escaped(&good), escaped(TRY)),
            String::new(),
        ] {
            assert_eq!(read_form(&form), Err(Unproven::Signature), "{form}");
        }
        let nobody = played::read("braintree", &[], ("a", "b"), "", NOW);
        assert_eq!(nobody, Err(Unproven::NotExpected));
    }

    #[test]
    fn a_payload_has_no_other_characters_than_base64_in_lines() {
        for text in [format!("{TRY} "), format!("{TRY}\r\n"), TRY.replace('=', "-"), "é".to_owned()] {
            assert_eq!(read(&sign(&text), &text), Err(Unproven::Signature), "{text}");
        }
    }

    #[test]
    fn what_is_signed_and_is_no_notification_is_unreadable() {
        let good = settlement("transaction_settled", "<id>a1</id><type>sale</type>");
        assert_eq!(signed(&good).map(|all| all.len()), Ok(1));
        let entity = format!("<!DOCTYPE a [<!ENTITY x \"y\">]>{}", good.replace("a1", "&x;"));
        for document in [
            "",
            "notification",
            "<notification/>",
            "<notice><kind>check</kind></notice>",
            "<notification><kind>transaction_settled</kind></notification>",
            &entity,
            &good.replace("a1", "../a1"),
            &good.replace("a1", &"a".repeat(65)),
            &good.replace("<id>a1</id>", ""),
            &good.replace("sale", "gift"),
            cut(&good, 100),
        ] {
            assert_eq!(signed(document), Err(Unproven::Unreadable), "{document}");
        }
        assert_eq!(read(&sign("PG5v="), "PG5v="), Err(Unproven::Unreadable), "no base64");
    }

    #[test]
    fn what_was_settled_is_asked_for_and_what_was_not_is_believed() {
        use ChangeKind::{Capture, Refund};
        let fields = "<id>a1b2c3d4</id><amount>10.50</amount>\
            <currency-iso-code>USD</currency-iso-code>\
            <processor-settlement-response-code>4001</processor-settlement-response-code>\
            <processor-settlement-response-text>Settlement Declined\
            </processor-settlement-response-text>";
        let declined = Report {
            amount: Amount::new(1_050, Currency::USD).ok(),
            code: Some("4001".into()),
            description: Some("Settlement Declined".into()),
            ..Report::bare(Outcome::Declined(Decline::Unmapped))
        };
        let (yes, no) = ("transaction_settled", "transaction_settlement_declined");
        for (kind, what, order, change, report) in [
            (yes, "sale", &*format!("ORD/1/{KEY}"), Capture, None),
            (yes, "credit", KEY, Refund, None),
            (no, "sale", KEY, Capture, Some(&declined)),
            (no, "credit", &format!("REF-1/{KEY}"), Refund, Some(&declined)),
        ] {
            let rest = format!("{fields}<type>{what}</type><order-id>{order}</order-id>");
            let notices = signed(&settlement(kind, &rest)).unwrap();
            let [notice] = &notices[..] else { panic!("{notices:?}") };
            assert_eq!(*notice.name, *format!("{kind}/a1b2c3d4"));
            assert_eq!(notice.about.subject, Subject::Change(change));
            assert_eq!(notice.about.key.as_deref(), Some(KEY), "{order}");
            let payment = (change == Capture).then_some("dHJhbnNhY3Rpb25fYTFiMmMzZDQ");
            assert_eq!(notice.about.payment.as_deref(), payment, "{what}");
            let action = (change == Refund).then_some("cmVmdW5kX2ExYjJjM2Q0");
            assert_eq!(notice.about.action.as_deref(), action, "{what}");
            assert_eq!(notice.report.as_ref(), report, "{kind}");
        }
        let theirs = format!("{fields}<type>sale</type><order-id>ORD-1</order-id>");
        assert_eq!(signed(&settlement(yes, &theirs)).unwrap()[0].about.key, None);
        let of = "<refunded-transaction-id>example1</refunded-transaction-id><type>credit</type>";
        let about = &signed(&settlement(no, &format!("{fields}{of}"))).unwrap()[0].about;
        assert_eq!(about.payment.as_deref(), Some("dHJhbnNhY3Rpb25fZXhhbXBsZTE"));
    }

    #[test]
    fn what_we_do_not_ask_for_is_acknowledged() {
        let whole = "<id>a1</id><type>sale</type>";
        for kind in ["dispute_opened", "dispute_lost", "transaction_disbursed", "check", "new_kind"] {
            assert_eq!(signed(&settlement(kind, whole)), Ok(vec![]), "{kind}");
        }
    }

    #[test]
    fn a_challenge_is_answered_and_nothing_else_is_signed() {
        let challenge = "20f9f8ed05f77439fe955c977e4c8a53";
        for digits in [20, 32] {
            let challenge = cut(challenge, digits);
            let query = format!("bt_challenge={challenge}");
            assert_eq!(proof(&credentials(), &query), Ok(sign(challenge)));
        }
        for query in [
            String::new(),
            "bt_challenge=".to_owned(),
            format!("bt_challenge={}", cut(challenge, 19)),
            format!("bt_challenge={challenge}0"),
            format!("bt_challenge={}", challenge.to_uppercase()),
            format!("bt_challenge={}", cut(TRY, 32)),
            format!("bt_challenge={challenge}&bt_challenge={challenge}"),
            format!("challenge={challenge}"),
        ] {
            assert_eq!(proof(&credentials(), &query), Err(Unproven::Unreadable), "{query}");
        }
        let query = format!("bt_challenge={challenge}");
        assert_eq!(proof(&[], &query), Err(Unproven::NotExpected));
        let stripe = with_cx(&credentials(), |cx| by_gateway("stripe").unwrap().proof(&query, cx));
        assert_eq!(stripe, Err(Unproven::NotExpected));
    }

    proptest! {
        #[test]
        fn what_is_signed_for_a_challenge_is_no_notice(challenge in "[0-9a-f]{20,32}") {
            prop_assert!(document(&challenge).is_none());
        }
    }
}
