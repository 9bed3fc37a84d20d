//! Providers that follow a script, and the books of what they really did.

use super::steps::Scene;
use crate::payments::Told;
use model::{
    About, AccountName, Amount, ChangeKind, Decline, Kind, Notice, Outcome, Rejected, Report,
    Standing, Subject, Teller, TransactionId, Unknown,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long after it came a request is carried out, at most.
const SLOW_MS: u64 = 20_000;
/// How long after it came a provider may not show yet what it did with a request.
const LAG_MS: u64 = 60_000;
/// The provider that shows nothing, and remembers the keys of changes.
const REMEMBERS: &str = "second";
/// For how long it does.
pub(super) const REMEMBERED_MS: u64 = 7 * 24 * 3_600_000;

/// What a provider did with a request, or will do.
#[derive(Clone, Debug)]
pub(super) struct Deed {
    /// Of the merchant's orders.
    pub(super) order: usize,
    pub(super) kind: Kind,
    pub(super) payment: TransactionId,
    pub(super) amount: Amount,
    pub(super) teller: Teller,
    pub(super) reference: Box<str>,
    /// The payment that it changes, in the provider's words.
    pub(super) of: Option<Box<str>>,
    /// The provider, or the connection, showed that nothing was done.
    pub(super) denied: bool,
    /// How often it was carried out.
    pub(super) times: u64,
    /// Of whom it was asked.
    identity: Identity,
    pub(super) outcome: Outcome,
    /// From when on it is shown to who asks.
    shown: u64,
    /// When what is pending is decided.
    decided: u64,
    /// What it turns out to be.
    pub(super) end: Outcome,
}

/// A notice on its way.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) due: u64,
    pub(super) key: Box<str>,
    pub(super) name: Box<str>,
    pub(super) outcome: Outcome,
}

/// What the wire brings back.
#[derive(Debug)]
pub(super) enum Back {
    NotSent,
    Said(Report),
}

/// An account as its provider knows it: by its credentials.
pub(super) type Identity = Box<str>;

/// Which of those with its key a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nth {
    First,
    /// The first, which was held up on its way.
    Late,
    /// What was asked for is asked for again.
    Again,
}

/// A request as it reaches a provider.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) nth: Nth,
    pub(super) identity: Identity,
    pub(super) order: usize,
    pub(super) key: Box<str>,
    pub(super) kind: Kind,
    pub(super) payment: TransactionId,
    pub(super) amount: Amount,
    pub(super) account: AccountName,
    /// The payment that is to be changed, in the provider's words.
    pub(super) of: Option<Box<str>>,
}

/// The books of all providers.
#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) deeds: RefCell<BTreeMap<Box<str>, Deed>>,
    pub(super) letters: RefCell<Vec<Letter>>,
    /// Requests that are held up, and when they arrive.
    pub(super) late: RefCell<Vec<(u64, Asked)>>,
    /// Keys that came: to whom, and when.
    came: RefCell<BTreeMap<Box<str>, (Identity, u64)>>,
}

pub(super) fn teller(account: &AccountName) -> Teller {
    let provider = match account.as_str() {
        "other" => REMEMBERS,
        name => name,
    };
    Teller { provider: provider.into(), account: account.clone() }
}

/// For how long a provider remembers keys. Zero: it shows what it did.
pub(super) fn remembers(provider: &str) -> Duration {
    Duration::from_millis(if provider == REMEMBERS { REMEMBERED_MS } else { 0 })
}

/// How long a provider may not show yet what it did.
pub(super) fn lag() -> Duration {
    Duration::from_millis(LAG_MS)
}

// === impl Back ===

impl Told for Back {
    fn standing(&self) -> Standing {
        match self {
            Self::NotSent => Standing::NotDone,
            Self::Said(report) => Standing::Ended(report.outcome),
        }
    }

    fn report(&self) -> Option<&Report> {
        match self {
            Self::NotSent => None,
            Self::Said(report) => Some(report),
        }
    }
}

// === impl Asked ===

impl Asked {
    pub(super) fn is_change(&self) -> bool {
        ChangeKind::of(self.kind).is_some()
    }

    pub(super) fn is_remembered(&self) -> bool {
        self.is_change() && *teller(&self.account).provider == *REMEMBERS
    }

