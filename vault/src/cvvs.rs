//! Card verification values: in memory, for minutes, for one use.
//!
//! PCI DSS 3.3.1 forbids to store them after authorisation, encrypted or not. So none reaches the
//! store; they end with the process, with their time, or with their use, whichever comes first.
//!
//! A use is one payment, which may have to ask several accounts. The value is lent to it: nobody
//! else gets it, and it is forgotten when the payment ends, however that ends.

use crate::{UnixMillis, VaultError};
use model::{CardToken, Cvv, MerchantId};
use std::collections::HashMap;
use std::fmt;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How many values are held at once, over all merchants.
pub(crate) const CVVS_MAX: usize = 50_000;
/// How many values one merchant may have held at once, so that it cannot take the place of others.
pub(crate) const CVVS_PER_MERCHANT_MAX: usize = 10_000;
/// How long a value is held.
pub(crate) const CVV_TTL: Duration = Duration::from_secs(10 * 60);
/// How much longer a value that nobody asks for may stay in memory.
const SWEEP_PERIOD: Duration = Duration::from_secs(15);

/// The values that are held, with wiping on removal.
#[derive(Default)]
pub(crate) struct Cvvs(Mutex<Held>);

/// Removes what is over its time, until it is dropped.
#[derive(Debug)]
pub(crate) struct Sweeper(
    #[expect(dead_code, reason = "dropping it ends the thread")] SyncSender<()>,
);

/// The right of one payment to a value, for as long as the payment runs. It is empty until the value
/// is opened for the first time, and when it is dropped, the value is forgotten.
#[derive(Debug, Default)]
pub struct CvvLoan(Option<Lent>);

#[derive(Debug)]
struct Lent {
    cvvs: Arc<Cvvs>,
    merchant: MerchantId,
    token: CardToken,
}

#[derive(Default)]
struct Held {
    count: usize,
    by_merchant: HashMap<MerchantId, HashMap<CardToken, One>>,
}

struct One {
    cvv: Cvv,
    created: UnixMillis,
    until: Instant,
    /// A payment that runs has it.
    lent: bool,
}

// === impl Cvvs ===

impl Cvvs {
    /// Holds a value under a name.
    pub(crate) fn keep(
        &self,
        merchant: &MerchantId,
        token: CardToken,
        cvv: Cvv,
        created: UnixMillis,
        now: Instant,
    ) -> Result<(), VaultError> {
        let until = now.checked_add(CVV_TTL).unwrap_or(now);
        self.lock().insert(merchant, token, One { cvv, created, until, lent: false })
    }

    /// Opens a value for the payment that has, or from now on has, the loan of it.
    pub(crate) fn open(
        self: &Arc<Self>,
        merchant: &MerchantId,
        token: &CardToken,
        loan: &mut CvvLoan,
        now: Instant,
    ) -> Option<Cvv> {
        let own = loan.is_of(merchant, token);
        let mut held = self.lock();
        let one = held.by_merchant.get_mut(merchant)?.get_mut(token)?;
        if now >= one.until || one.lent != own {
            return None;
        }
        one.lent = true;
        let cvv = one.cvv.again();
        drop(held);
        if !own {
            let (cvvs, merchant, token) = (self.clone(), merchant.clone(), token.clone());
            *loan = CvvLoan(Some(Lent { cvvs, merchant, token }));
        }
        Some(cvv)
    }

    /// Forgets a value, and says whether there was one.
    pub(crate) fn remove(&self, merchant: &MerchantId, token: &CardToken, now: Instant) -> bool {
        self.lock().remove(merchant, token).is_some_and(|one| now < one.until)
    }

    /// Has a value wait for its payment again.
    fn take_back(&self, merchant: &MerchantId, token: &CardToken) {
        let mut held = self.lock();
        let own = held.by_merchant.get_mut(merchant);
        if let Some(one) = own.and_then(|own| own.get_mut(token)) {
            one.lent = false;
        }
    }

