//! `orchestra vault backup`, `verify-backup` and `restore`

use super::{load, myself, open, settings, terminal};
use crate::admin::long;
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use conf::Config;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use vault::{BackupCheck, BackupReader};

pub(super) const BACKUP_EXAMPLES: &str = "\
Examples:
  orchestra vault backup --to /backup/orchestra-2026-11-22
  orchestra vault backup --to - | age -r age1… > backup.age

It works while the program serves, and holds nothing up. What is written is sealed as it is in the
vault, and opens only with the token: keep a backup of the token as well, in another place. A file
that is there is never overwritten.";

pub(super) const CHECK_EXAMPLES: &str = "\
Examples:
  orchestra vault verify-backup /backup/orchestra-2026-11-22
  orchestra vault verify-backup --without-token /backup/orchestra-2026-11-22

It reads the whole file, and with the token it checks that the vault wrote it. Without the token it
finds what was damaged, but not what somebody changed who can compute checksums.";

pub(super) const RESTORE_EXAMPLES: &str = "\
Examples:
  orchestra --conf restored.yaml vault restore /backup/orchestra-2026-11-22

It makes a vault in vault.directory, which must be empty, and reads everything in it at the end. A
restore that is cut short leaves a directory that does not open: remove it, and restore again.";

/// How often progress is told.
const TELL_PERIOD: Duration = Duration::from_secs(1);
/// How a file is called until it is whole.
const PART: &str = "part";

#[derive(Debug, Args)]
#[command(after_help = BACKUP_EXAMPLES)]
pub(super) struct Backup {
    /// The file to write, or - for the standard output.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub(super) struct VerifyBackup {
    /// The backup.
    file: PathBuf,
    /// Check only what can be checked without the token.
    #[arg(long)]
    without_token: bool,
}

#[derive(Debug, Args)]
#[command(after_help = RESTORE_EXAMPLES)]
pub(super) struct Restore {
    /// The backup.
    file: PathBuf,
}

/// Tells how far something is, now and then.
struct Progress {
    what: &'static str,
    told: Instant,
}

/// Writes on what is read through it.
struct Tee<R, W> {
    from: R,
    to: W,
    bytes: u64,
    progress: Progress,
    /// Why what was read could not be written on, if so.
    unwritten: Option<io::ErrorKind>,
}

/// Where a backup goes. What is not finished is removed.
enum Target {
    Output,
    /// `is_ours`: the part is one that we made, and not one of somebody else.
    File {
        part: PathBuf,
        file: PathBuf,
        is_ours: bool,
    },
}

// === impl Backup ===

impl Backup {
    pub(super) fn run(self, config: &Config) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let owner = fs::metadata(&config.vault.directory).map(|directory| directory.uid()).ok();
        let running = match owner {
            Some(owner) => runtime.block_on(long::ask_for_backup(&config.listen.admin, owner))?,
            None => None,
        };
        let mut target = Target::new(&self.to)?;
        let check = match running {
            Some(stream) => copy(stream, target.open()?)?,
            None => write(config, target.open()?)?,
        };
        target.finish()?;
        terminal::complain(&format!("The backup is whole: {}.", told(&check)));
        Ok(())
    }
}

/// Copies what the running program sends, and believes none of it.
fn copy(from: UnixStream, to: impl Write) -> Result<BackupCheck> {
    let progress = Progress::new("bytes received");
    let mut tee = Tee { from, to, bytes: 0, progress, unwritten: None };
    let check = BackupReader::new(&mut tee).and_then(BackupReader::check);
    if let Some(error) = tee.unwritten {
        bail!("where the backup was to go, it cannot be written: {error}");
    }
    let check = check.context("the running program sent no whole backup; its log says why")?;
    tee.to.flush().context("the backup cannot be written")?;
    Ok(check)
}

/// Opens the vault, which nothing serves, and backs it up.
fn write(config: &Config, mut to: impl Write) -> Result<BackupCheck> {
    let vault = open(config)?;
    let mut progress = Progress::new("rows written");
    let report =
        long::backup(&vault, &mut to, myself()?.actor, |report| progress.tell(report.rows))?;
    vault.close();
    let program = env!("CARGO_PKG_VERSION").into();
    Ok(BackupCheck { created: crate::clock::now_millis(), program, rows: report.rows, chunks: 0 })
}

fn told(check: &BackupCheck) -> String {
    let begun = crate::clock::timestamp(check.created);
    format!("{} rows, begun at {begun} by version {}", check.rows, check.program)
}

// === impl VerifyBackup ===

