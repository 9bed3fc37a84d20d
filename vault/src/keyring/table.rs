//! The key table: every key that there is or was, its state, and how it is wrapped.
//!
//! A row of the store is found under `owner, purpose, version`. The rows are under one MAC together,
//! with a version that grows with each change: a row that was changed, put back, added or taken
//! away is noticed when the vault opens. The version is also kept in the token, so that a table
//! that was put back as a whole is noticed as well.

use crate::frame::{Fields, frame};
use crate::hsm::Kek;
use crate::seal::{Dek, DekId, Purpose};
use crate::store::{Collection, Entry, PAGE_ENTRIES_MAX, Store, Write};
use crate::{OpenError, UnixSeconds, WrapMechanism};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Who owns the keys that are inside the token. No merchant can have this name.
pub(crate) const TOKEN: &str = "@token";
/// Where in [`Collection::Meta`] the version and the MAC of the table are.
pub(crate) const SEAL_ROW: &[u8] = b"key table";
/// How many destroyed keys of an owner for one purpose stay in the table. What became of the ones
/// before is in the audit log.
pub(crate) const DESTROYED_MAX: usize = 8;
/// How many rows of destroyed keys leave the table with one change at most.
const LEAVING_MAX: usize = 32;

/// Where a key is in its life. It only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyState {
    /// Made, and known to everyone who opens records; not used yet.
    PreActive,
    /// The one that seals, or wraps.
    Active,
    /// Opens, or unwraps, what is there. It seals nothing any more.
    DecryptOnly,
    /// Gone. Only its row is left, without the key.
    Destroyed,
}

/// The name of a key in the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) owner: Box<str>,
    pub(crate) purpose: Purpose,
    pub(crate) version: u32,
}

/// A key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) name: Name,
    pub(crate) id: DekId,
    pub(crate) state: KeyState,
    /// The version of the table that the key came with.
    pub(crate) born: u64,
    pub(crate) created: UnixSeconds,
    /// When its state last changed.
    pub(crate) changed: UnixSeconds,
    /// On whose word the key was made.
    pub(crate) by: Box<str>,
    pub(crate) place: KeyPlace,
}

/// Where the key itself is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyPlace {
    /// In the token, which wraps with it.
    Token(WrapMechanism),
    /// Here, wrapped. Nothing is left of one that is destroyed.
    Wrapped { by: [u8; 8], bytes: Vec<u8> },
}

/// All rows, and what it takes to seal a change of them without reading the others again.
#[derive(Default)]
pub(crate) struct Table {
    /// The row of the vault itself, which is sealed together with the keys.
    vault_row: Vec<u8>,
    version: u64,
    rows: BTreeMap<Name, (Arc<Row>, Mac)>,
    sum: Mac,
}

/// A change that is sealed: durable together with its rows, or not made.
#[derive(Debug)]
pub(crate) struct Sealed {
    vault_row: Vec<u8>,
    rows: Vec<(Arc<Row>, Mac)>,
    leaving: Vec<Name>,
    sum: Mac,
    pub(crate) version: u64,
    tag: Mac,
}

type Mac = [u8; 32];

/// The version and the MAC that stand in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) version: u64,
    tag: Mac,
}

fn add(sum: Mac, mac: Mac) -> Mac {
    std::array::from_fn(|nth| {
        let byte = |bytes: &Mac| bytes.get(nth).copied().unwrap_or_default();
        byte(&sum) ^ byte(&mac)
    })
}

// === impl KeyState ===

impl KeyState {
    /// Every state, in the order of a key's life.
    pub const ALL: [Self; 4] = [Self::PreActive, Self::Active, Self::DecryptOnly, Self::Destroyed];

    /// The word for it in storage, in lists and in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::PreActive => "pre-active",
            Self::Active => "active",
            Self::DecryptOnly => "decrypt-only",
            Self::Destroyed => "destroyed",
        }
    }

    fn by_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

// === impl Name ===

impl Name {
    pub(crate) fn row(&self) -> Vec<u8> {
        frame(&[self.owner.as_bytes(), self.purpose.word().as_bytes(), &self.version.to_be_bytes()])
    }

    fn parse(row: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(row);
        let owner = fields.text()?.into();
        let purpose = Purpose::by_word(fields.text()?)?;
        let version = u32::from_be_bytes(fields.array()?);
        fields.end()?;
        Some(Self { owner, purpose, version })
    }

    /// What the token authenticates beside the key, where the mechanism can.
    pub(crate) fn aad(&self, id: DekId) -> Vec<u8> {
        frame(&[
            b"orchestra/1 wrapped key",
            &id.0,
            self.owner.as_bytes(),
            self.purpose.word().as_bytes(),
            &self.version.to_be_bytes(),
        ])
    }

    pub(crate) fn refused(&self, id: DekId) -> OpenError {
        OpenError::WrappedKey {
            key: id.to_string().into(),
            owner: self.owner.clone(),
            purpose: self.purpose.word(),
            version: self.version,
        }
    }
}

