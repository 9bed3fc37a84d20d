//! A payment with a card that is kept, as CyberSource writes it.

use crate::stored::{Kept, Usage};
use model::StoredPurpose;
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Options<'a> {
    initiator: Initiator<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Initiator<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_stored_on_file: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_credential_used: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant_initiated_transaction: Option<Original<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Original<'a> {
    previous_transaction_id: &'a str,
}

/// Where a payment comes from that the merchant takes.
pub(super) fn channel(kept: Kept<'_>) -> &'static str {
    match (kept.usage, kept.purpose) {
        (Usage::Merchant, Some(StoredPurpose::Installment)) => "install",
        (Usage::Merchant, Some(StoredPurpose::Recurring)) => "recurring",
        _ => "internet",
    }
}

// === impl Options ===

impl<'a> Options<'a> {
    pub(super) fn of(kept: Kept<'a>) -> Self {
        let first = kept.usage == Usage::First;
        let original = kept.original.filter(|_| kept.is_by_merchant());
        Self {
            initiator: Initiator {
                r#type: if kept.is_by_merchant() { "merchant" } else { "customer" },
                credential_stored_on_file: first.then_some(true),
                stored_credential_used: (!first).then_some(true),
                merchant_initiated_transaction: original
                    .map(|previous_transaction_id| Original { previous_transaction_id }),
            },
        }
    }
}
