//! A recorded look is judged again to the last letter, and no line makes the reader panic.

use modelfleet_judge::record::{Answer, Record};
use modelfleet_judge::*;
use proptest::prelude::*;

fn recorded(devices: u32, harmed: u64, looks: u16) -> Record {
    let slos = [
        SloRule::statistical("false alarms", 50_000),
        SloRule {
            judged_by: JudgedBy::Plain { for_windows: 3 },
            on_breach: OnBreach::Pause,
            margin_ppm: Some(2_000_000),
            ..SloRule::statistical("slow answers", 10_000)
        },
    ];
    let counts = |bad| {
        let one = SloCounts { history: Counts::new(600, 6), post: Counts::new(60, bad) };
        [one, one]
    };
    let (harmed, calm) = (counts(harmed), counts(1));
    let device = |id: u32| {
        let arm = if id < 5 { Arm::Canary } else { Arm::Control };
        let one = DeviceOutcome::new(id, (id % 3) as u16, arm, if id < 5 { &harmed } else { &calm });
        DeviceOutcome { hard_failure: (id == 4).then_some(7), reporting: !id.is_multiple_of(7), ..one }
    };
    let list: Vec<_> = (0..devices).map(device).collect();
    let window = |window| MergedWindow {
        slo: 1,
        arm: Arm::Control,
        window,
        breached: true,
        value_milli: -5,
        threshold_milli: 10,
        devices: Counts::new(100, 90),
        samples: 1_000,
    };
    let merged = [window(1), window(2), window(3)];
    let observations = Observations {
        slos: &slos,
        devices: &list,
        merged: &merged,
        needs: Needs { min_devices: 5, min_windows: 30, min_reporting_ppm: 800_000 },
        hard: HardRule::default(),
        silence: SilenceRule::default(),
        budget: Budget { total_ppm: 10_000, spent_ppb: 12, stages_left: 4 },
        looks: Looks { reached: looks, planned: 6 },
        seed: u64::MAX,
    };
    let before = StageState::new();
    Record::of("pump-1-1-0, attempt 1, canary", &observations, &before, &assess(&observations, &before))
}

#[test]
fn the_same_bytes_give_the_same_verdict() {
    for (devices, harmed, looks) in [(200, 12, 6), (200, 1, 6), (40, 3, 2), (0, 0, 0)] {
        let record = recorded(devices, harmed, looks);
        let line = record.to_line().unwrap();
        let read = Record::from_line(&line).unwrap();
        assert_eq!(read, record);
        assert_eq!(Answer::of(&read.replay().unwrap()), record.answer);
        assert!(!line.contains('\n') && read.to_line().unwrap() == line);
    }
}

#[test]
fn damaged_lines_are_refused() {
    let record = recorded(10, 5, 1);
    let mut short = record.clone();
    short.devices[3].pop();
    assert!(short.replay().is_err());
    let mut wide = record.clone();
    wide.devices[0][0] = u64::MAX;
    assert!(wide.replay().is_err());
    let mut other = record;
    other.format = "modelfleet-judge-record/1".to_owned();
    let told = Record::from_line(&other.to_line().unwrap()).unwrap_err().to_string();
    assert!(
        told.contains("modelfleet-judge-record/2")
            && told.contains("the version of the plugin that wrote it"),
        "{told}"
    );
}

/// State texts, with numbers up to the largest.
fn before() -> impl Strategy<Value = String> {
    let entry = (any::<[bool; 2]>(), any::<[u16; 2]>(), any::<[u64; 6]>(), any::<i64>()).prop_map(
        |([degraded, healthy], [looks, judged], [key, spent, anytime, p, threshold, margin], log_e)| {
            let (degraded, healthy) = (u8::from(degraded), u8::from(healthy));
            format!(
                ";{key:x},{degraded},{looks},{spent},{anytime},{p},{threshold},{log_e},{judged},{healthy},{margin}"
            )
        },
    );
    let huge = Just(format!(";0,0,1,{m},{m},{m},{m},{},1,0,{m}", i64::MAX, m = u64::MAX));
    let entries = prop::collection::vec(prop_oneof![3 => entry, 1 => huge], 2..6);
    prop_oneof![
        8 => (any::<u32>(), any::<u64>(), entries)
            .prop_map(|(failed, retired, entries)| format!("judge2;{failed};{retired}{}", entries.concat())),
        1 => Just("judge2;unreadable".to_owned()),
        1 => Just(String::new()),
    ]
}

proptest! {
    #[test]
    fn no_line_makes_it_panic(
        rows in proptest::collection::vec(proptest::collection::vec(any::<u64>(), 9..=13), 0..8),
        needs: [u32; 3], budget: [u64; 3], looks: [u16; 2], merged: [i64; 9], before in before(),
    ) {
        let mut record = recorded(3, 2, 1);
        record.devices.extend(rows);
        (record.needs, record.budget, record.looks) = (needs, budget, looks);
        record.merged.push(merged);
        let _ = record.replay();
        // The same state with a fleet that can be read.
        let mut whole = recorded(40, 12, 6);
        whole.before = before;
        whole.looks = looks;
        prop_assert!(whole.replay().is_ok());
    }

    #[test]
    fn no_text_makes_it_panic(text in ".*") {
        let _ = Record::from_line(&text);
    }
}
