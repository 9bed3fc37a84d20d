//! What a provider tells of its own accord, and what a payment learns from it.
//!
//! Words about a payment come from three sides: the answer to what was asked, a notice, and the
//! resolver's question. Each may be late, come twice, or never. So nothing here depends on their
//! order: a standing only moves up, from what is not known over pending to done, and from there at
//! most to failed, because a provider may take a success back and never a failure.

use super::{Attempt, Change, ChangeKind, Evidence, Payment, Standing, TransactionId};
use crate::{AccountName, Amount, Capture, Outcome, Report};

/// What a provider tells of its own accord.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The provider's name for it, the same each time that it is sent.
    pub name: Box<str>,
    pub about: About,
    /// What became of it. None: the provider is to be asked.
    pub report: Option<Report>,
}

/// What a notice is about, in the names that its provider uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub subject: Subject,
    /// Our key for what is told, or at least for the payment.
    pub key: Option<Box<str>>,
    /// Our key for the payment, where the one before is a change's: a change that has ended is not
    /// found by its own any more.
    pub payment_key: Option<Box<str>>,
    /// The provider's name for the payment.
    pub payment: Option<Box<str>>,
    /// The provider's name for the change.
    pub action: Option<Box<str>>,
    /// What the merchant calls the payment, where nothing better is told.
    pub merchant_reference: Option<Box<str>>,
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The payment itself.
    Payment,
    /// Something done to it.
    Change(ChangeKind),
}

/// Who tells: an account at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Teller {
    /// The provider's name.
    pub provider: Box<str>,
    pub account: AccountName,
}

/// What a payment learnt from a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Learnt {
    /// It tells of another amount than was asked for. Nothing was learnt.
    Differs,
    /// It is about something that we did not ask for. Nothing was learnt.
    Foreign,
    /// That was known, or a later word is.
    Known,
    /// How something stands has changed.
    Moved,
    /// An attempt of which it was certain that it did nothing stands at the provider.
    Stray,
}

/// What a payment learnt, and of which change of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lesson {
    pub learnt: Learnt,
    /// None: the payment itself.
    pub change: Option<TransactionId>,
    /// Which attempt stands where it must not.
    pub stray: Option<usize>,
}

/// How something stands after one more word about it; the words may come in any order. Says whether
/// that changed.
fn learn(
    (standing, evidence): (&mut Standing, &mut Evidence),
    next: Standing,
    told: &Evidence,
) -> bool {
    let moved = *standing != next && standing.may_become(next);
    if moved {
        *standing = next;
        let before = std::mem::replace(evidence, told.clone());
        evidence.fill(&before);
    } else {
        evidence.fill(told);
    }
    moved
}

// === impl Attempt ===

impl Attempt {
    /// Takes one more word about it in, and says whether that changed how it stands.
    ///
    /// That nothing was done is believed until a provider says that it was.
    pub fn learn(&mut self, next: Standing, told: &Evidence) -> bool {
        if self.standing.is_nothing() && next.is_accepted() {
            self.standing = Standing::Sending;
        }
        learn((&mut self.standing, &mut self.evidence), next, told)
    }
}

// === impl Change ===

impl Change {
    /// Takes one more word about it in, and says whether that changed how it stands. As of an attempt,
    /// its provider knows better that it was done.
    pub fn learn(&mut self, next: Standing, told: &Evidence) -> bool {
        if self.standing.is_nothing() && next.is_accepted() {
            self.standing = Standing::Sending;
        }
        learn((&mut self.standing, &mut self.evidence), next, told)
    }

    /// Whether the provider calls it so.
    fn is_called(&self, action: Option<&str>) -> bool {
        let Evidence { reference, sub_code, .. } = &self.evidence;
        action.is_some() && (reference.as_deref() == action || sub_code.as_deref() == action)
    }

    /// Whether the provider has told its name. Some name a change beside the payment, and some in
    /// its place. What was said while it is in doubt is of an error, which has words and a name of its
    /// own.
    fn has_name(&self, payment: Option<&str>) -> bool {
        let Evidence { reference, sub_code, .. } = &self.evidence;
        let is_said = sub_code.is_some() || reference.is_some() && reference.as_deref() != payment;
        is_said && !self.standing.is_open()
    }
}

