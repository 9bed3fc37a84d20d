//! What the store remembers of all its rows together.
//!
//! A record that was sealed says nothing of a row that was put back to an older form, taken away, or
//! brought back. So the store keeps, for each of its trees, the sum modulo 2^256 of a keyed digest
//! of every row. The order of the rows does not matter to a sum, and a change of one row changes it
//! by a difference: it costs no read of the others. The key is the [`Witness`]'s; the store has
//! none. The digests must stay secret, because with many known ones other rows could be found that
//! make the same sum: the row of the ledger is sealed.
//!
//! sled's log comes back after a crash as far as it was whole, and no further. A group of writes
//! that needs no transaction is announced in the ledger before it is made: whatever part of it
//! survives, the next opening sees of each announced row whether it was changed, and puts the sums
//! right. Before the flush the ledger is written once more, without announcements, so that no row
//! that was acknowledged is in doubt. A transaction writes the ledger with its own rows.

use super::trees::{PARTS, Trees};
use super::{Collection, StoreError};
use crate::frame::{Fields, frame};
use sled::{IVec, Tree};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// The name of the tree that holds the ledger, which is in no sum.
pub(super) const LEDGER: &str = "ledger";
/// The key of its only row.
const ROW: &[u8] = b"ledger";
const DIGEST_BYTES: usize = 32;
/// How much of a digest tells whether an announced row was written.
const TAG_BYTES: usize = 16;
const FORM: &[u8] = b"orchestra/1 ledger";
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

/// What taking up the ledger found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resumed {
    /// How many rows were announced last, and may have been cut short.
    pub announced: usize,
    /// How many of them are neither what they were nor what they were to be.
    pub unexplained: usize,
}

/// A sum modulo 2^256.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum([u64; 4]);

/// The sums of all trees, by name.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Sums(Vec<(&'static str, Sum)>);

/// A row that changes: from one digest to another, or from or to absence.
#[derive(Clone)]
pub(super) struct Move {
    tree: &'static str,
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
    /// The row on the disk announces changes that are made by now.
    unsettled: bool,
    walks: Vec<Tracker>,
    next_walk: u64,
}

/// A walk over all rows, as the writers see it.
pub(super) struct Tracker {
    id: u64,
    /// The tree it is in, as a position, and the last key it has read there.
    at: (usize, Option<Vec<u8>>),
    /// What the writers changed behind it.
    behind: Sums,
    /// The rows they changed there, if anybody wants to know.
    dirty: Option<BTreeSet<(usize, Vec<u8>)>>,
}

/// A ledger as it was written.
struct Written {
    counter: u64,
    sums: Sums,
    announced: Vec<Announced>,
}

struct Announced {
    tree: &'static str,
    key: Vec<u8>,
    old: Option<Digest>,
    new: Option<[u8; TAG_BYTES]>,
}

/// The names of the trees that are in the sums, in the order of a walk: what refers to other rows
/// comes after them nowhere, since a walk ends at one moment for all.
pub(super) const TREES: [&str; 8] = [
    Collection::Meta.name(),
    Collection::Keys.name(),
    Collection::Merchants.name(),
    Collection::ApiKeys.name(),
    Collection::Accounts.name(),
    Collection::Tokens.name(),
    Collection::Payments.name(),
    PARTS,
];

fn position(tree: &str) -> usize {
    TREES.iter().position(|name| *name == tree).unwrap_or(TREES.len())
}

fn tag(digest: &Digest) -> [u8; TAG_BYTES] {
    let mut tag = [0; TAG_BYTES];
    tag.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
    tag
}

fn digest_of(
    witness: &dyn Witness,
    tree: &str,
    key: &[u8],
    record: Option<&[u8]>,
) -> Option<Digest> {
    record.map(|record| witness.digest(tree, key, record))
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
    pub(super) fn zero() -> Self {
        Self(TREES.map(|tree| (tree, Sum::default())).to_vec())
    }

    pub(super) fn moved(&mut self, tree: &str, old: Option<&Digest>, new: Option<&Digest>) {
        if let Some((_, sum)) = self.0.iter_mut().find(|(name, _)| *name == tree) {
            *sum = sum.moved(old, new);
        }
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        let pairs = self.0.iter().zip(&other.0);
        Self(pairs.map(|((name, one), (_, two))| (*name, one.plus(*two))).collect())
    }

    /// The names of the trees in which the two differ.
    pub(super) fn apart(&self, other: &Self) -> Vec<&'static str> {
        let pairs = self.0.iter().zip(&other.0);
        pairs.filter(|(one, two)| one != two).map(|((name, _), _)| *name).collect()
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
        tree: &'static str,
        key: &[u8],
        old: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Self {
        let digest = |record| digest_of(witness, tree, key, record);
        Self { tree, key: key.to_vec(), old: digest(old), new: digest(new) }
    }
}

