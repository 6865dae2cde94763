use modelfleet_rollout::PauseCause;

use super::*;

const IN_PRODUCTION: &str = "1.1.0";

/// The version that all rows are about: 1.0.0 with digest `a`.
fn held(stage: VersionStage, by_rollout: bool) -> Held<'static> {
    Held { version: "1.0.0", digest: "a", stage, by_rollout }
}

fn claim(names: &str, phase: Phase, attempt: &str, prior: Option<&str>) -> Claim {
    Claim {
        rollout: "r".into(),
        names: names.into(),
        digest: (names == "1.0.0").then(|| "a".to_owned()),
        phase,
        attempt: attempt.into(),
        prior: prior.map(ToOwned::to_owned).into_iter().collect(),
        deleted: false,
    }
}

fn need(stage: VersionStage, production: Option<&str>, claims: &[Claim]) -> &'static str {
    let is_produced = |version: &str| production == Some(version);
    needed(&held(stage, stage == VersionStage::Rejected), is_produced, claims)
        .map_or("-", |need| need.as_str())
}

#[test]
fn without_a_rollout_nothing_is_needed() {
    use VersionStage as S;
    for stage in [S::Registered, S::Verified, S::Production, S::Archived, S::Rejected] {
        assert_eq!(need(stage, Some("1.0.0"), &[]), "-", "{stage:?}");
    }
}

#[test]
fn every_phase_with_every_tie() {
    use Phase as P;
    // What a rollout in this phase needs of: the version of its attempt; the one its spec has come to name; the one
    // before, while the attempt's is in production; the one before, while another is.
    let table = [
        (P::Queued, ["-", "RollingOut", "-", "-"]),
        (P::Refused, ["-", "RollingOut", "-", "-"]),
        (P::Progressing, ["RollingOut", "-", "WayBack", "WayBack"]),
        (P::AwaitingApproval, ["RollingOut", "-", "WayBack", "WayBack"]),
        (P::Paused(PauseCause::Degraded), ["RollingOut", "-", "WayBack", "WayBack"]),
        (P::RollingBack, ["RollingOut", "-", "WayBack", "WayBack"]),
        (P::RolledBack, ["-", "RollingOut", "-", "-"]),
        (P::Succeeded, ["-", "RollingOut", "WayBack", "-"]),
    ];
    for (phase, expected) in table {
        let ties = [
            claim("1.2.0", phase, "1.0.0", None),
            claim("1.0.0", phase, "1.2.0", None),
            claim(IN_PRODUCTION, phase, IN_PRODUCTION, Some("1.0.0")),
            claim("1.3.0", phase, "1.3.0", Some("1.0.0")),
        ];
        let found = ties.map(|claim| need(VersionStage::Archived, Some(IN_PRODUCTION), &[claim]));
        assert_eq!(found, expected, "{phase:?}");
    }
}

#[test]
fn who_is_in_production_stays_while_any_rollout_is_there() {
    let ended = claim("0.9.0", Phase::RolledBack, "0.9.0", None);
    let of = |production| need(VersionStage::Production, production, std::slice::from_ref(&ended));
    assert_eq!(of(Some("1.0.0")), "InProduction");
    assert_eq!(of(Some(IN_PRODUCTION)), "-", "another one is; this one is still to be archived");
}

#[test]
fn what_has_not_passed_its_check_is_registered_anew_under_a_rollout_that_waits() {
    let waits = || claim("1.0.0", Phase::Queued, "", None);
    let failed = held(VersionStage::Rejected, false);
    assert_eq!(needed(&failed, |_| false, &[waits()]), None);
    assert_eq!(need(VersionStage::Registered, None, &[waits()]), "-");
    assert_eq!(need(VersionStage::Verified, None, &[waits()]), "RollingOut");
}

#[test]
fn a_rejection_stays_while_a_rollout_names_the_version_or_its_bytes() {
    let names = |names: &str, digest: Option<&str>| Claim {
        digest: digest.map(ToOwned::to_owned),
        ..claim(names, Phase::RolledBack, names, None)
    };
    let of = |claim| need(VersionStage::Rejected, None, &[claim]);
    assert_eq!(of(names("1.0.0", Some("a"))), "RejectionKept");
    assert_eq!(of(names("1.0.0", None)), "RejectionKept");
    assert_eq!(of(names("1.0.1", Some("a"))), "RejectionKept", "the same bytes under another name");
    assert_eq!(of(names("1.0.1", Some("b"))), "-");
    let refused = claim("1.0.0", Phase::Refused, "", None);
    assert_eq!(of(refused), "RejectionKept");
}

#[test]
fn a_rollout_that_is_being_deleted_needs_only_its_way_back() {
    let deleted =
        |phase, attempt: &str, prior| Claim { deleted: true, ..claim(attempt, phase, attempt, prior) };
    let of = |stage, claim| need(stage, Some(IN_PRODUCTION), &[claim]);
    assert_eq!(of(VersionStage::Verified, deleted(Phase::Queued, "1.0.0", None)), "-");
    assert_eq!(of(VersionStage::Rejected, deleted(Phase::RolledBack, "1.0.0", None)), "-");
    assert_eq!(of(VersionStage::Archived, deleted(Phase::Succeeded, IN_PRODUCTION, Some("1.0.0"))), "-");
    assert_eq!(of(VersionStage::Verified, deleted(Phase::RollingBack, "1.0.0", None)), "RollingOut");
    assert_eq!(of(VersionStage::Archived, deleted(Phase::RollingBack, "1.2.0", Some("1.0.0"))), "WayBack");
}

#[test]
fn whoever_deleted_it_is_told_by_whom_it_is_used_and_what_lets_it_go() {
    let longest = "r".repeat(253);
    for need in [Need::Production, Need::Candidate, Need::WayBack, Need::Rejection] {
        let text = need(&longest).to_string();
        assert!(
            text.contains(&format!("rollout {longest}")) && text.contains("It is removed once"),
            "{text}"
        );
        assert!(text.len() <= 480, "a condition holds 512 characters: {text}");
    }
}