// === impl Payment ===

impl Payment {
    /// Takes in what its provider tells of its own accord.
    pub fn hear(&mut self, teller: &Teller, about: &About, report: &Report) -> Lesson {
        let subject = match about.subject {
            // Such a payment is captured by itself: nobody asked for a capture that could be told of.
            Subject::Change(ChangeKind::Capture) if self.capture == Capture::Now => {
                Subject::Payment
            }
            Subject::Payment | Subject::Change(_) => about.subject,
        };
        match subject {
            Subject::Payment => self.hear_of_attempt(teller, about, report),
            Subject::Change(kind) => self.hear_of_change(teller, kind, about, report),
        }
    }

    /// Takes in what was written about it meanwhile, while `self` is what somebody knows who holds
    /// it, and who changes nothing but its attempts: once a notice told that it stands, it may have been
    /// captured or refunded.
    pub fn catch_up(&mut self, newest: &Self) {
        self.changes.clone_from(&newest.changes);
        if newest.memo.is_some() && (self.memo.is_none() || !newest.changes.is_empty()) {
            self.memo.clone_from(&newest.memo);
        }
        for (mine, theirs) in self.attempts.iter_mut().zip(&newest.attempts) {
            let (standing, evidence) = (mine.standing, mine.evidence.clone());
            mine.clone_from(theirs);
            mine.learn(standing, &evidence);
        }
    }

    fn hear_of_attempt(&mut self, teller: &Teller, about: &About, report: &Report) -> Lesson {
        let of = |learnt| Lesson { learnt, change: None, stray: None };
        let Some(nth) = self.attempt_told(teller, about) else { return of(Learnt::Foreign) };
        let is_last = self.is_last_attempt(nth);
        let Some(attempt) = self.attempts.get_mut(nth) else { return of(Learnt::Foreign) };
        let next = Standing::Ended(report.outcome);
        if next.is_accepted() && report.amount.is_some_and(|told| told != self.amount) {
            return of(Learnt::Differs);
        }
        let stray = (next.is_accepted() && attempt.standing.is_nothing()).then_some(nth);
        if stray.is_some() && !is_last {
            return Lesson { stray, ..of(Learnt::Stray) };
        }
        let moved = attempt.learn(next, &Evidence::from(report));
        self.remember(report);
        let told = if moved { Learnt::Moved } else { Learnt::Known };
        Lesson { stray, ..of(stray.map_or(told, |_| Learnt::Stray)) }
    }

    /// The attempt that a notice is about: by our key, by the provider's name, or else the last.
    pub fn attempt_told(&self, teller: &Teller, about: &About) -> Option<usize> {
        let key = about.key.as_deref();
        let keyed = |nth: &usize| key == Some(&*self.id.attempt_key(*nth));
        let named = |nth: &usize| {
            let attempt = self.attempts.get(*nth);
            let reference = attempt.and_then(|attempt| attempt.evidence.reference.as_deref());
            reference.is_some() && reference == about.payment.as_deref()
        };
        let all = || 0..self.attempts.len();
        let last = all().next_back().filter(|_| key.is_none());
        let found = all().find(keyed).or_else(|| all().find(named)).or(last)?;
        self.attempts.get(found)?.is_of(teller).then_some(found)
    }

    fn hear_of_change(
        &mut self,
        teller: &Teller,
        kind: ChangeKind,
        about: &About,
        report: &Report,
    ) -> Lesson {
        let foreign = Lesson { learnt: Learnt::Foreign, change: None, stray: None };
        if !self.last_attempt().is_some_and(|attempt| attempt.is_of(teller)) {
            return foreign;
        }
        let found = self.change_told(kind, about, report.amount);
        let Some(change) = found.and_then(|nth| self.changes.get_mut(nth)) else { return foreign };
        let id = Some(change.id.clone());
        let next = Standing::Ended(report.outcome);
        let told = report.amount.filter(|_| kind != ChangeKind::Void);
        if next.is_accepted() && told.is_some_and(|told| told != change.amount) {
            return Lesson { learnt: Learnt::Differs, change: id, stray: None };
        }
        let mut told = Evidence::brief(report);
        if told.reference != about.action {
            told.sub_code.clone_from(&about.action);
        }
        let moved = change.learn(next, &told);
        let learnt = if moved { Learnt::Moved } else { Learnt::Known };
        Lesson { learnt, change: id, stray: None }
    }

