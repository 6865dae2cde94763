//! What users would pick instead of the judge, on the same devices: each method reads what it would have read and says how
//! much speaks against the candidate, as one number. At its bar it takes the candidate back; at the end of a stage's bake
//! time it lets it through. With the bar moved up or down a method can be tuned to any rate of false rollbacks.
//!
//! A method that looks at pooled requests takes the predictions of all canaries as those of one service, as a proxy or a
//! Prometheus query would show them. Nothing of other tools' code is here; each file names its sources.

pub mod argo;
pub mod confidence_sequence;
pub mod flagger;
pub mod mann_whitney;
pub mod msprt;

use libm::floor;

/// A method, with the settings that its own documentation gives or shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// [`argo`], with so many failed measurements forgiven.
    Argo {
        /// Its `failureLimit`; 0 where it is not set.
        failure_limit: u32,
    },
    /// [`flagger`].
    Flagger,
    /// [`mann_whitney`].
    MannWhitney,
    /// [`msprt`].
    Msprt,
    /// [`confidence_sequence`].
    ConfidenceSequence,
}

impl Method {
    /// Where it takes the candidate back by its own settings.
    #[must_use]
    pub fn bar(self) -> f64 {
        match self {
            Method::Argo { .. } => argo::BAR,
            Method::Flagger => flagger::BAR,
            Method::MannWhitney => mann_whitney::BAR,
            Method::Msprt => msprt::bar(),
            Method::ConfidenceSequence => confidence_sequence::BAR,
        }
    }
}

/// Requests of one arm in a window, all devices together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Requests {
    /// All of them.
    pub all: f64,
    /// Those that went wrong.
    pub wrong: f64,
}

impl Requests {
    /// Share that went wrong; nothing without requests.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        (self.all > 0.0).then(|| self.wrong / self.all)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Requests) -> Requests {
        Requests { all: self.all + other.all, wrong: self.wrong + other.wrong }
    }
}

/// What devices of one arm have in common since the stage began: how many there are, the mean of their shares of bad
/// windows, and the variance of a device's share.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Devices {
    /// Devices that have told of a window.
    pub count: f64,
    /// Mean share of bad windows.
    pub mean: f64,
    /// Variance of a device's share.
    pub variance: f64,
}

impl Devices {
    /// Of the shares of bad windows of these devices.
    pub fn of(shares: impl Iterator<Item = f64>) -> Devices {
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for share in shares {
            count += 1.0;
            let step = share - mean;
            mean += step / count;
            squares += step * (share - mean);
        }
        Devices { count, mean, variance: if count > 1.0 { squares / (count - 1.0) } else { 0.0 } }
    }
}

/// One window of one objective, as a method reads it. Canaries come first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Requests of both arms in this window.
    pub requests: [Requests; 2],
    /// Devices of both arms since the stage began; for methods that compare devices.
    pub devices: [Devices; 2],
    /// Share of the requests that went wrong before the rollout, over the fleet.
    pub usual: f64,
    /// Windows of the stage that have passed, this one included.
    pub passed: u64,
    /// Windows of the stage's bake time.
    pub planned: u64,
}

/// What a method carries from window to window of one objective.
#[derive(Clone, Debug)]
pub enum Progress {
    /// [`argo`].
    Argo(argo::Failures),
    /// [`flagger`].
    Flagger(flagger::FailedChecks),
    /// [`mann_whitney`].
    MannWhitney(mann_whitney::Series),
    /// [`msprt`].
    Msprt(msprt::Sums),
    /// [`confidence_sequence`], which needs nothing.
    ConfidenceSequence,
}

impl Progress {
    /// At the beginning of a stage.
    #[must_use]
    pub fn new(method: Method) -> Progress {
        match method {
            Method::Argo { failure_limit } => Progress::Argo(argo::Failures::new(failure_limit)),
            Method::Flagger => Progress::Flagger(flagger::FailedChecks::default()),
            Method::MannWhitney => Progress::MannWhitney(mann_whitney::Series::default()),
            Method::Msprt => Progress::Msprt(msprt::Sums::default()),
            Method::ConfidenceSequence => Progress::ConfidenceSequence,
        }
    }

    /// Reads a window: how much speaks against the candidate by now, if this is a moment at which the method looks.
    pub fn read(&mut self, reading: &Reading) -> Option<f64> {
        match self {
            Progress::Argo(failures) => failures.read(reading),
            Progress::Flagger(checks) => checks.read(reading),
            Progress::MannWhitney(series) => series.read(reading),
            Progress::Msprt(sums) => sums.read(reading),
            Progress::ConfidenceSequence => confidence_sequence::read(reading),
        }
    }
}

/// The largest numbers that were seen, largest first: the last of them is above a bar once so many were.
#[derive(Clone, Debug)]
pub struct Largest {
    numbers: Vec<f64>,
}

impl Largest {
    /// So many, at least one.
    #[must_use]
    pub fn new(count: usize) -> Largest {
        Largest { numbers: vec![f64::NEG_INFINITY; count.max(1)] }
    }

    /// Takes one more, and gives the smallest of those that are kept.
    pub fn with(&mut self, number: f64) -> f64 {
        let at = self.numbers.partition_point(|kept| *kept >= number);
        if at < self.numbers.len() {
            self.numbers[at..].rotate_right(1);
            self.numbers[at] = number;
        }
        self.numbers.last().copied().unwrap_or(f64::NEG_INFINITY)
    }
}

/// Whether the window is the last of one of `parts` equal parts of the bake time.
fn ends_part(reading: &Reading, parts: u64) -> bool {
    let part = |passed: u64| floor(passed as f64 * parts as f64 / reading.planned.max(1) as f64);
    let passed = reading.passed.min(reading.planned);
    reading.passed <= reading.planned && part(passed) > part(passed.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_largest_says_how_high_three_were() {
        let mut largest = Largest::new(3);
        let seen: Vec<f64> =
            [5.0, 1.0, 4.0, 2.0, 9.0].into_iter().map(|number| largest.with(number)).collect();
        assert_eq!(seen, [f64::NEG_INFINITY, f64::NEG_INFINITY, 1.0, 2.0, 4.0]);
    }

    #[test]
    fn parts_end_where_they_should() {
        let ends = |planned: u64| -> Vec<u64> {
            (1..=planned + 2)
                .filter(|passed| ends_part(&Reading { passed: *passed, planned, ..Reading::default() }, 3))
                .collect()
        };
        assert_eq!(ends(60), [20, 40, 60]);
        assert_eq!(ends(5), [2, 4, 5]);
    }

    #[test]
    fn devices_are_summed_up() {
        let devices = Devices::of([0.1, 0.2, 0.6].into_iter());
        assert!((devices.mean - 0.3).abs() < 1e-12 && (devices.variance - 0.07).abs() < 1e-12, "{devices:?}");
        assert_eq!(Devices::of([].into_iter()), Devices::default());
    }
}
