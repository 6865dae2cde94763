//! Pictures as SVG: shares with their limits, and histograms.

use modelfleet_simulation::Share;

use super::{escaped, percent};
use crate::units::counted;

/// Width of a picture in its own units.
const WIDTH: f64 = 720.0;
/// Width of the names beside the bars.
const NAMES: f64 = 150.0;
/// Width that the longest bar may have: right of it stands its number.
const BARS: f64 = WIDTH - NAMES - 70.0;
/// Height of a bar with its gap.
const ROW: f64 = 26.0;
/// Height of a histogram.
const HEIGHT: f64 = 180.0;
/// Bars of a histogram.
const BINS: u64 = 24;

/// A share of the runs.
pub struct Bar {
    /// What people read.
    pub name: String,
    /// Its field in the JSON.
    pub field: String,
    /// The share.
    pub share: Share,
}

/// A picture.
pub struct Picture {
    height: f64,
    /// What is in it, as SVG.
    shapes: String,
    /// What it shows, in words: for those who do not see it.
    words: String,
}

impl Picture {
    /// As an element with a name and a description.
    pub fn svg(&self, name: &str) -> String {
        let (name, words) = (escaped(name), escaped(&self.words));
        format!(
            "<svg role=\"img\" viewBox=\"0 0 {WIDTH} {}\" aria-label=\"{name}: {words}\">\n<title>{name}</title>\n\
             <desc>{words}</desc>\n{}</svg>\n",
            self.height, self.shapes
        )
    }
}

/// Bars with whiskers, from 0 to 100 %.
pub fn shares(bars: &[Bar]) -> Picture {
    let mut shapes = String::new();
    let x = |ppm: u32| NAMES + BARS * f64::from(ppm) / 1e6;
    for (row, Bar { name, share, .. }) in bars.iter().enumerate() {
        let top = ROW * row as f64;
        let (middle, base) = (top + ROW / 2.0, top + ROW / 2.0 + 4.5);
        shapes.push_str(&format!(
            "<text x=\"0\" y=\"{base:.1}\">{name}</text>\n\
             <rect class=\"bar\" x=\"{NAMES}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{name}: {} of {} \
             runs</title></rect>\n\
             <line class=\"whisker\" x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\"/>\n\
             <text class=\"soft\" x=\"{:.1}\" y=\"{base:.1}\">{}</text>\n",
            top + 4.0,
            x(share.share_ppm) - NAMES,
            ROW - 8.0,
            share.hits,
            share.runs,
            x(share.low_ppm),
            x(share.high_ppm),
            x(share.high_ppm).max(x(share.share_ppm)) + 6.0,
            percent(share.share_ppm),
            name = escaped(name),
        ));
    }
    let height = ROW * bars.len() as f64;
    shapes.push_str(&format!(
        "<line class=\"axis\" x1=\"{NAMES}\" y1=\"0\" x2=\"{NAMES}\" y2=\"{height:.1}\"/>\n"
    ));
    let word = |bar: &Bar| format!("{} {}", bar.name, percent(bar.share.share_ppm));
    Picture { height, shapes, words: bars.iter().map(word).collect::<Vec<_>>().join(", ") }
}

/// How many runs had which number, from 0 to the largest; `words` writes a number.
pub fn histogram(numbers: &[u64], words: fn(u64) -> String) -> Picture {
    let largest = numbers.iter().copied().max().unwrap_or(0).max(1);
    let width = largest.div_ceil(BINS).max(1);
    let bins = usize::try_from(largest / width + 1).unwrap_or(1);
    let mut counts = vec![0_u64; bins];
    for number in numbers {
        if let Some(count) = usize::try_from(number / width).ok().and_then(|bin| counts.get_mut(bin)) {
            *count += 1;
        }
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    let (step, floor) = (WIDTH / bins as f64, HEIGHT - 24.0);
    let runs = |count: u64| counted(i64::try_from(count).unwrap_or(i64::MAX), "run");
    let mut shapes = String::new();
    for (bin, count) in (0_u64..).zip(&counts) {
        let height = (floor - 18.0) * *count as f64 / most as f64;
        let between = format!("{} to {}: {}", words(bin * width), words((bin + 1) * width), runs(*count));
        shapes.push_str(&format!(
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"><title>{between}\
             </title></rect>\n",
            step * bin as f64 + 1.0,
            floor - height,
            (step - 2.0).max(1.0),
        ));
    }
    shapes.push_str(&format!(
        "<line class=\"axis\" x1=\"0\" y1=\"{floor}\" x2=\"{WIDTH}\" y2=\"{floor}\"/>\n\
         <text class=\"soft\" x=\"0\" y=\"{HEIGHT}\">{}</text>\n\
         <text class=\"soft\" x=\"{WIDTH}\" y=\"{HEIGHT}\" text-anchor=\"end\">{}</text>\n\
         <text class=\"soft\" x=\"0\" y=\"12\">at most {}</text>\n",
        words(0),
        words(bins as u64 * width),
        runs(most),
    ));
    let said = (0_u64..).zip(&counts).filter(|(_, count)| **count > 0);
    let said = said.map(|(bin, count)| {
        format!("{} to {}: {}", words(bin * width), words((bin + 1) * width), runs(*count))
    });
    Picture { height: HEIGHT + 6.0, shapes, words: said.collect::<Vec<_>>().join(", ") }
}