    /// When a value was kept, if it is still held.
    pub(crate) fn created(
        &self,
        merchant: &MerchantId,
        token: &CardToken,
        now: Instant,
    ) -> Option<UnixMillis> {
        let held = self.lock();
        let one = held.by_merchant.get(merchant)?.get(token)?;
        (now < one.until).then_some(one.created)
    }

    /// Forgets all values of a merchant.
    pub(crate) fn forget(&self, merchant: &MerchantId) {
        let mut held = self.lock();
        let gone = held.by_merchant.remove(merchant).map_or(0, |own| own.len());
        held.count = held.count.saturating_sub(gone);
    }

    /// How many values are held.
    pub(crate) fn count(&self) -> usize {
        self.lock().count
    }

    /// Forgets what is over its time.
    pub(crate) fn sweep(&self, now: Instant) {
        self.lock().sweep(now);
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cvvs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cvvs({})", self.count())
    }
}

// === impl CvvLoan ===

impl CvvLoan {
    /// Gives the value back, so that another payment may use it: for a payment that certainly did
    /// nothing, and that the merchant may try again.
    pub fn give_back(mut self) {
        if let Some(Lent { cvvs, merchant, token }) = self.0.take() {
            cvvs.take_back(&merchant, &token);
        }
    }

    fn is_of(&self, merchant: &MerchantId, token: &CardToken) -> bool {
        self.0.as_ref().is_some_and(|lent| lent.merchant == *merchant && lent.token == *token)
    }
}

impl Drop for CvvLoan {
    fn drop(&mut self) {
        if let Some(Lent { cvvs, merchant, token }) = self.0.take() {
            cvvs.remove(&merchant, &token, Instant::now());
        }
    }
}

// === impl Sweeper ===

impl Sweeper {
    /// Starts to call `sweep` with the time. `None` when the system gives no thread.
    pub(crate) fn start(sweep: impl Fn(Instant) + Send + 'static) -> Option<Self> {
        let (alive, ended) = mpsc::sync_channel::<()>(1);
        let body = move || {
            while ended.recv_timeout(SWEEP_PERIOD) == Err(RecvTimeoutError::Timeout) {
                sweep(Instant::now());
            }
        };
        thread::Builder::new().name("vault-sweeper".into()).spawn(body).ok()?;
        Some(Self(alive))
    }
}

// === impl Held ===

