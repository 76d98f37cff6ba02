//! Gzip files, read as `gunzip` reads them.

use std::io::{self, BufRead, ErrorKind, Read};

use flate2::bufread::GzDecoder;

/// What all members of a file hold, one after another. Zeros between and behind them are left out:
/// tapes and disks pad files with them.
///
/// # Errors
/// Reading fails where a member is broken, and where anything but a member follows one, or more
/// than 64 MiB of zeros.
///
/// ```
/// use std::io::Read;
///
/// let (stream, mut text) = (&[][..], Vec::new());
/// // A file without a member is none.
/// assert!(fhe_files::Gunzip::new(stream).read_to_end(&mut text).is_err());
/// ```
#[derive(Debug)]
pub struct Gunzip<R> {
    /// The member that is being read; none behind the last one.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Gunzip<R> {
    /// Reads a gzip file from its first byte on.
    pub fn new(stream: R) -> Self {
        Self { member: Some(GzDecoder::new(stream)) }
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let more = goes_on(member.get_mut())?;
            self.member =
                self.member.take().map(GzDecoder::into_inner).filter(|_| more).map(GzDecoder::new);
        }
        Ok(0)
    }
}

/// Zeros at most behind a member: far more than the last block of a tape or disk has.
const MOST_ZEROS: usize = 64 << 20;

/// Skips zeros, and returns whether anything follows.
fn goes_on(stream: &mut impl BufRead) -> io::Result<bool> {
    let mut skipped = 0;
    loop {
        if skipped > MOST_ZEROS {
            let text = format!("more than {MOST_ZEROS} zeros behind a gzip member");
            return Err(io::Error::new(ErrorKind::InvalidData, text));
        }
        let bytes = match stream.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        if bytes.is_empty() {
            return Ok(false);
        }
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        if zeros < bytes.len() {
            stream.consume(zeros);
            return Ok(true);
        }
        stream.consume(zeros);
        skipped += zeros;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn member(text: &[u8]) -> Vec<u8> {
        let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    fn unpacked(parts: &[&[u8]]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // A buffer of three bytes: members and zeros end anywhere in it.
        let whole = parts.concat();
        let stream = io::BufReader::with_capacity(3, &whole[..]);
        Gunzip::new(stream).read_to_end(&mut bytes).map(|_| bytes)
    }

    #[test]
    fn members_follow_each_other() {
        let (one, two, none) = (member(b"one"), member(b"two"), member(b""));
        assert_eq!(unpacked(&[&one]).unwrap(), b"one");
        assert_eq!(unpacked(&[&none]).unwrap(), b"");
        assert_eq!(unpacked(&[&one, &none, &two]).unwrap(), b"onetwo");
        assert_eq!(unpacked(&[&one, &[0; 10], &two, &[0; 512]]).unwrap(), b"onetwo");
    }

    #[test]
    fn what_is_no_member_is_an_error() {
        let (one, two) = (member(b"one"), member(b"two"));
        assert!(unpacked(&[&one, b"more"]).is_err());
        assert!(unpacked(&[&one, &[0, 0], b"more"]).is_err());
        assert!(unpacked(&[&one, &two[..two.len() - 1]]).is_err());
        assert!(unpacked(&[]).is_err());
        let endless = io::Read::chain(&one[..], io::repeat(0));
        let error = Gunzip::new(io::BufReader::new(endless)).read_to_end(&mut Vec::new());
        assert!(error.unwrap_err().to_string().starts_with("more than 67108864 zeros"));
    }
}
