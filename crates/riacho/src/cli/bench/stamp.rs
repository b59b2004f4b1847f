//! What each event of a benchmark carries: when it was published, by which source, and its number there.
//!
//! Text form, after the marker: 16 hex digits of nanoseconds since 1970, 8 of the source, 8 of the sequence. Parsed by the
//! million each second, so eight digits at a time and without a branch per digit.

/// A stamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    /// Nanoseconds since 1970.
    pub(super) time: u64,
    /// One ordered series of events.
    pub(super) source: u32,
    /// The number of the event in its source, from 0.
    pub(super) sequence: u32,
}

impl Stamp {
    /// Its text.
    pub(super) fn text(self) -> [u8; STAMP_BYTES] {
        let number =
            (u128::from(self.time) << 64) | (u128::from(self.source) << 32) | u128::from(self.sequence);
        let mut text = [0; STAMP_BYTES];
        for (byte, digit) in text.iter_mut().zip((0..STAMP_BYTES).rev()) {
            let nibble = (number >> (4 * digit)) as u8 & 0xf;
            *byte = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        }
        text
    }

    /// The stamp that `bytes` begin with; none if they are too few or other than lower-case hex digits.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let text: &[u8; STAMP_BYTES] = bytes.first_chunk()?;
        let (words, _) = text.as_chunks::<8>();
        let [high, low, source, sequence] = words else { return None };
        let (high, low) = (eight_digits(*high)?, eight_digits(*low)?);
        Some(Self {
            time: (u64::from(high) << 32) | u64::from(low),
            source: eight_digits(*source)?,
            sequence: eight_digits(*sequence)?,
        })
    }
}

// All eight bytes at once: each lane of the word holds one digit.
fn eight_digits(text: [u8; 8]) -> Option<u32> {
    let word = u64::from_be_bytes(text);
    let letters = (word >> 6) & LANES;
    let values = (word & (0xf * LANES)).wrapping_add(letters * 9);
    // `0` to `9` are 0x30 to 0x39, `a` to `f` are 0x61 to 0x66.
    let rows = word & (0xf0 * LANES) == 0x30 * LANES + letters * 0x30;
    let in_range = values & (0x10 * LANES) == 0;
    let letters_are_ten_or_more = ((values + 6 * LANES) >> 4) & LANES == letters;
    if !(rows && in_range && letters_are_ten_or_more) {
        return None;
    }
    let pairs = (values | (values >> 4)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | (pairs >> 8)) & 0x0000_ffff_0000_ffff;
    Some((fours | (fours >> 16)) as u32)
}

const LANES: u64 = 0x0101_0101_0101_0101;

/// Bytes of a stamp, without the `T` before it.
pub(super) const STAMP_BYTES: usize = 32;
