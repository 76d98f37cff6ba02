//! Bytes that an engine of a parameter set holds.

use crate::Params;
use crate::params::Gadget;

/// Bytes of a number.
const WORD: usize = 8;

/// Returns the bytes of the keys of an engine, expanded, but for those of the large ring.
pub(crate) fn bytes(params: &Params) -> u64 {
    let n = params.row_size;
    let levels = |gadget: Gadget| gadget.levels as usize;
    // 32 bits an element.
    let key_switch = n * levels(params.key_switch) * (params.short_dimension + 1) / 2;
    let patterns = (1 << params.lookup_group) - 1;
    let groups = params.short_dimension / params.lookup_group;
    let blind_rotation = groups * patterns * 4 * levels(params.lookup) * n;
    let constants = n * levels(params.pack) * 4 * n;
    let lists = params.lists.map_or(0, |lists| n * levels(lists.pack) * 4 * n);
    let batch = params.batch.map_or(0, |batch| n * levels(batch.pack) * 2 * n);
    let reflect = 2 * levels(params.reflect) * n;
    let expand = params.lists.and_then(|lists| lists.expand);
    let expand = expand.map_or(0, |g| n.ilog2() as usize * 2 * levels(g) * n);
    (WORD * (key_switch + blind_rotation + constants + lists + batch + reflect + expand)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientKey;
    use crate::{Cpu, Seed};

    #[test]
    fn an_engine_holds_what_is_said() {
        for params in [Params::toy_insecure(), Params::toy_insecure_batch()] {
            let params = params.unwrap();
            let engine = Cpu::new(&ClientKey::new(&params, Seed::from_number(1)).evaluation_keys());
            let lists = engine.lists.as_ref().map_or(0, |lists| lists.len());
            let packing = engine.batch.as_ref().map_or(0, |(_, pack)| pack.len());
            let numbers = engine.key_switch.len() / 2
                + engine.blind_rotation.len()
                + engine.constants.len()
                + lists
                + packing
                + engine.reflect.len()
                + engine.expand.iter().map(|key| key.len()).sum::<usize>();
            assert_eq!(bytes(&params), 8 * numbers as u64);
        }
    }
}
