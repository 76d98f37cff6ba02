//! JPEG files in four colours, which the encoder at hand does not write.

/// Returns a JPEG file of 8 x 8 pixels of one colour: the values of its four components.
///
/// `transform` is that of Adobe's marker: 0 for cyan, magenta, yellow and black, 2 for luminance,
/// two chrominances and black.
pub(crate) fn jpeg(transform: u8, colour: [u8; 4]) -> Vec<u8> {
    file(transform, 8, [0x11; 4], &colour)
}

/// As [`jpeg`], with 16 x 16 pixels and half as many rows and columns of the two chrominances: the
/// luminances and the blacks of the quarters are given, by rows.
pub(crate) fn subsampled(luminances: [u8; 4], chrominances: [u8; 2], blacks: [u8; 4]) -> Vec<u8> {
    let blocks = [&luminances[..], &chrominances, &blacks].concat();
    file(2, 16, [0x22, 0x11, 0x11, 0x22], &blocks)
}

/// A file whose components have these factors of subsampling, and whose blocks have one value each.
fn file(transform: u8, side: u8, factors: [u8; 4], blocks: &[u8]) -> Vec<u8> {
    let mut file = vec![0xff, 0xd8];
    let mut segment = |marker: u8, bytes: &[u8]| {
        let length = u16::try_from(bytes.len() + 2).unwrap();
        file.extend([0xff, marker]);
        file.extend(length.to_be_bytes());
        file.extend(bytes);
    };
    segment(0xee, &[b"Adobe\0\x64\0\0\0\0", &[transform][..]].concat());
    // Quantization by 1.
    segment(0xdb, &[&[0][..], &[1; 64]].concat());
    // 8 bits, rows, columns, four components.
    let components: Vec<u8> = (1..).zip(factors).flat_map(|(id, factor)| [id, factor, 0]).collect();
    segment(0xc0, &[&[8, 0, side, 0, side, 4][..], &components].concat());
    // Codes of four bits for the sizes 0 to 11 of the first coefficient.
    let sizes: Vec<u8> = (0..12).collect();
    let codes = [0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    segment(0xc4, &[&[0x00][..], &codes, &sizes].concat());
    // One code, of one bit, for the end of a block.
    let codes = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    segment(0xc4, &[&[0x10][..], &codes, &[0]].concat());
    segment(0xda, &[4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0]);
    file.extend(compressed(&factors, blocks));
    file.extend([0xff, 0xd9]);
    file
}

/// The first coefficient of each block, and the end of the block.
fn compressed(factors: &[u8; 4], blocks: &[u8]) -> Vec<u8> {
    let mut bits = String::new();
    let mut blocks = blocks.iter();
    for factor in factors {
        // A coefficient is stored as the difference from the component's last one.
        let mut before = 0;
        for value in blocks.by_ref().take(usize::from((factor >> 4) * (factor & 15))) {
            // That of a block of one value is eight times the value less 128.
            let first = (i32::from(*value) - 128) * 8;
            let difference = first - before;
            before = first;
            let size = 32 - difference.unsigned_abs().leading_zeros();
            bits += &format!("{size:04b}");
            if size > 0 {
                let negative = difference < 0;
                let stored = if negative { difference - 1 + (1 << size) } else { difference };
                bits += &format!("{stored:0width$b}", width = size as usize);
            }
            bits += "0";
        }
    }
    while !bits.len().is_multiple_of(8) {
        bits += "1";
    }
    let mut bytes = Vec::new();
    for byte in bits.as_bytes().chunks_exact(8) {
        let byte = u8::from_str_radix(str::from_utf8(byte).unwrap(), 2).unwrap();
        bytes.push(byte);
        if byte == 0xff {
            bytes.push(0);
        }
    }
    bytes
}