// === impl Row ===

impl Row {
    /// The same key in another state. What is destroyed keeps no wrapped bytes.
    pub(crate) fn in_state(&self, state: KeyState, now: UnixSeconds) -> Self {
        let mut row = Self { state, changed: now, ..self.clone() };
        if let (KeyState::Destroyed, KeyPlace::Wrapped { bytes, .. }) = (state, &mut row.place) {
            bytes.clear();
        }
        row
    }

    /// The key in the token that this row is, if it is one.
    pub(crate) fn kek(&self) -> Option<Kek> {
        match self.place {
            KeyPlace::Token(wrap) => Some(Kek { id: self.id.0, wrap }),
            KeyPlace::Wrapped { .. } => None,
        }
    }

    /// The id of the key in the token that wrapped this one, if it is still wrapped.
    pub(crate) fn wrapped_by(&self) -> Option<[u8; 8]> {
        match &self.place {
            KeyPlace::Wrapped { by, bytes } if !bytes.is_empty() => Some(*by),
            KeyPlace::Wrapped { .. } | KeyPlace::Token(_) => None,
        }
    }

    fn is_destroyed_data_key(&self) -> bool {
        self.state == KeyState::Destroyed && matches!(self.place, KeyPlace::Wrapped { .. })
    }

    fn value(&self) -> Vec<u8> {
        let (place, bytes): (&[u8], &[u8]) = match &self.place {
            KeyPlace::Token(wrap) => (wrap.word().as_bytes(), &[]),
            KeyPlace::Wrapped { by, bytes } => (by, bytes),
        };
        frame(&[
            &self.id.0,
            self.state.word().as_bytes(),
            &self.born.to_be_bytes(),
            &self.created.to_be_bytes(),
            &self.changed.to_be_bytes(),
            self.by.as_bytes(),
            place,
            bytes,
        ])
    }

    pub(crate) fn parse((row, value): &Entry) -> Option<Self> {
        let name = Name::parse(row)?;
        let mut fields = Fields::new(value);
        let id = DekId(fields.array()?);
        let state = KeyState::by_word(fields.text()?)?;
        let (born, created, changed) = (fields.number()?, fields.number()?, fields.number()?);
        let by = fields.text()?.into();
        let (place, bytes) = (fields.bytes()?, fields.bytes()?);
        fields.end()?;
        let place = if &*name.owner == TOKEN {
            KeyPlace::Token(WrapMechanism::by_word(str::from_utf8(place).ok()?)?)
        } else {
            KeyPlace::Wrapped { by: place.try_into().ok()?, bytes: bytes.to_vec() }
        };
        Some(Self { name, id, state, born, created, changed, by, place })
    }

    fn mac(&self, key: &Dek) -> Mac {
        key.mac(&[b"row of the key table", &self.name.row(), &self.value()])
    }

    pub(crate) fn write(&self) -> Write {
        Write::Put { collection: Collection::Keys, key: self.name.row(), value: self.value() }
    }
}

// === impl Anchor ===

impl Anchor {
    /// As it stands in the store and in the token.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        frame(&[&self.version.to_be_bytes(), &self.tag])
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let anchor = Self { version: fields.number()?, tag: fields.array()? };
        fields.end()?;
        Some(anchor)
    }

    /// What the store says of its table.
    pub(crate) fn read(store: &dyn Store) -> Result<Self, OpenError> {
        let row = store.get(Collection::Meta, SEAL_ROW)?;
        let damaged = OpenError::Damaged { what: "seal of the list of keys" };
        row.as_deref().and_then(Self::parse).ok_or(damaged)
    }
}

// === impl Table ===

