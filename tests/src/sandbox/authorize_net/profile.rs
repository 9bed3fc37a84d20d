//! Customers, each with the card that is kept for them.

use super::{AuthorizeNet, answer, messages, new_id, refuse};
use crate::sandbox::shape::text;
use crate::sandbox::{Answer, cards};
use serde_json::{Value, json};

/// A card as it is kept: without its verification value.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    customer: String,
    /// The merchant's name for the customer.
    name: String,
    card: Value,
    bill_to: Value,
}

/// The names of a customer and of a card.
pub(super) type Names = (String, String);

// === impl AuthorizeNet ===

impl AuthorizeNet {
    /// Keeps a card without a payment. The real one may ask the issuer; this one looks at the number.
    pub(super) fn keep_card(&mut self, parameters: &Value) -> Answer {
        let card = parameters.pointer("/profile/paymentProfiles/payment/creditCard");
        let card = card.unwrap_or(&Value::Null);
        if !text(card, "/cardNumber").is_some_and(cards::is_number) {
            return refuse("E00003", "The element cardNumber is invalid.");
        }
        let name = text(parameters, "/profile/merchantCustomerId").unwrap_or_default();
        if let Some(known) = self.profiles.latest().find(|profile| profile.name == name) {
            let said = format!("A duplicate record with ID {} already exists.", known.customer);
            return refuse("E00039", &said);
        }
        let bill_to = parameters.pointer("/profile/paymentProfiles/billTo");
        let (customer, payment) = self.keep(name, card, bill_to);
        let mut body = json!({
            "customerProfileId": customer, "customerPaymentProfileIdList": [payment],
            "customerShippingAddressIdList": [], "validationDirectResponseList": [],
            "messages": messages("Ok", "I00001", "Successful."),
        });
        if let (Some(name), Some(object)) = (text(parameters, "/refId"), body.as_object_mut()) {
            object.insert("refId".into(), name.into());
        }
        answer(&body)
    }

    /// Keeps the card of an approved payment, where that is asked for.
    pub(super) fn keep_paid(&mut self, request: &Value) -> Option<Names> {
        let wanted = request.pointer("/profile/createProfile") == Some(&Value::Bool(true));
        let card = request.pointer("/payment/creditCard").filter(|_| wanted)?;
        let name = text(request, "/customer/id").unwrap_or_default();
        Some(self.keep(name, card, request.get("billTo")))
    }

    fn keep(&mut self, name: &str, card: &Value, bill_to: Option<&Value>) -> Names {
        let number = text(card, "/cardNumber").unwrap_or_default();
        let (customer, payment) = (new_id(), new_id());
        let kept = json!({
            "cardNumber": cards::kept(number), "expirationDate": card.get("expirationDate"),
        });
        let profile = Profile {
            customer: customer.clone(),
            name: name.to_owned(),
            card: kept,
            bill_to: bill_to.cloned().unwrap_or(Value::Null),
        };
        self.profiles.insert(payment.clone(), profile);
        (customer, payment)
    }

    /// The request with the card in the place of the profile. Beside a profile that is paid with, there
    /// is no card and nobody who pays.
    pub(super) fn with_card(&self, request: &Value) -> Result<Value, Answer> {
        let mut whole = request.clone();
        let Some(customer) = text(request, "/profile/customerProfileId") else { return Ok(whole) };
        if ["payment", "billTo", "customer"].iter().any(|name| request.get(name).is_some()) {
            return Err(refuse("E00095", "Only a profile may be provided."));
        }
        let payment = text(request, "/profile/paymentProfile/paymentProfileId");
        let profile = self.profiles.get(&payment.unwrap_or_default().to_owned());
        let profile = profile.filter(|profile| profile.customer == customer);
        let profile = profile.ok_or_else(|| refuse("E00040", "The record cannot be found."))?;
        if let Some(object) = whole.as_object_mut() {
            object.insert("payment".into(), json!({"creditCard": profile.card}));
            object.insert("billTo".into(), profile.bill_to.clone());
        }
        Ok(whole)
    }
}
