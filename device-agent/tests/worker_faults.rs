//! Real agents whose worker processes are killed, stopped and swapped: what answers, what is reported, and what is left
//! behind.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use modelfleet_protocol::state::{FailureCode, Phase};
use modelfleet_test_support::pump_plan::{MODEL, candidate, infer_body, plan};
use modelfleet_test_support::wait::wait;
use rustix::process::Signal;
use support::Agent;
use support::plant::{Plant, running};
use support::processes::{WorkerProcess, workers_of};

/// The one worker of an agent.
fn worker(agent: &Agent) -> WorkerProcess {
    wait("one worker", || match workers_of(agent.pid())[..] {
        [worker] => Some(worker),
        _ => None,
    })
}

fn infer(agent: &Agent) -> (u16, serde_json::Value) {
    agent.ask("POST", &format!("/v2/models/{MODEL}/infer"), &infer_body())
}

#[test]
fn a_stable_build_whose_worker_is_killed_answers_again() {
    let plant = Plant::new();
    let agent = plant.with_stable();
    for signal in [Signal::KILL, Signal::ABORT] {
        let before = worker(&agent);
        before.signal(signal);
        before.wait_gone();
        let refused = infer(&agent);
        assert!(refused.0 == 500 && refused.1.to_string().contains("worker process"), "{refused:?}");
        assert_eq!(agent.predict(1)["model_version"], "1.0.0");
        assert_ne!(worker(&agent), before);
    }
    assert_eq!(plant.console.state(&agent.id).unwrap().models[0].reverts, 0);
}

#[test]
fn a_worker_that_hangs_is_replaced_and_the_agent_goes_on() {
    let plant = Plant::new();
    let agent = plant.agent_with(&["--prediction-timeout-ms", "250"]);
    plant.console.publish_plan(&plan(1, Some(plant.build("1.0.0")), None));
    agent.predict(3);
    let stopped = worker(&agent);
    stopped.signal(Signal::STOP);
    assert_eq!(infer(&agent).0, 504);
    stopped.wait_gone();
    assert_eq!(agent.predict(3)["model_version"], "1.0.0");
    assert!(agent.logged().contains("no answer within 1000 ms"), "{}", agent.logged());
}

#[test]
fn a_candidate_whose_worker_keeps_crashing_is_taken_back() {
    let plant = Plant::new();
    let agent = plant.with_stable();
    let mut patient = candidate("r1", plant.build("1.1.0"));
    (patient.probation.min_predictions, patient.probation.max_errors) = (1_000, 1_000);
    plant.console.publish_plan(&plan(2, Some(plant.build("1.0.0")), Some(patient)));
    plant.console.wait_phase(&agent.id, "r1", Phase::Activated);
    for crash in 1..=3 {
        // The build before is unloaded by then.
        let crashing = worker(&agent);
        assert_eq!(agent.predict(1)["model_version"], "1.1.0", "crash {crash}");
        crashing.signal(Signal::KILL);
        crashing.wait_gone();
        infer(&agent);
        agent.predict(1);
    }
    let state = plant.console.wait_phase(&agent.id, "r1", Phase::Reverted);
    let failure = state.candidate.unwrap().failure.unwrap();
    assert_eq!(failure.code, FailureCode::CrashLoop);
    assert!(failure.detail.contains("SIGKILL"), "{failure:?}");
    assert_eq!(agent.predict(3)["model_version"], "1.0.0");
}

#[test]
fn builds_are_swapped_under_load_without_a_request_lost() {
    let plant = Plant::new();
    let agent = plant.with_stable();
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let (status, answer) = infer(&agent);
                    assert_eq!(status, 200, "{answer}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let swaps = [("1.0.0", "1.1.0"), ("1.1.0", "1.2.0")];
        for (revision, (old, new)) in (2..).zip(swaps) {
            let attempt = format!("r{revision}");
            let next = candidate(&attempt, plant.build(new));
            plant.console.publish_plan(&plan(revision * 2, Some(plant.build(old)), Some(next)));
            plant.console.wait_phase(&agent.id, &attempt, Phase::Confirmed);
            plant.console.publish_plan(&plan(revision * 2 + 1, Some(plant.build(new)), None));
        }
        let newest = plant.build("1.2.0").digest;
        plant.console.wait_model(&agent.id, "the newest build", |m| running(m) == Some(newest));
        over.store(true, Ordering::Relaxed);
    });
    assert!(answered.load(Ordering::Relaxed) > 10, "{answered:?}");
    worker(&agent);
}

#[test]
fn no_worker_outlives_its_agent() {
    let plant = Plant::new();
    let mut agent = plant.with_stable();
    let stopped_well = worker(&agent);
    assert!(agent.stop());
    stopped_well.wait_gone();
    for stop_worker in [false, true] {
        agent = plant.agent();
        agent.predict(1);
        let left = worker(&agent);
        if stop_worker {
            left.signal(Signal::STOP);
        }
        // The agent alone, and not all that it has started.
        WorkerProcess(agent.pid()).signal(Signal::KILL);
        assert!(!agent.wait_end());
        left.wait_gone();
    }
}