impl fmt::Debug for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Move({}, {} bytes)", self.tree, self.key.len())
    }
}

// === impl Ledger ===

impl Ledger {
    /// Begins a ledger with what is in the store now.
    pub(super) fn begin(
        witness: Arc<dyn Witness>,
        trees: &Trees<Tree>,
        counter: u64,
    ) -> sled::Result<Self> {
        let mut sums = Sums::zero();
        for (name, tree) in trees.each() {
            for row in tree {
                let (key, record) = row?;
                sums.moved(name, None, Some(&witness.digest(name, &key, &record)));
            }
        }
        let mut ledger =
            Self { witness, counter, sums, unsettled: false, walks: Vec::new(), next_walk: 0 };
        ledger.announce(&trees.ledger, &[])?;
        Ok(ledger)
    }

    /// Takes up the ledger where it was left, also in the middle of a group of writes.
    pub(super) fn resume(
        witness: Arc<dyn Witness>,
        trees: &Trees<Tree>,
    ) -> Result<(Self, Resumed), LedgerError> {
        let row = trees.ledger.get(ROW).map_err(|error| super::trees::of_sled(&error))?;
        let row = row.ok_or(LedgerError::Missing)?;
        let written = Written::read(&*witness, &row).ok_or(LedgerError::Unreadable)?;
        let Written { counter, sums, announced } = written;
        let mut ledger =
            Self { witness, counter, sums, unsettled: false, walks: Vec::new(), next_walk: 0 };
        let mut resumed = Resumed { announced: announced.len(), unexplained: 0 };
        for one in announced {
            let explained = ledger.resolve(trees, &one)?;
            resumed.unexplained = resumed.unexplained.saturating_add(usize::from(!explained));
        }
        Ok((ledger, resumed))
    }

    /// Counts an announced row as changed if it is, and says whether it is one or the other.
    fn resolve(&mut self, trees: &Trees<Tree>, one: &Announced) -> Result<bool, StoreError> {
        let record = match trees.named(one.tree) {
            Some(tree) => tree.get(&one.key).map_err(|error| super::trees::of_sled(&error))?,
            None => None,
        };
        let found = digest_of(&*self.witness, one.tree, &one.key, record.as_deref());
        let is_new = found.as_ref().map(tag) == one.new;
        if is_new {
            self.sums.moved(one.tree, one.old.as_ref(), found.as_ref());
        }
        Ok(is_new || found == one.old)
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

    /// Says on the disk which rows are about to change, before they do.
    pub(super) fn announce(&mut self, tree: &Tree, moves: &[Move]) -> sled::Result<()> {
        self.counter = self.counter.saturating_add(1);
        self.unsettled = !moves.is_empty();
        let row = self.row(self.counter, &self.sums, moves);
        tree.insert(ROW, row).map(|_| ())
    }

    /// Says on the disk that what was announced is made, before it is flushed: of rows that were
    /// acknowledged there is no doubt.
    pub(super) fn settle(&mut self, tree: &Tree) -> sled::Result<()> {
        if self.unsettled { self.announce(tree, &[]) } else { Ok(()) }
    }

    /// The row that a transaction which makes `moves` writes with them, under [`Self::key`].
    pub(super) fn row_after(&self, moves: &[Move]) -> Vec<u8> {
        let mut sums = self.sums.clone();
        for Move { tree, old, new, .. } in moves {
            sums.moved(tree, old.as_ref(), new.as_ref());
        }
        self.row(self.counter.saturating_add(1), &sums, &[])
    }

    /// Where the ledger's row is.
    pub(super) fn key() -> &'static [u8] {
        ROW
    }

    /// A transaction wrote the ledger with these changes.
    pub(super) fn transacted(&mut self, moves: &[Move]) {
        self.counter = self.counter.saturating_add(1);
        self.unsettled = false;
        self.made(moves);
    }

    /// The rows are changed.
    pub(super) fn made(&mut self, moves: &[Move]) {
        for one in moves {
            self.sums.moved(one.tree, one.old.as_ref(), one.new.as_ref());
            self.walks.iter_mut().for_each(|walk| walk.see(one));
        }
    }

    /// The row as it is when nothing is under way.
    pub(super) fn settled_row(&self) -> Vec<u8> {
        self.row(self.counter, &self.sums, &[])
    }

