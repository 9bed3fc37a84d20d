//! Payments as queries show them, and their links.

use super::payment::Payment;
use super::{HOSTS, Worldpay, absent};
use crate::sandbox::Answer;
use crate::sandbox::cards;
use crate::sandbox::shape::text;
use serde_json::{Map, Value, json};

// === impl Worldpay ===

impl Worldpay {
    pub(super) fn query(&self, id: &str) -> Result<Answer, Answer> {
        let payment = self.payments.get(&id.to_owned()).ok_or_else(absent)?;
        Ok(Answer::json(200, &payment.queried()))
    }

    /// The payments of any entity with this name.
    pub(super) fn query_by_reference(&self, parameters: &Value) -> Result<Answer, Answer> {
        let reference = text(parameters, "/transactionReference").unwrap_or_default();
        let named = self.payments.latest().filter(|payment| payment.reference == reference);
        let listed: Vec<_> = named.map(Payment::listed).collect();
        let shown = json!({
            "_links": {"self": {"href": "/paymentQueries/payments"}},
            "_embedded": {"payments": listed},
        });
        Ok(Answer::json(200, &shown))
    }

    pub(super) fn event(&mut self, link: &str) -> Result<Answer, Answer> {
        let payment = self.linked(link)?;
        Ok(Answer::json(200, &payment.last_event()))
    }

    pub(super) fn event_by_reference(&self, parameters: &Value) -> Result<Answer, Answer> {
        let part = |at| text(parameters, at).unwrap_or_default().to_owned();
        let id = self.references.get(&(part("/entity"), part("/transactionRef")));
        let payment = id.and_then(|id| self.payments.get(id)).ok_or_else(absent)?;
        Ok(Answer::json(200, &payment.last_event()))
    }
}

// === impl Payment ===

impl Payment {
    pub(super) fn instrument(&self) -> Value {
        json!({
            "type": "card/plain+masked",
            "cardBin": self.number.get(..6),
            "lastFour": cards::last_four(&self.number),
            "cardBrand": cards::test_card(&self.number).map_or("visa", |card| card.brand),
        })
    }

    /// What may be done next, each with the state of the payment in its link.
    pub(super) fn links(&self) -> Map<String, Value> {
        let host = HOSTS.first().copied().unwrap_or_default();
        let link = format!("{}.{}", self.id, self.step);
        let href = |path: &str| json!({"href": format!("https://{host}/payments/{path}/{link}")});
        let mut links = Map::new();
        for (name, path, open) in [
            ("cancel", "authorizations/cancellations", self.can_cancel()),
            ("settle", "settlements/full", self.can_settle() && self.captured == 0),
            ("partialSettle", "settlements/partials", self.can_settle()),
            ("refund", "settlements/refunds/full", self.can_refund() && self.refunded == 0),
            ("partialRefund", "settlements/refunds/partials", self.can_refund()),
            ("reverse", "sales/reversals", self.sale && self.can_refund() && self.refunded == 0),
            ("events", "events", true),
        ] {
            if open {
                links.insert(format!("cardPayments:{name}"), href(path));
            }
        }
        let curies = format!("https://{host}/rels/cardPayments/{{rel}}");
        let curies = json!([{"name": "cardPayments", "href": curies, "templated": true}]);
        links.insert("curies".to_owned(), curies);
        links
    }

    fn can_settle(&self) -> bool {
        !self.refused && !self.cancelled && !self.sale && self.captured < self.authorised
    }

    fn can_cancel(&self) -> bool {
        self.can_settle()
    }

    fn can_refund(&self) -> bool {
        self.captured > self.refunded
    }

    /// The names of the events as Card Payments says them.
    fn last_event(&self) -> Value {
        let word = match self.event() {
            _ if self.refused => "Refused",
            name if name.starts_with("settlement") => "Sent for Settlement",
            name if name.starts_with("refund") => "Sent for Refund",
            name if name.starts_with("cancellation") => "Sent for Cancellation",
            name if name.starts_with("reversal") => "Sent for Cancellation",
            _ => "Authorized",
        };
        json!({"lastEvent": word, "_links": self.links()})
    }

    fn event(&self) -> &str {
        let last = self.events.last().and_then(|event| event.get("eventName"));
        last.and_then(Value::as_str).unwrap_or_default()
    }

    fn summary(&self) -> Value {
        json!({
            "timestamp": "2026-06-08T16:11:13.164Z",
            "paymentId": self.id,
            "transactionReference": self.reference,
            "transactionType": "oneTime",
            "authorizationType": if self.sale { "sale" } else { "authorization" },
            "entity": self.entity,
            "lastEvent": self.event(),
            "issuer": {"authorizationCode": "T75725"},
            "scheme": {"reference": "MCCOLXT1C0104  "},
            "value": {"currency": self.currency, "amount": self.authorised},
        })
    }

    fn own_link(&self) -> Value {
        json!({"href": format!("/paymentQueries/payments/{}", self.id)})
    }

    fn listed(&self) -> Value {
        let mut shown = self.summary();
        if let Some(shown) = shown.as_object_mut() {
            shown.insert("_links".to_owned(), json!({"self": self.own_link()}));
        }
        shown
    }

    fn queried(&self) -> Value {
        let mut links = self.links();
        links.insert("self".to_owned(), self.own_link());
        let mut shown = self.summary();
        if let Some(shown) = shown.as_object_mut() {
            shown.insert("events".to_owned(), Value::Array(self.events.clone()));
            shown.insert("_links".to_owned(), Value::Object(links));
        }
        shown
    }
}
