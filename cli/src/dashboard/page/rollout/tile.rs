//! One objective of a rollout: its verdict, and how the version differs from the controls.

use jiff::Timestamp;
use modelfleet_crds::Rollout;
use modelfleet_crds::rollout::Slo;
use modelfleet_crds::rollout::status::{StageMargin, Verdict, VerdictKind};

use super::Looks;
use crate::dashboard::figure::Figure;
use crate::dashboard::verdict_history::{Seen, VerdictHistory, ratio};

/// One objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// Its name.
    pub slo: String,
    /// What is measured, and the limit.
    pub limit: String,
    /// The verdict; `None`: it was not judged yet.
    pub verdict: Option<VerdictKind>,
    /// What devices measured, beside the controls and the limit.
    pub measured: Option<Figure>,
    /// The verdict as a sentence.
    pub sentence: Option<Figure>,
    /// Numbers: in words, and the number.
    pub rows: Vec<(&'static str, Figure)>,
    /// The difference to the controls; `None`: the verdict has no numbers for it.
    pub plot: Option<Plot>,
}

/// The rate of harm with the version, divided by the rate without it, over the time of the stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// When the stage began.
    pub begins: Timestamp,
    /// When its last look is due, or now if that is later.
    pub ends: Timestamp,
    /// The verdicts that are known, the oldest first.
    pub points: Vec<Seen>,
    /// The ratio that the stage has to rule out.
    pub margin: Option<f64>,
    /// The looks that are planned: when at the earliest, and whether it was reached.
    pub looks: Vec<(Timestamp, bool)>,
}

/// A tile for each objective, in the order of the spec.
pub(super) fn tiles(
    rollout: &Rollout,
    history: &VerdictHistory,
    looks: Option<&Looks>,
    now: Timestamp,
) -> Vec<Tile> {
    let verdicts = rollout.status.as_ref().map_or(&[][..], |status| &status.verdicts);
    let tile = |slo: &Slo| {
        let at = verdicts.iter().position(|verdict| verdict.slo == slo.name);
        let metric = serde_json::to_value(slo.metric).ok();
        let metric = metric.and_then(|metric| metric.as_str().map(str::to_owned)).unwrap_or_default();
        let limit = format!("{metric}, limit {}", slo.threshold.as_str());
        match at {
            None => Tile {
                slo: slo.name.clone(),
                limit,
                verdict: None,
                measured: None,
                sentence: None,
                rows: Vec::new(),
                plot: None,
            },
            Some(at) => Tile {
                plot: plot(rollout, &verdicts[at], history, looks, now),
                ..judged(&verdicts[at], at, limit)
            },
        }
    };
    rollout.spec.slos.iter().map(tile).collect()
}

fn judged(verdict: &Verdict, at: usize, limit: String) -> Tile {
    let field = |name: &str| format!("/status/verdicts/{at}/{name}");
    let text =
        |name: &str, value: &Option<String>| value.as_ref().map(|value| Figure::text(&field(name), value));
    let texts = [
        ("bad windows of the version", text("value", &verdict.value)),
        ("times the rate of the controls", text("estimate", &verdict.estimate)),
        ("at least", text("low", &verdict.low)),
        ("at most", text("high", &verdict.high)),
    ];
    let counts = [
        ("devices", Figure::count(&field("devices"), verdict.devices)),
        ("windows", Figure::count(&field("windows"), verdict.windows)),
        ("of the error budget spent", Figure::ppm(&field("spentPpm"), verdict.spent_ppm)),
    ];
    let texts = texts.into_iter().filter_map(|(what, figure)| Some((what, figure?)));
    Tile {
        slo: verdict.slo.clone(),
        limit,
        verdict: Some(verdict.verdict),
        measured: text("measured", &verdict.measured),
        sentence: text("sentence", &verdict.sentence),
        rows: texts.chain(counts).collect(),
        plot: None,
    }
}

fn plot(
    rollout: &Rollout,
    verdict: &Verdict,
    history: &VerdictHistory,
    looks: Option<&Looks>,
    now: Timestamp,
) -> Option<Plot> {
    let status = rollout.status.as_ref()?;
    let stage = status.stage.as_ref()?;
    let begins = stage.started_at.as_ref()?.0;
    let mut points = history.of(rollout, &verdict.slo).to_vec();
    if let (Some(ratio), Some(at)) = (ratio(verdict), &verdict.at)
        && points.last().is_none_or(|last| last.at < at.0)
    {
        points.push(Seen { at: at.0, ratio });
    }
    if points.is_empty() {
        return None;
    }
    let margin = status.margins.iter().find(|margin| margin.stage == stage.name);
    let reached = status.judge.as_ref().map_or(0, |judge| judge.looks);
    let of = |looks: &Looks| -> Vec<(Timestamp, bool)> {
        let each = 1..=looks.planned;
        each.map(|look| (looks.earliest(begins, look), i64::from(look) <= reached)).collect()
    };
    let looks = looks.map(of).unwrap_or_default();
    let last = points.iter().map(|point| point.at).chain(looks.last().map(|(at, _)| *at)).max();
    let ended = status.finished_at.as_ref().map_or(now, |end| end.0);
    Some(Plot {
        begins,
        ends: last.unwrap_or(ended).max(ended.min(last.unwrap_or(ended))),
        margin: margin.map(|StageMargin { margin_ppm, .. }| *margin_ppm as f64 / 1e6),
        points,
        looks,
    })
}
