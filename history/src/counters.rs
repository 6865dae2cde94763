//! The counters of a window by name, in the order of the columns.

use modelfleet_protocol::generated::Counters;

/// One counter: its name as a column, and the way to it.
#[derive(Clone, Copy, Debug)]
pub struct Counter {
    /// The name of the column.
    pub name: &'static str,
    /// Reads it.
    pub get: fn(&Counters) -> u64,
    /// The place of it.
    pub place: fn(&mut Counters) -> &mut u64,
}

macro_rules! counters {
    ($($name:ident),+ $(,)?) => {
        /// Every counter. A counter of a later version is a column after these.
        pub static COUNTERS: &[Counter] = &[
            $(Counter { name: stringify!($name), get: |c| c.$name, place: |c| &mut c.$name }),+
        ];

        /// All counters by name; it does not compile while one is missing.
        #[must_use]
        pub fn all(of: &Counters) -> Vec<(&'static str, u64)> {
            let Counters { $($name),+ } = of;
            vec![$((stringify!($name), *$name)),+]
        }
    };
}

counters! {
    requests,
    errors,
    timeouts,
    low_confidence,
    true_positive,
    false_positive,
    true_negative,
    false_negative,
    readings,
    missing,
    out_of_range,
    available_ms,
    observed_ms,
    fallback,
    refused,
    class_known,
    class_right,
    value_known,
    absolute_error_micros,
    squared_error_micros,
    percentage_known,
    percentage_error_ppm,
    compared,
    agreed,
}
