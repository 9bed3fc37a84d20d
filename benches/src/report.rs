//! Figures as people and programs read them: a table, JSON and a plot.
//!
//! Ratios are taken round by round, between windows that stood next to each other, and only then is
//! their median taken: what disturbs a machine for a minute disturbs both sides of a round.

mod plot;

use crate::disk::Disk;
use crate::load::Taken;
use crate::parts::{Part, Parts, PerCharge};
use crate::process::Cpu;
use serde::Serialize;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

pub use plot::svg;

/// Everything that one run of `bench` found out.
#[derive(Debug, Serialize)]
pub struct Report {
    pub command: String,
    pub machine: Machine,
    /// What the disk took by itself, before any load.
    pub disk: Disk,
    pub comparisons: Vec<Comparison>,
}

/// Where it ran.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cpus: usize,
    pub kernel: String,
    /// The resolution of the CPU figures.
    pub clock_ticks_per_s: u64,
}

/// The same charges through the pass-through and through Orchestra.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub name: String,
    /// What a charge is here, in a few words.
    pub what: String,
    pub rounds: Vec<Round>,
    pub summary: Summary,
    /// Over all rounds together.
    pub parts: PerCharge,
}

/// Two windows that stood next to each other.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Round {
    pub pass_through: Window,
    pub orchestra: Window,
}

/// What one window measured of one program.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Window {
    pub charges: u64,
    pub window_us: u64,
    pub user_ticks: u64,
    pub system_ticks: u64,
    pub charges_per_s: u64,
    pub cpu_ns_per_charge: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub resident_kib: u64,
}

/// The medians over the rounds, one [`Line`] for each figure.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Summary {
    pub charges_per_s: Line,
    pub cpu_ns_per_charge: Line,
    pub p50_us: Line,
    pub p99_us: Line,
    pub resident_kib: Line,
}

/// One figure of both programs, and how they compare.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Line {
    pub pass_through: Spread,
    pub orchestra: Spread,
    /// Orchestra over pass-through within each round, in thousandths.
    pub ratio_permille: Spread,
}

/// The least, the middle and the greatest of some values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Spread {
    pub least: u64,
    pub median: u64,
    pub greatest: u64,
}

/// `part / whole` in thousandths, rounded to the nearest; 0 when there is no whole.
pub fn permille(part: u64, whole: u64) -> u64 {
    let scaled = part.saturating_mul(1000).saturating_add(whole / 2);
    scaled.checked_div(whole).unwrap_or(0)
}

/// Thousandths as a decimal number: 1020 is `1.020`.
pub fn decimal(thousandths: u64) -> String {
    format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
}

/// Writes the table that a person reads.
pub fn table(report: &Report) -> String {
    let mut out = String::new();
    for comparison in &report.comparisons {
        let rounds = comparison.rounds.len();
        say(&mut out, &format!("\n{}: {}; {rounds} rounds", comparison.name, comparison.what));
        let head = ["", "pass-through", "orchestra", "ratio", "least", "greatest"];
        say(&mut out, &columns(head.map(str::to_owned)));
        for (name, line, show) in comparison.summary.lines() {
            say(&mut out, &columns(line.cells(name, show)));
        }
        let PerCharge { threads, phases } = &comparison.parts;
        say(&mut out, &parts("orchestra's CPU us/charge by thread", threads));
        say(&mut out, &parts("orchestra's mean us/charge by phase", phases));
    }
    let ticks = report.machine.clock_ticks_per_s;
    say(&mut out, &format!("\nMedians. CPU from /proc/<pid>/stat, {ticks} ticks a second."));
    let Disk { syncs, p50_us, p99_us } = report.disk;
    let page = "One page written and synced on the vault's disk, before any load";
    say(&mut out, &format!("{page}: p50 {p50_us} us, p99 {p99_us} us ({syncs} times)."));
    out
}

fn say(out: &mut String, line: &str) {
    out.push_str(line.trim_end());
    out.push('\n');
}

