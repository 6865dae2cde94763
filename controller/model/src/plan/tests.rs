use modelfleet_protocol::model::Format;
use modelfleet_protocol::plan::{Fetch, Mode, Probation, WINDOW_MS_MIN};
use modelfleet_protocol::selector::Selector;

use super::*;

fn key() -> Key {
    ("plant".parse().unwrap(), "m".parse().unwrap())
}

fn build(version: &str) -> ModelBuild {
    ModelBuild {
        model: "m".parse().unwrap(),
        version: version.parse().unwrap(),
        digest: Digest::of(version.as_bytes()),
        uri: "file:///m.onnx".into(),
        size_bytes: 1,
        format: Format::Onnx,
        opsets: BTreeMap::new(),
        engines: vec![],
        memory_bytes: 0,
        device_labels: BTreeMap::new(),
        inputs: vec![],
        outputs: vec![],
        ir_version: 0,
        details: None,
        self_test: vec![],
        profile: None,
        decision: None,
        pre_filters: vec![],
        fallback: modelfleet_protocol::model::Fallback::Error,
        signatures: vec![],
    }
}

fn builds() -> BTreeMap<String, ModelBuild> {
    ["1.0.0", "1.1.0"].into_iter().map(|version| (version.to_owned(), build(version))).collect()
}

fn fetch() -> Fetch {
    Fetch { spread_ms: 7, bytes_per_second: 8, window_utc_minutes: None }
}

/// A rollout of 1.1.0 over 1.0.0 that is under way.
fn input() -> PlanInput {
    let view = PlanView {
        speaks: Speaks::Now,
        candidate: true,
        admit: true,
        rejected: false,
        version: "1.1.0".into(),
        stable: Some(Production::of_all("1.0.0")),
        attempt: "r".into(),
        salt: "u/1".into(),
        exclude: vec![],
        mode: Mode::Live,
        probation: Probation { timeout_ms: 1, min_predictions: 1, max_errors: 1 },
        fetch: fetch(),
        observe: Observe { window_ms: WINDOW_MS_MIN, ..Observe::default() },
    };
    let membership = Membership { salt: "u/1".into(), ..Membership::default() };
    PlanInput { rollout: "r".into(), view, membership, ended_at: None, goes_back: false, stands_in: false }
}

fn back(input: PlanInput) -> PlanInput {
    let view = PlanView { candidate: false, admit: false, rejected: true, ..input.view };
    PlanInput { view, goes_back: true, ..input }
}

fn plan(inputs: &[PlanInput], rejected: Vec<Digest>, newest: Option<&Plan>) -> DesiredPlan {
    let (key, builds) = (key(), builds());
    let production = Production::of_all("1.0.0");
    desired_plan(PlanSources {
        key: &key,
        inputs,
        builds: &builds,
        production: &production,
        rejected,
        newest,
        in_use: true,
    })
}

fn some(wanted: DesiredPlan) -> Plan {
    match wanted {
        DesiredPlan::Plan(plan) => *plan,
        other => panic!("{other:?} is no plan"),
    }
}

#[test]
fn a_spec_that_cannot_work_admits_nobody_and_changes_nothing_else() {
    let held = some(plan(&[input()], vec![], None));
    assert!(held.candidate.as_ref().unwrap().admit);
    let mut broken = PlanInput { stands_in: true, ..input() };
    broken.view.admit = false;
    broken.view.fetch = Fetch::default();
    broken.view.observe.window_ms = 3_600_000;
    let stands = some(plan(&[broken.clone()], vec![], Some(&held)));
    let mut expected = held.clone();
    expected.candidate.as_mut().unwrap().admit = false;
    assert_eq!(stands, expected);
    // It goes back all the same, and what devices count and how they fetch was meant by the spec that worked.
    let gone_back = some(plan(&[back(broken)], vec![], Some(&stands)));
    assert_eq!((gone_back.candidate, gone_back.rejected), (None, vec![build("1.1.0").digest]));
    assert_eq!((gone_back.stable, gone_back.fetch), (held.stable, held.fetch));
    assert_eq!(gone_back.observe, held.observe);
}

