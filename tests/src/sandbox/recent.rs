//! A map that remembers the latest so many entries.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A map of at most `max` entries; one more pushes out the oldest.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
    max: usize,
}

// === impl Recent ===

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    pub(super) fn new(max: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), max }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    /// Adds or replaces. A replaced entry keeps its age.
    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.entries.insert(key.clone(), value).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }

    /// Takes an entry out. Its place in the order of ages is given up too.
    pub(super) fn remove(&mut self, key: &K) {
        if self.entries.remove(key).is_some() {
            self.order.retain(|other| other != key);
        }
    }

    /// All values, in no order.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.values_mut()
    }

    /// The values, latest first.
    pub(super) fn latest(&self) -> impl Iterator<Item = &V> {
        self.order.iter().rev().filter_map(|key| self.entries.get(key))
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn one_more_pushes_out_the_oldest() {
        let mut recent = Recent::new(2);
        for key in [1, 2, 1, 3] {
            recent.insert(key, key * 10);
        }
        assert_eq!(recent.latest().copied().collect::<Vec<_>>(), [30, 20]);
        recent.remove(&3);
        recent.insert(4, 40);
        assert_eq!(recent.latest().copied().collect::<Vec<_>>(), [40, 20]);
    }
}
