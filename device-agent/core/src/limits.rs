//! How often, how long and how much: what a device is given beside its identity.

use modelfleet_protocol::plan::{Fetch, Probation};

/// How often, how long and how much. The defaults are what ships.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fetch tries of one attempt before it is `DownloadExhausted`.
    pub fetch_tries_max: u32,
    /// Wait before the second fetch try; doubles with each further one.
    pub fetch_backoff_ms: u64,
    /// Longest wait between two fetch tries.
    pub fetch_backoff_max_ms: u64,
    /// After this pause an attempt that could not download, or a stable build that could not be installed, is
    /// tried again.
    pub long_pause_ms: u64,
    /// Crashes on probation, or during admission, that make a crash loop.
    pub restarts_max: u32,
    /// Crashes of a confirmed build that no plan has called stable, each soon after a start, that make one.
    pub crashes_max: u32,
    /// Losses of power on probation after which the device goes back: the machine may not stand the build.
    pub reboots_max: u32,
    /// A process that was up for so long is well: its crashes before do not count any more.
    pub steady_ms: u64,
    /// After more than [`Limits::restarts_max`] crashes in a row no candidate is loaded for so long, or until a
    /// moment after the broker was reached: a word to go back is heard before the next crash. The stable build
    /// answers at once.
    pub connect_first_ms: u64,
    /// Loads of the stable build in such a row that took the process down with them, until it waits as well.
    pub stable_loads_max: u32,
    /// Tries to load a build that has run before, until its bytes count as lost.
    pub switch_tries_max: u32,
    /// Wait between two such tries.
    pub switch_retry_ms: u64,
    /// Loads of one attempt that find its bytes on disk and cannot read them, until the device says so; between
    /// them it waits as between fetches.
    pub read_tries_max: u32,
    /// A fetch that has neither ended nor brought a byte for so long is given up as if it had failed. What its size
    /// makes necessary is added.
    pub fetch_answer_ms: u64,
    /// A load whose end nobody has heard of for so long is begun again. What its size makes necessary is added.
    pub admit_answer_ms: u64,
    /// The same for what shall answer, or run beside: it is loaded ahead of others.
    pub switch_answer_ms: u64,
    /// Requests for what shall answer, or run beside, that stay without an answer until the build is left.
    pub answers_lost_max: u32,
    /// Base windows kept per build for the device's own history.
    pub history_windows: usize,
    /// Windows of this length or more are written to disk when they close.
    pub save_window_ms: u64,
    /// Shorter ones at least this often; none later than the report that carries it.
    pub save_windows_every_ms: u64,
    /// How a stable or pinned build proves itself; a candidate brings its own.
    pub probation: Probation,
    /// How a pinned build is fetched, and a stable one where the plan says nothing; a candidate brings its own.
    pub fetch: Fetch,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            fetch_tries_max: 12,
            fetch_backoff_ms: 10_000,
            fetch_backoff_max_ms: 3_600_000,
            long_pause_ms: 24 * 3_600_000,
            restarts_max: 3,
            crashes_max: 5,
            reboots_max: 12,
            steady_ms: 10 * 60_000,
            connect_first_ms: 30_000,
            stable_loads_max: 10,
            switch_tries_max: 3,
            switch_retry_ms: 10_000,
            read_tries_max: 6,
            fetch_answer_ms: 3_600_000,
            admit_answer_ms: 30 * 60_000,
            switch_answer_ms: 10 * 60_000,
            answers_lost_max: 3,
            history_windows: 600,
            save_window_ms: 5 * 60_000,
            save_windows_every_ms: 15 * 60_000,
            probation: Probation { timeout_ms: 15 * 60_000, min_predictions: 0, max_errors: u64::MAX },
            fetch: Fetch { spread_ms: 60_000, bytes_per_second: 0, window_utc_minutes: None },
        }
    }
}
