//! A hash for keys that no client can choose: a multiplication a word.
//!
//! Sessions are known by the hash of an authenticated id, callers by a keyed hash, tools by labels
//! that servers gave; a hasher that holds out against chosen keys would cost each call more than
//! all the counting. Does not know: what is hashed.

use std::hash::{BuildHasherDefault, Hasher};

/// Two odd numbers with their bits well spread; the first is 2^64 over the golden ratio.
const SPREAD: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xD1B5_4A32_D192_ED03];

/// The hasher.
#[derive(Debug, Default)]
pub(super) struct Mix(u64);

/// Makes it.
pub(super) type Mixed = BuildHasherDefault<Mix>;

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }

    fn write_u64(&mut self, word: u64) {
        // The upper half of a product depends on all bits of both, the lower one on the lower.
        let product = u128::from(self.0 ^ word ^ SPREAD[0]) * u128::from(SPREAD[1]);
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher as _, Hash as _};

    use super::*;

    /// The hash of a number after another one.
    fn after(first: u64, second: u64) -> u64 {
        let mut mix = Mix::default();
        (first, second).hash(&mut mix);
        mix.finish()
    }

    #[test]
    fn each_bit_of_a_word_changes_half_of_the_hash() {
        for bit in 0..64 {
            let changed = |word| (after(7, word) ^ after(7, word ^ 1 << bit)).count_ones();
            let mean = f64::from((0..200).map(changed).sum::<u32>()) / 200.0;
            assert!((24.0..40.0).contains(&mean), "bit {bit}: {mean}");
        }
    }

    #[test]
    fn all_that_is_written_counts() {
        let hashes = [
            Mixed::default().hash_one(1_u8),
            Mixed::default().hash_one(2_u8),
            Mixed::default().hash_one(3_isize),
            Mixed::default().hash_one(4_isize),
            Mixed::default().hash_one("a text"),
            Mixed::default().hash_one("a texd"),
            Mixed::default().hash_one("a text of 9 bytes"),
            Mixed::default().hash_one("a text of 9 bytef"),
            after(5, 6),
            after(6, 5),
        ];
        for (at, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..at].contains(hash), "{at}");
        }
    }
}
