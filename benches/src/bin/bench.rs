//! The program `bench`: what Orchestra costs, compared with a bare Pingora pass-through.

use anyhow::Context;
use benches::contest::{Contest, Numbers, Rules};
use benches::load::Pace;
use benches::report::{self, Comparison, Machine, Report, Round, decimal, permille};
use benches::scene::{Scene, Settings};
use clap::Parser;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Loads a bare Pingora pass-through and Orchestra in turn, with the same charges, and says what
/// the difference costs: charges per second, CPU of the proxy per charge, latency.
///
/// Everything runs on this machine: the load, the sandbox that plays the providers, and the two
/// programs under test. Absolute figures are this machine's; ratios of one run mean something
/// elsewhere too. benches/README.md says how to read them.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example: bench --rounds 7 --seconds 5 --connections 32 --out benches/results"
)]
struct Options {
    /// How many rounds count; one more comes first and is dropped
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How long each program is measured in each round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How many keep-alive connections send charges
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
    /// How many threads each program under test has
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// Keep the programs under test on these processors, a list as taskset takes it
    #[arg(long, value_name = "CPUS")]
    pin: Option<String>,
    /// Only this provider (adyen or stripe)
    #[arg(long)]
    only: Option<String>,
    /// In Orchestra's place, measure a pass-through that makes one sector durable before it sends and
    /// another before it answers: what two bare synced writes cost
    #[arg(long)]
    floor: bool,
    /// In the pass-through's place, measure this other build of the program orchestra: what a change
    /// costs or saves
    #[arg(long, value_name = "PROGRAM", conflicts_with = "floor")]
    before: Option<PathBuf>,
    /// Send so many charges a second, at fixed times, and not as many as go through
    #[arg(long, value_name = "CHARGES", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    per_second: Option<u32>,
    /// Leave out the rounds at half of the peak rate
    #[arg(long)]
    no_half_rate: bool,
    /// Where latest.json, latest.svg and latest.txt are written
    #[arg(long, value_name = "DIR", default_value = "benches/results")]
    out: PathBuf,
}

/// Sent at the beginning of each window, not counted.
const WARM_UP: Duration = Duration::from_secs(1);

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let mut out = std::io::stdout();
    writeln!(out, "starting the sandbox, the pass-throughs and orchestra ...")?;
    let scene = Scene::start(&options.settings())?;
    let disk = scene.disk().context("the disk cannot be measured")?;
    let mut numbers = Numbers::default();
    let mut comparisons = Vec::new();
    for contest in scene.contests().iter().filter(|contest| options.wants(contest)) {
        comparisons.push(match options.per_second {
            Some(per_s) => options.at_rate(contest.clone(), per_s, &mut numbers)?,
            None => options.closed(contest, &mut numbers)?,
        });
    }
    let main = scene.contests().into_iter().next().filter(|contest| options.wants(contest));
    let no_half_rate = options.no_half_rate || options.per_second.is_some();
    if let (Some(contest), Some(peak), false) = (main, comparisons.first(), no_half_rate) {
        comparisons.push(options.half_rate(contest, peak, &mut numbers)?);
    }
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let command = format!("bench {command}").trim_end().to_owned();
    let report = Report { command, machine: Machine::here()?, disk, comparisons };
    report::keep(&report, &options.out).context("the results cannot be kept")?;
    write!(out, "{}", report::table(&report))?;
    writeln!(out, "Kept in {}: latest.json, latest.svg, latest.txt", options.out.display())?;
    Ok(())
}

/// Says that a round is done.
fn tell(name: &str, nth: u32, rounds: u32, round: &Round) {
    let Round { pass_through, orchestra } = round;
    let cpu = [pass_through, orchestra].map(|window| decimal(window.cpu_ns_per_charge));
    let ratio = decimal(permille(orchestra.cpu_ns_per_charge, pass_through.cpu_ns_per_charge));
    let dropped = if nth == 0 { " (warm-up, dropped)" } else { "" };
    let [before, after] = cpu;
    let line =
        format!("{name} {nth}/{rounds}: CPU us/charge {before} {after} ratio {ratio}{dropped}");
    // Progress that nobody can read is no reason to stop measuring.
    writeln!(std::io::stdout(), "{line}").ok();
}

// === impl Options ===

impl Options {
    fn settings(&self) -> Settings {
        let Self { threads, floor, .. } = *self;
        Settings { threads, pin: self.pin.clone(), floor, before: self.before.clone() }
    }

    fn wants(&self, contest: &Contest) -> bool {
        self.only.as_ref().is_none_or(|only| contest.name == *only)
    }

    fn rules(&self, pace: Pace) -> Rules {
        let (rounds, connections) = (self.rounds, self.connections);
        let window = Duration::from_secs(self.seconds);
        Rules { rounds, connections, pace, warm_up: WARM_UP, window }
    }

    /// As much as goes through.
    fn closed(&self, contest: &Contest, numbers: &mut Numbers) -> anyhow::Result<Comparison> {
        contest.run(&self.rules(Pace::Closed), numbers, |nth, round| {
            tell(&contest.name, nth, self.rounds, round);
        })
    }

    /// Half of what the slower of the two managed, at fixed times, to see the latency without a queue.
    fn half_rate(
        &self,
        mut contest: Contest,
        peak: &Comparison,
        numbers: &mut Numbers,
    ) -> anyhow::Result<Comparison> {
        let line = peak.summary.charges_per_s;
        let per_s = u32::try_from(line.orchestra.median.min(line.pass_through.median) / 2)?;
        contest.name.push_str(" at half rate");
        self.at_rate(contest, per_s, numbers)
    }

    fn at_rate(
        &self,
        mut contest: Contest,
        per_s: u32,
        numbers: &mut Numbers,
    ) -> anyhow::Result<Comparison> {
        contest.what = format!("{}, {per_s} charges/s at fixed times", contest.what);
        contest.run(&self.rules(Pace::Open { per_s }), numbers, |nth, round| {
            tell(&contest.name, nth, self.rounds, round);
        })
    }
}
