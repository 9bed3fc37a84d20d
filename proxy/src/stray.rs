//! Undoes payments that stand at a provider although their merchant was told that nothing was done.
//!
//! What must not stand is in the journal, and so is each void of it, so that this goes on after a crash
//! and nothing is undone twice. What it cannot undo it tells.

use crate::payment::Plan;
use crate::shared::Shared;
use filters::AccountChoice;
use filters::decode::PaymentRequest;
use model::{Action, ChangeKind, FollowUp, Payment, TransactionId, Undo};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use vault::VaultError;
use vault::audit::{Actor, Who};
use vault::payments::Stray;

/// How many are looked through for those that are due.
const STRAYS_MAX: usize = 10_000;
/// How many are begun in one look.
const AT_ONCE_MAX: usize = 4;
/// How long after the first look the second comes; the time doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(300);

/// What undoes them.
pub(crate) struct Undoer {
    shared: Arc<Shared>,
    waits: Mutex<HashMap<TransactionId, Wait>>,
}

/// When one of them is looked at again.
#[derive(Clone, Copy, Debug)]
struct Wait {
    due: Instant,
    next: Duration,
    /// It was told that a person has to look.
    told: bool,
}

// === impl Undoer ===

impl Undoer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, waits: Mutex::default() }
    }

    /// Begins with all that is due, and does not wait for the end.
    pub(crate) fn look(self: &Arc<Self>) {
        let strays = self.shared.vault.strays(STRAYS_MAX);
        for stray in due(&mut self.lock(), strays, Instant::now()) {
            let this = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(error) = this.undo(&stray).await {
                    log::warn!("transaction {} is not undone: {error}", stray.payment);
                }
            });
        }
    }

    async fn undo(&self, stray: &Stray) -> Result<(), VaultError> {
        let id = &stray.payment;
        match self.shared.vault.undo(stray)? {
            None | Some((_, Undo::Nothing)) => {
                self.shared.vault.let_stand(stray).await?;
                log::info!("transaction {id} does not have to be undone any more");
            }
            Some((_, Undo::Wait)) => {}
            Some((_, Undo::Person)) => self.tell(stray),
            Some((payment, Undo::Do(kind))) => {
                log::warn!("transaction {id} must not stand: a {} begins", kind.kind().word());
                // How it ended is in the journal.
                let _told = plan(stray, &payment, kind).perform(&self.shared).await;
            }
        }
        Ok(())
    }

    /// Says that a person has to look, once.
    fn tell(&self, stray: &Stray) {
        let mut waits = self.lock();
        let Some(wait) = waits.get_mut(&stray.payment).filter(|wait| !wait.told) else { return };
        wait.told = true;
        log::error!(
            "transaction {} of {} stands, and its merchant was told that it does not: it could not be undone",
            stray.payment,
            stray.merchant.as_str()
        );
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TransactionId, Wait>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those that are due, which are looked at again later. The others of which something is known are
/// forgotten.
fn due(waits: &mut HashMap<TransactionId, Wait>, strays: Vec<Stray>, now: Instant) -> Vec<Stray> {
    let mut kept = HashMap::with_capacity(strays.len());
    let mut due = Vec::new();
    for stray in strays {
        let first = Wait { due: now, next: FIRST_WAIT, told: false };
        let mut wait = waits.remove(&stray.payment).unwrap_or(first);
        let id = stray.payment.clone();
        if wait.due <= now && due.len() < AT_ONCE_MAX {
            wait.due = now.checked_add(wait.next).unwrap_or(now);
            wait.next = wait.next.saturating_mul(2).min(WAIT_MAX);
            due.push(stray);
        }
        kept.insert(id, wait);
    }
    *waits = kept;
    due
}

/// The void, or the refund, of all of a payment.
fn plan(stray: &Stray, payment: &Payment, kind: ChangeKind) -> Plan {
    let all = FollowUp::unknown(payment.amount, Box::default());
    let action = match kind {
        ChangeKind::Capture => Action::Capture(all),
        ChangeKind::Refund => Action::Refund(all),
        ChangeKind::Void => Action::Void(all),
    };
    let request = PaymentRequest {
        action,
        merchant_reference: None,
        account: AccountChoice::OfPayment,
        fallbacks: Vec::new(),
        payment: Some(payment.id.clone()),
    };
    let who = Who { actor: Actor::System, origin: None };
    Plan { merchant: stray.merchant.clone(), key: None, request, who }
}

#[cfg(test)]
mod tests {
    use super::{AT_ONCE_MAX, FIRST_WAIT, due};
    use model::{MerchantId, TransactionId};
    use std::collections::HashMap;
    use std::time::Instant;
    use vault::payments::Stray;

    fn stray(nth: u64) -> Stray {
        let id = TransactionId::new(nth, 0);
        let merchant = MerchantId::parse("acme").unwrap();
        Stray { merchant, payment: id.clone(), of: id }
    }

    #[test]
    fn what_cannot_be_undone_does_not_keep_the_others_waiting() {
        let (mut waits, now) = (HashMap::new(), Instant::now());
        let all: Vec<_> = (0..6).map(stray).collect();
        assert_eq!(due(&mut waits, all.clone(), now), all[..AT_ONCE_MAX]);
        assert_eq!(due(&mut waits, all.clone(), now), all[AT_ONCE_MAX..]);
        assert!(due(&mut waits, all.clone(), now).is_empty());
        let again = now + FIRST_WAIT;
        assert_eq!(due(&mut waits, all.clone(), again), all[..AT_ONCE_MAX]);
        assert_eq!(due(&mut waits, all.clone(), again), all[AT_ONCE_MAX..]);
        // The next time comes later.
        assert!(due(&mut waits, all.clone(), again + FIRST_WAIT).is_empty());
        assert_eq!(due(&mut waits, all, again + FIRST_WAIT * 2).len(), AT_ONCE_MAX);
        assert!(due(&mut waits, Vec::new(), again).is_empty() && waits.is_empty());
    }
}
