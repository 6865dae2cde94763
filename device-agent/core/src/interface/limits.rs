//! Limits of the agent: how often, how long and how much.

use modelfleet_protocol::plan::{Fetch, Probation};

/// Limits of the agent: how often, how long and how much. Released agents use the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Download tries of one attempt before it fails with `DownloadExhausted`.
    pub fetch_tries_max: u32,
    /// Wait before the second download try, milliseconds; doubles with each further one.
    pub fetch_backoff_ms: u64,
    /// Longest wait between two download tries, milliseconds.
    pub fetch_backoff_max_ms: u64,
    /// After this pause, milliseconds, an attempt whose download failed, or a stable build that could not be installed,
    /// is tried again.
    pub long_pause_ms: u64,
    /// Crashes on probation, of the agent or of the engine's process, or while loading, that count as a crash loop.
    pub restarts_max: u32,
    /// Crashes of a confirmed build that is not stable, each soon after a start, that count as a crash loop.
    pub crashes_max: u32,
    /// Ends of the engine's process that count as a crash loop of a build that is not on probation, the stable one
    /// included, or of one in shadow: each before the build has run for [`Limits::steady_ms`] again.
    pub engine_ends_max: u32,
    /// Power losses on probation after which the device goes back: the build may overload the machine.
    pub reboots_max: u32,
    /// After the process has run for so long, milliseconds, earlier crashes do not count any more.
    pub steady_ms: u64,
    /// After more than [`Limits::restarts_max`] crashes in a row, no candidate is loaded for so long, milliseconds, or
    /// until shortly after the device reached the broker, so that an order to go back arrives before the next crash. The
    /// stable build answers at once.
    pub connect_first_ms: u64,
    /// In such a row of crashes: loads of the stable build that did not end before the process crashed, after which the
    /// stable build waits as well.
    pub stable_loads_max: u32,
    /// Failed tries to load a build that has run before, after which its bytes count as lost.
    pub switch_tries_max: u32,
    /// Wait between two such tries, milliseconds.
    pub switch_retry_ms: u64,
    /// Loads of one attempt that could not read its bytes from disk, after which the attempt fails. The waits between them
    /// are those between downloads.
    pub read_tries_max: u32,
    /// A download that has made no progress for so long, milliseconds, counts as failed. Time for its size is added.
    pub fetch_reply_ms: u64,
    /// A load without a reply for so long, milliseconds, is requested again. Time for its size is added.
    pub admit_reply_ms: u64,
    /// The same for a switch, and for a start in shadow: these are loaded ahead of others.
    pub switch_reply_ms: u64,
    /// Switches, or starts in shadow, without a reply, after which the device gives up the build.
    pub replies_lost_max: u32,
    /// Base windows kept per build for the device's own history.
    pub history_windows: usize,
    /// Windows of this length, milliseconds, or more are written to disk when they close.
    pub save_window_ms: u64,
    /// Shorter ones are written at least this often, milliseconds, and never after the report that carries them.
    pub save_windows_every_ms: u64,
    /// Probation of a stable or pinned build; a candidate brings its own.
    pub probation: Probation,
    /// Download rules of a pinned build, and of a stable one if the plan has none; a candidate brings its own.
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
            engine_ends_max: 5,
            reboots_max: 12,
            steady_ms: 10 * 60_000,
            connect_first_ms: 30_000,
            stable_loads_max: 10,
            switch_tries_max: 3,
            switch_retry_ms: 10_000,
            read_tries_max: 6,
            fetch_reply_ms: 3_600_000,
            admit_reply_ms: 30 * 60_000,
            switch_reply_ms: 10 * 60_000,
            replies_lost_max: 3,
            history_windows: 600,
            save_window_ms: 5 * 60_000,
            save_windows_every_ms: 15 * 60_000,
            probation: Probation { timeout_ms: 15 * 60_000, min_predictions: 0, max_errors: u64::MAX },
            fetch: Fetch { spread_ms: 60_000, bytes_per_second: 0, window_utc_minutes: None },
        }
    }
}
