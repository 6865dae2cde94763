//! The live table: one line that is drawn again while a stage goes on, and stays when something happened.

use std::io::{IsTerminal as _, Write as _};

use modelfleet_tests::rollout_view::RolloutView;

/// Draws what changes in a rollout.
pub struct Table {
    live: bool,
    shown: String,
    kept: String,
    lines: usize,
}

impl Table {
    /// A table with its head line; where the output is no terminal, only changes are printed.
    pub fn new() -> Table {
        println!(
            "   {:<18} {:<16} {:>8} {:>7} {:>7} {:>9} {:>7} {:>7}  what happens",
            "stage", "phase", "updated", "loading", "trial", "confirmed", "failed", "cannot"
        );
        Table { live: std::io::stdout().is_terminal(), shown: String::new(), kept: String::new(), lines: 0 }
    }

    /// Shows where the rollout stands now.
    pub fn show(&mut self, view: &RolloutView) {
        let key = format!("{} {}", view.stage(), view.phase());
        let line = row(view);
        if line == self.shown || view.phase().is_empty() {
            return;
        }
        if self.live {
            if key == self.kept && self.lines > 0 {
                print!("\x1b[{}A\x1b[J", self.lines);
            }
            let width = columns();
            let mut rows = vec![cut(&line, width)];
            rows.extend(verdicts(view).iter().map(|text| cut(text, width)));
            self.lines = rows.len();
            println!("{}", rows.join("\n"));
            let _ = std::io::stdout().flush();
        } else if key != self.kept {
            println!("{line}");
        }
        (self.shown, self.kept) = (line, key);
    }

    /// Leaves the last state on the screen, with what the judge said.
    pub fn close(&self, view: &RolloutView) {
        if !self.live {
            let line = row(view);
            if line != self.shown {
                println!("{line}");
            }
            verdicts(view).iter().for_each(|text| println!("{text}"));
        }
        println!("   {}: {}", view.phase(), view.message());
    }
}

fn row(view: &RolloutView) -> String {
    let count = |what: &str| view.devices(what);
    format!(
        "   {:<18} {:<16} {:>8} {:>7} {:>7} {:>9} {:>7} {:>7}  {}",
        view.stage(),
        view.phase(),
        view.updated(),
        count("offered") - count("activated").max(count("downloaded")).min(count("offered")),
        (count("activated") - count("confirmed")).max(0),
        count("confirmed"),
        count("failed"),
        count("incompatible"),
        view.message(),
    )
}

fn verdicts(view: &RolloutView) -> Vec<String> {
    let told = |(slo, verdict, sentence)| format!("      {slo}: {verdict}. {sentence}");
    view.sentences().into_iter().map(told).collect()
}

fn columns() -> usize {
    let from_env = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    from_env.unwrap_or(160)
}

fn cut(text: &str, width: usize) -> String {
    text.chars().take(width).collect()
}