    /// It is carried out at this moment.
    fn deed(&self, done: u64) -> Deed {
        Deed {
            order: self.order,
            kind: self.kind,
            payment: self.payment.clone(),
            amount: self.amount,
            teller: teller(&self.account),
            reference: format!("ref-{}", self.key).into(),
            of: self.of.clone(),
            denied: false,
            times: 1,
            identity: self.identity.clone(),
            outcome: Outcome::Approved,
            shown: done,
            decided: done,
            end: Outcome::Approved,
        }
    }
}

// === impl Deed ===

impl Deed {
    /// Whether money moves by it, now or later.
    pub(super) fn stands(&self) -> bool {
        Standing::Ended(self.end).is_accepted()
    }

    pub(super) fn outcome_at(&self, now: u64) -> Outcome {
        if now >= self.decided { self.end } else { self.outcome }
    }

    pub(super) fn report(&self, outcome: Outcome) -> Report {
        let reference = Some(self.reference.clone());
        Report { amount: Some(self.amount), reference, ..Report::bare(outcome) }
    }

    /// What is told of it, with the name of the payment that it is, or that it is a change of.
    pub(super) fn notice(&self, letter: &Letter, payment: Box<str>) -> Notice {
        let subject = match self.kind {
            Kind::Capture => Subject::Change(ChangeKind::Capture),
            Kind::Refund => Subject::Change(ChangeKind::Refund),
            Kind::Void => Subject::Change(ChangeKind::Void),
            Kind::Authorize | Kind::Charge | Kind::Status | Kind::Tokenize => Subject::Payment,
        };
        let about = About {
            subject,
            key: Some(letter.key.clone()),
            payment_key: None,
            payment: Some(payment),
            action: None,
            merchant_reference: None,
        };
        Notice { name: letter.name.clone(), about, report: None }
    }
}

// === impl Truth ===

impl Truth {
    /// A request comes in: what the provider does with it is decided, and what the proxy hears of it.
    pub(super) fn receive(&self, scene: &Scene, asked: &Asked) -> Back {
        let (dice, now) = (&scene.dice, scene.now());
        if let Some(back) = self.answer_again(scene, asked) {
            return back;
        }
        if !asked.is_change() && dice.is_one_in(20) {
            return self.deny(scene, asked);
        }
        let (outcome, end) = match dice.below(20) {
            0 | 1 => return Back::NotSent,
            2 | 3 => {
                let why = dice.pick(&[
                    Rejected::Credentials,
                    Rejected::Malformed,
                    Rejected::RateLimited,
                    Rejected::Unavailable,
                ]);
                // It says so, or the connection ends, and nothing was done.
                return Self::told(scene, Report::bare(Outcome::Rejected(why)));
            }
            nth if nth < 6 || self.is_in_vain(asked) => {
                let outcome = Outcome::Declined(Decline::CardDeclined);
                (outcome, outcome)
            }
            // A capture that is taken back would leave refunds of it behind.
            6 if asked.kind != Kind::Capture => {
                (Outcome::Pending, Outcome::Declined(Decline::ProcessingError))
            }
            6 | 7 => (Outcome::Pending, Outcome::Approved),
            _ => (Outcome::Approved, Outcome::Approved),
        };
        let done = now.saturating_add(dice.below(SLOW_MS));
        let shown = done.saturating_add(dice.below(LAG_MS.saturating_sub(SLOW_MS)));
        let decided = if outcome == Outcome::Pending {
            done.saturating_add(dice.below(3_600_000))
        } else {
            done
        };
        let teller = self.teller_of(asked);
        let deed = Deed { outcome, shown, decided, end, teller, ..asked.deed(now) };
        self.write_letters(scene, &asked.key, &deed, done);
        let report = deed.report(outcome);
        self.deeds.borrow_mut().insert(asked.key.clone(), deed);
        Self::told(scene, report)
    }

