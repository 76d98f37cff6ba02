//! Numbers of any type from their bytes.

use std::fmt::Display;
use std::path::Path;

use half::{bf16, f16};

use crate::{Error, Result};

/// Integers from minus this to this have doubles of their own: 2^53.
pub(super) const EXACT: u64 = 1 << 53;

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

    /// Returns the numbers that a file's `bytes` hold, most significant byte first if `big_endian`.
    ///
    /// # Errors
    /// [`Error::LargeInteger`] for an integer beyond [`EXACT`].
    pub(super) fn decode(self, file: &Path, bytes: &[u8], big_endian: bool) -> Result<Vec<f64>> {
        Ok(match self {
            Self::Bool => words(bytes, big_endian, |[b]| f64::from(u8::from(b != 0))),
            Self::I8 => words(bytes, big_endian, |w| f64::from(i8::from_le_bytes(w))),
            Self::I16 => words(bytes, big_endian, |w| f64::from(i16::from_le_bytes(w))),
            Self::I32 => words(bytes, big_endian, |w| f64::from(i32::from_le_bytes(w))),
            Self::I64 => exact(file, words(bytes, big_endian, i64::from_le_bytes))?,
            Self::U8 => words(bytes, big_endian, |w| f64::from(u8::from_le_bytes(w))),
            Self::U16 => words(bytes, big_endian, |w| f64::from(u16::from_le_bytes(w))),
            Self::U32 => words(bytes, big_endian, |w| f64::from(u32::from_le_bytes(w))),
            Self::U64 => exact(file, words(bytes, big_endian, u64::from_le_bytes))?,
            Self::F16 => words(bytes, big_endian, |w| f64::from(f16::from_le_bytes(w))),
            Self::Bf16 => words(bytes, big_endian, |w| f64::from(bf16::from_le_bytes(w))),
            Self::F32 => words(bytes, big_endian, |w| f64::from(f32::from_le_bytes(w))),
            Self::F64 => words(bytes, big_endian, f64::from_le_bytes),
        })
    }
}

/// Returns integers that have doubles of their own.
#[expect(clippy::cast_precision_loss, reason = "none is beyond 2^53")]
fn exact<T: Copy + Display + Into<i128>>(file: &Path, integers: Vec<T>) -> Result<Vec<f64>> {
    let number = |(at, &integer): (usize, &T)| match integer.into() {
        small if small.unsigned_abs() <= EXACT.into() => Ok(small as f64),
        _ => Err(Error::LargeInteger { file: file.into(), at, got: integer.to_string() }),
    };
    integers.iter().enumerate().map(number).collect()
}

/// Decodes words of `N` bytes; a remainder is left out.
fn words<T, const N: usize>(bytes: &[u8], big_endian: bool, decode: fn([u8; N]) -> T) -> Vec<T> {
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
