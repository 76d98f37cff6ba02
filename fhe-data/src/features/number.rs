//! Numbers of any type from their bytes.

use half::{bf16, f16};

/// A number type of an array file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F16,
    Bf16,
    F32,
    F64,
}

/// What the readers take, for messages.
pub(super) const NUMBER_TYPES: &str =
    "bool, integers of 8 to 64 bits, floats of 16 to 64 bits, or bfloat16";

impl Number {
    /// Returns the bytes of a number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    /// Returns the numbers that `bytes` hold, most significant byte first if `big_endian`.
    #[expect(clippy::cast_precision_loss, reason = "documented: above 2^53 integers are rounded")]
    pub(super) fn decode(self, bytes: &[u8], big_endian: bool) -> Vec<f64> {
        match self {
            Self::Bool => words(bytes, big_endian, |[b]| f64::from(u8::from(b != 0))),
            Self::I8 => words(bytes, big_endian, |w| f64::from(i8::from_le_bytes(w))),
            Self::I16 => words(bytes, big_endian, |w| f64::from(i16::from_le_bytes(w))),
            Self::I32 => words(bytes, big_endian, |w| f64::from(i32::from_le_bytes(w))),
            Self::I64 => words(bytes, big_endian, |w| i64::from_le_bytes(w) as f64),
            Self::U8 => words(bytes, big_endian, |w| f64::from(u8::from_le_bytes(w))),
            Self::U16 => words(bytes, big_endian, |w| f64::from(u16::from_le_bytes(w))),
            Self::U32 => words(bytes, big_endian, |w| f64::from(u32::from_le_bytes(w))),
            Self::U64 => words(bytes, big_endian, |w| u64::from_le_bytes(w) as f64),
            Self::F16 => words(bytes, big_endian, |w| f64::from(f16::from_le_bytes(w))),
            Self::Bf16 => words(bytes, big_endian, |w| f64::from(bf16::from_le_bytes(w))),
            Self::F32 => words(bytes, big_endian, |w| f64::from(f32::from_le_bytes(w))),
            Self::F64 => words(bytes, big_endian, f64::from_le_bytes),
        }
    }
}

/// Decodes words of `N` bytes; a remainder is left out.
fn words<const N: usize>(bytes: &[u8], big_endian: bool, decode: fn([u8; N]) -> f64) -> Vec<f64> {
    let (words, _) = bytes.as_chunks::<N>();
    let little = |word: &[u8; N]| {
        let mut word = *word;
        if big_endian {
            word.reverse();
        }
        word
    };
    words.iter().map(|word| decode(little(word))).collect()
}
