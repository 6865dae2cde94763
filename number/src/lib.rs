//! Numbers that judge and monitor share: special functions, tails of distributions and their inverses, intervals of
//! shares, seeded chance, integer rounding.
//!
//! Logarithms and exponentials go through `libm` alone, so that results are the same bits everywhere. That is why
//! these functions are written here: statistics crates call the platform's own, whose last bits differ between machines,
//! and a verdict must not.

pub mod beta;
pub mod binomial;
pub mod chance;
pub mod gamma;
pub mod hypergeometric;
mod interval;
pub mod kolmogorov;
pub mod normal;
pub mod poisson;
pub mod rounding;
mod two_proportions;

pub use interval::{clopper_pearson, wilson};
pub use two_proportions::{TwoProportions, two_proportions};