#[test]
fn the_newest_rejections_stay_when_there_are_too_many() {
    let old: Vec<Digest> = (0..100_u32).map(|i| Digest::of(&i.to_le_bytes())).collect();
    let rejected = some(plan(&[back(input())], old.clone(), None)).rejected;
    assert_eq!(rejected.len(), REJECTED_MAX);
    assert!(rejected.contains(&build("1.1.0").digest), "the one that is being taken back");
    assert!(
        old[..REJECTED_MAX - 1].iter().all(|digest| rejected.contains(digest)),
        "the newest of the others"
    );
    assert!(rejected.is_sorted(), "its order tells nothing new");
    let twice = some(plan(&[back(input())], vec![old[0], old[0], build("1.1.0").digest], None)).rejected;
    assert_eq!(twice.len(), 2);
}

#[test]
fn how_the_stable_build_is_fetched_is_kept_when_nobody_speaks() {
    let spoken = some(plan(&[input()], vec![], None));
    assert_eq!(spoken.fetch, Some(fetch()));
    assert_eq!(some(plan(&[], vec![], Some(&spoken))).fetch, Some(fetch()));
    assert_eq!(some(plan(&[], vec![], None)).fetch, None);
}

#[test]
fn an_overdue_way_back_speaks_until_the_next_begins() {
    let late = PlanInput { rollout: "late".into(), ..back(input()) };
    let late = PlanInput { view: PlanView { speaks: Speaks::UntilNext, ..late.view.clone() }, ..late };
    let mut ended = PlanInput { rollout: "ended".into(), ended_at: Some(Time(9)), ..input() };
    ended.view.speaks = Speaks::WhenNoOther;
    let name = |inputs: &[PlanInput]| plan_owner(inputs).map(|input| input.rollout.clone());
    assert_eq!(name(&[late.clone(), ended.clone()]).as_deref(), Some("late"));
    assert_eq!(name(&[late, ended, input()]).as_deref(), Some("r"));
}

#[test]
fn what_devices_would_refuse_is_a_problem() {
    let good = plan(&[input()], vec![], None);
    assert_eq!(problem(&good), None);
    let mut short = some(good.clone());
    short.observe.window_ms = WINDOW_MS_MIN - 1;
    let told = problem(&DesiredPlan::Plan(Box::new(short))).unwrap();
    assert!(told.to_string().contains("its window is too short"), "{told}");
    let mut large = some(good);
    large.stable.as_mut().unwrap().signatures = vec!["x".repeat(8_000); PLAN_BYTES_MAX / 8_000 + 1];
    let told = problem(&DesiredPlan::Plan(Box::new(large))).unwrap();
    assert_eq!(told.reason, "PlanRefused");
    assert!(told.to_string().contains("at most 262144"), "{told}");
}

fn site(value: &str) -> Selector {
    Selector { match_labels: [("site".to_owned(), value.to_owned())].into(), ..Selector::default() }
}

#[test]
fn what_was_proven_for_some_is_stable_for_them_alone() {
    let mut ended = input();
    (ended.view.candidate, ended.view.stable) = (false, None);
    let (key, builds) = (key(), builds());
    let production = Production::of_all("1.0.0").with(&site("north"), "1.1.0");
    let sources = |inputs, rejected| PlanSources {
        key: &key,
        inputs,
        builds: &builds,
        production: &production,
        rejected,
        newest: None,
        in_use: true,
    };
    let of = |plan: &Plan, site: &str| {
        let labels = [("site".to_owned(), site.to_owned())].into();
        plan.stable_of(&labels).map(|build| build.version.to_string())
    };
    // Harm to others does not take it from those for whom it was proven.
    let harmful = vec![build("1.1.0").digest];
    for (inputs, rejected) in [(&[ended][..], vec![]), (&[], vec![]), (&[], harmful)] {
        let plan = some(desired_plan(sources(inputs, rejected)));
        assert_eq!(
            (of(&plan, "north").as_deref(), of(&plan, "south").as_deref()),
            (Some("1.1.0"), Some("1.0.0"))
        );
        assert_eq!(Plan::from_json(&to_json(&plan)).unwrap(), plan);
        assert!(plan.rejected.is_empty());
    }
}
