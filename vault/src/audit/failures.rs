//! Attempts to come in that failed, counted, so that whoever makes them cannot fill the disk.
//!
//! The first of a kind and source within a minute is a line at once; what follows is counted, and
//! is one line when the minute is over. Sources beyond the maximum share one count.

use super::{Action, Actor, Event, Origin, Outcome};
use crate::UnixMillis;
use model::KeyId;
use std::collections::HashMap;
use std::mem;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// How many sources of failures have a count of their own within a minute.
const SOURCES_MAX: usize = 64;
const MINUTE_MS: u64 = 60_000;

/// Who failed to come in: the key that was known but not enough, or else the address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    Address(Option<IpAddr>),
    Key(KeyId),
}

/// The counts of this minute.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    number: u64,
    /// How often more than the once of which there is a line.
    more: HashMap<(&'static str, Source), u64>,
    /// Of all sources that have no count of their own.
    others: u64,
}

fn event(why: &'static str, source: Option<&Source>, object: String) -> Event {
    let (actor, address) = match source {
        Some(Source::Key(key)) => (Actor::Key(key.clone()), None),
        Some(Source::Address(address)) => (Actor::Nobody, *address),
        None => (Actor::Nobody, None),
    };
    Event {
        action: Action::Authenticate,
        actor,
        merchant: None,
        object: object.into(),
        outcome: Outcome::Failure(why),
        origin: Some(Origin { address, request: None }),
    }
}

// === impl Failures ===

impl Failures {
    /// Counts a failure, and returns the line for it if it is the first of its kind.
    pub(super) fn add(&self, why: &'static str, source: Source, now: UnixMillis) -> Option<Event> {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if minute.number != now / MINUTE_MS && minute.is_empty() {
            minute.number = now / MINUTE_MS;
        }
        let room = minute.more.len() < SOURCES_MAX;
        match minute.more.get_mut(&(why, source.clone())) {
            Some(more) => *more = more.saturating_add(1),
            None if room => {
                let first = event(why, Some(&source), "first of its kind in a minute".to_owned());
                minute.more.insert((why, source), 0);
                return Some(first);
            }
            None => minute.others = minute.others.saturating_add(1),
        }
        None
    }

    /// The lines of a minute that is over, once.
    pub(super) fn take(&self, now: UnixMillis) -> Vec<Event> {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if minute.is_empty() || minute.number == now / MINUTE_MS {
            return Vec::new();
        }
        let Minute { more, others, .. } = mem::take(&mut *minute);
        let counted = more.into_iter().filter(|(_, more)| *more > 0);
        let mut events: Vec<Event> = counted
            .map(|((why, source), more)| event(why, Some(&source), format!("{more} more times")))
            .collect();
        if others > 0 {
            events.push(event("other sources", None, format!("{others} times")));
        }
        events
    }
}

// === impl Minute ===

impl Minute {
    fn is_empty(&self) -> bool {
        self.more.is_empty() && self.others == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{Failures, SOURCES_MAX, Source};
    use std::net::{IpAddr, Ipv4Addr};

    fn address(last: usize) -> Source {
        let number = u32::try_from(last).unwrap();
        Source::Address(Some(IpAddr::V4(Ipv4Addr::from(number))))
    }

    #[test]
    fn the_first_of_a_kind_is_a_line_and_the_others_are_a_number() {
        let failures = Failures::default();
        let now = 1_800_000_000_000;
        assert!(failures.add("bad key", address(1), now).is_some());
        assert!(failures.add("no key", address(1), now).is_some());
        assert!(failures.add("bad key", address(2), now).is_some());
        for _ in 0..1_000 {
            assert!(failures.add("bad key", address(1), now).is_none());
        }
        assert!(failures.take(now).is_empty(), "the minute is not over");
        let events = failures.take(now + 60_000);
        let said: Vec<_> = events.iter().map(|event| &*event.object).collect();
        assert_eq!(said, ["1000 more times"]);
        assert!(failures.take(now + 60_000).is_empty());
        assert!(failures.add("bad key", address(1), now + 60_000).is_some());
    }

    #[test]
    fn a_million_addresses_are_no_more_lines_than_the_maximum() {
        let failures = Failures::default();
        let lines = (0..10_000).filter(|n| failures.add("bad key", address(*n), 1).is_some());
        assert_eq!(lines.count(), SOURCES_MAX);
        let events = failures.take(60_001);
        assert_eq!(events.len(), 1);
        let others = 10_000 - SOURCES_MAX;
        assert_eq!(&*events[0].object, format!("{others} times"));
    }
}