impl Held {
    fn insert(
        &mut self,
        merchant: &MerchantId,
        token: CardToken,
        one: One,
    ) -> Result<(), VaultError> {
        let too_many = |max| VaultError::TooMany { what: "card verification values", max };
        if self.count >= CVVS_MAX {
            return Err(too_many(CVVS_MAX));
        }
        let own = self.by_merchant.entry(merchant.clone()).or_default();
        if own.len() >= CVVS_PER_MERCHANT_MAX {
            return Err(too_many(CVVS_PER_MERCHANT_MAX));
        }
        own.insert(token, one);
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    fn remove(&mut self, merchant: &MerchantId, token: &CardToken) -> Option<One> {
        let one = self.by_merchant.get_mut(merchant)?.remove(token)?;
        self.count = self.count.saturating_sub(1);
        Some(one)
    }

    fn sweep(&mut self, now: Instant) {
        self.by_merchant.retain(|_, own| {
            own.retain(|_, one| now < one.until);
            !own.is_empty()
        });
        self.count = self.by_merchant.values().map(HashMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::{CVV_TTL, CVVS_MAX, CVVS_PER_MERCHANT_MAX, CvvLoan, Cvvs};
    use crate::VaultError;
    use model::{CardToken, Cvv, MerchantId};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    fn shop(n: usize) -> MerchantId {
        MerchantId::parse(&format!("shop-{n}")).unwrap()
    }

    fn token(n: usize) -> CardToken {
        CardToken::parse(&format!("{n:032}")).unwrap()
    }

    fn keep(cvvs: &Cvvs, merchant: usize, n: usize, now: Instant) -> Result<(), VaultError> {
        cvvs.keep(&shop(merchant), token(n), Cvv::parse("737").unwrap(), 1, now)
    }

    /// Whether the value opens for the payment with this loan.
    fn opens(cvvs: &Arc<Cvvs>, n: usize, loan: &mut CvvLoan, now: Instant) -> bool {
        // Exposed to see that it is the one that was kept.
        cvvs.open(&shop(1), &token(n), loan, now).is_some_and(|cvv| cvv.expose() == "737")
    }

    #[test]
    fn a_value_is_good_for_one_payment_and_for_its_merchant() {
        let (cvvs, now) = (Arc::new(Cvvs::default()), Instant::now());
        keep(&cvvs, 1, 1, now).unwrap();
        let (mut own, mut other) = (CvvLoan::default(), CvvLoan::default());
        assert!(cvvs.open(&shop(2), &token(1), &mut other, now).is_none());
        assert_eq!(cvvs.created(&shop(1), &token(1), now), Some(1));
        assert!(opens(&cvvs, 1, &mut own, now) && opens(&cvvs, 1, &mut own, now));
        assert!(!opens(&cvvs, 1, &mut other, now), "it is lent");
        drop(other);
        assert!(opens(&cvvs, 1, &mut own, now), "who did not get it does not end it");
        drop(own);
        assert!(!opens(&cvvs, 1, &mut CvvLoan::default(), now));
        assert_eq!(cvvs.count(), 0);
    }

    #[test]
    fn a_value_that_is_given_back_is_good_for_another_payment() {
        let (cvvs, now) = (Arc::new(Cvvs::default()), Instant::now());
        keep(&cvvs, 1, 1, now).unwrap();
        for _ in 0..2 {
            let mut loan = CvvLoan::default();
            assert!(opens(&cvvs, 1, &mut loan, now));
            loan.give_back();
        }
        let mut late = CvvLoan::default();
        assert!(!opens(&cvvs, 1, &mut late, now + CVV_TTL), "its time did not begin anew");
    }

    #[test]
    fn a_value_is_gone_when_its_time_is_over() {
        let (cvvs, now) = (Arc::new(Cvvs::default()), Instant::now());
        keep(&cvvs, 1, 1, now).unwrap();
        keep(&cvvs, 1, 2, now + Duration::from_secs(1)).unwrap();
        let mut loan = CvvLoan::default();
        assert!(opens(&cvvs, 1, &mut loan, now));
        assert!(!opens(&cvvs, 1, &mut loan, now + CVV_TTL), "neither while it is lent");
        assert!(cvvs.created(&shop(1), &token(1), now + CVV_TTL).is_none());
        cvvs.sweep(now + CVV_TTL);
        assert_eq!(cvvs.count(), 1);
        assert!(opens(&cvvs, 2, &mut CvvLoan::default(), now + CVV_TTL));
        keep(&cvvs, 1, 3, now).unwrap();
        assert!(!opens(&cvvs, 3, &mut CvvLoan::default(), now + CVV_TTL), "not yet swept");
    }

    #[test]
    fn there_is_a_maximum_in_all_and_by_merchant() {
        let (cvvs, now) = (Cvvs::default(), Instant::now());
        for n in 0..CVVS_PER_MERCHANT_MAX {
            keep(&cvvs, 0, n, now).unwrap();
        }
        assert!(matches!(keep(&cvvs, 0, CVVS_MAX, now), Err(VaultError::TooMany { .. })));
        for n in CVVS_PER_MERCHANT_MAX..CVVS_MAX {
            keep(&cvvs, 1 + n / CVVS_PER_MERCHANT_MAX, n, now).unwrap();
        }
        assert!(matches!(keep(&cvvs, 99, CVVS_MAX, now), Err(VaultError::TooMany { .. })));
        assert!(cvvs.remove(&shop(0), &token(0), now));
        keep(&cvvs, 99, CVVS_MAX, now).unwrap();
    }

    #[test]
    fn debug_tells_how_many() {
        let cvvs = Cvvs::default();
        keep(&cvvs, 1, 1, Instant::now()).unwrap();
        assert_eq!(format!("{cvvs:?}"), "Cvvs(1)");
    }
}
