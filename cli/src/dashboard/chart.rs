//! Pictures as SVG, with their content in words beside: a bar of parts, and the difference to the controls over time.

use maud::{Markup, html};

use super::page::rollout::Plot;
use crate::units::moment;

/// Width of a picture in its own units.
const WIDTH: f64 = 360.0;
/// Height of the plot, with room for its ticks and words.
const HEIGHT: f64 = 150.0;
/// Where the scale of the plot ends.
const BASE: f64 = 118.0;
/// Room on the left for the numbers of the scale.
const LEFT: f64 = 44.0;
/// Ratios beyond this are drawn at the edge.
const RATIO_MAX: f64 = 1_000.0;

/// A bar of parts that together are the whole: in words, for the style, how many.
#[must_use]
pub fn bar(parts: &[(&str, &str, i64)], whole: i64) -> Markup {
    let width = |count: i64| WIDTH * count as f64 / whole.max(1) as f64;
    let told: Vec<String> = parts.iter().map(|(what, _, count)| format!("{count} {what}")).collect();
    html! {
        svg.bar role="img" viewBox=(format!("0 0 {WIDTH} 22")) preserveAspectRatio="none" aria-label=(told.join(", ")) {
            rect.part.part-none x="0" y="0" width=(WIDTH) height="22" {}
            @for (at, (_, class, count)) in parts.iter().enumerate().filter(|(_, (_, _, count))| *count > 0) {
                @let before: i64 = parts[..at].iter().map(|(_, _, count)| count).sum();
                rect class=(format!("part part-{class}")) x=(format!("{:.2}", width(before))) y="0" width=(format!("{:.2}", width(*count))) height="22" {}
            }
        }
    }
}

/// A bar that is full to a share, from 0 to 1.
#[must_use]
pub fn meter(share: f64, what: &str) -> Markup {
    html! {
        svg.bar.meter role="img" viewBox=(format!("0 0 {WIDTH} 10")) preserveAspectRatio="none" aria-label=(what) {
            rect.part.part-none x="0" y="0" width=(WIDTH) height="10" {}
            rect.part.part-wait x="0" y="0" width=(format!("{:.2}", WIDTH * share.clamp(0.0, 1.0))) height="10" {}
        }
    }
}

/// Positions on a scale of ratios, on which twice and half are equally far from one.
struct Scale {
    low: f64,
    high: f64,
}

fn bounded(ratio: f64) -> f64 {
    ratio.clamp(1.0 / RATIO_MAX, RATIO_MAX)
}

impl Scale {
    fn of(ratios: impl Iterator<Item = f64>) -> Scale {
        let (low, high) = ratios
            .map(|ratio| bounded(ratio).ln())
            .fold((-0.7, 0.7), |(low, high): (f64, f64), at| (low.min(at), high.max(at)));
        let room = (high - low) * 0.06;
        Scale { low: low - room, high: high + room }
    }

    fn y(&self, ratio: f64) -> f64 {
        let share = (bounded(ratio).ln() - self.low) / (self.high - self.low);
        BASE - share * (BASE - 6.0)
    }

    /// Ratios that have a number beside the scale.
    fn numbers(&self) -> Vec<f64> {
        let all = [0.001, 0.01, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 100.0, 1_000.0];
        let inside = all.into_iter().filter(|ratio: &f64| (self.low..=self.high).contains(&ratio.ln()));
        let mut kept: Vec<f64> = Vec::new();
        for ratio in inside {
            // A number needs its height of room; that of no difference is always there.
            let is_free = kept.iter().all(|other| (self.y(*other) - self.y(ratio)).abs() > 13.0);
            let beside_one = ratio != 1.0 && (self.y(1.0) - self.y(ratio)).abs() <= 13.0;
            if ratio == 1.0 {
                kept.retain(|other| (self.y(*other) - self.y(1.0)).abs() > 13.0);
                kept.push(ratio);
            } else if is_free && !beside_one {
                kept.push(ratio);
            }
        }
        kept
    }
}

