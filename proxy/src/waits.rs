//! What the resolver knows of what is in doubt: since when, how often it asked, and when it asks again.

use model::TransactionId;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long after the first question the second comes; the time doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(300);

/// What this process knows of what is in doubt.
#[derive(Debug, Default)]
pub(crate) struct Waits(Mutex<HashMap<TransactionId, Wait>>);

/// Something in doubt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// Since when nobody has had it in hand: what was sent of it was sent before.
    seen: Instant,
    /// When it is asked about again. None: it was not asked about yet.
    pub(crate) due: Option<Instant>,
    next: Duration,
    pub(crate) asked: u32,
    /// Why it is still in doubt.
    pub(crate) why: Option<&'static str>,
    /// It has been told that this takes too long.
    alarmed: bool,
}

// === impl Waits ===

impl Waits {
    fn lock(&self) -> MutexGuard<'_, HashMap<TransactionId, Wait>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that these are in doubt, and in nobody's hands.
    pub(crate) fn see<'a>(&self, ids: impl Iterator<Item = &'a TransactionId>, now: Instant) {
        let mut waits = self.lock();
        for id in ids {
            if !waits.contains_key(id) {
                waits.insert(id.clone(), Wait::since(now));
            }
        }
    }

    /// Forgets all but these.
    pub(crate) fn retain(&self, keep: impl Fn(&TransactionId) -> bool) {
        self.lock().retain(|id, _| keep(id));
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn of(&self, id: &TransactionId) -> Option<Wait> {
        self.lock().get(id).copied()
    }

    /// How long it has been in nobody's hands, as far as that was seen.
    pub(crate) fn idle(&self, id: &TransactionId, now: Instant) -> Duration {
        self.of(id).map_or(Duration::ZERO, |wait| now.saturating_duration_since(wait.seen))
    }

    /// Puts it behind the others that are due.
    pub(crate) fn put_off(&self, id: &TransactionId, now: Instant) {
        self.lock().entry(id.clone()).or_insert(Wait::since(now)).due = Some(now);
    }

    /// Notes that it could not be asked about, or that what was found could not be kept.
    pub(crate) fn failed(&self, id: &TransactionId, now: Instant) {
        let mut waits = self.lock();
        let wait = waits.entry(id.clone()).or_insert(Wait::since(now));
        wait.due = Some(wait.rest(now));
    }

    /// Notes that it was asked about, and why it is to be asked about again: at the latest when its
    /// provider, which is behind by `lag` at most, must show it. Says whether that takes too long, the
    /// first time that it does.
    pub(crate) fn again(
        &self,
        id: &TransactionId,
        (why, lag): (&'static str, Duration),
        overdue: bool,
        now: Instant,
    ) -> bool {
        let mut waits = self.lock();
        let wait = waits.entry(id.clone()).or_insert(Wait::since(now));
        let shown = wait.seen.checked_add(lag).filter(|shown| *shown > now);
        let due = wait.rest(now);
        wait.due = Some(shown.map_or(due, |shown| due.min(shown)));
        (wait.asked, wait.why) = (wait.asked.saturating_add(1), Some(why));
        let first = overdue && !wait.alarmed;
        wait.alarmed |= overdue;
        first
    }
}

// === impl Wait ===

impl Wait {
    fn since(seen: Instant) -> Self {
        Self { seen, due: None, next: FIRST_WAIT, asked: 0, why: None, alarmed: false }
    }

    /// When the next question may come, and twice as long until the one after.
    fn rest(&mut self, now: Instant) -> Instant {
        let due = now.checked_add(self.next).unwrap_or(now);
        self.next = self.next.saturating_mul(2).min(WAIT_MAX);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::{WAIT_MAX, Waits};
    use model::TransactionId;
    use std::time::{Duration, Instant};

    #[test]
    fn it_is_asked_less_and_less_often_and_alarmed_once() {
        let (waits, id, now) = (Waits::default(), TransactionId::new(7, 0), Instant::now());
        waits.see([&id].into_iter(), now);
        assert!(waits.of(&id).unwrap().due.is_none(), "it is asked about first");
        let mut last = Duration::ZERO;
        for nth in 1..12 {
            let overdue = nth > 3;
            let why = ("because", Duration::ZERO);
            assert_eq!(waits.again(&id, why, overdue, now), nth == 4, "{nth}");
            let wait = waits.of(&id).unwrap();
            let pause = wait.due.unwrap() - now;
            assert!(pause > last || pause == WAIT_MAX, "{nth}");
            assert_eq!((wait.asked, wait.why), (nth, Some("because")));
            last = pause;
        }
    }

    #[test]
    fn it_is_asked_at_the_latest_when_its_provider_must_show_it() {
        let (waits, id, began) = (Waits::default(), TransactionId::new(7, 0), Instant::now());
        let lag = Duration::from_secs(10);
        waits.see([&id].into_iter(), began);
        let mut times = Vec::new();
        let mut now = began;
        while times.len() < 6 {
            waits.again(&id, ("because", lag), false, now);
            now = waits.of(&id).unwrap().due.unwrap();
            times.push((now - began).as_secs());
        }
        assert_eq!(times, [1, 3, 7, 10, 26, 58]);
    }

    #[test]
    fn it_counts_as_idle_from_when_it_was_first_seen() {
        let (waits, id, now) = (Waits::default(), TransactionId::new(7, 0), Instant::now());
        let later = now + Duration::from_secs(60);
        assert_eq!(waits.idle(&id, later), Duration::ZERO, "it was never seen");
        waits.see([&id].into_iter(), now);
        waits.see([&id].into_iter(), later);
        assert_eq!(waits.idle(&id, later), Duration::from_secs(60));
        waits.retain(|_| false);
        assert_eq!((waits.count(), waits.idle(&id, later)), (0, Duration::ZERO));
    }
}
