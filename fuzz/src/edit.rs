//! Changes of bytes.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Numbers at which arithmetic turns over, and small ones.
pub(crate) const NUMBERS: [u64; 24] = [
    0,
    1,
    2,
    3,
    7,
    8,
    63,
    64,
    0x7f,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    1 << 20,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 32,
    1 << 40,
    1 << 48,
    (1 << 53) + 1,
    u64::MAX >> 1,
    1 << 63,
    u64::MAX,
];

/// Pieces of text that readers of tables, headers and configurations may stumble over.
const WORDS: [&[u8]; 26] = [
    b"nan",
    b"inf",
    b"-inf",
    b"1e308",
    b"1e-320",
    b"-0.0",
    b"-1",
    b"0",
    b"9",
    b"99999999999",
    b"18446744073709551616",
    b"\"",
    b"'",
    b"[",
    b"]",
    b"{",
    b"}",
    b"(",
    b",",
    b":",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xc3",
    b" ",
];

/// A place in a file: anywhere, or in its first bytes, where headers are.
#[derive(Clone, Debug)]
struct Place(bool, Index);

impl Place {
    const HEAD: usize = 256;

    fn of(&self, len: usize) -> usize {
        self.1.index(if self.0 { len.min(Self::HEAD) } else { len }.max(1))
    }
}

/// A change of bytes.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    place: Place,
    change: Change,
}

#[derive(Clone, Debug)]
enum Change {
    Flip(u8),
    Set(u8),
    Number { number: u64, bytes: usize, big: bool },
    Cut,
    Remove(usize),
    Repeat(usize),
    Word(&'static [u8]),
    Noise(Vec<u8>),
}

/// Returns changes of bytes, one most often.
pub(crate) fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let place = (any::<bool>(), any::<Index>()).prop_map(|(head, index)| Place(head, index));
    let number = (select(&NUMBERS[..]), select(&[1, 2, 4, 8][..]), any::<bool>());
    let change = prop_oneof![
        4 => (0..8u8).prop_map(Change::Flip),
        3 => any::<u8>().prop_map(Change::Set),
        4 => number.prop_map(|(number, bytes, big)| Change::Number { number, bytes, big }),
        1 => Just(Change::Cut),
        2 => (1..64usize).prop_map(Change::Remove),
        2 => (1..600usize).prop_map(Change::Repeat),
        3 => select(&WORDS[..]).prop_map(Change::Word),
        1 => proptest::collection::vec(any::<u8>(), 1..16).prop_map(Change::Noise),
    ];
    let edit = (place, change).prop_map(|(place, change)| Edit { place, change });
    prop_oneof![
        3 => proptest::collection::vec(edit.clone(), 1),
        1 => proptest::collection::vec(edit, 2..6),
    ]
}

/// Changes bytes one after another.
pub(crate) fn apply(edits: &[Edit], bytes: &mut Vec<u8>) {
    for edit in edits {
        edit.apply(bytes);
    }
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let at = self.place.of(bytes.len()).min(bytes.len());
        let all = bytes.len();
        let to = |len: usize| all.min(at + len);
        match &self.change {
            Change::Flip(bit) => bytes.iter_mut().skip(at).take(1).for_each(|b| *b ^= 1 << bit),
            Change::Set(other) => bytes.iter_mut().skip(at).take(1).for_each(|b| *b = *other),
            Change::Number { number, bytes: len, big } => {
                let mut number = number.to_le_bytes()[..*len].to_vec();
                if *big {
                    number.reverse();
                }
                bytes.iter_mut().skip(at).zip(number).for_each(|(b, other)| *b = other);
            }
            Change::Cut => bytes.truncate(at),
            Change::Remove(len) => drop(bytes.drain(at..to(*len))),
            Change::Repeat(len) => {
                let again = bytes[at..to(*len)].to_vec();
                bytes.splice(at..at, again);
            }
            Change::Word(word) => drop(bytes.splice(at..at, word.iter().copied())),
            Change::Noise(noise) => bytes.iter_mut().skip(at).zip(noise).for_each(|(b, n)| *b = *n),
        }
    }
}
