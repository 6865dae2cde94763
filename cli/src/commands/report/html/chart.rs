//! One metric day by day, with its bound as a line.

use std::fmt::Write as _;

use modelfleet_protocol::metric::Metric;

use super::super::told::label;
use super::escaped;

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 120.0;
/// Room at the left for the numbers, and at the other sides.
const LEFT: f64 = 52.0;
const EDGE: f64 = 14.0;

/// A chart as a figure. Days without a value break the line.
pub(super) fn chart(metric: Metric, days: &[(&str, Option<u64>)], bound: u64) -> String {
    let unit = metric.unit();
    let known = || days.iter().filter_map(|(_, value)| *value).chain([bound]);
    let (low, high) = (known().min().unwrap_or(0), known().max().unwrap_or(0));
    let span = (high.saturating_sub(low)).max(1) as f64;
    let y = |value: u64| EDGE + (1.0 - value.saturating_sub(low) as f64 / span) * (HEIGHT - 2.0 * EDGE);
    let step = (WIDTH - LEFT - EDGE) / days.len().saturating_sub(1).max(1) as f64;
    let x = |at: usize| LEFT + step * at as f64;
    let (mut line, mut dots, mut begun) = (String::new(), String::new(), false);
    for (at, (day, value)) in days.iter().enumerate() {
        let Some(value) = value else {
            begun = false;
            continue;
        };
        let _ = write!(line, "{}{:.1} {:.1} ", if begun { 'L' } else { 'M' }, x(at), y(*value));
        begun = true;
        let _ = write!(
            dots,
            "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{}: {}</title></circle>",
            x(at),
            y(*value),
            escaped(day),
            unit.text(*value)
        );
    }
    let (first, last) = (days.first().map_or("", |day| day.0), days.last().map_or("", |day| day.0));
    let name = escaped(label(metric));
    let (top, bottom) = (unit.text(high), unit.text(low));
    let side = if metric.bad_below() { "at least" } else { "at most" };
    format!(
        "<figure>\n<figcaption>{name} <span>bound: {side} {}</span></figcaption>\n\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{name} from {} to {}, between {bottom} and {top}\">\n\
         <line class=\"bound\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\n<path class=\"line\" d=\"{}\"/>\n{dots}\n\
         <text x=\"0\" y=\"{:.1}\">{top}</text><text x=\"0\" y=\"{:.1}\">{bottom}</text>\n\
         <text x=\"{LEFT}\" y=\"{HEIGHT}\">{}</text><text x=\"{}\" y=\"{HEIGHT}\" text-anchor=\"end\">{}</text>\n</svg>\n</figure>\n",
        unit.text(bound),
        escaped(first),
        escaped(last),
        WIDTH - EDGE,
        y(bound),
        y(bound),
        line.trim_end(),
        EDGE + 4.0,
        HEIGHT - EDGE,
        escaped(first),
        WIDTH,
        escaped(last)
    )
}
