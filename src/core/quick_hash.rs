//! Maps for the planner, which looks up tens of thousands of names and numbers in one plan. The standard library's hash
//! resists keys chosen to collide, and would be a quarter of the time. Keys are numbers and the names of runs and agents: who could
//! choose agents' names to collide administers the pool, and can do worse.

use std::hash::{BuildHasherDefault, Hasher};

pub(super) type HashMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<QuickHasher>>;
pub(super) type HashSet<K> = std::collections::HashSet<K, BuildHasherDefault<QuickHasher>>;

/// Word by word: turn, mix in, multiply, as the Rust compiler's own maps do it.
#[derive(Default)]
pub(super) struct QuickHasher(u64);

impl QuickHasher {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for QuickHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.add(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.add(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.add(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.add(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.add(number as u64);
    }

    /// The low bits, which choose the place, are made from all of them.
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}
