//! What is carried from look to look belongs to a rule's name, and is not lost by editing or upgrading.
#![allow(clippy::unwrap_used)]

use modelfleet_judge::*;

/// One look at 200 devices of which five are canaries; of each rule's name and weight, and whether its canaries are
/// bad in twenty of 60 windows.
fn judged(rules: &[(&str, u32, bool)], reached: u16, state: &StageState) -> Assessment {
    let slos: Vec<SloRule<'_>> = rules
        .iter()
        .map(|&(name, weight, _)| SloRule { weight, ..SloRule::statistical(name, 50_000) })
        .collect();
    let counts = |canary: bool| -> Vec<SloCounts> {
        let bad = |harmed: bool| if harmed && canary { 20 } else { 1 };
        rules
            .iter()
            .map(|r| SloCounts { history: Counts::new(600, 6), post: Counts::new(60, bad(r.2)) })
            .collect()
    };
    let (ours, theirs) = (counts(true), counts(false));
    let devices: Vec<_> = (0..200)
        .map(|id| {
            let (arm, counts) = if id < 5 { (Arm::Canary, &ours) } else { (Arm::Control, &theirs) };
            DeviceOutcome::new(id, 0, arm, counts)
        })
        .collect();
    let observations = Observations {
        slos: &slos,
        devices: &devices,
        merged: &[],
        needs: Needs { min_devices: 5, min_windows: 30, min_reporting_ppm: 800_000 },
        hard: HardRule::default(),
        silence: SilenceRule::default(),
        budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 2 },
        looks: Looks { reached, planned: 6 },
        seed: 7,
    };
    assess(&observations, state)
}

fn carried(assessment: &Assessment) -> StageState {
    StageState::from_text(&assessment.state.to_text()).unwrap()
}

/// Harm of one rule stays with it when another is put before it, and is there again when the rule comes back.
#[test]
fn harm_stays_with_its_rule() {
    let first = judged(&[("a", 1, false), ("b", 1, true)], 2, &StageState::new());
    assert_eq!(first.per_slo[1].verdict, Verdict::Degraded);
    let turned = judged(&[("b", 1, true), ("c", 1, false), ("a", 1, false)], 2, &carried(&first));
    let verdicts: Vec<Verdict> = turned.per_slo.iter().map(|r| r.verdict).collect();
    assert_eq!(verdicts, [Verdict::Degraded, Verdict::Undecided, Verdict::Undecided]);
    let without = judged(&[("a", 1, false)], 3, &carried(&turned));
    assert_ne!(without.verdict, Verdict::Degraded);
    assert!(without.spent_ppb >= turned.spent_ppb, "spending is not forgotten");
    let back = judged(&[("a", 1, false), ("b", 1, false)], 3, &carried(&without));
    assert!(back.per_slo[1].relative_harm && back.advice != Advice::Advance);
}

/// Two rules of one name are two.
#[test]
fn a_name_may_come_twice() {
    let both = judged(&[("a", 1, true), ("a", 1, false)], 2, &StageState::new());
    let again = judged(&[("a", 1, true), ("a", 1, false)], 3, &carried(&both));
    let verdicts: Vec<Verdict> = again.per_slo.iter().map(|r| r.verdict).collect();
    assert_eq!(verdicts, [Verdict::Degraded, Verdict::Undecided]);
}

/// Rules and weights that change at every look share one budget, and the text stays short.
#[test]
fn editing_rules_does_not_make_budget() {
    let names: Vec<String> = (0..200).map(|i| format!("rule {i}")).collect();
    let mut state = StageState::new();
    let mut spent = 0;
    for (look, chunk) in (1..).zip(names.chunks(20)) {
        let rules: Vec<(&str, u32, bool)> = chunk.iter().map(|n| (n.as_str(), look * 10, false)).collect();
        let assessment = judged(&rules, look as u16, &state);
        assert!(assessment.spent_ppb <= assessment.allotted_ppb, "look {look}");
        assert!(assessment.spent_ppb >= spent, "look {look}");
        assert!(assessment.state.to_text().len() <= 8 * 1024);
        spent = assessment.spent_ppb;
        state = carried(&assessment);
    }
    assert!(spent > 4_000_000, "{spent}");
}

/// Another version's text is refused, and the stage is then not judged: neither harm nor spending is forgotten.
#[test]
fn an_unknown_form_is_not_taken_for_a_new_stage() {
    for text in ["judge1;0;0,0,0,0,0,0,0;0,0,0,0,0,0,0", "judge9;0", "judge2", "judge2;0;0", "judge2;x"] {
        assert!(StageState::from_text(text).is_err(), "{text}");
    }
    assert_eq!(StageState::from_text("").unwrap(), StageState::new());
    for (harmed, reached) in [(true, 6), (false, 6), (false, 9)] {
        let assessment = judged(&[("a", 1, harmed)], reached, &StageState::unreadable());
        println!("{}", assessment.sentence);
        assert_eq!((assessment.verdict, assessment.advice), (Verdict::Undecided, Advice::Wait));
        assert!(assessment.sentence.contains("cannot be read"));
        assert_eq!(carried(&assessment), StageState::unreadable());
    }
}
