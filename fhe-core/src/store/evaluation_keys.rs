//! Evaluation keys as a message.

use super::message::{Message, Opened};
use super::stored;
use crate::batch::BatchKeys;
use crate::params::Gadget;
use crate::server::{EvaluationKeys, KEY_CHUNK, SeededRows};
use crate::{Params, Result};

/// Numbers of bodies of the parts, in the order in which they are stored.
struct Parts {
    lengths: Vec<usize>,
    /// Parts of the blind rotation key.
    groups: usize,
    /// Parts of the packing key, and of each of the two keys of lists.
    chunks: usize,
    /// Parts of the keys of batch lookups.
    batch: usize,
}

impl Parts {
    fn of(params: &Params) -> Self {
        let n = params.row_size;
        let levels = |g: Gadget| g.levels as usize;
        let chunk = KEY_CHUNK.min(n);
        let chunks = n / chunk;
        let groups = params.short_dimension / params.lookup_group;
        let patterns = (1 << params.lookup_group) - 1;
        let mut lengths = vec![n * levels(params.key_switch), levels(params.reflect) * n];
        lengths.extend(vec![patterns * 2 * levels(params.lookup) * n; groups]);
        lengths.extend(vec![chunk * levels(params.pack) * n; chunks]);
        if let Some(lists) = params.lists {
            lengths.extend(vec![chunk * levels(lists.pack) * n; 2 * chunks]);
        }
        let of_batch = params.batch.map_or_else(Vec::new, |spec| BatchKeys::lengths(params, &spec));
        let batch = of_batch.len();
        lengths.extend(of_batch);
        Self { lengths, groups, chunks, batch }
    }

    fn bytes(&self) -> usize {
        self.lengths.iter().map(|&len| stored::bytes(len, stored::WHOLE)).sum()
    }
}

impl EvaluationKeys {
    fn parts(&self) -> impl Iterator<Item = &SeededRows> {
        [&self.key_switch, &self.reflect]
            .into_iter()
            .chain(&self.blind_rotation)
            .chain(&self.pack)
            .chain(self.lists.iter().flatten())
            .chain(self.batch.iter().flat_map(BatchKeys::parts))
    }
}

impl Message for EvaluationKeys {
    const KIND: &'static str = "evaluation keys";

    fn params(&self) -> &Params {
        self.params()
    }

    fn key_id(&self) -> &str {
        self.key_id()
    }

    fn meta(&self) -> serde_json::Value {
        let lengths: Vec<_> = self.parts().map(|part| part.bodies.len()).collect();
        serde_json::json!(lengths)
    }

    fn payload(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        for part in self.parts() {
            stored::write(&mut payload, part, stored::WHOLE);
        }
        payload
    }

    fn max_payload(params: &Params) -> u64 {
        Parts::of(params).bytes() as u64
    }

    fn parse(from: Opened) -> Result<Self> {
        let Parts { lengths, groups, chunks, batch } = Parts::of(&from.params);
        let bad = |field| from.corrupt(field, "the lengths do not fit the parameter set");
        if from.header.meta != serde_json::json!(lengths) {
            return Err(bad("lengths"));
        }
        let mut rest = from.payload.as_slice();
        let mut parts = Vec::new();
        for &len in &lengths {
            let (part, tail) = rest
                .split_at_checked(stored::bytes(len, stored::WHOLE))
                .ok_or_else(|| bad("payload"))?;
            rest = tail;
            parts.push(stored::read(part, stored::WHOLE));
        }
        if !rest.is_empty() {
            return Err(bad("payload"));
        }
        let of_batch = parts.split_off(parts.len() - batch);
        let batch = BatchKeys::from_parts(&from.params, of_batch);
        let mut parts = parts.into_iter();
        let (Some(key_switch), Some(reflect)) = (parts.next(), parts.next()) else {
            return Err(bad("payload"));
        };
        let blind_rotation = parts.by_ref().take(groups).collect();
        let pack = parts.by_ref().take(chunks).collect();
        let lists = [parts.by_ref().take(chunks).collect(), parts.collect()];
        let (params, key_id) = (from.params, from.header.key_id);
        Ok(Self { params, key_id, key_switch, blind_rotation, pack, reflect, lists, batch })
    }
}
