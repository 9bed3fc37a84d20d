//! What the store remembers of all its rows together.
//!
//! A record that was sealed says nothing of a row that was put back to an older form, taken away, or
//! brought back. So the store keeps, for each of its trees, the sum modulo 2^256 of a keyed digest
//! of every row. The order of the rows does not matter to a sum, and a change of one row changes it
//! by a difference: it costs no read of the others. The key is the [`Witness`]'s; the store has
//! none. The digests must stay secret, because with many known ones other rows could be found that
//! make the same sum: the row of the ledger is sealed.
//!
//! The ledger is a row as well, which each frame of the log has with the rows that it is about: so the
//! two are never apart.

use super::StoreError;
use super::rows::View;
use super::trees::{LEDGER_KEY, TreeName, Trees};
use crate::frame::{Fields, frame};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

const DIGEST_BYTES: usize = 32;
/// How many rows are read at a time when a ledger begins.
const PAGE_ROWS: usize = 1_000;
const FORM: &[u8] = b"orchestra/2 ledger";
/// How many changed rows a walk that follows changes may be behind with.
pub(super) const DIRTY_MAX: usize = 262_144;

/// A keyed digest of a row.
pub type Digest = [u8; DIGEST_BYTES];

/// Has the keys that the store must not have.
pub trait Witness: Send + Sync + fmt::Debug + 'static {
    /// A keyed digest of a row of a tree.
    fn digest(&self, tree: &str, key: &[u8], record: &[u8]) -> Digest;

    /// Seals the ledger of this number.
    fn seal(&self, counter: u64, ledger: &[u8]) -> Vec<u8>;

    /// Opens the ledger of this number, if it was sealed by this witness.
    fn open(&self, counter: u64, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// Why the ledger was not taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// There is none, though every vault has one.
    #[error("the ledger is missing")]
    Missing,
    /// It is not what the vault wrote.
    #[error("the ledger does not open")]
    Unreadable,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A sum modulo 2^256.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum([u64; 4]);

/// The sums of all trees.
#[derive(Clone, Default)]
pub(super) struct Sums(Trees<Sum>);

/// A row that changes: from one digest to another, or from or to absence.
pub(super) struct Move {
    tree: TreeName,
    key: Vec<u8>,
    old: Option<Digest>,
    new: Option<Digest>,
}

/// The ledger of an open store.
pub(super) struct Ledger {
    witness: Arc<dyn Witness>,
    /// How often it was written.
    counter: u64,
    sums: Sums,
    /// Whether it was ever written.
    written: bool,
    walks: Vec<Tracker>,
    next_walk: u64,
}

/// A walk over all rows, as the writers see it.
pub(super) struct Tracker {
    id: u64,
    /// The place of the tree it is in, and the last key it has read there.
    at: (u8, Option<Vec<u8>>),
    /// What the writers changed behind it.
    behind: Sums,
    /// The rows they changed there, if anybody wants to know.
    dirty: Option<BTreeSet<(u8, Vec<u8>)>>,
}

// === impl Sum ===

impl Sum {
    fn of(digest: &Digest) -> Self {
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(digest.chunks_exact(8)) {
            *limb = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        }
        Self(limbs)
    }

    fn bytes(self) -> Digest {
        let mut bytes = [0; DIGEST_BYTES];
        for (to, limb) in bytes.chunks_exact_mut(8).zip(self.0) {
            to.copy_from_slice(&limb.to_le_bytes());
        }
        bytes
    }

    fn plus(self, other: Self) -> Self {
        let mut carry = false;
        let mut sum = self.0;
        for (to, add) in sum.iter_mut().zip(other.0) {
            let (once, over) = to.overflowing_add(add);
            let (twice, again) = once.overflowing_add(u64::from(carry));
            (*to, carry) = (twice, over || again);
        }
        Self(sum)
    }

    fn minus(self, other: Self) -> Self {
        let negated = Self(other.0.map(|limb| !limb)).plus(Self([1, 0, 0, 0]));
        self.plus(negated)
    }

    pub(super) fn moved(self, old: Option<&Digest>, new: Option<&Digest>) -> Self {
        let less = old.map_or(self, |old| self.minus(Self::of(old)));
        new.map_or(less, |new| less.plus(Self::of(new)))
    }
}

impl fmt::Debug for Sum {
    /// Nothing of it: it is made of secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sum(..)")
    }
}

// === impl Sums ===

