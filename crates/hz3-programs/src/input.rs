//! Deterministic input for the programs: the same bytes in every run, nothing that compresses to
//! nothing.

/// A small generator of pseudo-random numbers (xorshift64*), the same on every machine.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Returns a generator for this seed; zero is mapped to a fixed other seed, since zero is the
    /// one state that xorshift can't leave.
    pub fn new(seed: u64) -> Self {
        Self(if seed == 0 { 0x9e37_79b9_7f4a_7c15 } else { seed })
    }

    /// Returns the next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number below `bound`, which must not be zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    /// Returns an index below `length`, which must not be zero.
    pub fn index(&mut self, length: usize) -> usize {
        // A remainder of a `usize` is one again: the default is never taken.
        usize::try_from(self.below(length as u64)).unwrap_or_default()
    }
}

const SYLLABLES: [&str; 24] = [
    "ka", "ri", "to", "men", "sal", "or", "vi", "du", "net", "pa", "lo", "cha", "ser", "mi", "gon",
    "tra", "el", "bu", "fis", "ho", "que", "zan", "ju", "wex",
];

/// Returns one made-up word of one to four syllables.
pub fn word(random: &mut Random) -> String {
    let mut word = String::new();
    for _ in 0..=random.below(4) {
        word.push_str(SYLLABLES[random.index(SYLLABLES.len())]);
    }
    word
}

/// Returns text of at least `bytes` bytes: lines of 3 to 16 words.
pub fn text(seed: u64, bytes: usize) -> String {
    let mut random = Random::new(seed);
    let mut text = String::with_capacity(bytes + 256);
    while text.len() < bytes {
        for _ in 0..3 + random.below(14) {
            text.push_str(&word(&mut random));
            text.push(' ');
        }
        text.pop();
        text.push('\n');
    }
    text
}

/// Returns exactly `length` bytes that don't compress.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&random.bits().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_input_and_another_seed_another() {
        assert_eq!(text(7, 5000), text(7, 5000));
        assert_ne!(text(7, 5000), text(8, 5000));
        assert_eq!(noise(3, 1001).len(), 1001);
        assert_ne!(noise(3, 1001), noise(4, 1001));
        assert_ne!(noise(0, 64), vec![0; 64]);
    }
}