/// A line with each part and what it took.
fn parts(title: &str, parts: &[Part]) -> String {
    let one = |Part { name, ns_per_charge }: &Part| format!("{name} {}", tenths(*ns_per_charge));
    format!("  {title}: {}", parts.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// Microseconds of nanoseconds, to one digit.
fn tenths(ns: u64) -> String {
    let tenths = ns.saturating_add(50) / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn columns(cells: [String; 6]) -> String {
    let mut line = String::new();
    for (nth, cell) in cells.iter().enumerate() {
        let padded = if nth == 0 { format!("  {cell:<16}") } else { format!("{cell:>14}") };
        line.push_str(&padded);
    }
    line
}

/// Writes `latest.json`, `latest.svg` and `latest.txt` into `folder`.
///
/// # Errors
/// The folder cannot be written to.
pub fn keep(report: &Report, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("latest.json"), serde_json::to_string_pretty(report)? + "\n")?;
    fs::write(folder.join("latest.svg"), svg(report))?;
    let mut text = String::new();
    writeln!(text, "$ {}", report.command)?;
    let Machine { cpu, cpus, kernel, .. } = &report.machine;
    writeln!(text, "{cpus} x {cpu}, Linux {kernel}")?;
    fs::write(folder.join("latest.txt"), text + &table(report))?;
    Ok(())
}

// === impl Machine ===

impl Machine {
    /// Describes the machine that this runs on.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn here() -> anyhow::Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let cpu = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let cpu = cpu.and_then(|line| line.split_once(':')).map_or("unknown", |(_, name)| name);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        Ok(Self {
            cpu: cpu.trim().to_owned(),
            cpus: std::thread::available_parallelism()?.get(),
            kernel: kernel.trim().to_owned(),
            clock_ticks_per_s: crate::process::ticks_per_s()?,
        })
    }
}

// === impl Comparison ===

impl Comparison {
    /// Puts the rounds together; there is at least one.
    pub fn new(name: &str, what: String, rounds: Vec<Round>, parts: &Parts) -> Self {
        let summary = Summary::of(&rounds);
        let charges = rounds.iter().map(|round| round.orchestra.charges).sum();
        Self { name: name.to_owned(), what, rounds, summary, parts: parts.per_charge(charges) }
    }
}

// === impl Window ===

impl Window {
    /// Works out the figures of one window.
    pub fn new(taken: &Taken, cpu: Cpu, ticks_per_s: u64, resident_kib: u64) -> Self {
        let window_us = u64::try_from(taken.window.as_micros()).unwrap_or(u64::MAX);
        let cpu_ns = cpu.ticks().saturating_mul(1_000_000_000).checked_div(ticks_per_s);
        let per_s = taken.done.saturating_mul(1_000_000).checked_div(window_us);
        Self {
            charges: taken.done,
            window_us,
            user_ticks: cpu.user_ticks,
            system_ticks: cpu.system_ticks,
            charges_per_s: per_s.unwrap_or(0),
            cpu_ns_per_charge: cpu_ns.and_then(|ns| ns.checked_div(taken.done)).unwrap_or(0),
            p50_us: taken.latency.quantile_us(500),
            p99_us: taken.latency.quantile_us(990),
            resident_kib,
        }
    }
}

// === impl Summary ===

/// How a figure is shown.
type Show = fn(u64) -> String;

impl Summary {
    fn of(rounds: &[Round]) -> Self {
        Self {
            charges_per_s: Line::of(rounds, |window| window.charges_per_s),
            cpu_ns_per_charge: Line::of(rounds, |window| window.cpu_ns_per_charge),
            p50_us: Line::of(rounds, |window| window.p50_us),
            p99_us: Line::of(rounds, |window| window.p99_us),
            resident_kib: Line::of(rounds, |window| window.resident_kib),
        }
    }

    /// The figures by the name under which they are shown.
    fn lines(&self) -> [(&'static str, Line, Show); 5] {
        let whole: Show = |value| value.to_string();
        [
            ("charges/s", self.charges_per_s, whole),
            ("CPU us/charge", self.cpu_ns_per_charge, decimal),
            ("p50 us", self.p50_us, whole),
            ("p99 us", self.p99_us, whole),
            ("resident KiB", self.resident_kib, whole),
        ]
    }
}

// === impl Line ===

impl Line {
    fn of(rounds: &[Round], figure: impl Fn(&Window) -> u64) -> Self {
        let ratio = |round: &Round| permille(figure(&round.orchestra), figure(&round.pass_through));
        Self {
            pass_through: rounds.iter().map(|round| figure(&round.pass_through)).collect(),
            orchestra: rounds.iter().map(|round| figure(&round.orchestra)).collect(),
            ratio_permille: rounds.iter().map(ratio).collect(),
        }
    }

