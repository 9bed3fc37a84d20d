//! The programs under test: started, read from `/proc`, and ended by the id they were given.

use anyhow::{Context, bail};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// `AT_CLKTCK` in `linux/auxvec.h`: how many clock ticks `/proc` counts in a second.
const AT_CLKTCK: usize = 17;
/// How often a program that starts is asked whether it listens.
const LISTEN_POLL: Duration = Duration::from_millis(50);
/// How much of what a program wrote is told when it fails.
const LAST_LINES: usize = 10;

/// A program that was started here, and that ends with this value.
#[derive(Debug)]
pub struct Program {
    name: String,
    log: PathBuf,
    child: std::process::Child,
}

/// What a process has used of the processors since it began, in clock ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    pub user_ticks: u64,
    pub system_ticks: u64,
}

/// The program `name` that was built beside this one.
///
/// # Errors
/// It is not there; the text says how to build it.
pub fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folders = own.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not built: run cargo build --release --workspace"))
}

/// How many clock ticks a second has: the resolution of [`cpu`].
///
/// # Errors
/// `/proc/self/auxv` cannot be read or does not say.
pub fn ticks_per_s() -> anyhow::Result<u64> {
    const WORD: usize = size_of::<usize>();
    let auxv = fs::read("/proc/self/auxv")?;
    let words = auxv.as_chunks::<WORD>().0.iter().map(|word| usize::from_ne_bytes(*word));
    let words: Vec<_> = words.collect();
    let pair = words.as_chunks::<2>().0.iter().find(|[key, _]| *key == AT_CLKTCK);
    let [_, ticks] = pair.context("/proc/self/auxv does not have AT_CLKTCK")?;
    Ok(u64::try_from(*ticks)?)
}

/// What the process has used so far, all its threads together.
///
/// # Errors
/// There is no such process.
pub fn cpu(pid: u32) -> anyhow::Result<Cpu> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    cpu_in(&stat).context("/proc/pid/stat is not as proc(5) says")
}

/// Reads `utime` and `stime`: fields 14 and 15, of which the second may itself have spaces.
fn cpu_in(stat: &str) -> Option<Cpu> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11).map(str::parse);
    let (user_ticks, system_ticks) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(Cpu { user_ticks, system_ticks })
}

/// The memory of the process that is resident, in KiB.
///
/// # Errors
/// There is no such process.
pub fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_ascii_whitespace().next());
    Ok(number.context("/proc/pid/status has no VmRSS")?.parse()?)
}

/// Keeps every thread of the process on `cpus`, a list as `taskset -c` takes it.
///
/// # Errors
/// `taskset` (package util-linux) is missing or refuses.
pub fn pin(pid: u32, cpus: &str) -> anyhow::Result<()> {
    let status = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", cpus, &pid.to_string()])
        .stdout(Stdio::null())
        .status()
        .context("taskset cannot be run: apt-get install util-linux")?;
    if !status.success() {
        bail!("taskset refuses to keep process {pid} on {cpus}");
    }
    Ok(())
}

// === impl Program ===

impl Program {
    /// Starts `command`; what it writes goes to `log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let file = fs::File::create(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        Ok(Self { name, log: log.to_owned(), child })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it takes connections at `address`.
    ///
    /// # Errors
    /// It ended, or did not listen within the time; the text has the end of what it wrote.
    pub fn listens(&mut self, address: SocketAddr, within: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}: {}", self.name, self.last_words());
            }
            if begun.elapsed() > within {
                bail!("{} does not listen at {address}: {}", self.name, self.last_words());
            }
            std::thread::park_timeout(LISTEN_POLL);
        }
        Ok(())
    }

    /// The end of what it wrote.
    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let from = text.lines().count().saturating_sub(LAST_LINES);
        text.lines().skip(from).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

// === impl Cpu ===

impl Cpu {
    /// What was used between `earlier` and this reading.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            user_ticks: self.user_ticks.saturating_sub(earlier.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(earlier.system_ticks),
        }
    }

    /// User and system time together.
    pub fn ticks(self) -> u64 {
        self.user_ticks.saturating_add(self.system_ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cpu, Program, cpu, cpu_in, resident_kib, ticks_per_s};
    use std::net::TcpListener;
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn the_name_of_a_process_may_have_spaces_and_brackets() {
        let stat = "7 (a) b) R 1 7 7 0 -1 4194304 9 0 0 0 123 45 6 7 20 0 1 0 99 1 1";
        assert_eq!(cpu_in(stat), Some(Cpu { user_ticks: 123, system_ticks: 45 }));
        assert_eq!(cpu_in("7 (a) R 1"), None);
    }

    #[test]
    fn a_difference_is_taken_part_by_part() {
        let earlier = Cpu { user_ticks: 5, system_ticks: 7 };
        let later = Cpu { user_ticks: 15, system_ticks: 8 };
        assert_eq!(later.since(earlier).ticks(), 11);
    }

    #[test]
    fn this_process_can_be_read() {
        let pid = std::process::id();
        assert!(cpu(pid).is_ok());
        assert!(resident_kib(pid).unwrap() > 0);
        assert!((1..=1_000_000).contains(&ticks_per_s().unwrap()));
    }

    #[test]
    fn a_program_ends_with_its_value() {
        let log = std::env::temp_dir().join(format!("program-{}.log", std::process::id()));
        let mut command = Command::new("sleep");
        command.arg("600");
        let program = Program::start(command, &log).unwrap();
        let pid = program.pid();
        assert!(cpu(pid).is_ok());
        drop(program);
        assert!(cpu(pid).is_err());
        std::fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_program_that_ends_is_not_waited_for_and_is_heard() {
        let log = std::env::temp_dir().join(format!("ended-{}.log", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "echo no luck; exit 3"]);
        let mut program = Program::start(command, &log).unwrap();
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = program.listens(nobody, Duration::from_secs(60)).unwrap_err().to_string();
        assert!(error.contains("no luck") && error.contains("3"), "{error}");
        std::fs::remove_file(log).unwrap();
    }
}
