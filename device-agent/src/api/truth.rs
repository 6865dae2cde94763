//! Ground truth over the local API: lines in, and what they say of the builds out.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path as UrlPath, Request, State};
use axum::http::StatusCode;
use modelfleet_agent_core::truth::{Booking, BuildQuality, Refused, Told, Truth, lines};
use modelfleet_protocol::metric::{Metric, Needs};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::window::WindowSummary;
use serde_json::{Value, json};

use super::bodies::body;
use super::{Api, Refusal, bad};
use crate::log::chain;
use crate::serve::Model;

/// Most lines that an answer tells the reason of, one by one.
const TOLD_MAX: usize = 100;

/// Books lines, each of which could be read. What could not be written is to be sent again.
async fn book(model: &Arc<Model>, now: Time, told: Vec<Told>) -> Result<Vec<Booking>, Refusal> {
    let model = model.clone();
    let work = tokio::task::spawn_blocking(move || model.book(now, &told));
    let booked = work.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
    booked.map_err(|error| {
        let reason = format!("the truth could not be written to the disk, send it again: {}", chain(&error));
        Refusal(StatusCode::INSUFFICIENT_STORAGE, reason)
    })
}

/// `POST /v2/models/{name}/truth`: one line, or `{"lines": [...]}`.
pub(super) async fn tell(
    State(api): State<Api>,
    UrlPath(name): UrlPath<String>,
    request: Request,
) -> Result<Json<Value>, Refusal> {
    let model = api.model(&name)?;
    let now = api.models.now();
    let read = lines(&body(request).await?, now).map_err(bad)?;
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut refused: Vec<(usize, &str, String)> = Vec::new();
    let (mut told, mut places) = (Vec::new(), Vec::new());
    for (at, line) in read.into_iter().enumerate() {
        match line {
            Ok(line) => {
                told.push(line);
                places.push(at);
            }
            Err(why) => refused.push((at, "Unreadable", why)),
        }
    }
    for (booking, at) in book(&model, now, told).await?.into_iter().zip(places) {
        match booking {
            Booking::Refused(reason) => refused.push((at, reason.name(), reason.sentence().into())),
            _ => *counts.entry(word(booking)).or_default() += 1,
        }
    }
    refused.sort_unstable();
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    refused.iter().for_each(|(_, reason, _)| *reasons.entry(reason).or_default() += 1);
    let lines: Vec<Value> = refused
        .iter()
        .take(TOLD_MAX)
        .map(|(line, reason, why)| json!({"line": line, "reason": reason, "message": why}))
        .collect();
    Ok(Json(json!({"counted": counts, "refused": reasons, "refusedLines": lines})))
}

fn word(booking: Booking) -> &'static str {
    match booking {
        Booking::Booked => "booked",
        Booking::Replaced => "replaced",
        Booking::Known => "known",
        Booking::Older => "older",
        Booking::Refused(_) => "refused",
    }
}

/// `POST /v2/models/{name}/feedback`: one line, refused by its status.
pub(super) async fn feedback(
    State(api): State<Api>,
    UrlPath(name): UrlPath<String>,
    request: Request,
) -> Result<Json<Value>, Refusal> {
    let model = api.model(&name)?;
    let now = api.models.now();
    let bytes = body(request).await?;
    let mut read = lines(&bytes, now).map_err(bad)?;
    let (Some(line), true) = (read.pop(), read.is_empty()) else {
        return Err(bad("feedback is one line; send several to the path /truth".into()));
    };
    let line = line.map_err(bad)?;
    let is_alarm = matches!(line.truth, Truth::Alarm(_));
    let booking = book(&model, now, vec![line]).await?.pop();
    match booking {
        Some(Booking::Refused(Refused::UnknownPrediction))
            if is_alarm && model.live().is_some_and(|live| live.build.decision.is_none()) =>
        {
            Err(Refusal(StatusCode::NOT_FOUND, Refused::NoDecision.sentence().into()))
        }
        Some(Booking::Refused(reason)) => {
            let known =
                matches!(reason, Refused::UnknownPrediction | Refused::NoPredictions | Refused::NoDecision);
            let status = if known { StatusCode::NOT_FOUND } else { StatusCode::BAD_REQUEST };
            Err(Refusal(status, reason.sentence().into()))
        }
        booking => Ok(Json(json!({"counted": booking.map(word)}))),
    }
}

/// `GET /v2/models/{name}/truth`: what truth says of each build by now.
pub(super) async fn quality(
    State(api): State<Api>,
    UrlPath(name): UrlPath<String>,
) -> Result<Json<Value>, Refusal> {
    let model = api.model(&name)?;
    let ([live, shadow], refused) = model.quality();
    let refused: BTreeMap<&str, u64> =
        refused.iter().map(|(reason, count)| (reason.name(), *count)).collect();
    let of = |builds: &[BuildQuality]| builds.iter().map(written).collect::<Vec<Value>>();
    Ok(Json(json!({"builds": of(&live), "shadow": of(&shadow), "refused": refused})))
}

fn written(quality: &BuildQuality) -> Value {
    let c = &quality.counters;
    let window = WindowSummary { span: 1, counters: *c, ..WindowSummary::default() };
    let metrics: BTreeMap<&str, String> = Metric::all()
        .filter(|metric| metric.needs() == Needs::Truth)
        .filter_map(|metric| Some((metric.name(), metric.unit().text(window.value(metric, None, None)?.0))))
        .collect();
    let classes: Vec<Value> = quality
        .classes
        .iter()
        .map(|(was, said, count)| json!({"truth": was, "answer": said, "count": count}))
        .collect();
    json!({
        "digest": quality.digest.to_string(),
        "truePositive": c.true_positive,
        "falsePositive": c.false_positive,
        "trueNegative": c.true_negative,
        "falseNegative": c.false_negative,
        "metrics": metrics,
        "classes": classes,
        "events": quality.events,
        "eventsFound": quality.events_found,
        "meanLeadHours": (quality.events_found > 0)
            .then(|| quality.lead_ms / quality.events_found / 3_600_000),
    })
}
