//! The Mersenne Twister, as Python's `random` seeds and samples with it.
//!
//! Only so that [`crate::detect::Kswin`] draws what River draws (Matsumoto & Nishimura, ACM TOMACS 1998).

const SIZE: usize = 624;

/// MT19937.
#[derive(Debug, Clone, PartialEq)]
pub struct Twister {
    state: Vec<u32>,
    index: usize,
}

impl Twister {
    /// Seeded as `random.Random(seed)`.
    pub fn new(seed: u64) -> Self {
        let key: Vec<u32> =
            if seed >> 32 == 0 { vec![seed as u32] } else { vec![seed as u32, (seed >> 32) as u32] };
        let mut mt = vec![0_u32; SIZE];
        mt[0] = 19_650_218;
        for i in 1..SIZE {
            mt[i] = 1_812_433_253_u32.wrapping_mul(mt[i - 1] ^ (mt[i - 1] >> 30)).wrapping_add(i as u32);
        }
        let (mut i, mut j) = (1, 0);
        for _ in 0..SIZE.max(key.len()) {
            mt[i] = (mt[i] ^ (mt[i - 1] ^ (mt[i - 1] >> 30)).wrapping_mul(1_664_525))
                .wrapping_add(key[j])
                .wrapping_add(j as u32);
            i += 1;
            j = (j + 1) % key.len();
            if i == SIZE {
                mt[0] = mt[SIZE - 1];
                i = 1;
            }
        }
        for _ in 1..SIZE {
            mt[i] =
                (mt[i] ^ (mt[i - 1] ^ (mt[i - 1] >> 30)).wrapping_mul(1_566_083_941)).wrapping_sub(i as u32);
            i += 1;
            if i == SIZE {
                mt[0] = mt[SIZE - 1];
                i = 1;
            }
        }
        mt[0] = 0x8000_0000;
        Self { state: mt, index: SIZE }
    }

    fn next(&mut self) -> u32 {
        if self.index >= SIZE {
            for k in 0..SIZE {
                let y = (self.state[k] & 0x8000_0000) | (self.state[(k + 1) % SIZE] & 0x7fff_ffff);
                let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[k] = self.state[(k + 397) % SIZE] ^ (y >> 1) ^ odd;
            }
            self.index = 0;
        }
        let mut y = self.state[self.index];
        self.index += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn below(&mut self, bound: u32) -> u32 {
        let bits = 32 - bound.leading_zeros();
        loop {
            let draw = if bits == 0 { 0 } else { self.next() >> (32 - bits) };
            if draw < bound || bound == 0 {
                return draw;
            }
        }
    }

    /// `random.sample(range(from), count)`, for `from` small enough that Python draws from a pool.
    pub fn sample(&mut self, from: usize, count: usize) -> Vec<usize> {
        let mut pool: Vec<usize> = (0..from).collect();
        (0..count.min(from))
            .map(|i| {
                let j = self.below((from - i) as u32) as usize;
                let picked = pool[j];
                pool[j] = pool[from - i - 1];
                picked
            })
            .collect()
    }
}
