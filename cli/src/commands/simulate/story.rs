//! `simulate --explain`: one run as a story.

use modelfleet_crds::Rollout;
use modelfleet_judge::Advice;
use modelfleet_rollout::PolicyError;
use modelfleet_simulation::{End, Happened, LookStory, Outcome, Simulation, StoryLine};

use crate::table::one_line;
use crate::units::{counted, span};

/// The story of run `number`, counted from 1.
pub fn text(
    rollout: &Rollout,
    simulation: &Simulation,
    seed: u64,
    number: u64,
) -> Result<String, PolicyError> {
    let (outcome, lines) = simulation.tell(seed, number.saturating_sub(1))?;
    let name = rollout.metadata.name.as_deref().unwrap_or("-");
    let devices = counted(i64::try_from(simulation.scenario().fleet.devices).unwrap_or(i64::MAX), "device");
    let version = &rollout.spec.version;
    let mut text = format!("rollout {name}, version {version}: run {number} on {devices}, seed {seed}\n");
    let mut stage = "";
    for line in &lines {
        if line.stage != stage {
            stage = &line.stage;
            text.push_str(&format!("\nStage {}\n", one_line(stage)));
        }
        tell(line, &mut text);
    }
    text.push_str(&format!("\n{}\n", end(&outcome)));
    Ok(text)
}

fn tell(line: &StoryLine, text: &mut String) {
    let at = when(line.at_ms);
    match &line.happened {
        Happened::Event { message, .. } => text.push_str(&format!("  {at}  {}\n", one_line(message))),
        Happened::Look(look) => {
            text.push_str(&format!("  {at}  {}\n", heading(look)));
            let others = look.sentences.iter().filter(|sentence| !sentence.is_empty());
            for sentence in others.filter(|sentence| !look.sentence.contains(sentence.as_str())) {
                text.push_str(&format!("  {INDENT}{}\n", one_line(sentence)));
            }
            if !look.statistics.is_empty() {
                text.push_str(&format!("  {INDENT}statistics: {}\n", one_line(&look.statistics)));
            }
        }
    }
}

/// Below the text of a line with a time.
const INDENT: &str = "                   ";

/// `Look 2 of 6, 5 devices with the version and 195 without: Undecided, keep watching: ...`
fn heading(look: &LookStory) -> String {
    let which = match (look.reached, look.planned) {
        (0, planned) => format!("Before look 1 of {planned}"),
        (reached, planned) if reached <= planned => format!("Look {reached} of {planned}"),
        (reached, planned) => format!("Look {reached}, {} after the last planned one", reached - planned),
    };
    let (with, without) = look.devices;
    let next = match look.advice {
        Advice::Advance => "the stage may end",
        Advice::Wait => "keep watching",
        Advice::Pause => "pause",
        Advice::RollBack => "roll back",
    };
    format!(
        "{which}, {} with the version and {without} without: {:?}, {next}: {}",
        counted(i64::try_from(with).unwrap_or(i64::MAX), "device"),
        look.verdict,
        one_line(&look.sentence)
    )
}

/// `day   8 05:00:00`, so that times stand below each other.
fn when(ms: u64) -> String {
    let (days, seconds) = (ms / 86_400_000 + 1, ms / 1_000 % 86_400);
    format!("day {days:>3} {:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

fn end(outcome: &Outcome) -> String {
    let time = |ms: u64| span(i64::try_from(ms).unwrap_or(i64::MAX));
    let how = match outcome.end {
        End::Succeeded => "The version reached the whole fleet",
        End::RolledBack => "The version was rolled back",
        End::Held => "The rollout waits for a person",
        End::Unfinished => "The simulation ended before the rollout did",
    };
    let exposed = counted(i64::try_from(outcome.exposed).unwrap_or(i64::MAX), "device");
    let mut text = format!("{how} after {}; {exposed} had run it.", time(outcome.duration_ms));
    if let Some(detected) = outcome.detected_ms {
        text.push_str(&format!(" Harm was proven after {}", time(detected)));
        if let Some(safe) = outcome.safe_after_ms {
            text.push_str(&format!(", and the last device in reach was back {} later", time(safe)));
        }
        text.push('.');
    }
    text
}
