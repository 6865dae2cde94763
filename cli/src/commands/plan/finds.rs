//! The smallest rise that a stage finds: by simulated stages, and by a formula where that would take too long.

use modelfleet_judge::sizing::{FleetRates, StageSize, can_show, smallest_harm_ppm};
use modelfleet_rollout::Policy;
use modelfleet_simulation::{Effort, Objective, Scenario, Setup, StagePower, stage_power};

/// How surely a rise is to be found, millionths.
const POWER_PPM: u64 = 800_000;
/// Where the search begins where the formula knows nothing.
const GUESS_PPM: u64 = 5_000_000;

/// What a stage finds of one objective, as a rise of the rate of bad events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finds {
    /// By simulated stages.
    Simulated(StagePower),
    /// By the formula, in millionths; `None`: nothing.
    Computed(Option<u64>),
    /// So few devices cannot show harm, whatever they do.
    Never,
}

/// Asks the simulation, as far as the effort allows.
pub(super) fn finds(
    (setup, scenario, policy): (&Setup, &Scenario, &Policy),
    index: u32,
    objective: &Objective,
    (size, rates): (&StageSize, &FleetRates),
    share_ppb: u64,
    effort: Effort,
) -> Finds {
    if size.controls > 0 && !can_show(size.canaries, size.controls, share_ppb, size.looks) {
        return Finds::Never;
    }
    let windows = smallest_harm_ppm(size, rates, share_ppb, objective.allowance_ppm, POWER_PPM);
    let formula = scenario.rise_of_events_ppm(&objective.name, windows);
    let guess = formula.unwrap_or(GUESS_PPM);
    match stage_power(setup, scenario, policy, index, &objective.name, guess, effort) {
        StagePower::Unknown => Finds::Computed(formula),
        power => Finds::Simulated(power),
    }
}

impl Finds {
    /// As the table shows it.
    pub(super) fn cell(self) -> String {
        let times = |ppm: u64| ppm as f64 * 1e-6;
        match self {
            Finds::Simulated(StagePower::Finds { ratio_ppm, limits_ppm: (low, high), .. }) => {
                format!("{:.2}x ({:.2}-{:.2})", times(ratio_ppm), times(low), times(high))
            }
            Finds::Computed(Some(ppm)) => format!("~{:.2}x", times(ppm)),
            Finds::Simulated(_) | Finds::Computed(None) | Finds::Never => "nothing".to_owned(),
        }
    }

    /// Something is found, or may be.
    pub(super) fn is_something(self) -> bool {
        matches!(self, Finds::Simulated(StagePower::Finds { .. }) | Finds::Computed(Some(_)))
    }
}

/// What is to be said of all of them together.
pub(super) fn notes(all: &[Finds]) -> String {
    let simulated = all.iter().find_map(|finds| match finds {
        Finds::Simulated(StagePower::Finds { found, .. } | StagePower::Misses { found }) => Some(found.runs),
        _ => None,
    });
    let mut text = String::new();
    if simulated.is_some() {
        text.push_str(
            "FINDS was simulated stage by stage with the shipped rules; its 95 % limits, in brackets, narrow with more --runs.\n",
        );
    }
    if all.iter().any(|finds| matches!(finds, Finds::Computed(Some(_)))) {
        text.push_str(FORMULA);
    }
    if simulated.is_some() || !text.is_empty() {
        text.push_str(
            "All numbers hold for the rates and the spread that the scenario gives: see what half and twice the --base-rate do.\n",
        );
    }
    text
}

/// How far the formula is off; measured in docs/judge-proof.md, "The planner against the simulator".
const FORMULA: &str = "~ is the result of a formula, because to simulate the stage would take too long. Of 35 \
                       random rollouts it was within five points of 80 % in 8: what it named was found in 7 to 100 % of the runs. Try it with \
                       simulate before you rely on it.\n";
