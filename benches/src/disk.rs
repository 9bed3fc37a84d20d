//! What the disk under the vault takes to make a page durable, with nobody else at it.

use crate::histogram::Histogram;
use serde::Serialize;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

const PAGE_BYTES: usize = 4096;
/// The file is as long as one of the vault's log, and written before, as that is.
const FILE_PAGES: u64 = 2048;
const SYNCS: u64 = 1000;

/// How long one page took to be written and synced.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Disk {
    pub syncs: u64,
    pub p50_us: u64,
    pub p99_us: u64,
}

/// Writes and syncs page after page of a file in `folder`.
///
/// # Errors
/// The file cannot be written.
pub fn measure(folder: &Path) -> std::io::Result<Disk> {
    let path = folder.join("disk");
    let file = File::create_new(&path)?;
    let page = [1; PAGE_BYTES];
    let at = |nth: u64| nth.saturating_mul(PAGE_BYTES as u64);
    (0..FILE_PAGES).try_for_each(|nth| file.write_all_at(&page, at(nth)))?;
    file.sync_all()?;
    let mut times = Histogram::new();
    for nth in 0..SYNCS {
        let begun = Instant::now();
        file.write_all_at(&page, at(nth % FILE_PAGES))?;
        file.sync_data()?;
        times.record(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    std::fs::remove_file(path)?;
    let [p50_us, p99_us] = [500, 990].map(|permille| times.quantile_us(permille));
    Ok(Disk { syncs: SYNCS, p50_us, p99_us })
}
