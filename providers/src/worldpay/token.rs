//! Cards that Worldpay keeps: tokens, each in a namespace of its own.
//!
//! Within a namespace a card has one token, and a second request with other details of it is a
//! conflict; so each gets a new one. The issuer is not asked.
//! <https://docs.worldpay.com/access/products/tokens>

use super::account::ENTITY;
use super::payment::{Address, Expiry, Merchant};
use super::{HOSTS, refuse, sent};
use crate::wire::{Answer, Body, Request, path};
use crate::{Cx, Refusal, means};
use model::{Card, Means, Secret, Tokenization};
use serde::{Deserialize, Serialize};

const MEDIA: &str = "application/vnd.worldpay.tokens-v3.hal+json";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept<'a> {
    merchant: Merchant<'a>,
    namespace: &'a str,
    payment_instrument: Front<'a>,
}

/// A card. It lives as long as it takes to write the body, and borrows all that it names.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Front<'a> {
    r#type: &'static str,
    card_holder_name: &'a str,
    card_number: &'a str,
    card_expiry_date: Expiry,
    #[serde(skip_serializing_if = "Option::is_none")]
    billing_address: Option<Address<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    namespace: Option<String>,
    token_payment_instrument: Tokenized,
}

#[derive(Deserialize)]
struct Tokenized {
    r#type: String,
    href: String,
}

/// Has a card kept. Its verification value is for a payment.
pub(super) fn request(
    key: &str,
    tokenization: &Tokenization<Card>,
    cx: &Cx<'_>,
) -> Result<Request, Refusal> {
    if tokenization.network_token.is_some() {
        return Err(refuse("networkTokenBrand", "network tokens are not supported"));
    }
    let entity = cx.need(&ENTITY, "Entity is missing")?;
    let kept = Kept {
        // The entity is exposed because every request names it; it is not a secret.
        merchant: Merchant { entity: entity.expose() },
        namespace: key,
        payment_instrument: Front::of(tokenization),
    };
    sent(Request::post(HOSTS.optional(cx)?, path(&["tokens"]), Body::json(&kept)), MEDIA, cx)
}

/// The merchant's name for the card that is kept since this answer: a link.
pub(super) fn told(key: Option<&str>, answer: &Answer<'_>) -> Option<Secret> {
    let made: Made = answer.json().filter(|_| matches!(answer.status, 200 | 201))?;
    let namespace = made.namespace.as_deref();
    let another = key.is_some_and(|key| namespace.is_some_and(|told| told != key));
    let Tokenized { r#type, href } = made.token_payment_instrument;
    let is_link = [HOSTS.live, HOSTS.test].iter().any(|host| is_link(&href, host));
    (r#type == "card/tokenized" && is_link && !another).then(|| Secret::new(href))
}

/// The link that a payment is paid with, which must be of the account's own host.
pub(super) fn link<'a>(token: &'a Secret, cx: &Cx<'_>) -> Result<&'a str, Refusal> {
    // The link is exposed because this request is the one that is paid with it.
    let href = token.expose();
    let wrong = refuse(means::TOKEN, "is not a card that Worldpay keeps");
    if is_link(href, HOSTS.optional(cx)?) { Ok(href) } else { Err(wrong) }
}

fn is_link(href: &str, host: &str) -> bool {
    let rest = href.strip_prefix("https://").and_then(|rest| rest.strip_prefix(host));
    let name = rest.and_then(|rest| rest.strip_prefix("/tokens/")).unwrap_or_default();
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.~=+:%".contains(&b);
    let fits = href.len() <= Means::<Card>::TOKEN_CHARS_MAX;
    fits && !name.is_empty() && name.bytes().all(allowed)
}

// === impl Front ===

impl<'a> Front<'a> {
    fn of(tokenization: &'a Tokenization<Card>) -> Self {
        let Tokenization { card, payer, .. } = tokenization;
        Self {
            r#type: "card/front",
            // The holder is exposed because this request is the one that carries the name.
            card_holder_name: card.holder.expose(),
            // The number is exposed because only who is told it can keep it.
            card_number: card.pan.expose(),
            card_expiry_date: Expiry::of(card),
            billing_address: payer.as_ref().and_then(Address::whole),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_link;

    #[test]
    fn a_name_is_a_link_to_a_token_at_the_host() {
        let long = format!("https://try.access.worldpay.com/tokens/{}", "a".repeat(217));
        for (href, expected) in [
            ("https://try.access.worldpay.com/tokens/eyJrIjoxfQ==.sN:a-b_c", true),
            ("https://try.access.worldpay.com/tokens/", false),
            ("https://try.access.worldpay.com/payments/a", false),
            ("https://access.worldpay.com/tokens/a", false),
            ("https://try.access.worldpay.com.example/tokens/a", false),
            ("https://try.access.worldpay.com/tokens/a/b", false),
            ("https://try.access.worldpay.com/tokens/a?b", false),
            ("http://try.access.worldpay.com/tokens/a", false),
            ("cus_1/pm_1", false),
            (&long, false),
        ] {
            assert_eq!(is_link(href, "try.access.worldpay.com"), expected, "{href}");
        }
    }
}
