//! A payment on its way from one account to the next: each attempt is in the journal before it is sent.

use super::{NewName, Ongoing, ReplayClaim};
use crate::{Vault, VaultError};
use model::{Attempt, MerchantId, Payment, Report, Standing};

/// What came of asking an account.
pub trait Told {
    /// How it stands in the journal.
    fn standing(&self) -> Standing;

    /// What the provider said, if it said anything.
    fn report(&self) -> Option<&Report>;
}

/// A payment that is being made, and what the journal has of it.
#[derive(Debug)]
pub struct Course {
    payment: Payment,
    begun: Begun,
}

#[derive(Debug)]
enum Begun {
    Not {
        name: NewName,
        replay: Option<ReplayClaim>,
    },
    Yes(Ongoing),
    /// The journal failed.
    Lost,
}

// === impl Course ===

impl Course {
    /// A payment that has not begun; it bears the name.
    pub fn new(payment: Payment, name: NewName, replay: Option<ReplayClaim>) -> Self {
        Self { payment, begun: Begun::Not { name, replay } }
    }

    /// The payment as it stands.
    pub fn payment(&self) -> &Payment {
        &self.payment
    }

    /// Whether the journal failed, so that nothing more may be sent.
    pub fn is_lost(&self) -> bool {
        matches!(self.begun, Begun::Lost)
    }

    /// The key of the attempt that would come next.
    pub fn next_key(&self) -> Box<str> {
        self.payment.id.attempt_key(self.payment.attempts.len())
    }

    /// Notes the last four digits of the card.
    pub fn note_card(&mut self, last_four: Option<Box<str>>) {
        self.payment.last_four = last_four;
    }

    /// Asks an account. `send` is not begun before it is durable that this attempt may be under way.
    ///
    /// # Errors
    /// The journal failed, or an attempt before may have done something. Nothing was sent, and the
    /// attempt does not count.
    pub async fn ask<T: Told>(
        &mut self,
        (vault, merchant): (&Vault, &MerchantId),
        attempt: Attempt,
        send: impl Future<Output = T>,
    ) -> Result<T, VaultError> {
        self.payment.attempts.push(attempt);
        if let Err(error) = self.write_down(vault, merchant).await {
            self.payment.attempts.pop();
            return Err(error);
        }
        let told = send.await;
        self.payment.note(None, told.standing(), told.report());
        Ok(told)
    }

    async fn write_down(&mut self, vault: &Vault, merchant: &MerchantId) -> Result<(), VaultError> {
        let kept = match std::mem::replace(&mut self.begun, Begun::Lost) {
            Begun::Not { name, replay } => {
                vault.begin_payment(merchant, self.payment.clone(), replay, name).await
            }
            Begun::Yes(mut ongoing) => {
                ongoing.payment.clone_from(&self.payment);
                vault.go_on(&mut ongoing).await.map(|()| ongoing)
            }
            Begun::Lost => Err(VaultError::NotNothing),
        };
        self.begun = Begun::Yes(kept?);
        Ok(())
    }

    /// What is to be settled; none where nothing was ever written down, or the journal failed.
    pub fn into_ongoing(self) -> Option<Ongoing> {
        let Begun::Yes(mut ongoing) = self.begun else { return None };
        ongoing.payment = self.payment;
        Some(ongoing)
    }
}
