//! Whose turn it is to be asked about: some of each account at a time, and the others in line.

use model::{AccountName, MerchantId, TransactionId};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vault::payments::Doubt;

/// How many questions may be under way at a time, and how many of one account, so that a provider that
/// hangs holds up nobody else.
const UNDER_WAY_MAX: usize = 32;
const UNDER_WAY_PER_ACCOUNT_MAX: usize = 4;
/// How many doubts of an account stand in line, so that its next question follows on an answer.
const LINE_MAX: usize = 64;

/// Whose account a question is about; no account where the credentials were not kept.
pub(super) type Whose = (MerchantId, Option<AccountName>);

/// Who is asked about, and who is next.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// What is asked about, and what is in line.
    about: HashSet<TransactionId>,
    under_way: usize,
    lanes: HashMap<Whose, Lane>,
}

/// One account's part. There is none where nothing is under way.
#[derive(Debug, Default)]
struct Lane {
    under_way: usize,
    line: VecDeque<Doubt>,
}

/// What comes of asking for a turn.
#[derive(Debug)]
pub(super) enum Place {
    Turn(Turn),
    InLine,
    /// The line is full, or too much is under way altogether.
    None,
}

/// The right to ask about one doubt after the other, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    whose: Whose,
    id: TransactionId,
}

// === impl Turns ===

impl Turns {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a turn for a doubt that has none, or a place in the line of its account.
    pub(super) fn take(&self, whose: Whose, doubt: &Doubt) -> Place {
        let id = doubt.id().clone();
        match self.lock().take(&whose, doubt) {
            Some(true) => Place::Turn(Turn { turns: self.clone(), whose, id }),
            Some(false) => Place::InLine,
            None => Place::None,
        }
    }

    /// Whether it is asked about or in line.
    pub(super) fn has(&self, id: &TransactionId) -> bool {
        self.lock().about.contains(id)
    }
}

// === impl Inner ===

impl Inner {
    /// Whether it is its turn at once. None: it has no place at all.
    fn take(&mut self, whose: &Whose, doubt: &Doubt) -> Option<bool> {
        let lane = self.lanes.get_mut(whose);
        let own = lane.as_ref().map_or(0, |lane| lane.under_way);
        let turn = own < UNDER_WAY_PER_ACCOUNT_MAX && self.under_way < UNDER_WAY_MAX;
        match lane {
            _ if turn => {
                self.lanes.entry(whose.clone()).or_default().under_way = own.saturating_add(1);
                self.under_way = self.under_way.saturating_add(1);
            }
            Some(lane) if lane.line.len() < LINE_MAX => lane.line.push_back(doubt.clone()),
            Some(_) | None => return None,
        }
        self.about.insert(doubt.id().clone());
        Some(turn)
    }

    fn pass(&mut self, whose: &Whose, id: &TransactionId) -> Option<Doubt> {
        self.about.remove(id);
        self.lanes.get_mut(whose)?.line.pop_front()
    }

    /// Who is in line where nothing is under way any more is looked for again with all others.
    fn end(&mut self, whose: &Whose, id: &TransactionId) {
        self.about.remove(id);
        self.under_way = self.under_way.saturating_sub(1);
        let Some(lane) = self.lanes.get_mut(whose) else { return };
        lane.under_way = lane.under_way.saturating_sub(1);
        if lane.under_way == 0 {
            for doubt in lane.line.drain(..) {
                self.about.remove(doubt.id());
            }
            self.lanes.remove(whose);
        }
    }
}

// === impl Turn ===

impl Turn {
    /// Goes on with who is next in the line of the account, if anybody is.
    pub(super) fn pass(&mut self) -> Option<Doubt> {
        let next = self.turns.lock().pass(&self.whose, &self.id)?;
        self.id = next.id().clone();
        Some(next)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.lock().end(&self.whose, &self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_MAX, Place, Turns, UNDER_WAY_MAX, UNDER_WAY_PER_ACCOUNT_MAX, Whose};
    use model::{MerchantId, TransactionId};
    use vault::payments::Doubt;

    fn shop(nth: usize) -> Whose {
        (MerchantId::parse(&format!("shop-{nth}")).unwrap(), None)
    }

    fn doubt(nth: usize) -> Doubt {
        let payment = TransactionId::new(u64::try_from(nth).unwrap(), 0);
        Doubt { merchant: shop(0).0, payment, change: None }
    }

    #[test]
    fn an_account_that_hangs_holds_up_nobody_else() {
        let turns = Turns::default();
        let mut held = Vec::new();
        let mut begins = |nth: usize, whose: Whose| match turns.take(whose, &doubt(nth)) {
            Place::Turn(turn) => {
                held.push(turn);
                true
            }
            Place::InLine | Place::None => false,
        };
        for nth in 0..UNDER_WAY_PER_ACCOUNT_MAX {
            assert!(begins(nth, shop(0)));
        }
        assert!(!begins(UNDER_WAY_MAX + 1, shop(0)), "one more of the same");
        for nth in UNDER_WAY_PER_ACCOUNT_MAX..UNDER_WAY_MAX {
            assert!(begins(nth, shop(nth)), "others go on");
        }
        assert!(!begins(UNDER_WAY_MAX + 2, shop(UNDER_WAY_MAX)), "all are taken");
        held.truncate(1);
        assert!(matches!(turns.take(shop(9), &doubt(9)), Place::Turn(_)));
    }

    #[test]
    fn who_is_in_line_comes_when_a_question_was_answered_and_in_order() {
        let turns = Turns::default();
        let mut begun = Vec::new();
        for nth in 0..UNDER_WAY_PER_ACCOUNT_MAX {
            let Place::Turn(turn) = turns.take(shop(0), &doubt(nth)) else { panic!("{nth}") };
            begun.push(turn);
        }
        for nth in 0..LINE_MAX {
            assert!(matches!(turns.take(shop(0), &doubt(100 + nth)), Place::InLine), "{nth}");
        }
        assert!(matches!(turns.take(shop(0), &doubt(999)), Place::None), "the line is full");
        assert!(!turns.has(doubt(999).id()) && turns.has(doubt(100).id()));
        let mut turn = begun.remove(0);
        for nth in 0..LINE_MAX {
            assert!(turns.has(doubt(100 + nth).id()));
            assert_eq!(turn.pass(), Some(doubt(100 + nth)));
        }
        assert!(!turns.has(doubt(0).id()) && turn.pass().is_none());
    }

    #[test]
    fn nothing_is_left_of_an_account_about_which_nobody_asks() {
        let turns = Turns::default();
        let Place::Turn(last) = turns.take(shop(0), &doubt(0)) else { panic!("it is free") };
        let others = (1..UNDER_WAY_PER_ACCOUNT_MAX).map(|nth| turns.take(shop(0), &doubt(nth)));
        let others: Vec<_> = others.collect();
        assert!(matches!(turns.take(shop(0), &doubt(100)), Place::InLine));
        drop(others);
        assert!(turns.has(doubt(100).id()), "somebody will come to it");
        // As when a question panics.
        drop(last);
        let inner = turns.lock();
        assert!(inner.about.is_empty() && inner.lanes.is_empty() && inner.under_way == 0);
    }
}
