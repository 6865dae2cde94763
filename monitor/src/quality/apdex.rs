//! The Apdex score.

/// (satisfied + tolerating / 2) / all in parts per million (Apdex Alliance, 2007; reference 001); `None` of
/// nothing.
pub fn apdex_ppm(satisfied: u64, tolerating: u64, frustrated: u64) -> Option<u64> {
    let all = u128::from(satisfied) + u128::from(tolerating) + u128::from(frustrated);
    if all == 0 {
        return None;
    }
    let good = 2 * u128::from(satisfied) + u128::from(tolerating);
    u64::try_from(good * 500_000 / all).ok()
}
