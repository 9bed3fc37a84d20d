//! The key in the token: another takes its place and wraps every data key anew; the old one stays,
//! since backups need it, until somebody destroys it.

use super::{Job, PAGE_KEYS, Tended};
use crate::audit::{Action, Who};
use crate::hsm::Kek;
use crate::keyring;
use crate::keyring::table::{KeyState, Row, TOKEN};
use crate::store::wait;
use crate::{HsmError, UnixSeconds, Vault, VaultError, vault_row, vault_write};
use std::sync::Arc;
use std::time::Duration;

// === impl Vault ===

impl Vault {
    pub(super) fn step_kek(
        &self,
        job: &Job,
        by: &str,
        now: UnixSeconds,
    ) -> Result<Tended, VaultError> {
        let _one_at_a_time = self.change_keys();
        let keks: Vec<Arc<Row>> = self.keyring.table().of(TOKEN).cloned().collect();
        let active = keks.iter().find(|row| row.state == KeyState::Active);
        let active = active.ok_or(VaultError::Hsm(HsmError::Refused))?;
        let coming = keks.iter().find(|row| row.state == KeyState::PreActive);
        if let Some(coming) = coming {
            self.activate_kek(active, coming, now)?;
        } else if active.born < job.born {
            let version = keks.iter().map(|row| row.name.version).max().unwrap_or_default();
            let kek = Kek::new(self.settings.wrap);
            let (version, born) = (version.saturating_add(1), self.keyring.table().version());
            let born = born.saturating_add(1);
            let row = keyring::kek_row(kek, version, KeyState::PreActive, born, now, by);
            wait(self.change_table(&[row], None, vec![]))?;
        } else {
            return self.rewrap(job.clone(), active);
        }
        Ok(Tended::Worked(Duration::ZERO))
    }

    /// Makes the new key in the token, if it is not there, and lets it wrap from now on.
    fn activate_kek(&self, active: &Row, coming: &Row, now: UnixSeconds) -> Result<(), VaultError> {
        let kek = coming.kek().ok_or(VaultError::Hsm(HsmError::Refused))?;
        self.hsm.make(kek)?;
        let rows =
            [active.in_state(KeyState::DecryptOnly, now), coming.in_state(KeyState::Active, now)];
        self.record(Action::VaultKeyActivate, coming)?;
        let vault = self.keyring.vault();
        let (row, write) = (vault_row(vault, &kek), vault_write(vault, &kek));
        wait(self.change_table(&rows, Some(row), vec![write]))?;
        self.hsm.probe_with(kek);
        Ok(())
    }

    /// Wraps some of the data keys anew that another key of the token wrapped.
    fn rewrap(&self, mut job: Job, active: &Row) -> Result<Tended, VaultError> {
        let refused = VaultError::Hsm(HsmError::Refused);
        let to = active.kek().ok_or(refused)?;
        let page: Vec<(Kek, Arc<Row>)> = {
            let table = self.keyring.table();
            let old = table.rows().filter(|row| row.wrapped_by().is_some_and(|by| by != to.id));
            let from = |row: &Arc<Row>| Some((table.kek_by_id(row.wrapped_by()?)?, row.clone()));
            old.take(PAGE_KEYS).map(from).collect::<Option<_>>().ok_or(refused)?
        };
        if page.is_empty() {
            return self.end(&job);
        }
        let again = page.iter().map(|(from, row)| keyring::rewrap(&self.hsm, *from, to, row));
        let rows = again.collect::<Result<Vec<_>, _>>()?;
        job.records = job.records.saturating_add(u64::try_from(rows.len()).unwrap_or(u64::MAX));
        wait(self.change_table(&rows, None, vec![Job::write(Some(&job))]))?;
        self.rotations.lock().job = Some(job);
        Ok(Tended::Worked(Duration::ZERO))
    }

    /// Destroys a key in the token that wraps nothing any more, on the word of `by`. Backups that it
    /// wrapped the keys of can be opened no more.
    pub(crate) async fn destroy_kek(
        &self,
        id: &str,
        by: &str,
        who: &Who,
        now: UnixSeconds,
    ) -> Result<(), VaultError> {
        let event = who.event(Action::KekDestroy, None, format!("{id}, on the word of {by}"));
        self.audit.act(event, self.destroy_kek_now(id, now)).await
    }

    /// The key with this id, if it may be destroyed.
    pub(crate) fn doomed_kek(&self, id: &str) -> Result<Arc<Row>, VaultError> {
        let table = self.keyring.table();
        let row = table.of(TOKEN).find(|row| *row.id.to_string() == *id).cloned();
        let row = row.ok_or(VaultError::NoSuchKey)?;
        let wraps = table.rows().any(|other| other.wrapped_by() == Some(row.id.0));
        let old = matches!(row.state, KeyState::DecryptOnly | KeyState::Destroyed);
        if wraps || !old { Err(VaultError::KeyInUse) } else { Ok(row) }
    }

    async fn destroy_kek_now(&self, id: &str, now: UnixSeconds) -> Result<(), VaultError> {
        let _one_at_a_time = self.changes.lock().await;
        let row = self.doomed_kek(id)?;
        let kek = row.kek().ok_or(VaultError::NoSuchKey)?;
        // First the row: what is cut off in between is done by doing it again, and a row that says
        // that the key is there when it is not would be believed.
        if row.state != KeyState::Destroyed {
            self.change_table(&[row.in_state(KeyState::Destroyed, now)], None, vec![]).await?;
        }
        Ok(self.hsm.aside(move |hsm| hsm.destroy(kek)).await?)
    }
}
