//! Seeded chance: the same seed gives the same draws on every platform.

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). Small, fast, and good enough for permutations.
#[derive(Debug, Clone)]
pub struct Chance {
    state: u64,
}

impl Chance {
    /// A stream for `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A stream of its own for each `label` under the same seed.
    pub fn fork(seed: u64, label: u64) -> Self {
        let mut mixed = Self::new(seed ^ label.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self::new(mixed.next_u64())
    }

    /// Next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound` (0 for bound 0), by multiplication: bias below 2^-32 for bounds below 2^32.
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u32
    }

    /// Uniform in the open interval from 0 to 1.
    pub fn unit(&mut self) -> f64 {
        ((self.next_u64() >> 11) as f64 + 0.5) * (1.0 / 9_007_199_254_740_992.0)
    }
}
