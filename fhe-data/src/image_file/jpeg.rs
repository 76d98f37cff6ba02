//! What the decoder of JPEG files does not tell: whether a file is whole, and its colour system.
//!
//! A file is a row of markers, `0xff` and a byte, most with a segment of a given length; after a
//! "start of scan" come compressed data, in which `0xff` is followed by 0 or a restart marker.
//! Source: ITU-T T.81, annex B.

/// What the markers of a file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Markers {
    /// The file does not end before its image does.
    pub(super) whole: bool,
    /// The image has four colour components: cyan, magenta, yellow and black.
    pub(super) four_colours: bool,
}

const START_OF_IMAGE: [u8; 2] = [0xff, 0xd8];

/// Walks the markers of a file; `None` if it does not begin as a JPEG file does.
pub(super) fn markers(bytes: &[u8]) -> Option<Markers> {
    if !bytes.starts_with(&START_OF_IMAGE) {
        return None;
    }
    let mut four_colours = false;
    let whole = walk(bytes, &mut four_colours).is_some();
    Some(Markers { whole, four_colours })
}

/// Walks to the end of the image and says whether it has four colours; `None` where the file ends
/// too early.
fn walk(bytes: &[u8], four_colours: &mut bool) -> Option<()> {
    let mut at = START_OF_IMAGE.len();
    loop {
        if *bytes.get(at)? != 0xff {
            // No marker where one should be: the decoder knows more of damaged files.
            return Some(());
        }
        while *bytes.get(at)? == 0xff {
            at += 1;
        }
        let marker = *bytes.get(at)?;
        at += 1;
        match marker {
            0xd9 => return Some(()),
            // Markers without a segment.
            0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let length = u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]);
        let segment = bytes.get(at..at + usize::from(length))?;
        at += usize::from(length);
        match marker {
            // A start of frame; the others of this range are tables.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                *four_colours |= segment.get(7) == Some(&4);
            }
            0xda => {
                let ends = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7);
                at += bytes.get(at..)?.windows(2).position(ends)?;
            }
            _ => {}
        }
    }
}
