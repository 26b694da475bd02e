//! Turns a whole file into hostile ones. Knows bytes, no format; the same seed always gives the same files.

/// Marsaglia's xorshift.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    /// A place in `length` bytes; one in two lies near an end, where formats keep their lengths.
    fn place(&mut self, length: usize) -> usize {
        match self.below(4) {
            0 => self.below(length.min(24)),
            1 => length.saturating_sub(1 + self.below(24)),
            _ => self.below(length),
        }
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.place(length);
        let longest = if self.below(4) == 0 { length } else { 64 };
        start..(start + self.below(longest)).min(length)
    }
}

const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "1e400",
    "1e-400",
    "0.5",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "null",
    "\"\"",
];
const PIECES: [&str; 20] = [
    "[",
    "]",
    "{",
    "}",
    "\"",
    "\\",
    "\\ud800",
    "\n",
    "\r",
    ",",
    ":",
    "=",
    "#",
    "../",
    "/etc/passwd",
    "\u{feff}",
    "\u{0}",
    "true",
    "e",
    "[[",
];

/// `seed` after a few changes; `other` is another whole file to take pieces of.
pub fn mutate(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(3) {
        change(&mut bytes, other, random);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let place = random.place(bytes.len());
    let range = random.range(bytes.len());
    match random.below(12) {
        0 | 1 if !bytes.is_empty() => bytes[place] ^= 1 << random.below(8),
        2 if !bytes.is_empty() => bytes[place] = [0, 0xff, 0x7f, 0x80, b' ', b'9'][random.below(6)],
        3 => bytes.truncate(place),
        4 => {
            let chunk = bytes[range].to_vec();
            let times = if random.below(8) == 0 { 100 } else { 1 };
            let at = place.min(bytes.len());
            bytes.splice(at..at, chunk.repeat(times));
        }
        5 => drop(bytes.drain(range)),
        6 => extreme_length(bytes, place, random),
        7 => {
            let chunk = &other[random.range(other.len())];
            bytes.splice(range, chunk.iter().copied());
        }
        8 | 9 => number(bytes, place, random),
        10 => {
            let piece = random.of(&PIECES);
            let times = [1, 1, 2, 40, 5_000][random.below(5)];
            bytes.splice(place.min(bytes.len())..place.min(bytes.len()), piece.repeat(times).into_bytes());
        }
        _ => bytes
            .splice(place.min(bytes.len())..place.min(bytes.len()), (0..8_u8).map(|n| n.wrapping_mul(37)))
            .for_each(drop),
    }
}

/// Overwrites what may be a length with one that no file has.
fn extreme_length(bytes: &mut [u8], place: usize, random: &mut Random) {
    const LENGTHS: [u64; 10] =
        [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, i64::MAX as u64, u64::MAX];
    let value = LENGTHS[random.below(LENGTHS.len())].to_le_bytes();
    let width = [1, 4, 8][random.below(3)];
    let start = if random.below(2) == 0 { place & !3 } else { place };
    for (byte, value) in bytes.iter_mut().skip(start).zip(&value[..width]) {
        *byte = *value;
    }
}

/// Replaces the digits at or after a place by another number.
fn number(bytes: &mut Vec<u8>, place: usize, random: &mut Random) {
    let Some(start) = (place..bytes.len()).find(|place| bytes[*place].is_ascii_digit()) else { return };
    let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    bytes.splice(start..start + digits, random.of(&NUMBERS).bytes());
}
