//! Messages: what one party makes and the other reads, always as a whole container.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::container::{ChunkReader, Header, STREAM, corrupt, open_stream, write_pieces};
use super::pieces::{Incoming, Pieces};
use super::whole::{Secrecy, replace};
use crate::{Error, Params, Result};

/// A public object that goes between client and server, or to the disk: as a
/// [container](super::Header) with version, parameter set, key id and checksums, whatever the way.
///
/// Implemented by [`EvaluationKeys`](crate::server::EvaluationKeys),
/// [`EncryptedQuery`](super::EncryptedQuery), [`EncryptedValues`](super::EncryptedValues), and by
/// what else a crate on top of this one sends.
pub trait Message: Sized {
    /// What the header calls such a message.
    const KIND: &'static str;

    /// Returns the parameter set.
    fn params(&self) -> &Params;

    /// Returns the public name of the client key.
    fn key_id(&self) -> &str;

    /// Returns what else the header says. All of it is public.
    fn meta(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Returns the payload's bytes.
    fn payload(&self) -> Vec<u8>;

    /// Returns the payload in pieces, for a message so large that memory should not hold it twice.
    /// It is one piece unless a message says otherwise.
    fn pieces(&self) -> Pieces<'_> {
        Pieces::whole(self.payload())
    }

    /// Returns the most bytes that a payload may have. A reader takes no more.
    fn max_payload(params: &Params) -> u64;

    /// Makes the message of what was read, or says which part of it does not fit.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    fn parse(from: Opened) -> Result<Self>;

    /// Makes the message of a payload whose chunks are still to be read, and takes all of them. It
    /// takes the whole payload and parses it unless a message says otherwise.
    ///
    /// # Errors
    /// [`Error::Corrupt`], and those of reading.
    fn receive(from: &mut Incoming<'_>) -> Result<Self> {
        Self::parse(from.open()?)
    }

    /// Returns the header.
    fn header(&self) -> Header {
        Header::new(Self::KIND, self.params(), self.key_id(), self.meta())
    }

    /// Writes the message to a stream.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn write_to(&self, out: impl Write) -> Result<()> {
        write_pieces(out, self.header(), self.pieces(), Path::new(STREAM))
    }

    /// Reads a message from a stream, up to its end and not beyond. Memory is taken as bytes come,
    /// at most [`Message::max_payload`]; take a [`Read::take`] of the stream to allow less.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`], [`Error::Mismatch`], [`Error::Params`].
    fn read_from(input: impl Read) -> Result<Self> {
        let limit = |header: &Header| {
            Params::new(header.params.clone()).map(|params| Self::max_payload(&params))
        };
        let (header, chunks) = open_stream(input, Self::KIND, limit)?;
        received(&mut Incoming::new(Path::new(STREAM), header, chunks)?)
    }

    /// Returns the bytes that [`Message::write_to`] writes.
    ///
    /// # Errors
    /// None in practice: memory takes what it is given.
    fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads a message from bytes that hold it and nothing else.
    ///
    /// # Errors
    /// As [`Message::read_from`], and [`Error::Corrupt`] if bytes are left.
    fn from_bytes(mut bytes: &[u8]) -> Result<Self> {
        let message = Self::read_from(&mut bytes)?;
        if bytes.is_empty() {
            Ok(message)
        } else {
            Err(corrupt(Path::new(STREAM), "end", "there are bytes behind it"))
        }
    }

    /// Writes the message to a file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`]; then the former file, if any, is as it was.
    fn save(&self, path: &Path) -> Result<()> {
        replace(path, Secrecy::Public, |file| {
            write_pieces(file, self.header(), self.pieces(), path)
        })
    }

    /// Reads a message from a file.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`], [`Error::Mismatch`], [`Error::Params`].
    fn load(path: &Path) -> Result<Self> {
        let reader = ChunkReader::open(path, Self::KIND)?;
        if reader.header().payload_bytes > Self::max_payload(&reader.params()?) {
            return Err(corrupt(path, "payload_bytes", "larger than such a payload can be"));
        }
        let chunks = (0..reader.chunks()).map(|index| reader.read(index));
        received(&mut Incoming::new(path, reader.header().clone(), chunks)?)
    }

    /// Refuses a message that was made under another parameter set or key.
    ///
    /// # Errors
    /// [`Error::Mismatch`].
    fn expect_key(&self, params: &Params, key_id: &str) -> Result<()> {
        self.header().expect_key(params, key_id, Path::new(Self::KIND))
    }
}

/// Makes the message of a whole container, up to its end.
fn received<M: Message>(from: &mut Incoming<'_>) -> Result<M> {
    let message = M::receive(from)?;
    from.expect_end()?;
    Ok(message)
}

/// A container that was read, its checksums compared and its parameter set checked.
#[derive(Debug)]
pub struct Opened {
    /// The header.
    pub header: Header,
    /// Its parameter set.
    pub params: Params,
    /// All chunks, one after another.
    pub payload: Vec<u8>,
    pub(super) place: PathBuf,
}

impl Opened {
    /// Returns the error that a part of it is wrong.
    #[must_use]
    pub fn corrupt(&self, field: &str, problem: &'static str) -> Error {
        corrupt(&self.place, field, problem)
    }
}

/// Gives serde the container's bytes.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(message: &impl Message, serializer: S) -> Result<S::Ok, S::Error> {
    let bytes = message.to_bytes().map_err(serde::ser::Error::custom)?;
    serde_bytes::ByteBuf::from(bytes).serialize(serializer)
}

/// Takes the container's bytes from serde.
///
/// # Errors
/// Those of the deserializer and of [`Message::from_bytes`].
pub fn deserialize<'de, M: Message, D: Deserializer<'de>>(deserializer: D) -> Result<M, D::Error> {
    let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
    M::from_bytes(&bytes).map_err(serde::de::Error::custom)
}

/// Makes a [`Message`] a type of serde, by the bytes of its container.
#[macro_export]
macro_rules! serde_by_container {
    ($message:ty) => {
        impl $crate::store::serde::Serialize for $message {
            fn serialize<S: $crate::store::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                $crate::store::serialize(self, serializer)
            }
        }

        impl<'de> $crate::store::serde::Deserialize<'de> for $message {
            fn deserialize<D: $crate::store::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                $crate::store::deserialize(deserializer)
            }
        }
    };
}
