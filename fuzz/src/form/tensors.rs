//! Safetensors files.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::case::Case;
use crate::{edit, tree};

const METADATA: &str = "__metadata__";
/// The entry of the metadata that has a checksum.
const SUM: &str = "blake3";
/// Bytes at most that a tensor gets because its shape says so.
const MOST_BYTES: usize = 1 << 20;

/// Changes the header, its metadata or the numbers, and puts the right places and checksum in.
pub(super) fn change(content: &[u8], case: &Case) -> Result<Vec<u8>> {
    let (length, rest) = content.split_first_chunk::<8>().context("no tensors")?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    let (header, data) = rest.split_at_checked(length).context("no header")?;
    let mut header: Value = serde_json::from_slice(header)?;
    let mut data = data.to_vec();
    edit::apply(&case.bytes, &mut data);
    let inner = case.inner && header[METADATA].is_object();
    tree::apply(&case.tree, if inner { &mut header[METADATA] } else { &mut header });
    if let Some(entries) = header.as_object_mut().filter(|_| case.fit) {
        let parts = lay_out(entries, &data);
        if let Some(sum) = sealed(entries, &parts) {
            entries[METADATA][SUM] = json!(sum);
        }
        if !parts.is_empty() {
            data = parts.into_iter().flat_map(|(_, _, _, bytes)| bytes).collect();
        }
    }
    let header = serde_json::to_vec(&header)?;
    Ok([&(header.len() as u64).to_le_bytes(), &header[..], &data].concat())
}

/// Name, type, shape and bytes of a tensor.
type Part = (String, String, Vec<u64>, Vec<u8>);

/// Puts the tensors one behind the other, each as long as its shape says, if that is not absurd.
fn lay_out(entries: &mut Map<String, Value>, data: &[u8]) -> Vec<Part> {
    let mut order: Vec<_> = entries
        .iter()
        .filter(|(name, _)| *name != METADATA)
        .map(|(name, entry)| (entry["data_offsets"][0].as_u64().unwrap_or(0), name.clone()))
        .collect();
    order.sort();
    let (mut parts, mut at) = (Vec::new(), 0);
    for (from, name) in order {
        let entry = &mut entries[&name];
        let dtype = entry["dtype"].as_str().unwrap_or_default().to_owned();
        let shape = entry["shape"].as_array().map(Vec::as_slice).unwrap_or_default();
        let shape: Vec<u64> = shape.iter().filter_map(Value::as_u64).collect();
        let numbers = shape.iter().try_fold(1u64, |product, &x| product.checked_mul(x));
        let bytes = numbers.and_then(|numbers| numbers.checked_mul(width(&dtype)));
        let Some(len) = bytes.and_then(|bytes| usize::try_from(bytes).ok()) else { continue };
        if len > MOST_BYTES || entry["data_offsets"].is_null() {
            continue;
        }
        let from = usize::try_from(from).unwrap_or(0).min(data.len());
        let mut bytes: Vec<u8> = data[from..].iter().copied().take(len).collect();
        bytes.resize(len, 1);
        entry["data_offsets"] = json!([at, at + len]);
        at += len;
        parts.push((name, dtype, shape, bytes));
    }
    parts
}

fn width(dtype: &str) -> u64 {
    match dtype {
        "F64" | "I64" | "U64" => 8,
        "F32" | "I32" | "U32" => 4,
        "F16" | "BF16" | "I16" | "U16" => 2,
        _ => 1,
    }
}

/// Returns the checksum of a file that has one: that of `fhe_data`'s encoders and features.
fn sealed(entries: &Map<String, Value>, parts: &[Part]) -> Option<String> {
    let metadata = entries.get(METADATA)?;
    metadata.get(SUM)?;
    let mut parts: Vec<_> = parts.iter().collect();
    parts.sort();
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(metadata["kind"].as_str()?.as_bytes());
    part(&metadata["version"].as_str()?.parse::<u32>().ok()?.to_le_bytes());
    part(metadata["config"].as_str()?.as_bytes());
    for (name, dtype, shape, bytes) in parts {
        part(name.as_bytes());
        part(format!("{dtype} {shape:?}").as_bytes());
        part(bytes);
    }
    Some(hasher.finalize().to_hex().to_string())
}