impl Sums {
    pub(super) fn moved(&mut self, tree: TreeName, old: Option<&Digest>, new: Option<&Digest>) {
        let sum = self.0.of_mut(tree);
        *sum = sum.moved(old, new);
    }

    pub(super) fn plus(mut self, other: &Self) -> Self {
        for (tree, sum) in self.0.each_mut() {
            *sum = sum.plus(*other.0.of(tree));
        }
        self
    }

    /// The names of the trees in which the two differ.
    pub(super) fn apart(&self, other: &Self) -> Vec<&'static str> {
        let differ = |tree: &TreeName| self.0.of(*tree) != other.0.of(*tree);
        TreeName::summed().filter(differ).map(TreeName::name).collect()
    }
}

impl fmt::Debug for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sums(..)")
    }
}

// === impl Move ===

impl Move {
    pub(super) fn new(
        witness: &dyn Witness,
        tree: TreeName,
        key: &[u8],
        old: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Self {
        let digest = |record: &[u8]| witness.digest(tree.name(), key, record);
        Self { tree, key: key.to_vec(), old: old.map(digest), new: new.map(digest) }
    }
}

impl fmt::Debug for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Move({:?}, {} bytes)", self.tree, self.key.len())
    }
}

// === impl Ledger ===

impl Ledger {
    /// Begins a ledger with what is in the store now.
    pub(super) fn begin(
        witness: Arc<dyn Witness>,
        view: &View,
        counter: u64,
    ) -> Result<Self, StoreError> {
        let mut sums = Sums::default();
        for tree in TreeName::summed() {
            let mut from = Bound::Unbounded;
            loop {
                let page = view.page(tree, from.as_ref().map(Vec::as_slice), b"", PAGE_ROWS)?;
                for (key, record) in &page {
                    sums.moved(tree, None, Some(&witness.digest(tree.name(), key, record)));
                }
                let Some((last, _)) = page.into_iter().next_back() else { break };
                from = Bound::Excluded(last);
            }
        }
        Ok(Self { witness, counter, sums, written: false, walks: Vec::new(), next_walk: 0 })
    }

    /// Takes up the ledger where it was left.
    pub(super) fn resume(witness: Arc<dyn Witness>, view: &View) -> Result<Self, LedgerError> {
        let row = view.get(TreeName::Ledger, LEDGER_KEY)?.ok_or(LedgerError::Missing)?;
        let (counter, sums) = read(&*witness, &row).ok_or(LedgerError::Unreadable)?;
        Ok(Self { witness, counter, sums, written: true, walks: Vec::new(), next_walk: 0 })
    }

    pub(super) fn counter(&self) -> u64 {
        self.counter
    }

    pub(super) fn sums(&self) -> &Sums {
        &self.sums
    }

    pub(super) fn witness(&self) -> &Arc<dyn Witness> {
        &self.witness
    }

    /// Whether it was ever written.
    pub(super) fn is_written(&self) -> bool {
        self.written
    }

    /// The row that goes with these moves.
    pub(super) fn row_after(&self, moves: &[Move]) -> Vec<u8> {
        let mut sums = self.sums.clone();
        for Move { tree, old, new, .. } in moves {
            sums.moved(*tree, old.as_ref(), new.as_ref());
        }
        self.row(self.counter.saturating_add(1), &sums)
    }

    /// The rows are changed, and the ledger is written with them.
    pub(super) fn made(&mut self, moves: &[Move]) {
        self.counter = self.counter.saturating_add(1);
        self.written = true;
        for one in moves {
            self.sums.moved(one.tree, one.old.as_ref(), one.new.as_ref());
            self.walks.iter_mut().for_each(|walk| walk.see(one));
        }
    }

    /// The row as it is now.
    pub(super) fn row_now(&self) -> Vec<u8> {
        self.row(self.counter, &self.sums)
    }

    fn row(&self, counter: u64, sums: &Sums) -> Vec<u8> {
        let sealed = self.witness.seal(counter, &written(sums));
        [&counter.to_be_bytes()[..], &sealed].concat()
    }

    // What follows is about walks.

    pub(super) fn begin_walk(&mut self, follows: bool) -> u64 {
        let id = self.next_walk;
        self.next_walk = id.wrapping_add(1);
        let dirty = follows.then(BTreeSet::new);
        self.walks.push(Tracker { id, at: (0, None), behind: Sums::default(), dirty });
        id
    }

