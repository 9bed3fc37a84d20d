//! Cards that Stripe keeps: each is a PaymentMethod of a Customer of its own.
//!
//! A PaymentMethod of nobody pays once. One that is kept is charged by both ids, so the merchant is
//! told both. <https://docs.stripe.com/api/customers/create>

use super::answer::{self, UNREADABLE};
use super::{id, marked, post, refuse};
use crate::wire::{Answer, Form, Request};
use crate::{Cx, Refusal, means};
use model::{Kind, Operation, Outcome, Report, Secret};
use serde::Deserialize;

/// What a PaymentIntent is paid with.
pub(super) struct Paid<'a> {
    pub(super) method: &'a str,
    /// Who has it, where it is kept.
    pub(super) customer: Option<&'a str>,
}

#[derive(Deserialize)]
pub(super) struct Customer {
    id: String,
    invoice_settings: InvoiceSettings,
    metadata: Option<Metadata>,
    object: String,
}

#[derive(Deserialize)]
struct InvoiceSettings {
    default_payment_method: String,
}

#[derive(Deserialize)]
struct Metadata {
    operation_key: Option<String>,
}

/// Has a Customer made who has the PaymentMethod.
pub(super) fn keep<C>(
    operation: &Operation<C>,
    method: &str,
    cx: &Cx<'_>,
) -> Result<Request, Refusal> {
    let form = Form::new()
        .pair("payment_method", method)
        // What comes back of the PaymentMethod is this.
        .pair("invoice_settings[default_payment_method]", method);
    post(&["customers"], marked(form, operation), &[&operation.key, "-cus"], cx)
}

/// The Customer that has the PaymentMethod, or what became of it instead.
pub(super) fn kept<C>(
    operation: &Operation<C>,
    answer: &Answer<'_>,
) -> Result<Customer, Box<Report>> {
    made(Some(&operation.key), answer)
}

fn made(key: Option<&str>, answer: &Answer<'_>) -> Result<Customer, Box<Report>> {
    if answer.status != 200 {
        return Err(Box::new(answer::failure(Kind::Tokenize, answer)));
    }
    let customer = answer.json().filter(|customer: &Customer| customer.is_whole(key));
    customer.ok_or_else(|| Box::new(Report::bare(UNREADABLE)))
}

/// What became of a tokenization.
pub(super) fn read(key: Option<&str>, answer: &Answer<'_>) -> Report {
    match made(key, answer) {
        Ok(_) => Report::bare(Outcome::Approved),
        Err(report) => *report,
    }
}

// === impl Customer ===

impl Customer {
    /// What the merchant is told of it.
    pub(super) fn token(&self) -> Secret {
        means::join(&self.id, &self.invoice_settings.default_payment_method)
    }

    pub(super) fn paid(&self) -> Paid<'_> {
        let method = &self.invoice_settings.default_payment_method;
        Paid { method, customer: Some(&self.id) }
    }

    fn is_whole(&self, key: Option<&str>) -> bool {
        let told = self.metadata.as_ref().and_then(|meta| meta.operation_key.as_deref());
        self.object == "customer"
            && id(&self.id, "cus_").is_some()
            && id(&self.invoice_settings.default_payment_method, "pm_").is_some()
            && key.is_none_or(|wanted| told.is_none_or(|told| told == wanted))
    }
}

// === impl Paid ===

impl<'a> Paid<'a> {
    /// A PaymentMethod that pays once.
    pub(super) fn once(method: &'a str) -> Self {
        Self { method, customer: None }
    }

    /// What a merchant was told of a card that is kept.
    pub(super) fn of(token: &'a Secret) -> Result<Self, Refusal> {
        let ids = means::split(token).and_then(|(customer, method)| {
            Some(Self { method: id(method, "pm_")?, customer: Some(id(customer, "cus_")?) })
        });
        ids.ok_or(refuse(means::TOKEN, "is not a card that Stripe keeps"))
    }
}
