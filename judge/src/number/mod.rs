//! Numbers the judge needs: special functions, tails of distributions, seeded chance, integer rounding.
//!
//! Logarithms and exponentials go through `libm` alone, so that results are the same bits everywhere.

pub mod beta;
pub mod binomial;
pub mod chance;
pub mod gamma;
pub mod hypergeometric;
pub mod kolmogorov;
pub mod normal;
pub mod rounding;