    pub(super) fn end_walk(&mut self, id: u64) -> Option<Sums> {
        let at = self.walks.iter().position(|walk| walk.id == id)?;
        Some(self.walks.swap_remove(at).behind)
    }

    /// Moves a walk on to the key `after` of the tree at this position.
    pub(super) fn walk_on(&mut self, id: u64, at: (u8, Option<Vec<u8>>)) {
        if let Some(walk) = self.walks.iter_mut().find(|walk| walk.id == id) {
            walk.at = at;
        }
    }

    /// Up to `max` rows that were changed behind a walk, which are no longer remembered after that.
    /// Nothing at all when there were more than can be.
    pub(super) fn take_dirty(&mut self, id: u64, max: usize) -> Option<Vec<(u8, Vec<u8>)>> {
        let walk = self.walks.iter_mut().find(|walk| walk.id == id);
        let Some(dirty) = walk.and_then(|walk| walk.dirty.as_mut()) else {
            return Some(Vec::new());
        };
        let fits = dirty.len() <= DIRTY_MAX;
        fits.then(|| (0..max).map_while(|_| dirty.pop_first()).collect())
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ledger({})", self.counter)
    }
}

// === impl Tracker ===

impl Tracker {
    fn see(&mut self, one: &Move) {
        let tree = one.tree.place();
        if !self.is_behind(tree, &one.key) {
            return;
        }
        self.behind.moved(one.tree, one.old.as_ref(), one.new.as_ref());
        if let Some(dirty) = self.dirty.as_mut().filter(|dirty| dirty.len() <= DIRTY_MAX) {
            dirty.insert((tree, one.key.clone()));
        }
    }

    /// Whether the walk has passed this key.
    fn is_behind(&self, tree: u8, key: &[u8]) -> bool {
        let (at, after) = &self.at;
        tree < *at || (tree == *at && after.as_deref().is_some_and(|after| key <= after))
    }
}

fn written(sums: &Sums) -> Vec<u8> {
    let mut parts = vec![FORM.to_vec()];
    for tree in TreeName::summed() {
        parts.push(tree.name().as_bytes().to_vec());
        parts.push(sums.0.of(tree).bytes().to_vec());
    }
    frame(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Reads a row of the ledger: how often it was written, and the sums.
fn read(witness: &dyn Witness, row: &[u8]) -> Option<(u64, Sums)> {
    let (counter, sealed) = row.split_first_chunk()?;
    let counter = u64::from_be_bytes(*counter);
    let text = witness.open(counter, sealed)?;
    let mut fields = Fields::new(&text);
    (fields.bytes()? == FORM).then_some(())?;
    let mut sums = Sums::default();
    while fields.end().is_none() {
        // A tree that this version does not know cannot be vouched for.
        let tree = TreeName::named(fields.text()?)?;
        *sums.0.of_mut(tree) = Sum::of(&fields.array()?);
    }
    Some((counter, sums))
}

#[cfg(test)]
mod tests {
    use super::{Sum, Sums};
    use crate::store::Collection;
    use crate::store::trees::TreeName;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_added_and_taken_away_leaves_the_sum(
            sum: [u64; 4], one: [u8; 32], two: [u8; 32],
        ) {
            let sum = Sum(sum);
            prop_assert_eq!(sum.moved(None, Some(&one)).moved(Some(&one), None), sum);
            let both = sum.moved(None, Some(&one)).moved(None, Some(&two));
            prop_assert_eq!(both, sum.moved(None, Some(&two)).moved(None, Some(&one)));
            prop_assert_eq!(both.moved(Some(&one), None), sum.moved(None, Some(&two)));
            prop_assert_eq!(Sum::of(&sum.bytes()), sum);
        }
    }

    #[test]
    fn the_carry_goes_through_all_limbs() {
        let ones = Sum([u64::MAX; 4]);
        assert_eq!(ones.plus(Sum([1, 0, 0, 0])), Sum::default());
        assert_eq!(Sum::default().minus(Sum([1, 0, 0, 0])), ones);
        assert_eq!(Sum([u64::MAX, 0, 0, 0]).plus(Sum([1, 0, 0, 0])), Sum([0, 1, 0, 0]));
    }

    #[test]
    fn a_difference_is_named_by_its_tree() {
        let (one, mut two) = (Sums::default(), Sums::default());
        two.moved(TreeName::Of(Collection::Tokens), None, Some(&[7; 32]));
        assert_eq!(one.apart(&two), ["tokens"]);
        assert!(one.apart(&Sums::default()).is_empty());
    }
}
