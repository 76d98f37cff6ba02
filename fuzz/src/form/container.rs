//! Containers of this project, as `fhe_core::store` describes them.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::case::Case;
use crate::{edit, tree};

const SUM: usize = 32;
/// The header begins behind magic and length.
const HEADER: usize = 12;
/// Chunks at most of a changed file: a smaller size is written as one that gives so many.
const MOST_CHUNKS: usize = 1000;

/// Changes the header or the payload, and puts the right checksums everywhere.
pub(super) fn change(content: &[u8], case: &Case) -> Result<Vec<u8>> {
    let (mut header, mut payload) = parts(content).context("no container")?;
    let before = payload.len();
    edit::apply(&case.bytes, &mut payload);
    if case.fit && before != payload.len() {
        header["payload_bytes"] = json!(payload.len());
    }
    let inner = case.inner && header["meta"].is_object();
    tree::apply(&case.tree, if inner { &mut header["meta"] } else { &mut header });
    let text = serde_json::to_vec(&header)?;
    let mut out = content[..8].to_vec();
    out.extend(u32::try_from(text.len())?.to_le_bytes());
    out.extend(text);
    let sum = *blake3::hash(&out).as_bytes();
    out.extend(sum);
    let said = header["chunk_bytes"].as_u64().and_then(|bytes| usize::try_from(bytes).ok());
    let least = payload.len().div_ceil(MOST_CHUNKS).max(1);
    for (index, chunk) in payload.chunks(said.unwrap_or(least).max(least)).enumerate() {
        let mut hash = blake3::Hasher::new();
        hash.update(&(index as u64).to_le_bytes()).update(&sum).update(chunk);
        out.extend(chunk);
        out.extend(hash.finalize().as_bytes());
    }
    Ok(out)
}

/// Returns header and payload.
fn parts(content: &[u8]) -> Option<(Value, Vec<u8>)> {
    let length = u32::from_le_bytes(content.get(8..HEADER)?.try_into().ok()?) as usize;
    let header: Value = serde_json::from_slice(content.get(HEADER..HEADER + length)?).ok()?;
    let chunk = usize::try_from(header["chunk_bytes"].as_u64()?).ok()?;
    let rest = content.get(HEADER + length + SUM..)?;
    let payload = rest.chunks(chunk + SUM).map(|chunk| &chunk[..chunk.len().saturating_sub(SUM)]);
    Some((header, payload.collect::<Vec<_>>().concat()))
}
