//! What holds for every layout, seed and place at which a file was left.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::HashSet;
use std::sync::LazyLock;

use fhe_core::client::ClientKey;
use fhe_core::store::{
    ChunkWriter, DatasetShape, DatasetWriter, Header, Lanes, Message, Secrecy, ValueLayout,
    read_file, read_from, write_to,
};
use fhe_core::{Params, Seed};
use proptest::prelude::*;
use serde_json::json;

static KEY: LazyLock<ClientKey> =
    LazyLock::new(|| ClientKey::new(&Params::toy_insecure().unwrap(), Seed::from_number(7)));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn values_have_places_of_their_own_and_fill_the_rows(
        batched in any::<bool>(),
        samples in 0..300usize,
        values in 0..200usize,
    ) {
        let params = if batched { Params::toy_insecure_batch() } else { Params::toy_insecure() };
        let params = params.unwrap();
        let layout = ValueLayout::new(&params, samples, values);
        let places = (0..samples).flat_map(|i| (0..values).map(move |v| (i, v)));
        let mut rows = vec![vec![None; params.row_size]; layout.rows()];
        for (i, v) in places.clone() {
            let (row, coefficient) = layout.place(i, v);
            prop_assert_eq!(rows[row][coefficient].replace((i, v)), None);
        }
        for (i, v) in places {
            let (row, coefficient) = layout.place(i, v);
            prop_assert_eq!(rows[row][coefficient], Some((i, v)));
        }
        // The rows of the units are all rows, and none of them is empty.
        let units = (0..samples).step_by(layout.unit()).map(|first| layout.rows_from(first));
        prop_assert!(units.flatten().eq(0..layout.rows()));
        prop_assert!(rows.iter().all(|row| row.iter().any(Option::is_some)));
    }

    #[test]
    fn parts_of_samples_side_by_side_add_up(
        samples in 1..50usize,
        selectors in 0..20usize,
        all in 0..500usize,
    ) {
        let lanes = Lanes { samples, selectors };
        let parts = (0..all).step_by(samples).map(|first| lanes.count(samples.min(all - first)));
        prop_assert_eq!(lanes.count(all), parts.sum::<usize>());
    }

    #[test]
    fn mini_batches_have_all_samples(samples in 1..200usize, batch in 1..60usize) {
        let shape = shape(samples, batch);
        let batches = samples.div_ceil(batch);
        prop_assert_eq!((0..batches).map(|i| shape.samples_of(i)).sum::<usize>(), samples);
        prop_assert!((0..batches).all(|i| (1..=batch).contains(&shape.samples_of(i))));
        prop_assert_eq!(shape.samples_of(batches), 0);
    }

    #[test]
    fn containers_hold_what_was_put_in(
        payload in prop::collection::vec(any::<u8>(), 0..600),
        chunk in 1..300u64,
        name in ".*",
    ) {
        let mut bytes = Vec::new();
        write_to(&mut bytes, header(chunk, &name), &payload).unwrap();
        let (header, read) = read_from(&bytes[..], "a kind", |_| Ok(1 << 20)).unwrap();
        prop_assert_eq!(header.meta, json!(name));
        prop_assert_eq!(read, payload);
    }

    #[test]
    fn a_file_that_was_cut_anywhere_is_gone_on_with(
        payload in prop::collection::vec(any::<u8>(), 1..400),
        chunk in 1..150usize,
        cut in any::<prop::sample::Index>(),
        damage in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let payload_bytes = payload.len() as u64;
        let header = Header { payload_bytes, ..header(chunk as u64, "") };
        let chunks: Vec<&[u8]> = payload.chunks(chunk).collect();
        let part = folder.path().join("file.part");
        let write = |mut writer: ChunkWriter| {
            while let Some(chunk) = chunks.get(writer.next() as usize) {
                writer.write(chunk).unwrap();
            }
            writer.finish().unwrap();
        };
        write(ChunkWriter::resume(&path, &header, Secrecy::Public).unwrap());
        let mut left = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        // A bit of what is left was changed, or of what was cut off.
        let (start, at) = (left.len(), damage.index(left.len()));
        left[at] ^= 1;
        left.truncate(cut.index(start));
        let start = start - payload.len() - 32 * chunks.len();
        let whole = |bytes: usize| bytes.saturating_sub(start) / (chunk + 32);
        std::fs::write(&part, &left).unwrap();
        let writer = ChunkWriter::resume(&path, &header, Secrecy::Public).unwrap();
        prop_assert_eq!(writer.next() as usize, whole(left.len().min(at)));
        write(writer);
        prop_assert_eq!(read_file(&path, "a kind").unwrap(), (header, payload));
    }

    #[test]
    fn orders_are_those_of_their_purpose(purposes in (".{0,9}", ".{0,9}"), len in 20..200usize) {
        let (order, other) = (KEY.order(&purposes.0, len), KEY.order(&purposes.1, len));
        prop_assert_eq!(order.iter().collect::<HashSet<_>>().len(), len);
        prop_assert!(order.iter().all(|&i| i < len));
        prop_assert_eq!(&KEY.order(&purposes.0, len), &order);
        prop_assert_eq!(order == other, purposes.0 == purposes.1);
    }

    #[test]
    fn digests_are_those_of_their_data(
        data in prop::collection::vec(any::<u8>(), 0..40),
        at in any::<prop::sample::Index>(),
    ) {
        let digest = KEY.digest(&data);
        prop_assert_eq!(&digest, &KEY.digest(&data));
        let mut other = data;
        match at.index(other.len() + 1) {
            end if end == other.len() => other.push(0),
            at => other[at] ^= 1,
        }
        prop_assert_ne!(digest, KEY.digest(&other));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn deterministic_encryptions_are_equal_for_equal_uses_only(
        purposes in ("[ab ]{0,3}", "[ab ]{0,3}"),
        messages in (prop::collection::vec(0..2u64, 1..4), prop::collection::vec(0..2u64, 1..4)),
    ) {
        let of = |purpose: &str, message: &[u64]| {
            KEY.deterministic(purpose).encrypt_values(message, 0).unwrap().to_bytes().unwrap()
        };
        let one = of(&purposes.0, &messages.0);
        prop_assert_eq!(&of(&purposes.0, &messages.0), &one);
        let same = (&purposes.0, &messages.0) == (&purposes.1, &messages.1);
        prop_assert_eq!(of(&purposes.1, &messages.1) == one, same);
        let fresh = || KEY.encrypt_values(&messages.0).unwrap().to_bytes().unwrap();
        prop_assert_ne!(fresh(), fresh());
    }

    #[test]
    fn a_data_set_that_was_stopped_is_the_one_that_was_not(
        samples in 1..6usize,
        batch in 1..3usize,
        stops in prop::collection::vec(any::<bool>(), 6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let shape = shape(samples, batch);
        let write = |name: &str, stops: &[bool]| {
            let path = folder.path().join(name);
            let create = || DatasetWriter::deterministic(&path, &KEY, &shape).unwrap();
            let mut writer = create();
            for stop in stops.iter().take(samples.div_ceil(batch)) {
                let first = writer.next_sample();
                let samples = first..samples.min(first + batch);
                let samples: Vec<_> = samples.map(|i| (vec![i as i32; 512], vec![1])).collect();
                writer.write_batch(&samples).unwrap();
                if *stop {
                    drop(writer);
                    writer = create();
                }
            }
            writer.finish().unwrap();
            std::fs::read(path).unwrap()
        };
        prop_assert!(write("stopped", &stops) == write("in one go", &[false; 6]));
    }
}

fn shape(samples: usize, batch: usize) -> DatasetShape {
    DatasetShape {
        name: "a set".into(),
        samples,
        values: 1,
        batch,
        inputs: String::new(),
        values_log2: -31,
        copies: 1,
        lanes: None,
    }
}

fn header(chunk_bytes: u64, name: &str) -> Header {
    let header = Header::new("a kind", &Params::toy_insecure().unwrap(), "me", json!(name));
    Header { chunk_bytes, ..header }
}
