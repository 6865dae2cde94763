//! What in the stages of a rollout surprises people later: said by `plan` and by `lint` in the same words.

use std::collections::BTreeSet;

use modelfleet_judge::plan::NO_CONTROLS;
use modelfleet_protocol::draw::Target;
use modelfleet_protocol::selector::{Operator, Selector};
use modelfleet_rollout::Stage;

/// All devices, in millionths.
const WHOLE_PPM: u32 = 1_000_000;

/// How to have controls in a last stage for all.
pub const HOLD_BACK: &str = "set holdback: 5% to keep controls";

/// The last stage takes everybody: nobody is left to compare with.
#[must_use]
pub fn no_controls(stages: &[Stage], holdback_ppm: u32) -> Option<String> {
    let last = stages.last()?;
    takes_all(last, holdback_ppm).then(|| format!("in {} {NO_CONTROLS}; {HOLD_BACK}", last.name))
}

fn takes_all(stage: &Stage, holdback_ppm: u32) -> bool {
    holdback_ppm == 0 && matches!(stage.target, Target::Ppm(WHOLE_PPM..) | Target::AllBut(0))
}

/// A stage that compares devices of one part of the fleet with devices elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uneven {
    /// Its index.
    pub stage: usize,
    /// Labels that its `spreadBy` lacks.
    pub labels: String,
    /// What may happen, and what to do.
    pub said: String,
}

/// Stages after one that took its devices from a part of the fleet only, and not spread over what tells that part.
#[must_use]
pub fn uneven(stages: &[Stage], holdback_ppm: u32) -> Vec<Uneven> {
    let compares = |index: usize| index + 1 < stages.len() || !takes_all(&stages[index], holdback_ppm);
    (1..stages.len()).filter(|index| compares(*index)).filter_map(|index| uneven_at(stages, index)).collect()
}

fn uneven_at(stages: &[Stage], index: usize) -> Option<Uneven> {
    let stage = &stages[index];
    let own = requirements(&stage.selector);
    let (mut labels, mut names) = (BTreeSet::new(), Vec::new());
    for before in &stages[..index] {
        let narrower = requirements(&before.selector);
        let told: BTreeSet<&str> = narrower.difference(&own).map(|(label, ..)| *label).collect();
        let lacking = told.into_iter().filter(|label| !stage.spread_by.iter().any(|own| own == label));
        let known = labels.len();
        labels.extend(lacking);
        if labels.len() > known {
            names.push(before.name.as_str());
        }
    }
    let labels = labels.into_iter().collect::<Vec<_>>().join(", ");
    let said = format!(
        "the devices that {} took from a part of the fleet are compared with devices elsewhere, so that an outage of that \
         part looks like harm; add {labels} to the spreadBy of {}",
        names.join(" and "),
        stage.name
    );
    (!names.is_empty()).then_some(Uneven { stage: index, labels, said })
}

/// What a selector asks for, as things that can be compared.
fn requirements(selector: &Selector) -> BTreeSet<(&str, u8, Vec<&str>)> {
    let labels = selector.match_labels.iter().map(|(key, value)| (key.as_str(), 0, vec![value.as_str()]));
    let expressions = selector.match_expressions.iter().map(|asked| {
        let mut values: Vec<&str> = asked.values.iter().map(String::as_str).collect();
        values.sort_unstable();
        let operator = match asked.operator {
            Operator::In => 0,
            Operator::NotIn => 1,
            Operator::Exists => 2,
            Operator::DoesNotExist => 3,
            Operator::Unknown => 4,
        };
        (asked.key.as_str(), operator, values)
    });
    labels.chain(expressions).collect()
}

#[cfg(test)]
mod tests {
    use modelfleet_simulation::Setup;

    use super::*;

    fn stages() -> Vec<Stage> {
        let mut stages = vec![
            Setup::stage("pilot", Target::Count(10), 60),
            Setup::stage("early", Target::Ppm(100_000), 60),
            Setup::stage("broad", Target::Ppm(500_000), 60),
            Setup::stage("full", Target::Ppm(1_000_000), 0),
        ];
        stages[0].selector.match_labels = [("site".to_owned(), "north".to_owned())].into();
        stages
    }

    fn indexes(stages: &[Stage], holdback_ppm: u32) -> Vec<usize> {
        uneven(stages, holdback_ppm).into_iter().map(|uneven| uneven.stage).collect()
    }

    #[test]
    fn later_stages_are_to_be_spread_by_what_an_earlier_one_selects() {
        let mut stages = stages();
        assert_eq!(indexes(&stages, 0), [1, 2]);
        assert_eq!(indexes(&stages, 50_000), [1, 2, 3], "with a hold-back the last stage compares as well");
        let said = uneven(&stages, 0).remove(0).said;
        assert!(said.contains("the devices that pilot took from a part of the fleet"), "{said}");
        assert!(said.ends_with("add site to the spreadBy of early"), "{said}");
        stages[1].spread_by = vec!["age".to_owned(), "site".to_owned()];
        assert_eq!(indexes(&stages, 0), [2]);
        stages[2].spread_by = vec!["site".to_owned()];
        assert_eq!(indexes(&stages, 0), [0; 0]);
    }

    #[test]
    fn stages_of_the_same_devices_are_good() {
        let mut stages = stages();
        let north = stages[0].selector.clone();
        stages.iter_mut().for_each(|stage| stage.selector = north.clone());
        assert_eq!(indexes(&stages, 0), [0; 0]);
        // From all to a part: the later stage has canaries and controls in that part.
        stages[0].selector = Selector::default();
        assert_eq!(indexes(&stages, 0), [0; 0]);
    }

    #[test]
    fn a_hold_back_keeps_controls() {
        assert!(no_controls(&stages(), 0).is_some_and(|said| said.contains("holdback: 5%")));
        assert_eq!(no_controls(&stages(), 50_000), None);
        assert_eq!(no_controls(&stages()[..3], 0), None);
    }
}