    fn cells(&self, name: &str, show: Show) -> [String; 6] {
        [
            name.to_owned(),
            show(self.pass_through.median),
            show(self.orchestra.median),
            decimal(self.ratio_permille.median),
            decimal(self.ratio_permille.least),
            decimal(self.ratio_permille.greatest),
        ]
    }
}

// === impl Spread ===

impl FromIterator<u64> for Spread {
    /// Of an even number of values the median is the mean of the middle two; of none, 0.
    fn from_iter<I: IntoIterator<Item = u64>>(values: I) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_unstable();
        let at = |index: usize| values.get(index).copied().unwrap_or(0);
        let last = values.len().saturating_sub(1);
        let median = at(last / 2).midpoint(at(values.len() / 2));
        Self { least: at(0), median, greatest: at(last) }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Comparison, Disk, Machine, Part, Parts, Report, Round, Spread, Window, decimal, permille,
        svg, table,
    };
    use crate::histogram::Histogram;
    use crate::load::Taken;
    use crate::process::Cpu;
    use std::time::Duration;

    fn window(charges: u64, cpu_ticks: u64) -> Window {
        let mut latency = Histogram::new();
        (0..charges).for_each(|nth| latency.record(nth));
        let window = Duration::from_secs(2);
        let taken = Taken { done: charges, failed: 0, told: vec![], window, latency, next: 0 };
        Window::new(&taken, Cpu { user_ticks: cpu_ticks, system_ticks: 0 }, 100, 10)
    }

    fn report() -> Report {
        let round = |ticks| Round { pass_through: window(200, 2), orchestra: window(100, ticks) };
        let rounds = [2, 1, 3].map(round).to_vec();
        let what = "a test".to_owned();
        let mut comparison = Comparison::new("one & only", what, rounds, &Parts::default());
        comparison.parts.threads.push(Part { name: "merchants".into(), ns_per_charge: 12_345 });
        let (machine, disk) = (Machine::here().unwrap(), Disk { syncs: 9, p50_us: 7, p99_us: 8 });
        Report { command: "bench".to_owned(), machine, disk, comparisons: vec![comparison] }
    }

    #[test]
    fn a_window_is_worked_out_in_integers() {
        let window = window(200, 3);
        assert_eq!(window.charges_per_s, 100);
        assert_eq!(window.cpu_ns_per_charge, 150_000);
        assert_eq!((window.p50_us, window.p99_us), (99, 197));
    }

    #[test]
    fn the_middle_is_the_middle() {
        let table: [(&[u64], [u64; 3]); 4] = [
            (&[], [0, 0, 0]),
            (&[5], [5, 5, 5]),
            (&[9, 1, 4], [1, 4, 9]),
            (&[9, 1, 4, 6], [1, 5, 9]),
        ];
        for (values, [least, median, greatest]) in table {
            assert_eq!(
                values.iter().copied().collect::<Spread>(),
                Spread { least, median, greatest }
            );
        }
    }

    #[test]
    fn ratios_are_rounded_to_thousandths() {
        assert_eq!(permille(2, 3), 667);
        assert_eq!(permille(1, 0), 0);
        assert_eq!([1020, 999, 7].map(decimal), ["1.020", "0.999", "0.007"]);
    }

    #[test]
    fn ratios_are_taken_by_round_before_their_median() {
        let line = report().comparisons[0].summary.cpu_ns_per_charge;
        assert_eq!(line.pass_through.median, 100_000);
        assert_eq!(line.orchestra.median, 200_000);
        let Spread { least, median, greatest } = line.ratio_permille;
        assert_eq!([least, median, greatest], [1000, 2000, 3000]);
    }

    #[test]
    fn the_table_has_every_figure_with_its_ratio() {
        let text = table(&report());
        let row = text.lines().find(|line| line.contains("CPU us/charge")).unwrap();
        let cells: Vec<_> = row.split_whitespace().skip(2).collect();
        assert_eq!(cells, ["100.000", "200.000", "2.000", "1.000", "3.000"]);
        assert!(
            text.contains("by thread: merchants 12.3\n") && text.contains("p50 7 us, p99 8 us")
        );
    }

    #[test]
    fn the_plot_escapes_its_text_and_has_a_bar_for_each_program() {
        let plot = svg(&report());
        assert!(plot.contains("one &amp; only") && !plot.contains("one & only"));
        assert_eq!(plot.matches("class=\"orchestra\"").count(), 2);
        assert!(plot.trim_end().ends_with("</svg>"));
    }
}