impl Table {
    /// Reads the rows. Nothing is known of them yet: see [`Self::is_sealed_by`].
    pub(crate) fn read(store: &dyn Store, vault_row: Vec<u8>) -> Result<Self, OpenError> {
        let mut table = Self { vault_row, ..Self::default() };
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = store.page(Collection::Keys, after.as_deref(), b"", PAGE_ENTRIES_MAX)?;
            let Some((last, _)) = page.last() else { return Ok(table) };
            after = Some(last.clone());
            for entry in &page {
                let row = Row::parse(entry).ok_or(OpenError::Damaged { what: "list of keys" })?;
                table.rows.insert(row.name.clone(), (Arc::new(row), Mac::default()));
            }
        }
    }

    /// Whether the table is the one that `anchor` was made of, by the vault with this key.
    pub(crate) fn is_sealed_by(&mut self, key: &Dek, anchor: &Anchor) -> bool {
        let mut sum = Mac::default();
        for (row, mac) in self.rows.values_mut() {
            *mac = row.mac(key);
            sum = add(sum, *mac);
        }
        self.sum = sum;
        self.version = anchor.version;
        crate::seal::same(&tag(key, &self.vault_row, anchor.version, &sum), &anchor.tag)
    }

    /// The table with `changed` in it, sealed and not yet made. A row takes the place of the one
    /// with its name.
    pub(crate) fn seal(&self, key: &Dek, changed: &[Row], vault_row: Option<Vec<u8>>) -> Sealed {
        let vault_row = vault_row.unwrap_or_else(|| self.vault_row.clone());
        let version = self.version.saturating_add(1);
        let rows: Vec<_> =
            changed.iter().map(|row| (Arc::new(row.clone()), row.mac(key))).collect();
        let mut sum = self.sum;
        for (row, mac) in &rows {
            let before = self.rows.get(&row.name).map_or(Mac::default(), |(_, mac)| *mac);
            sum = add(add(sum, before), *mac);
        }
        let leaving = self.leaving(changed);
        for (_, mac) in leaving.iter().filter_map(|name| self.rows.get(name)) {
            sum = add(sum, *mac);
        }
        let tag = tag(key, &vault_row, version, &sum);
        Sealed { vault_row, rows, leaving, sum, version, tag }
    }

    /// The rows that give way to those of keys that are destroyed with a change.
    fn leaving(&self, changed: &[Row]) -> Vec<Name> {
        let mut coming: BTreeMap<(&str, Purpose), usize> = BTreeMap::new();
        for row in changed.iter().filter(|row| row.is_destroyed_data_key()) {
            let count = coming.entry((&row.name.owner, row.name.purpose)).or_default();
            *count = count.saturating_add(1);
        }
        let of_each = coming.into_iter().flat_map(|((owner, purpose), coming)| {
            let rows = self.of(owner).filter(|row| row.is_destroyed_data_key());
            let rows: Vec<_> = rows.filter(|row| row.name.purpose == purpose).collect();
            let too_many = rows.len().saturating_add(coming).saturating_sub(DESTROYED_MAX);
            // The oldest first.
            rows.into_iter().take(too_many).map(|row| row.name.clone()).collect::<Vec<_>>()
        });
        of_each.take(LEAVING_MAX).collect()
    }

    /// Takes over a change that is durable.
    pub(crate) fn apply(&mut self, sealed: Sealed) {
        let Sealed { vault_row, rows, leaving, sum, version, tag: _ } = sealed;
        (self.vault_row, self.sum, self.version) = (vault_row, sum, version);
        leaving.iter().for_each(|name| drop(self.rows.remove(name)));
        for (row, mac) in rows {
            self.rows.insert(row.name.clone(), (row, mac));
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// What stands in the store of this table, if nothing changed it.
    pub(crate) fn anchor(&self, key: &Dek) -> Anchor {
        let Self { vault_row, version, sum, .. } = self;
        Anchor { version: *version, tag: tag(key, vault_row, *version, sum) }
    }

    /// Every row, by owner, purpose and version.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.rows.values().map(|(row, _)| row)
    }

    /// The rows of one owner.
    pub(crate) fn of<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = &'a Arc<Row>> {
        let first = Name { owner: owner.into(), purpose: Purpose::FIRST, version: 0 };
        let rows = self.rows.range(first..).map(|(_, (row, _))| row);
        rows.take_while(move |row| &*row.name.owner == owner)
    }

    /// The key in the token that wraps now.
    pub(crate) fn kek(&self) -> Option<Kek> {
        self.of(TOKEN).find(|row| row.state == KeyState::Active)?.kek()
    }

    /// The key in the token with this id.
    pub(crate) fn kek_by_id(&self, id: [u8; 8]) -> Option<Kek> {
        self.of(TOKEN).find(|row| row.id.0 == id)?.kek()
    }

    /// The keys in the token without which something does not unwrap, the active one first.
    pub(crate) fn keks_needed(&self) -> Vec<Kek> {
        let mut keks: Vec<Kek> = self.kek().into_iter().collect();
        for id in self.rows().filter_map(|row| row.wrapped_by()) {
            if let Some(kek) = self.kek_by_id(id).filter(|kek| !keks.contains(kek)) {
                keks.push(kek);
            }
        }
        keks
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({} rows, version {})", self.rows.len(), self.version)
    }
}

/// The rows are added by exclusive or, which is sound because each is the output of a keyed
/// function that nobody sees: the sum is only ever shown through the tag.
fn tag(key: &Dek, vault_row: &[u8], version: u64, sum: &Mac) -> Mac {
    key.mac(&[b"key table", vault_row, &version.to_be_bytes(), sum])
}

// === impl Sealed ===

impl Sealed {
    pub(crate) fn anchor(&self) -> Anchor {
        Anchor { version: self.version, tag: self.tag }
    }

    /// What makes the change durable.
    pub(crate) fn writes(&self) -> Vec<Write> {
        let put = |key: &[u8], value| Write::Put {
            collection: Collection::Meta,
            key: key.to_vec(),
            value,
        };
        let mut writes: Vec<Write> = self.rows.iter().map(|(row, _)| row.write()).collect();
        let leave = |name: &Name| Write::Delete { collection: Collection::Keys, key: name.row() };
        writes.extend(self.leaving.iter().map(leave));
        writes.push(put(SEAL_ROW, self.anchor().bytes()));
        writes
    }
}
