//! What money a provider keeps for an account.

use crate::Validity;
use model::Currency;

/// What a provider keeps in one currency, in minor units; negative where it is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Funds {
    pub currency: Currency,
    /// What may be paid out.
    pub available: i64,
    /// What will be available later.
    pub pending: i64,
}

/// How many currencies an answer may speak of.
pub(crate) const CURRENCIES_MAX: usize = 200;

/// What a provider says when it is asked.
pub type Told = Result<Vec<Funds>, Validity>;

/// Adds what is told in one currency.
pub(crate) fn add(
    all: &mut Vec<Funds>,
    currency: Currency,
    set: impl FnOnce(&mut Funds),
) -> Result<(), Validity> {
    let place = all.iter().position(|funds| funds.currency == currency);
    let place = place.unwrap_or_else(|| {
        all.push(Funds { currency, available: 0, pending: 0 });
        all.len().saturating_sub(1)
    });
    if all.len() > CURRENCIES_MAX {
        return Err(Validity::NotUnderstood);
    }
    all.get_mut(place).map(set).ok_or(Validity::NotUnderstood)
}
