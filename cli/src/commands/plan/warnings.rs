//! What should be known before the start, each thing once.

use modelfleet_judge::JudgedBy;
use modelfleet_simulation::Setup;

use super::rows::{Row, is_gate};

/// The warnings of all stages: `canary, broad (errors): ...`.
pub(super) fn warnings(stages: &[Vec<Row>], setup: &Setup) -> Vec<String> {
    let objectives = &setup.objectives;
    let mut found: Vec<(&str, Vec<String>)> = Vec::new();
    for rows in stages {
        for row in rows.iter().filter(|row| !row.warning.is_empty()) {
            let alike = rows.iter().all(|other| other.warning == row.warning);
            let place = match &row.objective {
                Some(objective) if !alike => format!("{} ({objective})", row.stage),
                _ => row.stage.clone(),
            };
            match found.iter_mut().find(|(warning, _)| *warning == row.warning) {
                Some((_, places)) if places.contains(&place) => {}
                Some((_, places)) => places.push(place),
                None => found.push((&row.warning, vec![place])),
            }
        }
    }
    let mut all: Vec<String> =
        found.into_iter().map(|(warning, places)| format!("{}: {warning}", places.join(", "))).collect();
    let plain: Vec<&str> = objectives
        .iter()
        .filter(|o| matches!(o.judged_by, JudgedBy::Plain { .. }))
        .map(|o| o.name.as_str())
        .collect();
    if !plain.is_empty() {
        all.push(format!(
            "{}: an objective judged by Plain has no error rate, so there is nothing to compute",
            plain.join(", ")
        ));
    }
    if !objectives.iter().any(is_gate) {
        all.push(
            "no SLO is decided by a statistical test: a stage only detects devices that fail or go silent"
                .to_owned(),
        );
    }
    all
}