    fn row(&self, counter: u64, sums: &Sums, moves: &[Move]) -> Vec<u8> {
        let text = written(sums, moves);
        let sealed = self.witness.seal(counter, &text);
        [&counter.to_be_bytes()[..], &sealed].concat()
    }

    // What follows is about walks.

    pub(super) fn begin_walk(&mut self, follows: bool) -> u64 {
        let id = self.next_walk;
        self.next_walk = id.wrapping_add(1);
        let dirty = follows.then(BTreeSet::new);
        self.walks.push(Tracker { id, at: (0, None), behind: Sums::zero(), dirty });
        id
    }

    pub(super) fn end_walk(&mut self, id: u64) -> Option<Sums> {
        let at = self.walks.iter().position(|walk| walk.id == id)?;
        Some(self.walks.swap_remove(at).behind)
    }

    /// Moves a walk on to the key `after` of the tree at this position.
    pub(super) fn walk_on(&mut self, id: u64, at: (usize, Option<Vec<u8>>)) {
        if let Some(walk) = self.walks.iter_mut().find(|walk| walk.id == id) {
            walk.at = at;
        }
    }

    /// Up to `max` rows that were changed behind a walk, which are no longer remembered after that.
    /// Nothing at all when there were more than can be.
    pub(super) fn take_dirty(&mut self, id: u64, max: usize) -> Option<Vec<(usize, Vec<u8>)>> {
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
        let tree = position(one.tree);
        if !self.is_behind(tree, &one.key) {
            return;
        }
        self.behind.moved(one.tree, one.old.as_ref(), one.new.as_ref());
        if let Some(dirty) = self.dirty.as_mut().filter(|dirty| dirty.len() <= DIRTY_MAX) {
            dirty.insert((tree, one.key.clone()));
        }
    }

    /// Whether the walk has passed this key.
    fn is_behind(&self, tree: usize, key: &[u8]) -> bool {
        let (at, after) = &self.at;
        tree < *at || (tree == *at && after.as_deref().is_some_and(|after| key <= after))
    }
}

// === impl Written ===

fn written(sums: &Sums, moves: &[Move]) -> Vec<u8> {
    let count = |many: usize| u32::try_from(many).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    let mut parts = vec![FORM.to_vec(), count(sums.0.len())];
    for (name, sum) in &sums.0 {
        parts.push(name.as_bytes().to_vec());
        parts.push(sum.bytes().to_vec());
    }
    for Move { tree, key, old, new } in moves {
        parts.push(tree.as_bytes().to_vec());
        parts.push(key.clone());
        parts.push(old.map(Vec::from).unwrap_or_default());
        parts.push(new.as_ref().map(|new| tag(new).to_vec()).unwrap_or_default());
    }
    frame(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

impl Written {
    fn read(witness: &dyn Witness, row: &IVec) -> Option<Self> {
        let (counter, sealed) = row.split_first_chunk()?;
        let counter = u64::from_be_bytes(*counter);
        let text = witness.open(counter, sealed)?;
        let mut fields = Fields::new(&text);
        if fields.bytes()? != FORM {
            return None;
        }
        let mut sums = Sums::zero();
        for _ in 0..u32::from_be_bytes(fields.array()?) {
            let name = fields.text()?;
            let sum = Sum::of(&fields.array()?);
            // A tree that this version does not know cannot be vouched for.
            sums.0.iter_mut().find(|(known, _)| *known == name)?.1 = sum;
        }
        let mut announced = Vec::new();
        while fields.end().is_none() {
            announced.push(Announced::read(&mut fields)?);
        }
        Some(Self { counter, sums, announced })
    }
}

impl Announced {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.text()?;
        let tree = TREES.into_iter().find(|tree| *tree == name)?;
        let key = fields.bytes()?.to_vec();
        let old = optional(fields.bytes()?)?;
        let new = optional(fields.bytes()?)?;
        Some(Self { tree, key, old, new })
    }
}

/// Nothing for no bytes, and nothing at all for another length.
fn optional<const N: usize>(bytes: &[u8]) -> Option<Option<[u8; N]>> {
    if bytes.is_empty() { Some(None) } else { Some(Some(bytes.try_into().ok()?)) }
}

#[cfg(test)]
mod tests {
    use super::{Sum, Sums};
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
        let (one, mut two) = (Sums::zero(), Sums::zero());
        two.moved("tokens", None, Some(&[7; 32]));
        assert_eq!(one.apart(&two), ["tokens"]);
        assert!(one.apart(&Sums::zero()).is_empty());
    }
}
