//! Plays seeds, two at a time, and stops at the first that breaks a law.
//!
//! `cargo run --release -p modelfleet-swarm -- --seeds 1000`: so many seeds from 1 on; `--from N` begins later.
//! From seed 1 000 000 on whole controllers write the plans: `... -- --from 1000000 --seeds 100`.
//! `... -- --hours 1`: as many as there is time for. `... -- --seed 17 --faults Kills,Cuts`: one seed and its story.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use modelfleet_swarm::faults::Faults;
use modelfleet_swarm::habits::Habits;
use modelfleet_swarm::probes;
use modelfleet_swarm::shrink::shrink;
use modelfleet_swarm::world::{Outcome, play_among, play_watching};

/// Plays devices, broker and plans under faults.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Plays for so many hours, however many seeds that are.
    #[arg(long)]
    hours: Option<f64>,
    /// Plays one seed and tells its story.
    #[arg(long)]
    seed: Option<u64>,
    /// Plays so many seeds at a time; as many as there are processors if it is not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Goes on when a law is broken, and prints a line for each such seed.
    #[arg(long)]
    all: bool,
    /// Prints how many seeds reached each situation, and which none reached.
    #[arg(long)]
    probes: bool,
    /// Never plays these faults.
    #[arg(long, default_value = "none")]
    without: Faults,
    /// With `--seed`: tells all that goes into this device and comes out of it.
    #[arg(long, requires = "seed")]
    watch: Option<String>,
    /// These faults instead of those that a seed draws; `none` for none.
    #[arg(long)]
    faults: Option<Faults>,
    /// These habits of people instead of those that a seed draws; `none` for none.
    #[arg(long)]
    habits: Option<Habits>,
}

impl Arguments {
    /// The faults and habits of a seed.
    fn drawn(&self, seed: u64) -> (Faults, Habits) {
        let faults = self.faults.clone().unwrap_or_else(|| Faults::drawn_by(seed));
        (faults.without(&self.without), self.habits.clone().unwrap_or_else(|| Habits::drawn_by(seed)))
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.seed {
        let (faults, habits) = arguments.drawn(seed);
        let outcome = match &arguments.watch {
            Some(device) => play_watching(seed, faults, habits, device),
            None => play_among(seed, faults, habits),
        };
        return tell(seed, &outcome);
    }
    let until = arguments.hours.map(|hours| Instant::now() + Duration::from_secs_f64(hours * 3_600.0));
    let last = if until.is_some() { u64::MAX } else { arguments.from.saturating_add(arguments.seeds) };
    let counts = Mutex::new(BTreeMap::<String, u64>::new());
    let (next, hours, failed) = (AtomicU64::new(arguments.from), AtomicU64::new(0), Mutex::new(None));
    let began = Instant::now();
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or_else(processors);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let over = seed >= last || until.is_some_and(|until| Instant::now() >= until);
                    if over || (!arguments.all && failed.lock().is_ok_and(|failed| failed.is_some())) {
                        return;
                    }
                    let (faults, habits) = arguments.drawn(seed);
                    let outcome = play_among(seed, faults, habits);
                    if let (true, Ok(mut counts)) = (arguments.probes, counts.lock()) {
                        outcome.reached.iter().for_each(|name| *counts.entry(name.clone()).or_default() += 1);
                    }
                    if let Some(broken) = outcome.broken.as_ref().filter(|_| arguments.all) {
                        println!("seed {seed}: {broken}");
                    }
                    hours.fetch_add(outcome.device_hours, Ordering::Relaxed);
                    if outcome.broken.is_some()
                        && let Ok(mut failed) = failed.lock()
                    {
                        failed.get_or_insert(seed);
                    }
                }
            });
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    let hours = hours.into_inner();
    println!(
        "{} seeds, {hours} device-hours in {seconds:.1} s ({:.0} device-hours a minute)",
        next.into_inner().min(last) - arguments.from,
        hours as f64 * 60.0 / seconds
    );
    if arguments.probes {
        tell_probes(&counts.into_inner().unwrap_or_default());
    }
    match failed.into_inner().ok().flatten() {
        Some(_) if arguments.all => anyhow::bail!("laws were broken"),
        Some(seed) => {
            let (faults, habits) = arguments.drawn(seed);
            let (faults, outcome) = shrink(seed, faults, &habits);
            println!(
                "repeat it: cargo run --release -p modelfleet-swarm -- --seed {seed} --faults {faults} --habits {habits}"
            );
            tell(seed, &outcome)
        }
        None => Ok(()),
    }
}

fn tell_probes(counts: &BTreeMap<String, u64>) {
    for name in probes::all() {
        let rare = probes::RARE.iter().find(|(rare, _)| *rare == name).map(|(_, why)| *why);
        match (counts.get(&name), rare) {
            (Some(count), _) => println!("{count:>6}  {name}"),
            (None, Some(why)) => println!("  rare  {name}: {why}"),
            (None, None) => println!("  NONE  {name}"),
        }
    }
}

fn tell(seed: u64, outcome: &Outcome) -> anyhow::Result<()> {
    outcome.story.iter().for_each(|line| println!("{line}"));
    match &outcome.broken {
        Some(broken) => anyhow::bail!("seed {seed}: {broken}"),
        None => Ok(()),
    }
}
