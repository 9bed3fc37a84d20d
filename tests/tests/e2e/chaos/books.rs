//! The program's journal beside the ledgers of the providers.

use super::journal::{Change, Payment, is_accepted};
use std::collections::BTreeMap;
use tests::sandbox::ledger::{Entry, Outcome};

/// What is wrong, a line each.
pub(super) type Wrong = Vec<String>;

/// What the providers did, by payment.
pub(super) struct Books {
    /// What was made for each reference of a merchant, at whichever provider.
    made: BTreeMap<String, Vec<Entry>>,
    /// What was done to each payment, by the provider's name for it.
    changed: BTreeMap<String, Vec<Entry>>,
    /// What a provider took and could not do.
    failed: Vec<Entry>,
}

/// How much of a payment a provider holds, took and gave back.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sums {
    captured: u64,
    refunded: u64,
    voided: bool,
}

fn makes(entry: &Entry) -> bool {
    matches!(entry.operation, "authorize" | "charge")
}

/// Whether the program made it as this payment: the keys of all its attempts begin with its name,
/// but for the last character.
fn is_of(entry: &Entry, payment: &Payment) -> bool {
    let key = entry.idempotency_key.as_deref().unwrap_or_default();
    let most = |text: &str| text.get(..text.len().saturating_sub(1)).map(str::to_owned);
    key.len() == payment.id.len() && most(key) == most(&payment.id)
}

// === impl Books ===

impl Books {
    pub(super) fn new(ledger: Vec<Entry>) -> Self {
        let mut books =
            Self { made: BTreeMap::new(), changed: BTreeMap::new(), failed: Vec::new() };
        for entry in ledger {
            if entry.outcome != Outcome::Approved {
                books.failed.push(entry);
            } else if makes(&entry) {
                let reference = entry.reference.clone().unwrap_or_default();
                books.made.entry(reference).or_default().push(entry);
            } else {
                books.changed.entry(entry.payment.clone()).or_default().push(entry);
            }
        }
        books
    }

    /// What was made under the keys that the program gives to the attempts of a payment.
    fn made(&self, payment: &Payment) -> Option<&Entry> {
        let entries = self.made.get(&payment.my_ref)?;
        entries.iter().find(|entry| is_of(entry, payment))
    }

    fn changed(&self, reference: &str) -> &[Entry] {
        self.changed.get(reference).map_or(&[], Vec::as_slice)
    }

    /// How often it has this change.
    fn count(&self, payment: &Payment, change: &Change) -> usize {
        let same = |entry: &&Entry| {
            entry.operation == change.operation
                && (entry.amount == Some(change.amount) || change.operation == "void")
        };
        self.changed(&payment.reference).iter().filter(same).count()
    }

