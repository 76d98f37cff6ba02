//! Evaluation keys as a message.

use super::message::{Message, Opened};
use super::pieces::{Incoming, Pieces};
use super::stored;
use crate::batch::{BatchKeys, Residues};
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
    /// Parts of the keys of expansions.
    expand: usize,
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
        let expand = params.lists.and_then(|lists| lists.expand);
        let of_expand = expand.map_or_else(Vec::new, |g| vec![levels(g) * n; n.ilog2() as usize]);
        let of_batch = params.batch.map_or_else(Vec::new, |spec| BatchKeys::lengths(params, &spec));
        let (expand, batch) = (of_expand.len(), of_batch.len());
        lengths.extend(of_expand);
        lengths.extend(of_batch);
        Self { lengths, groups, chunks, expand, batch }
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
            .chain(&self.expand)
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

    /// One piece for each part, of 73 MB at most in the shipped sets.
    fn pieces(&self) -> Pieces<'_> {
        let all = self.parts().map(|part| stored::bytes(part.bodies.len(), stored::WHOLE) as u64);
        Pieces::new(all.sum(), self.parts().map(bytes))
    }

    fn max_payload(params: &Params) -> u64 {
        Parts::of(params).bytes() as u64
    }

    fn parse(from: Opened) -> Result<Self> {
        let mut incoming = Incoming::whole(from);
        let keys = Self::receive(&mut incoming)?;
        incoming.expect_end()?;
        Ok(keys)
    }

    /// Part by part. The lengths are compared before any part is read.
    fn receive(from: &mut Incoming<'_>) -> Result<Self> {
        let params = from.params().clone();
        let of = Parts::of(&params);
        let unfit = "the lengths do not fit the parameter set";
        if from.header().meta != serde_json::json!(of.lengths) {
            return Err(from.corrupt("lengths", unfit));
        }
        if from.header().payload_bytes != of.bytes() as u64 {
            return Err(from.corrupt("payload", unfit));
        }
        let next = |from: &mut Incoming<'_>, len: usize| -> Result<SeededRows> {
            let part = from.take(stored::bytes(len, stored::WHOLE))?;
            Ok(stored::read(&part, stored::WHOLE))
        };
        let (single, batch) = of.lengths.split_at(of.lengths.len() - of.batch);
        let parts = single.iter().map(|&len| next(from, len)).collect::<Result<Vec<_>>>()?;
        let mut of_batch = Vec::new();
        if let Some(spec) = params.batch {
            let residues = Residues::new(&params, &spec);
            for (i, &len) in batch.iter().enumerate() {
                let part = next(from, len)?;
                if !residues.fit(i, &part) {
                    let field = format!("batch key {i} of {}", batch.len());
                    return Err(from.corrupt(&field, "a residue is not below its prime"));
                }
                of_batch.push(part);
            }
        }
        let batch = BatchKeys::from_parts(&params, of_batch);
        let mut parts = parts.into_iter();
        let (Some(key_switch), Some(reflect)) = (parts.next(), parts.next()) else {
            return Err(from.corrupt("payload", unfit));
        };
        let blind_rotation = parts.by_ref().take(of.groups).collect();
        let pack = parts.by_ref().take(of.chunks).collect();
        let list = if params.lists.is_some() { of.chunks } else { 0 };
        let lists = [parts.by_ref().take(list).collect(), parts.by_ref().take(list).collect()];
        let expand = parts.take(of.expand).collect();
        let key_id = from.header().key_id.clone();
        Ok(Self { params, key_id, key_switch, blind_rotation, pack, reflect, lists, expand, batch })
    }
}

/// The bytes of one part.
fn bytes(part: &SeededRows) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(stored::bytes(part.bodies.len(), stored::WHOLE));
    stored::write(&mut bytes, part, stored::WHOLE);
    bytes
}
