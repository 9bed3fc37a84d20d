//! Tokens, each of a shopper.

use super::element::Element;
use super::payment::check_card;
use super::{WorldpayWpg, error, order_error, reply};
use crate::sandbox::{Answer, cards};
use rand::Rng as _;

/// The names of a merchant, of a shopper and of a token.
pub(super) type Names = (String, String, String);

/// 19 digits, as WPG names tokens.
fn new_token() -> String {
    let mut rng = rand::rng();
    let digits = (0..17).map(|_| char::from(b'0'.saturating_add(rng.random_range(0..10))));
    "99".chars().chain(digits).collect()
}

/// What a reply says of a token.
fn shown(shopper: &str, reference: &str, token: &str) -> String {
    format!(
        "<token><authenticatedShopperID>{shopper}</authenticatedShopperID>\
         <tokenEventReference>{reference}</tokenEventReference><tokenDetails tokenEvent=\"NEW\">\
         <paymentTokenID>{token}</paymentTokenID></tokenDetails></token>"
    )
}

// === impl WorldpayWpg ===

impl WorldpayWpg {
    /// Keeps a card without a payment, and asks no issuer.
    pub(super) fn keep(&mut self, merchant: &str, part: &Element) -> Result<Answer, Answer> {
        let details = part.find("cardDetails").ok_or_else(|| error(2, "Something went wrong."))?;
        check_card(details).map_err(|text| error(7, text))?;
        Ok(reply(&self.kept(merchant, part, details)))
    }

    /// Keeps the card of an order that was not refused, where that is asked for.
    pub(super) fn keep_paid(&mut self, merchant: &str, order: &Element) -> Option<String> {
        order.find("createToken")?;
        let details = order.find("CARD-SSL")?;
        Some(self.kept(merchant, order, details))
    }

    fn kept(&mut self, merchant: &str, part: &Element, details: &Element) -> String {
        let (shopper, token) = (part.words("authenticatedShopperID"), new_token());
        let name = (merchant.to_owned(), shopper.to_owned(), token.clone());
        self.tokens.insert(name, without_value(details));
        shown(shopper, part.words("tokenEventReference"), &token)
    }

    /// The order with the card in the place of its token.
    pub(super) fn with_card(&self, name: &(String, String), order: &Element) -> Result<Element, Answer> {
        let mut whole = order.clone();
        let Some(token) = order.find("TOKEN-SSL") else { return Ok(whole) };
        let (merchant, code) = name;
        let shopper = order.words("authenticatedShopperID").to_owned();
        let name = (merchant.clone(), shopper, token.words("paymentTokenID").to_owned());
        let absent = || order_error(code, 5, "Token does not exist");
        let card = self.tokens.get(&name).cloned().ok_or_else(absent)?;
        let details = whole.children.iter_mut().find(|child| child.name == "paymentDetails");
        let place = details.and_then(|details| details.children.first_mut());
        *place.ok_or_else(|| error(2, "Something went wrong."))? = card;
        Ok(whole)
    }
}

/// A card as it may be kept: see [`cards::kept`]. Its verification value may not.
fn without_value(details: &Element) -> Element {
    let mut card = details.clone();
    "CARD-SSL".clone_into(&mut card.name);
    card.children.retain(|child| child.name != "cvc");
    for child in card.children.iter_mut().filter(|child| child.name == "cardNumber") {
        child.text = cards::kept(child.text.trim());
    }
    card
}