    /// The change that a notice is about: by our key, by the provider's name, or else the first of
    /// its kind and amount that has no name yet, the undecided before the others.
    fn change_told(&self, kind: ChangeKind, about: &About, told: Option<Amount>) -> Option<usize> {
        let key = about.key.as_deref();
        let payment = self.last_attempt().and_then(|attempt| attempt.evidence.reference.as_deref());
        let all = || self.changes.iter().enumerate().filter(|(_, change)| change.kind == kind);
        let keyed = |(_, change): &(usize, &Change)| key == Some(change.id.as_str());
        let called = |(_, change): &(usize, &Change)| change.is_called(about.action.as_deref());
        if let Some((nth, _)) = all().find(keyed).or_else(|| all().find(called)) {
            return Some(nth);
        }
        if key.is_some_and(|key| !self.has_key(key)) {
            return None;
        }
        let fits = |(_, change): &(usize, &Change)| {
            let amount = kind == ChangeKind::Void || told.is_none_or(|told| told == change.amount);
            let nameless = about.action.is_none() || !change.has_name(payment);
            amount && nameless && change.standing != Standing::NotDone
        };
        let undecided = |(_, change): &(usize, &Change)| !change.standing.is_final();
        all().filter(fits).find(undecided).or_else(|| all().find(fits)).map(|(nth, _)| nth)
    }

    /// The provider, and its name for the payment, where it has taken or declined it: it may tell of
    /// either later.
    pub fn reference(&self) -> Option<(Box<str>, Box<str>)> {
        let attempt = self.last_attempt().filter(|attempt| attempt.standing.is_answered())?;
        Some((attempt.provider.clone(), attempt.evidence.reference.clone()?))
    }

    /// Whether one of its attempts has this key of ours.
    pub fn has_key(&self, key: &str) -> bool {
        (0..self.attempts.len()).any(|nth| &*self.id.attempt_key(nth) == key)
    }
}

impl Attempt {
    /// Whether this account was asked.
    pub fn is_of(&self, teller: &Teller) -> bool {
        self.provider == teller.provider && self.account.as_ref() == Some(&teller.account)
    }
}

// === impl Standing ===

impl Standing {
    /// Whether nothing more is expected to be said of it.
    pub fn is_final(self) -> bool {
        !self.is_open() && self != Self::Ended(Outcome::Pending)
    }
}

// === impl Evidence ===

impl Evidence {
    /// Takes over what is missing here.
    pub fn fill(&mut self, other: &Self) {
        fn fill<T: Clone>(mine: &mut Option<T>, other: &Option<T>) {
            if mine.is_none() {
                mine.clone_from(other);
            }
        }
        fill(&mut self.reference, &other.reference);
        fill(&mut self.authorization_code, &other.authorization_code);
        fill(&mut self.code, &other.code);
        fill(&mut self.description, &other.description);
        fill(&mut self.sub_code, &other.sub_code);
        fill(&mut self.sub_description, &other.sub_description);
        fill(&mut self.network_transaction_id, &other.network_transaction_id);
        fill(&mut self.address_check, &other.address_check);
        fill(&mut self.cvv_check, &other.cvv_check);
    }
}

// === impl TransactionId ===

impl TransactionId {
    /// The names that this may be a key of: its own, or those that differ in the digit which the key
    /// of a later attempt replaces. None: it is no key of ours.
    pub fn of_key(key: &str) -> Vec<Self> {
        const DIGITS: &str = "0123456789abcdef";
        if let Ok(id) = Self::parse(key) {
            return vec![id];
        }
        let Some((most, last)) = key.split_at_checked(Self::LEN.saturating_sub(1)) else {
            return Vec::new();
        };
        if !matches!(last.as_bytes(), [b'g'..=b'z']) {
            return Vec::new();
        }
        DIGITS.chars().filter_map(|digit| Self::parse(&format!("{most}{digit}")).ok()).collect()
    }
}

#[cfg(test)]
mod tests;
