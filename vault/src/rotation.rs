//! Rotation: one key takes the place of another, while everything goes on.
//!
//! A data key goes through its states in steps, each of them durable, and after a crash the next
//! step follows from the states alone:
//!
//! 1. A new version is made, pre-active. When nobody works any more with what the keys were before,
//!    everyone who opens records can open what it will seal.
//! 2. It becomes active, and the old one decrypt-only. When nobody holds a claim on the old one any
//!    more, everything that it ever sealed can be found.
//! 3. Records are sealed again, page by page, each swapped only if it is as it was read. The place
//!    where it stands is kept, so that it goes on from there after a crash.
//! 4. All records are read once more. When none names the old key, and nobody works any more with
//!    what was read before, the old key is destroyed.
//!
//! A write that was given up half-way has let go of its claim, and is in the queue of the store. The
//! place that is kept between the third step and the fourth comes after it there, so that the second
//! look finds what it wrote.
//!
//! A key in the token: the new one is made, becomes active, and wraps every data key anew. The old
//! one stays, decrypt-only, until somebody destroys it: backups need it.

mod job;
mod kek;
mod records;
#[cfg(test)]
mod tests;

use crate::audit::{Action, Who};
use crate::figures::Figures;
use crate::keyring::Former;
use crate::keyring::table::{KeyState, Name, Row, TOKEN};
use crate::seal::{DekId, Purpose, Rotation};
use crate::store::{Collection, Store, Write, wait};
use crate::{OpenError, UnixSeconds, Vault, VaultError};
pub(crate) use job::{JOB_ROW, Job};
use model::MerchantId;
use records::records_of;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many records are sealed again before the place is kept.
const PAGE_RECORDS: usize = 64;
/// How many data keys are wrapped again in one change of the table.
const PAGE_KEYS: usize = 64;
/// How often a step that waits for others looks again.
const WAIT: Duration = Duration::from_millis(2);
/// How long nothing is done when nothing is to be done.
const IDLE: Duration = Duration::from_secs(1);
/// How long to wait after a step that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// What is to be rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rotate {
    /// The key in the token, on the word of these.
    Kek { by: Box<str> },
    /// The data keys of all owners, or of one merchant, or that one's key for one purpose.
    Deks { merchant: Option<MerchantId>, purpose: Option<Purpose> },
}

/// What [`Vault::tend`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tended {
    /// There was nothing to do; look again after that.
    Idle(Duration),
    /// A step was done; the next one follows after that.
    Worked(Duration),
}

/// How far a rotation is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What is rotated: `kek`, `dek`, or nothing.
    pub what: Option<&'static str>,
    /// Whose key is at hand, and what for.
    pub owner: Box<str>,
    pub purpose: &'static str,
    /// How many keys have a successor, of so many.
    pub keys_done: u64,
    pub keys: u64,
    /// How many records were sealed again, or keys wrapped again.
    pub records: u64,
    /// How many records did not open. Their keys are kept.
    pub refused: u64,
    /// Why the last step was not done, if it was not.
    pub waits_for: Option<&'static str>,
    pub begun: UnixSeconds,
    /// How many rotations have ended since the vault was opened.
    pub ended: u64,
}

/// The rotation that is under way, if one is.
#[derive(Debug, Default)]
pub(crate) struct Rotations(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    job: Option<Job>,
    /// What was let go of and may still be worked with: nothing goes on before it is not.
    former: Option<Former>,
    /// How far the key at hand is. Not durable: it is found out again.
    walk: Walk,
    waits_for: Option<&'static str>,
    ended: u64,
}

/// What is done with the records of the key at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Walk {
    /// They are sealed again.
    #[default]
    Reseal,
    /// They are looked at once more, and so many still name the old key.
    Verify { left: u64 },
    /// None of them names the old key.
    Verified,
}

// === impl Rotations ===