    /// The answer to what was carried out before under its key. It is carried out once more if that is
    /// forgotten, or somebody else is asked. None: nothing was carried out under it.
    fn answer_again(&self, scene: &Scene, asked: &Asked) -> Option<Back> {
        let mut came = self.came.borrow_mut();
        let Some((identity, at)) = came.get(&asked.key) else {
            came.insert(asked.key.clone(), (asked.identity.clone(), scene.now()));
            return None;
        };
        scene.check(asked.is_remembered(), || "a key came twice".into());
        let known = *identity == asked.identity && scene.now().saturating_sub(*at) < REMEMBERED_MS;
        let mut deeds = self.deeds.borrow_mut();
        let deed = deeds.get_mut(&asked.key)?;
        if !known && deed.stands() {
            deed.times = deed.times.saturating_add(1);
        }
        let refusals = [
            Outcome::Rejected(Rejected::Malformed),
            Outcome::Rejected(Rejected::RateLimited),
            Outcome::Rejected(Rejected::Credentials),
            Outcome::Declined(Decline::ProcessingError),
        ];
        let report = match scene.dice.below(3) {
            // It is refused to be asked again.
            0 => Report::bare(scene.dice.pick(&refusals)),
            _ => deed.report(deed.outcome_at(scene.now())),
        };
        Some(Self::told(scene, report))
    }

    /// A request is carried out, and it looks as if it never would be, until the provider tells of it.
    fn deny(&self, scene: &Scene, asked: &Asked) -> Back {
        let (dice, now) = (&scene.dice, scene.now());
        let done = now.saturating_add(dice.below(SLOW_MS));
        let deed = Deed { denied: true, ..asked.deed(done) };
        let letter = Letter {
            due: done.saturating_add(dice.below(600_000)),
            key: asked.key.clone(),
            name: format!("late-{}", asked.key).into(),
            outcome: deed.end,
        };
        self.letters.borrow_mut().push(letter);
        self.deeds.borrow_mut().insert(asked.key.clone(), deed);
        let rejected = |why| Back::Said(Report::bare(Outcome::Rejected(why)));
        match dice.below(4) {
            0 => Back::NotSent,
            1 => rejected(Rejected::RateLimited),
            2 => rejected(Rejected::Unavailable),
            _ => Back::Said(Report::bare(Outcome::Unknown(Unknown::Interrupted))),
        }
    }

    /// Who tells of it: the account of the payment.
    fn teller_of(&self, asked: &Asked) -> Teller {
        let deeds = self.deeds.borrow();
        let mut of = deeds.values().filter(|one| asked.of.as_ref() == Some(&one.reference));
        of.next().map_or_else(|| teller(&asked.account), |one| one.teller.clone())
    }

    /// The answer, unless it is lost.
    fn told(scene: &Scene, report: Report) -> Back {
        match scene.dice.below(4) {
            0 => Back::Said(Report::bare(Outcome::Unknown(Unknown::Interrupted))),
            _ => Back::Said(report),
        }
    }

    fn write_letters(&self, scene: &Scene, key: &str, deed: &Deed, done: u64) {
        let mut letters = self.letters.borrow_mut();
        let mut send = |word: &str, from: u64, outcome| {
            let due = from.saturating_add(scene.dice.below(120_000));
            letters.push(Letter {
                due,
                key: key.into(),
                name: format!("{word}-{key}").into(),
                outcome,
            });
        };
        if scene.dice.is_one_in(2) {
            send("first", done, deed.outcome);
        }
        // What is pending is told of when it is decided.
        if deed.outcome == Outcome::Pending {
            send("last", deed.decided, deed.end);
        }
    }

    /// What a provider calls the payment that a deed is about.
    pub(super) fn name_of_payment(deed: &Deed) -> Box<str> {
        deed.of.as_ref().unwrap_or(&deed.reference).clone()
    }

    /// Whether this is, or changes, what should have been nothing.
    pub(super) fn is_denied(&self, deed: &Deed) -> bool {
        let deeds = self.deeds.borrow();
        let mut denied = deeds.values().filter(|one| one.denied);
        deed.denied || denied.any(|one| deed.of.as_ref() == Some(&one.reference))
    }

    /// Whether what is asked for is a change of a payment that will not stand.
    fn is_in_vain(&self, asked: &Asked) -> bool {
        let deeds = self.deeds.borrow();
        let mut of = deeds.values().filter(|one| asked.of.as_ref() == Some(&one.reference));
        asked.is_change() && !of.any(Deed::stands)
    }

    /// What a provider shows an account of a key at a moment; none: nothing.
    pub(super) fn shown(&self, scene: &Scene, identity: &str, key: &str) -> Option<Report> {
        let deeds = self.deeds.borrow();
        let shown =
            |deed: &&Deed| scene.now() >= deed.shown && !deed.denied && *deed.identity == *identity;
        let deed = deeds.get(key).filter(shown)?;
        Some(deed.report(deed.outcome_at(scene.now())))
    }
}
