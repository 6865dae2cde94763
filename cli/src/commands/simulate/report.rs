//! The answer of `simulate`.

use modelfleet_crds::Rollout;
use modelfleet_simulation::{End, Outcome, Share, Summary, Tested};
use serde_json::{Value, json};

use super::SimulateArguments;
use crate::table::{Table, one_line};
use crate::units::{counted, span};

/// What was asked.
pub struct Report<'a> {
    pub rollout: &'a Rollout,
    pub arguments: &'a SimulateArguments,
    pub devices: u64,
    pub stages: &'a [String],
    pub outcomes: &'a [Outcome],
}

impl Report<'_> {
    /// The rollout's name.
    pub fn name(&self) -> &str {
        self.rollout.metadata.name.as_deref().unwrap_or("-")
    }

    /// Runs that were rolled back without proven harm.
    pub fn went_back(&self) -> Share {
        let without_harm = |o: &&Outcome| o.end == End::RolledBack && o.detected_ms.is_none();
        Share::of(self.outcomes.iter().filter(without_harm).count() as u64, self.arguments.runs)
    }

    /// For programs: integers only.
    pub fn json(&self, summary: &Summary) -> Value {
        json!({
            "rollout": self.name(),
            "version": self.rollout.spec.version,
            "devices": self.devices,
            "runs": self.arguments.runs,
            "seed": self.arguments.seed,
            "stages": self.stages,
            "wentBackWithoutHarmShown": self.went_back(),
            "summary": summary,
        })
    }

    /// For people.
    pub fn table(&self, summary: &Summary) -> String {
        let (runs, seed) = (self.arguments.runs, self.arguments.seed);
        let many = |count: u64, noun| counted(i64::try_from(count).unwrap_or(i64::MAX), noun);
        let mut text = format!(
            "rollout {}, version {}: {} on {}, seed {seed}\n\n",
            self.name(),
            self.rollout.spec.version,
            many(runs, "run"),
            many(self.devices, "device")
        );
        let mut shares = Table::new(&["RESULT", "OF ALL RUNS", "95 % INTERVAL", "MEANING"]);
        let harm = match summary.tested {
            Tested::FalseRollback => ("false rollback", "harm was proven, although the version does none"),
            Tested::Detection => ("detection", "harm was proven, and the version does harm"),
        };
        for ((name, meaning), share) in [
            (harm, summary.harm_shown),
            (
                (
                    "other rollback",
                    "without proven harm: undecided at a deadline, or too many failed devices",
                ),
                self.went_back(),
            ),
            (("success", "reached the whole fleet without help from a person"), summary.succeeded),
            (
                ("paused", "paused by itself at some time: incident, SLO that pauses, failed devices"),
                summary.paused,
            ),
            (
                (
                    "incident",
                    "paused because devices without the version broke the SLO too, or because none is left to compare with",
                ),
                summary.incident,
            ),
            (("undecided", "a stage was still undecided at its deadline"), summary.undecided),
            (("held", "still waiting for a person or for devices at the end"), summary.held),
            (
                (
                    "exposed",
                    "a stage had too few events to rule out a rise, and passed on the windows seen: verdict Exposed",
                ),
                summary.on_exposure,
            ),
        ] {
            let limits = format!("{} to {}", percent(share.low_ppm), percent(share.high_ppm));
            shares.row(vec![name.to_owned(), percent(share.share_ppm), limits, meaning.to_owned()]);
        }
        text.push_str(&shares.render());
        text.push('\n');
        text.push_str(&numbers(summary).render());
        text.push('\n');
        let mut stages = Table::new(&["STAGE", "HARM PROVEN", "95 % INTERVAL"]);
        for (name, hits) in self.stages.iter().zip(&summary.harm_by_stage) {
            let share = Share::of(*hits, runs);
            let limits = format!("{} to {}", percent(share.low_ppm), percent(share.high_ppm));
            stages.row(vec![name.clone(), percent(share.share_ppm), limits]);
        }
        text.push_str(&stages.render());
        if let Some(first) = self.outcomes.first() {
            text.push_str(&format!("\nFirst run: {}\n", one_line(&first.sentence)));
        }
        text
    }
}

fn numbers(summary: &Summary) -> Table {
    let time = |ms: u64| span(i64::try_from(ms).unwrap_or(i64::MAX));
    let mut table = Table::new(&["OVER ALL RUNS", "MEDIAN", "95 % BELOW"]);
    let mut row = |name: &str, (median, most): (String, String)| {
        table.row(vec![name.to_owned(), median, most]);
    };
    let times = |(median, most): (u64, u64)| (time(median), time(most));
    let none = || ("-".to_owned(), "-".to_owned());
    row("start to proven harm", summary.detected_ms.map_or_else(none, times));
    row("proven harm to last device back", summary.safe_after_ms.map_or_else(none, times));
    row("devices exposed", (summary.exposed.0.to_string(), summary.exposed.1.to_string()));
    row("start to end", times(summary.duration_ms));
    let spent = |ppb: u64| percent(u32::try_from(ppb / 1_000).unwrap_or(u32::MAX));
    row("error budget spent", (spent(summary.spent_ppb.0), spent(summary.spent_ppb.1)));
    table
}

/// Millionths as a percent with two decimals.
fn percent(ppm: u32) -> String {
    format!("{}.{:02}%", ppm / 10_000, ppm % 10_000 / 100)
}