/// A ratio for people: three digits say enough.
fn ratio_text(ratio: f64) -> String {
    match ratio {
        ratio if ratio >= RATIO_MAX => format!("over {RATIO_MAX}"),
        ratio if ratio >= 100.0 => format!("{ratio:.0}"),
        ratio if ratio >= 10.0 => format!("{ratio:.1}").trim_end_matches(".0").to_owned(),
        ratio => format!("{ratio:.2}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}

/// The difference to the controls: the estimate as a line, its confidence interval as a band, and the looks as ticks.
#[must_use]
pub fn plot(plot: &Plot) -> Markup {
    let all = plot.points.iter().flat_map(|point| point.ratio).chain(plot.margin);
    let scale = Scale::of(all);
    let begins = plot.begins.as_millisecond();
    let length = (plot.ends.as_millisecond() - begins).max(1) as f64;
    let x = |at: jiff::Timestamp| {
        let share = (at.as_millisecond() - begins) as f64 / length;
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - 8.0)
    };
    let line = |which: usize| -> Vec<String> {
        plot.points.iter().map(|p| format!("{:.1},{:.1}", x(p.at), scale.y(p.ratio[which]))).collect()
    };
    let mut band = line(2);
    band.extend(line(0).into_iter().rev());
    html! {
        svg.plot role="img" viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) aria-label=(words(plot)) {
            @for number in scale.numbers() {
                text.scale x=(LEFT - 6.0) y=(format!("{:.1}", scale.y(number) + 3.5)) text-anchor="end" { (ratio_text(number)) "×" }
            }
            line.even x1=(LEFT) y1=(format!("{:.1}", scale.y(1.0))) x2=(WIDTH) y2=(format!("{:.1}", scale.y(1.0))) {}
            @if let Some(margin) = plot.margin {
                line.margin x1=(LEFT) y1=(format!("{:.1}", scale.y(margin))) x2=(WIDTH) y2=(format!("{:.1}", scale.y(margin))) {}
            }
            @if plot.points.len() > 1 {
                polygon.band points=(band.join(" ")) {}
                polyline.estimate points=(line(1).join(" ")) {}
            }
            @for point in &plot.points {
                line.whisker x1=(format!("{:.1}", x(point.at))) x2=(format!("{:.1}", x(point.at)))
                    y1=(format!("{:.1}", scale.y(point.ratio[0]))) y2=(format!("{:.1}", scale.y(point.ratio[2]))) {}
                circle.estimate cx=(format!("{:.1}", x(point.at))) cy=(format!("{:.1}", scale.y(point.ratio[1]))) r="3.2" {
                    title { (moment(point.at)) ": " (ratio_text(point.ratio[1])) "× (" (ratio_text(point.ratio[0])) " to " (ratio_text(point.ratio[2])) ")" }
                }
            }
            line.axis x1=(LEFT) y1=(BASE + 6.0) x2=(WIDTH) y2=(BASE + 6.0) {}
            @for (at, reached) in &plot.looks {
                line class=(if *reached { "look reached" } else { "look" }) x1=(format!("{:.1}", x(*at))) x2=(format!("{:.1}", x(*at))) y1=(BASE + 1.0) y2=(BASE + 11.0) {}
            }
            text.scale x=(LEFT) y=(HEIGHT - 6.0) { (moment(plot.begins)) }
            text.scale x=(WIDTH) y=(HEIGHT - 6.0) text-anchor="end" { (moment(plot.ends)) }
        }
    }
}

/// What the plot shows, for those who do not see it.
fn words(plot: &Plot) -> String {
    let Some(last) = plot.points.last() else { return String::new() };
    let [low, estimate, high] = last.ratio.map(ratio_text);
    let reached = plot.looks.iter().filter(|(_, reached)| *reached).count();
    let margin =
        plot.margin.map(|margin| format!("; the stage has to rule out {} times", ratio_text(margin)));
    format!(
        "Harm with the version is {estimate} times that of the controls, between {low} and {high}{}; {reached} of {} looks are over",
        margin.unwrap_or_default(),
        plot.looks.len()
    )
}
