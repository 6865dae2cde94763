//! What a fleet of devices in one process costs:
//! `MODELFLEET_LOAD=target/release/modelfleet-load RATE=5 COUNT=200 cargo bench -p modelfleet-load`

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/process/mod.rs"]
mod process;

use std::time::{Duration, Instant};

use modelfleet_test_support::broker::Broker;
use modelfleet_test_support::console::Console;
use modelfleet_test_support::wait::wait;
use process::{Fleet, stable};

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_open_durable(dir.path()).unwrap();
    let rate = std::env::var("RATE").unwrap_or("5".into());
    let count = std::env::var("COUNT").unwrap_or("200".into());
    let fleet = Fleet::start(dir.path(), &broker, &["--count", &count, "--rate", &rate]);
    let console = Console::connect(&broker);
    let mut plan = stable();
    plan.observe.window_ms = 5_000;
    console.publish_plan(&plan);
    let last = if count == "200" { "pump-200" } else { "pump-001" };
    wait("the last device to run", || {
        let state = console.state(&last.parse().unwrap())?;
        state.models.first()?.running.clone()
    });
    // A measurement takes its time.
    std::thread::sleep(Duration::from_secs(5));
    let (start, before) = (Instant::now(), fleet.cpu_seconds());
    std::thread::sleep(Duration::from_secs(30));
    let share = (fleet.cpu_seconds() - before) / start.elapsed().as_secs_f64();
    let log = fleet.logged();
    println!("{count} devices at {rate}/s: {:.1} % of a core, {} MiB", share * 100.0, fleet.resident_mib());
    println!("{}", log.lines().last().unwrap_or_default());
}