impl Rotations {
    /// The rotation that was under way when the vault was closed, or the process ended.
    pub(crate) fn open(store: &dyn Store) -> Result<Self, OpenError> {
        let job = match store.get(Collection::Meta, JOB_ROW)? {
            None => None,
            Some(row) => {
                Some(Job::parse(&row).ok_or(OpenError::Damaged { what: "row of a rotation" })?)
            }
        };
        Ok(Self(Mutex::new(Inner { job, ..Inner::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Vault ===

impl Vault {
    /// Begins a rotation of the data keys of a merchant, or of all, which [`Self::tend`] carries on.
    /// There is one at a time.
    ///
    /// # Errors
    /// Another is under way, there is no such merchant, or the vault failed.
    pub async fn rotate(
        &self,
        merchant: Option<MerchantId>,
        who: &Who,
        now: UnixSeconds,
    ) -> Result<(), VaultError> {
        self.rotate_deks(merchant, None, who, now).await
    }

    async fn rotate_deks(
        &self,
        merchant: Option<MerchantId>,
        purpose: Option<Purpose>,
        who: &Who,
        now: UnixSeconds,
    ) -> Result<(), VaultError> {
        let whose = merchant.as_ref().map_or("all", |merchant| merchant.as_str());
        let object = purpose.map_or(whose.into(), |purpose| format!("{whose} {}", purpose.word()));
        let event = who.event(Action::VaultKeysRotate, merchant.as_ref(), object);
        let begin = self.begin(Rotate::Deks { merchant: merchant.clone(), purpose }, now, vec![]);
        self.audit.act(event, begin).await
    }

    /// Begins a rotation, together with other writes.
    pub(crate) async fn begin(
        &self,
        what: Rotate,
        now: UnixSeconds,
        more: Vec<Write>,
    ) -> Result<(), VaultError> {
        let _one_at_a_time = self.changes.lock().await;
        if let Rotate::Deks { merchant: Some(merchant), .. } = &what {
            self.keys_of(merchant)?;
        }
        self.keyring.system()?;
        if self.rotations.lock().job.is_some() {
            return Err(VaultError::Rotating);
        }
        let born = self.keyring.table().version().saturating_add(1);
        let at = ("".into(), Purpose::FIRST);
        let job = Job { what, born, begun: now, at, cursor: vec![], records: 0, refused: 0 };
        self.store.batch([more, vec![Job::write(Some(&job))]].concat()).await?;
        let mut inner = self.rotations.lock();
        (inner.job, inner.walk) = (Some(job), Walk::default());
        Ok(())
    }

    /// How far the rotation is that is under way.
    pub fn progress(&self) -> Progress {
        let inner = self.rotations.lock();
        let Some(job) = inner.job.clone() else {
            return Progress { ended: inner.ended, ..Progress::default() };
        };
        let table = self.keyring.table();
        let (what, keys, keys_done) = match job.what {
            Rotate::Kek { .. } => {
                let kek = table.kek().map(|kek| kek.id);
                let wrapped = || table.rows().filter_map(|row| row.wrapped_by());
                ("kek", wrapped().count(), wrapped().filter(|by| Some(*by) == kek).count())
            }
            Rotate::Deks { .. } => {
                let all =
                    || table.rows().filter(|row| row.state == KeyState::Active && job.covers(row));
                ("dek", all().count(), all().filter(|row| row.born >= job.born).count())
            }
        };
        Progress {
            what: Some(what),
            owner: job.at.0,
            purpose: job.at.1.word(),
            keys_done: u64::try_from(keys_done).unwrap_or(u64::MAX),
            keys: u64::try_from(keys).unwrap_or(u64::MAX),
            records: job.records,
            refused: job.refused,
            waits_for: inner.waits_for,
            begun: job.begun,
            ended: inner.ended,
        }
    }

    pub(crate) fn rotation_figures(&self, figures: &mut Figures) {
        let progress = self.progress();
        figures.rotating = u64::from(progress.what.is_some());
        figures.rotation_keys = progress.keys;
        figures.rotation_keys_done = progress.keys_done;
        figures.rotation_records = progress.records;
        figures.rotation_refused = progress.refused;
        figures.rotations_ended = progress.ended;
    }

    /// Does what is due: watches the token, and goes one step on with a rotation, or begins one for
    /// a key that is old or has sealed much. Blocks on the store and on the token, for a page of
    /// records at most. One thread calls it.
    pub fn tend(&self, now: UnixSeconds) -> Tended {
        self.watch_token();
        if self.keyring.is_empty() {
            return Tended::Idle(IDLE);
        }
        let job = self.rotations.lock().job.clone();
        let step = match job {
            Some(job) => self.step(job, now),
            None => self.begin_due(now),
        };
        let (tended, waits_for) = match step {
            Ok(tended) => (tended, None),
            Err(error) => {
                log::warn!("a rotation of keys waits: {error}");
                (Tended::Worked(AFTER_FAILURE), Some(waits_for(error)))
            }
        };
        self.rotations.lock().waits_for = waits_for;
        tended
    }

    /// Begins a rotation for a key that is due for one: for all of its owner if it is old or has sealed
    /// much, and for itself if what it sealed was deleted.
    fn begin_due(&self, now: UnixSeconds) -> Result<Tended, VaultError> {
        let Some((owner, purpose)) = self.due(now) else { return Ok(Tended::Idle(IDLE)) };
        let merchant = Self::merchant_of(&owner);
        let whose = merchant.as_ref().map_or("all", |merchant| merchant.as_str());
        match purpose {
            None => log::info!("the data keys of {whose} are due, and are rotated"),
            Some(purpose) => log::info!(
                "records of {whose} were deleted; the data key of its {} is exchanged, so that nobody can \
                 open them any more",
                purpose.word()
            ),
        }
        wait(self.rotate_deks(merchant, purpose, &Who::system(), now))?;
        Ok(Tended::Worked(Duration::ZERO))
    }

    /// Whose key is due, and what for: nothing if all of the owner's are.
    fn due(&self, now: UnixSeconds) -> Option<(Box<str>, Option<Purpose>)> {
        let oldest = now.saturating_sub(self.settings.dek_period.as_secs());
        let rows: Vec<Arc<Row>> = {
            let table = self.keyring.table();
            let all = table.rows().filter(|row| {
                row.state == KeyState::Active && row.name.purpose.rotation() != Rotation::Never
            });
            all.filter(|row| &*row.name.owner != TOKEN).cloned().collect()
        };
        let forgotten = now.saturating_sub(self.settings.shred_after.as_secs());
        rows.iter().find_map(|row| {
            let Name { owner, purpose, .. } = &row.name;
            let dek = self.keyring.active(Self::merchant_of(owner).as_ref(), *purpose).ok();
            let seals = dek.as_ref().map_or(0, |dek| dek.seals());
            if row.created < oldest || seals >= self.settings.seals_max {
                return Some((owner.clone(), None));
            }
            let since = dek?.deleted_since()?;
            (since <= forgotten).then(|| (owner.clone(), Some(*purpose)))
        })
    }

    fn step(&self, job: Job, now: UnixSeconds) -> Result<Tended, VaultError> {
        if self.rotations.lock().former.as_ref().is_some_and(Former::is_held) {
            return Ok(Tended::Worked(WAIT));
        }
        self.rotations.lock().former = None;
        match &job.what {
            Rotate::Kek { by } => self.step_kek(&job, &by.clone(), now),
            Rotate::Deks { .. } => self.step_deks(job, now),
        }
    }

    fn end(&self, job: &Job) -> Result<Tended, VaultError> {
        wait(self.store.batch(vec![Job::write(None)]))?;
        let mut inner = self.rotations.lock();
        (inner.job, inner.walk) = (None, Walk::default());
        inner.ended = inner.ended.saturating_add(1);
        log::info!(
            "a rotation of keys has ended; {} records, {} refused",
            job.records,
            job.refused
        );
        Ok(Tended::Worked(Duration::ZERO))
    }

    /// Keeps where the rotation is.
    fn keep_place(&self, job: Job, walk: Walk) -> Result<(), VaultError> {
        wait(self.store.batch(vec![Job::write(Some(&job))]))?;
        let mut inner = self.rotations.lock();
        (inner.job, inner.walk) = (Some(job), walk);
        Ok(())
    }

    fn step_deks(&self, job: Job, now: UnixSeconds) -> Result<Tended, VaultError> {
        let Some((owner, purpose)) = self.next_target(&job) else { return self.end(&job) };
        let at = (owner.clone(), purpose);
        if job.at != at {
            self.keep_place(Job { at, cursor: vec![], ..job }, Walk::Reseal)?;
            return Ok(Tended::Worked(Duration::ZERO));
        }
        let rows: Vec<Arc<Row>> = {
            let table = self.keyring.table();
            table.of(&owner).filter(|row| row.name.purpose == purpose).cloned().collect()
        };
        let in_state = |state| rows.iter().filter(move |row| row.state == state);
        let active = in_state(KeyState::Active).next();
        let old: Vec<Arc<Row>> = in_state(KeyState::DecryptOnly).cloned().collect();
        match (active, in_state(KeyState::PreActive).next()) {
            // It was shredded meanwhile.
            (None, _) => self.advance(job),
            (Some(active), Some(coming)) => self.activate(active, coming, now),
            (Some(active), None) if active.born < job.born => self.make_next(active, now),
            (Some(_), None) if old.is_empty() || purpose.rotation() != Rotation::Reseal => {
                self.advance(job)
            }
            (Some(_), None) => self.walk(job, &old, now),
        }
    }

    /// The key at hand: the first that is not before the one that the job names.
    fn next_target(&self, job: &Job) -> Option<(Box<str>, Purpose)> {
        let table = self.keyring.table();
        let mut rows = table.rows().filter(|row| job.covers(row));
        let found = rows.find(|row| (&*row.name.owner, row.name.purpose) >= (&*job.at.0, job.at.1));
        found.map(|row| (row.name.owner.clone(), row.name.purpose))
    }

    /// Goes on to the next key.
    fn advance(&self, job: Job) -> Result<Tended, VaultError> {
        let next = {
            let table = self.keyring.table();
            let mut rows = table.rows().filter(|row| job.covers(row));
            let next =
                rows.find(|row| (&*row.name.owner, row.name.purpose) > (&*job.at.0, job.at.1));
            next.map(|row| (row.name.owner.clone(), row.name.purpose))
        };
        let Some(at) = next else { return self.end(&job) };
        self.keep_place(Job { at, cursor: vec![], ..job }, Walk::Reseal)?;
        Ok(Tended::Worked(Duration::ZERO))
    }

    fn make_next(&self, active: &Row, now: UnixSeconds) -> Result<Tended, VaultError> {
        let _one_at_a_time = self.change_keys();
        let Name { owner, purpose, version } = active.name.clone();
        let name = Name { owner, purpose, version: version.saturating_add(1) };
        let new = wait(self.make_key(name, KeyState::PreActive, now, "rotation"))?;
        let owner = &active.name.owner;
        let former = wait(self.change_states(owner, &[new.row], &[new.dek]))?;
        self.rotations.lock().former = former;
        Ok(Tended::Worked(Duration::ZERO))
    }

    fn activate(&self, active: &Row, coming: &Row, now: UnixSeconds) -> Result<Tended, VaultError> {
        let _one_at_a_time = self.change_keys();
        let rows =
            [active.in_state(KeyState::DecryptOnly, now), coming.in_state(KeyState::Active, now)];
        self.record(Action::VaultKeyActivate, coming)?;
        wait(self.change_states(&active.name.owner, &rows, &[]))?;
        Ok(Tended::Worked(Duration::ZERO))
    }

    /// Seals a page of records again, or looks at a page, or ends the old keys.
    fn walk(&self, job: Job, old: &[Arc<Row>], now: UnixSeconds) -> Result<Tended, VaultError> {
        let deks = self.keyring.deks_of(&job.at.0);
        if old.iter().filter_map(|row| deks.get(&row.id)).any(|dek| dek.is_claimed()) {
            return Ok(Tended::Worked(WAIT));
        }
        let walk = self.rotations.lock().walk;
        match walk {
            Walk::Verified => self.destroy_old(job, old, now),
            Walk::Reseal | Walk::Verify { .. } => self.walk_page(job, walk, old),
        }
    }

    fn walk_page(&self, mut job: Job, walk: Walk, old: &[Arc<Row>]) -> Result<Tended, VaultError> {
        let started = Instant::now();
        let (owner, purpose) = &job.at;
        let Some(records) = records_of(owner, *purpose) else { return self.advance(job) };
        let after = (!job.cursor.is_empty()).then_some(job.cursor.as_slice());
        let page = self.store.page(records.collection, after, &records.prefix, PAGE_RECORDS)?;
        let old: Vec<DekId> = old.iter().map(|row| row.id).collect();
        let Some((last, _)) = page.last() else { return self.end_of_walk(job, walk) };
        let cursor = last.clone();
        let (done, refused) = match walk {
            Walk::Reseal => self.reseal_page(&job, records.collection, &old, page)?,
            Walk::Verify { .. } | Walk::Verified => {
                let left = self.count_old(&job, &old, &page)?;
                self.rotations.lock().walk = match walk {
                    Walk::Verify { left: before } => {
                        Walk::Verify { left: before.saturating_add(left) }
                    }
                    Walk::Reseal | Walk::Verified => walk,
                };
                (0, 0)
            }
        };
        job.records = job.records.saturating_add(done);
        job.refused = job.refused.saturating_add(refused);
        job.cursor = cursor;
        let walk = self.rotations.lock().walk;
        if walk == Walk::Reseal {
            self.keep_place(job, walk)?;
        } else {
            // Where a second look is, is not kept: it is taken whole or not at all.
            self.rotations.lock().job = Some(job);
        }
        Ok(Tended::Worked(self.pause(done, started)))
    }

    /// How long to wait so that no more than so many records a second are sealed again.
    fn pause(&self, done: u64, started: Instant) -> Duration {
        let rate = u64::from(self.settings.rotation_records_per_s);
        let due = done.saturating_mul(1_000_000).checked_div(rate).unwrap_or_default();
        let due = Duration::from_micros(due);
        due.saturating_sub(started.elapsed())
    }

    fn end_of_walk(&self, job: Job, walk: Walk) -> Result<Tended, VaultError> {
        let next = match walk {
            Walk::Reseal => Walk::Verify { left: 0 },
            Walk::Verify { left: 0 } | Walk::Verified => {
                // Who read a record before it was sealed again holds the keys as they are: they are
                // exchanged for the same ones, to see when nobody does any more.
                let former = self.keyring.refresh(&job.at.0, &[]);
                self.rotations.lock().former = former;
                Walk::Verified
            }
            // What does not open cannot be sealed again. Its key is kept.
            Walk::Verify { .. } if job.refused > 0 => return self.advance(job),
            Walk::Verify { .. } => Walk::Reseal,
        };
        self.keep_place(Job { cursor: vec![], ..job }, next)?;
        Ok(Tended::Worked(Duration::ZERO))
    }

    /// Destroys keys that no record names any more.
    fn destroy_old(
        &self,
        job: Job,
        old: &[Arc<Row>],
        now: UnixSeconds,
    ) -> Result<Tended, VaultError> {
        // Nothing new is made with keys that nobody can claim, so this stays true.
        let ids: Vec<DekId> = old.iter().map(|row| row.id).collect();
        let needed = self.compared_with(job.at.1, &ids)?;
        {
            let _one_at_a_time = self.change_keys();
            let free = old.iter().filter(|row| !needed.contains(&row.id));
            let rows: Vec<Row> = free.map(|row| row.in_state(KeyState::Destroyed, now)).collect();
            if !rows.is_empty() {
                rows.iter().try_for_each(|row| self.record(Action::VaultKeyDestroy, row))?;
                wait(self.change_states(&job.at.0, &rows, &[]))?;
            }
        }
        self.advance(job)
    }

    /// Says in the audit log what is done to a key, before it is.
    fn record(&self, action: Action, row: &Row) -> Result<(), VaultError> {
        let Name { owner, purpose, version } = &row.name;
        let object = format!("{} {owner} {} {version}", row.id, purpose.word());
        let merchant = Self::merchant_of(owner);
        Ok(wait(self.audit.record(Who::system().event(action, merchant.as_ref(), object)))?)
    }
}

fn waits_for(error: VaultError) -> &'static str {
    match error {
        VaultError::Hsm(_) => "the hardware security module",
        VaultError::Store(_) => "the store",
        VaultError::Locked => "the keys, which are locked up",
        VaultError::Audit(_) => "the audit log",
        VaultError::CardLike
        | VaultError::Custodian
        | VaultError::CustodianApproved
        | VaultError::CustodianExists
        | VaultError::CustodianSecret
        | VaultError::KeyInUse
        | VaultError::NewCustodian
        | VaultError::NoCustodian
        | VaultError::NoCustodians
        | VaultError::NoSuchKey
        | VaultError::NoSuchMerchant
        | VaultError::NoTerms
        | VaultError::NotNothing
        | VaultError::Rotating
        | VaultError::SameCustodian
        | VaultError::Sealed { .. }
        | VaultError::Shredded
        | VaultError::Size { .. }
        | VaultError::TooMany { .. } => "an operator: see the log",
    }
}
