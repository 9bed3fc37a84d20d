//! The same request twice is executed once.

use super::recent::Recent;
use super::{Answer, Received};
use std::hash::{DefaultHasher, Hash, Hasher};

/// How many keys each provider remembers; the oldest go first.
pub(super) const KEYS_MAX: usize = 50_000;

/// What each key stands for.
#[derive(Debug)]
pub(super) struct Keys(Recent<String, Slot>);

/// The right to execute the request of a key.
#[derive(Debug)]
pub(super) struct Claim {
    name: String,
    /// The key as the merchant sent it.
    pub(super) key: String,
}

/// What a key says about a request.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Nobody has used it: execute the request.
    Execute(Claim),
    /// It stands for another request.
    Mismatch,
    /// This was executed, and answered so.
    Replay(Answer),
    /// It is being executed.
    Running,
}

#[derive(Debug)]
struct Slot {
    fingerprint: u64,
    answer: Option<Answer>,
}

// === impl Keys ===

impl Default for Keys {
    fn default() -> Self {
        Self(Recent::new(KEYS_MAX))
    }
}

impl Keys {
    /// Looks a key up, and takes it when it is free. `account` is whose keys these are.
    pub(super) fn claim(&mut self, account: &str, key: &str, received: &Received) -> Verdict {
        let name = format!("{account}\n{key}");
        let fingerprint = fingerprint(received);
        match self.0.get(&name) {
            None => {
                self.0.insert(name.clone(), Slot { fingerprint, answer: None });
                Verdict::Execute(Claim { name, key: key.to_owned() })
            }
            Some(slot) if slot.fingerprint != fingerprint => Verdict::Mismatch,
            Some(Slot { answer: Some(answer), .. }) => Verdict::Replay(answer.clone()),
            Some(_) => Verdict::Running,
        }
    }

    /// Remembers the answer.
    pub(super) fn settle(&mut self, claim: &Claim, answer: &Answer) {
        if let Some(slot) = self.0.get_mut(&claim.name) {
            slot.answer = Some(answer.clone());
        }
    }

    /// Frees the key: nothing was executed.
    pub(super) fn abandon(&mut self, claim: &Claim) {
        self.0.remove(&claim.name);
    }
}

fn fingerprint(received: &Received) -> u64 {
    let mut hasher = DefaultHasher::new();
    received.path.hash(&mut hasher);
    received.body.hash(&mut hasher);
    hasher.finish()
}
