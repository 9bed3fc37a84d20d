//! What the schemes want to know of a payment with a card that is kept, checked before it is sent.
//!
//! What every provider asks of it is here; how each writes it is in that provider's file.

use crate::Refusal;
use crate::checks;
use model::{Authorization, Stored, StoredPurpose, StoredUsage};

/// The API's names for the fields, in refusals.
pub(crate) const USAGE: &str = "storedCredential.usage";
const ORIGINAL: &str = "storedCredential.networkTransactionId";

/// A payment with a kept card, whose original has the shape that schemes give it.
#[derive(Clone, Copy)]
pub(crate) struct Kept<'a> {
    pub(crate) usage: Usage,
    pub(crate) purpose: Option<StoredPurpose>,
    /// The scheme's name for the payment at which it was agreed on.
    pub(crate) original: Option<&'a str>,
}

/// Which payment with a kept card it is, and who makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    First,
    Cardholder,
    Merchant,
}

/// Checks what the merchant handed in. Nobody is authenticated for what the merchant makes.
pub(crate) fn check<C>(authorization: &Authorization<C>) -> Result<Option<Kept<'_>>, Refusal> {
    let Some(Stored { usage, purpose }) = &authorization.stored else { return Ok(None) };
    let (usage, original) = match usage {
        StoredUsage::First => (Usage::First, None),
        StoredUsage::Cardholder { original } => (Usage::Cardholder, original.as_deref()),
        StoredUsage::Merchant { original } => (Usage::Merchant, original.as_deref()),
    };
    if original.is_some_and(|original| checks::network_id(original).is_none()) {
        return Err(refuse(ORIGINAL, "is not a network transaction id"));
    }
    if usage == Usage::Merchant && authorization.three_ds.is_some() {
        return Err(refuse(USAGE, "the merchant takes it, but the cardholder was authenticated"));
    }
    Ok(Some(Kept { usage, purpose: *purpose, original }))
}

pub(crate) fn refuse(name: &'static str, problem: &'static str) -> Refusal {
    Refusal::Field { name, problem }
}

// === impl Kept ===

impl Kept<'_> {
    pub(crate) fn is_by_merchant(self) -> bool {
        self.usage == Usage::Merchant
    }
}