    /// Payments of which Adyen's webhooks told, and the journal has not heard.
    pub(super) fn not_heard<'a>(&self, journal: &'a [Payment]) -> Vec<&'a Payment> {
        journal.iter().filter(|payment| self.is_unheard(payment)).collect()
    }

    /// Whether Adyen made it and it is in doubt, or did something to it and that is pending.
    fn is_unheard(&self, payment: &Payment) -> bool {
        let done = |change: &Change| change.outcome == "pending" && self.count(payment, change) > 0;
        payment.is_adyens_to_tell() && self.made(payment).is_some()
            || payment.is_at("Adyen") && payment.changes.iter().any(done)
    }

    /// Payments in doubt that Adyen never made: nobody but a person tells of them.
    pub(super) fn never_made<'a>(&self, journal: &'a [Payment]) -> Vec<&'a Payment> {
        let is_none = |payment: &&Payment| self.made(payment).is_none();
        journal.iter().filter(|payment| payment.is_adyens_to_tell()).filter(is_none).collect()
    }

    /// Payments of which the journal does not know yet what can be known at once: what was done, and
    /// what becomes of a change at Adyen, which is asked for again.
    pub(super) fn owed<'a>(&self, journal: &'a [Payment]) -> Vec<&'a Payment> {
        let executed = |payment: &Payment| {
            let done = |change| self.count(payment, change) > 0;
            payment.is_in_doubt() && self.made(payment).is_some()
                || payment.open_changes().any(done)
        };
        let is_owed = |payment: &&Payment| {
            executed(payment)
                || self.is_unheard(payment)
                || payment.is_at("Adyen") && payment.open_changes().count() > 0
        };
        journal.iter().filter(is_owed).collect()
    }

    /// Everything that must hold between the ledgers and the journal.
    pub(super) fn check(&self, journal: &[Payment]) -> Wrong {
        let mut wrong = Wrong::new();
        self.check_once(&mut wrong);
        self.check_sums(&mut wrong);
        self.check_known(journal, &mut wrong);
        for payment in journal {
            self.check_payment(payment, &mut wrong);
        }
        let failed = self.failed.iter();
        wrong.extend(failed.map(|entry| format!("I6: taken and not done: {entry:?}")));
        wrong
    }

    /// I1, I8: a key of a merchant moves money once, at one provider.
    fn check_once(&self, wrong: &mut Wrong) {
        for (reference, entries) in &self.made {
            if entries.len() != 1 {
                let stripe = entries.iter().any(|entry| entry.provider == "stripe");
                let adyen = entries.iter().any(|entry| entry.provider == "adyen");
                let which = if stripe && adyen { "I1, I8" } else { "I1" };
                wrong.push(format!("{which}: {reference} was made {} times", entries.len()));
            }
        }
        for (payment, entries) in &self.changed {
            let mut seen = BTreeMap::new();
            for entry in entries {
                *seen.entry((entry.operation, entry.amount)).or_insert(0) += 1;
            }
            // A merchant never asks for the same amount twice.
            let twice = seen.into_iter().filter(|(_, count)| *count > 1);
            wrong.extend(twice.map(|(what, n)| format!("I1: {payment}: {what:?} {n} times")));
        }
    }

    /// I2: no more is captured than was authorised, and no more refunded than was captured.
    fn check_sums(&self, wrong: &mut Wrong) {
        for entry in self.made.values().flatten() {
            let (sums, authorized) = (self.sums(entry), entry.amount.unwrap_or_default());
            if sums.captured > authorized || sums.refunded > sums.captured {
                wrong.push(format!("I2: {} of {authorized}: {sums:?}", entry.payment));
            }
        }
    }

    fn sums(&self, made: &Entry) -> Sums {
        let at_once = if made.operation == "charge" { made.amount } else { None };
        let mut sums = Sums { captured: at_once.unwrap_or_default(), ..Sums::default() };
        for entry in self.changed(&made.payment) {
            let amount = entry.amount.unwrap_or_default();
            match entry.operation {
                "capture" => sums.captured += amount,
                "refund" => sums.refunded += amount,
                _ => sums.voided = true,
            }
        }
        sums
    }

    /// I6: whatever a provider did is in the journal, and once.
    fn check_known(&self, journal: &[Payment], wrong: &mut Wrong) {
        for (reference, entries) in &self.made {
            let ours = journal.iter().filter(|one| entries.iter().any(|entry| is_of(entry, one)));
            let known = ours.filter(|one| one.is_made() || one.is_in_doubt()).count();
            if known != 1 {
                wrong.push(format!("I6: {reference} is in the journal {known} times: {entries:?}"));
            }
        }
        let paid: Vec<&str> = self.made.values().flatten().map(|made| &*made.payment).collect();
        let strange = self.changed.keys().filter(|payment| !paid.contains(&payment.as_str()));
        wrong.extend(strange.map(|payment| format!("I6: {payment} was changed, and never made")));
    }

    /// I6: what the journal says of a payment is what its provider did.
    fn check_payment(&self, payment: &Payment, wrong: &mut Wrong) {
        let Payment { id, my_ref, state, .. } = payment;
        if my_ref.is_empty() {
            wrong.push(format!("I6: {id} is nobody's payment"));
        }
        let made = self.made(payment);
        match (payment.is_made(), made) {
            (true, Some(made)) if made.payment == payment.reference => {
                self.check_changes(payment, wrong);
                if payment.open() == 0 {
                    self.check_state(payment, made, wrong);
                }
            }
            (true, made) => wrong.push(format!("I6: {id} is {state}, the provider has {made:?}")),
            (false, _) if payment.is_in_doubt() && payment.changes.is_empty() => {}
            (false, None) if payment.changes.is_empty() => {}
            (false, made) => wrong.push(format!("I6: {id} is {state}, the provider has {made:?}")),
        }
    }

    fn check_changes(&self, payment: &Payment, wrong: &mut Wrong) {
        for change in &payment.changes {
            let count = self.count(payment, change);
            let right = match &*change.outcome {
                "unknown" => count <= 1,
                outcome => count == usize::from(is_accepted(outcome)),
            };
            if !right {
                wrong.push(format!("I6: {}: {change:?} {count} times", payment.id));
            }
        }
        let entries = self.changed(&payment.reference).len();
        let known = payment.changes.iter().filter(|change| self.count(payment, change) > 0).count();
        if entries > known {
            wrong.push(format!("I6: {} has {known} of {entries} changes", payment.id));
        }
    }

    fn check_state(&self, payment: &Payment, made: &Entry, wrong: &mut Wrong) {
        let sums = self.sums(made);
        let state = match &sums {
            Sums { voided: true, .. } => "Voided",
            Sums { refunded: 1.., .. } => "Refunded",
            Sums { captured: 1.., .. } => "Captured",
            Sums { .. } => "Authorized",
        };
        let amount = made.amount.unwrap_or_default();
        let ours = (&*payment.state, payment.captured, payment.refunded, payment.amount);
        if ours != (state, sums.captured, sums.refunded, amount)
            || payment.charge != (made.operation == "charge")
        {
            wrong.push(format!("I6: {payment:?} is {state} {sums:?} of {amount} at its provider"));
        }
    }
}