impl VerifyBackup {
    /// Without the token it needs no configuration either: the backup may be all that there is.
    pub(super) fn run(self, conf: &Path) -> Result<()> {
        let check = if self.without_token {
            let file = File::open(&self.file).with_context(|| self.file.display().to_string())?;
            BackupReader::new(io::BufReader::new(file)).and_then(BackupReader::check)?
        } else {
            see(&self.file)?;
            vault::check_backup(&self.file, &settings(&load(conf)?)?)?
        };
        let how = if self.without_token { "its checksums match" } else { "the vault wrote it" };
        terminal::say(&format!("The backup is whole, and {how}: {}.", told(&check)))
    }
}

/// Sees that there is such a file, whose name errors about what is in it do not have.
fn see(backup: &Path) -> Result<()> {
    File::open(backup).map(drop).with_context(|| format!("cannot read {}", backup.display()))
}

// === impl Restore ===

impl Restore {
    pub(super) fn run(self, config: &Config) -> Result<()> {
        see(&self.file)?;
        let mut progress = Progress::new("rows restored and checked");
        let restored = vault::restore(&self.file, &settings(config)?, myself()?.actor, |rows| {
            progress.tell(rows);
        })?;
        if !restored.verified.is_whole() {
            bail!("the vault is restored, and not whole: run `orchestra vault verify`");
        }
        terminal::say(&format!(
            "The vault in {} is restored and whole: {}.",
            config.vault.directory.display(),
            told(&restored.backup)
        ))
    }
}

// === impl Progress ===

impl Progress {
    fn new(what: &'static str) -> Self {
        Self { what, told: Instant::now() }
    }

    fn tell(&mut self, count: u64) {
        if self.told.elapsed() >= TELL_PERIOD {
            terminal::complain(&format!("{count} {}", self.what));
            self.told = Instant::now();
        }
    }
}

// === impl Tee ===

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        let written = self.to.write_all(buffer.get(..read).unwrap_or_default());
        self.unwritten = written.as_ref().err().map(io::Error::kind);
        written?;
        self.bytes = self.bytes.saturating_add(u64::try_from(read).unwrap_or_default());
        self.progress.tell(self.bytes);
        Ok(read)
    }
}

// === impl Target ===

impl Target {
    fn new(to: &Path) -> Result<Self> {
        if to == Path::new("-") {
            return Ok(Self::Output);
        }
        if fs::symlink_metadata(to).is_ok() {
            return Err(anyhow!("{} is there already, and is not overwritten", to.display()));
        }
        let mut part = to.as_os_str().to_owned();
        part.push(format!(".{PART}"));
        Ok(Self::File { part: part.into(), file: to.to_owned(), is_ours: false })
    }

    fn open(&mut self) -> Result<Box<dyn Write>> {
        match self {
            Self::Output => Ok(Box::new(io::stdout().lock())),
            Self::File { part, is_ours, .. } => {
                let made = File::options().write(true).create_new(true).mode(0o600).open(&*part);
                let made = made.with_context(|| {
                    let part = part.display();
                    format!("cannot make {part}; if a backup that was cut short left it, remove it")
                })?;
                *is_ours = true;
                Ok(Box::new(made))
            }
        }
    }

    /// Makes what was written durable, and calls it by its name.
    fn finish(&mut self) -> Result<()> {
        let Self::File { part, file, is_ours } = self else { return Ok(()) };
        File::open(&*part)?.sync_all()?;
        rename(part, file).with_context(|| format!("cannot make {}", file.display()))?;
        *is_ours = false;
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        Ok(File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Self::File { part, is_ours: true, .. } = self {
            // Who ends with an error has told of one already.
            drop(fs::remove_file(part));
        }
    }
}

/// Gives a file its name, and does not replace what somebody else has put there meanwhile.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can: a link does the same, which not every one has either.
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

#[cfg(test)]
mod tests {
    use super::Target;
    use crate::scratch::Scratch;
    use std::fs;

    #[test]
    fn nobody_removes_the_part_of_another_backup_or_takes_its_name() {
        let scratch = Scratch::new("backup");
        let file = scratch.path().join("backup");
        let part = scratch.path().join("backup.part");
        let [mut first, mut second] = [&file, &file].map(|file| Target::new(file).unwrap());
        drop(first.open().unwrap());
        let error = second.open().map(drop).unwrap_err();
        assert!(format!("{error:#}").contains("remove it"), "{error:#}");
        drop(second);
        assert!(part.exists(), "it is the first one's");
        fs::write(&file, "theirs").unwrap();
        assert!(first.finish().is_err());
        assert_eq!(fs::read(&file).unwrap(), b"theirs");
        drop(first);
        assert!(!part.exists());
        fs::remove_file(&file).unwrap();
        let mut third = Target::new(&file).unwrap();
        third.open().unwrap().write_all(b"ours").unwrap();
        third.finish().unwrap();
        drop(third);
        assert_eq!(fs::read(&file).unwrap(), b"ours");
        assert!(!part.exists() && Target::new(&file).is_err());
    }
}
