//! Containers of `fhe_core`: keys, data sets, messages.

use anyhow::Result;
use fhe_core::client::ClientKey;
use fhe_core::server::EvaluationKeys;
use fhe_core::store::{
    Dataset, DatasetShape, DatasetWriter, EncryptedQuery, EncryptedValues, Header, Lanes, Message,
    Secrecy, read_file, read_from, write_file,
};
use fhe_core::{Cpu, Params, ParamsSpec};
use fhe_fuzz::{File, Form, Fuzz};
use serde_json::json;

use crate::{Folder, tiny, tiny_key};

#[test]
fn parameter_sets() -> Result<()> {
    let fuzz = Fuzz::of("parameter-set");
    let mut files = Vec::new();
    let sets = [tiny()?, Params::secure128()?, Params::secure128_deep()?, Params::secure128_bnn()?];
    for params in sets.iter().chain([&Params::toy_insecure_batch()?]) {
        files.push(File::new("params.json", Form::Json, serde_json::to_vec(&**params)?));
    }
    fuzz.run(&files, |_, bytes| {
        let params = Params::new(serde_json::from_slice::<ParamsSpec>(bytes)?)?;
        let _ = (params.hash(), params.selector_bound(), params.lookup_path(1000));
        let _ = (params.batch_values(), EvaluationKeys::max_payload(&params));
        Ok(())
    })
}

#[test]
fn containers() -> Result<()> {
    let fuzz = Fuzz::of("container");
    let folder = Folder::new()?;
    let path = folder.path().join("file");
    let header = Header { chunk_bytes: 100, ..Header::new("a kind", &tiny()?, "me", json!({})) };
    write_file(&path, header, Secrecy::Public, &[7; 350])?;
    let file = File::new("file", Form::Container, std::fs::read(&path)?);
    fuzz.run(&[file], |name, bytes| {
        let streamed = read_from(bytes, "a kind", |_| Ok(1 << 20));
        let read = read_file(&folder.put(name, bytes)?, "a kind");
        let read = read?;
        // A stream may go on behind a container; a file does not.
        assert_eq!(streamed?, read);
        Ok(())
    })
}

#[test]
fn client_keys() -> Result<()> {
    let fuzz = Fuzz::of("client-key");
    let folder = Folder::new()?;
    let path = folder.path().join("client.key");
    tiny_key()?.save(&path)?;
    let file = File::new("client.key", Form::Container, std::fs::read(&path)?);
    fuzz.run(&[file], |name, bytes| {
        ClientKey::load(&folder.put(name, bytes)?)?;
        Ok(())
    })
}

#[test]
fn evaluation_keys() -> Result<()> {
    let fuzz = Fuzz::of("evaluation-keys");
    let file = File::new("eval.keys", Form::Container, tiny_key()?.evaluation_keys().to_bytes()?);
    fuzz.run(&[file], |_, bytes| {
        let _ = Cpu::new(&EvaluationKeys::from_bytes(bytes)?);
        Ok(())
    })
}

#[test]
fn evaluation_keys_in_files() -> Result<()> {
    let fuzz = Fuzz::of("evaluation-keys-file");
    let folder = Folder::new()?;
    let file = File::new("eval.keys", Form::Container, tiny_key()?.evaluation_keys().to_bytes()?);
    fuzz.run(&[file], |name, bytes| {
        EvaluationKeys::load(&folder.put(name, bytes)?)?;
        Ok(())
    })
}

#[test]
fn queries() -> Result<()> {
    let fuzz = Fuzz::of("query");
    let key = tiny_key()?;
    let engine = Cpu::new(&key.evaluation_keys());
    let query = key.encrypt_query(&[vec![1; 64], vec![-2; 64]])?;
    let lanes = query.clone().side_by_side(100);
    let file = |query: &EncryptedQuery| -> Result<File> {
        Ok(File::new("query", Form::Container, query.to_bytes()?))
    };
    fuzz.run(&[file(&query)?, file(&lanes)?], |_, bytes| {
        let query = EncryptedQuery::from_bytes(bytes)?;
        assert!(!query.is_empty());
        query.open(&engine)?;
        Ok(())
    })
}

#[test]
fn values() -> Result<()> {
    let fuzz = Fuzz::of("values");
    let key = tiny_key()?;
    let engine = Cpu::new(&key.evaluation_keys());
    let seeded = key.encrypt_values(&[1 << 60, 3 << 60])?;
    let full = EncryptedValues::new(&engine, seeded.open(&engine)?)?;
    let file = |values: &EncryptedValues| -> Result<File> {
        Ok(File::new("values", Form::Container, values.to_bytes()?))
    };
    fuzz.run(&[file(&seeded)?, file(&full)?], |_, bytes| {
        let values = EncryptedValues::from_bytes(bytes)?;
        for part in values.open_in_parts(&engine, 1)? {
            assert_eq!(part?.len(), 1);
        }
        Ok(())
    })
}

fn shapes() -> [DatasetShape; 2] {
    let shape = DatasetShape {
        name: "a set".into(),
        samples: 5,
        values: 3,
        batch: 2,
        inputs: "digest".into(),
        values_log2: -31,
        copies: 1,
        lanes: None,
    };
    let lanes = Some(Lanes { samples: 2, selectors: 3 });
    [shape.clone(), DatasetShape { lanes, ..shape }]
}

/// Writes so many mini-batches.
fn write(writer: &mut DatasetWriter<'_>, shape: &DatasetShape, batches: usize) -> Result<()> {
    for _ in 0..batches {
        let samples = shape.batch.min(shape.samples - writer.next_sample());
        match shape.lanes {
            None => writer.write_batch(&vec![(vec![1; 64], vec![5; 3]); samples])?,
            Some(lanes) => {
                writer.write_lanes(
                    &vec![vec![5; 3]; samples],
                    &vec![vec![1; 64]; lanes.count(samples)],
                )?;
            }
        }
    }
    Ok(())
}

#[test]
fn data_sets() -> Result<()> {
    let fuzz = Fuzz::of("data-set");
    let (folder, key) = (Folder::new()?, tiny_key()?);
    let engine = Cpu::new(&key.evaluation_keys());
    let mut files = Vec::new();
    for shape in shapes() {
        let path = folder.path().join(format!("made-{}", files.len()));
        let mut writer = DatasetWriter::create(&path, &key, &shape)?;
        write(&mut writer, &shape, 3)?;
        writer.finish()?;
        files.push(File::new("data", Form::Container, std::fs::read(&path)?));
    }
    fuzz.run(&files, |name, bytes| {
        let data = Dataset::open(&folder.put(name, bytes)?, key.params(), &key.id())?;
        for index in 0..data.batches().min(4) {
            let (_, rows) = data.batch(&engine, index)?;
            let samples = data.shape().samples_of(index);
            assert_eq!(rows.len(), data.shape().layout(key.params(), samples).rows());
        }
        Ok(())
    })
}

#[test]
fn begun_data_sets() -> Result<()> {
    let fuzz = Fuzz::of("begun-data-set");
    let (folder, key) = (Folder::new()?, tiny_key()?);
    let mut files = Vec::new();
    for (i, shape) in shapes().iter().enumerate() {
        let path = folder.path().join(i.to_string());
        write(&mut DatasetWriter::create(&path, &key, shape)?, shape, 2)?;
        let part = std::fs::read(path.with_extension("part"))?;
        files.push(File::new(&format!("{i}.part"), Form::Container, part));
    }
    fuzz.run(&files, |name, bytes| {
        let path = folder.put(name, bytes)?.with_extension("");
        let shape = &shapes()[usize::from(name == "1.part")];
        let writer = DatasetWriter::create(&path, &key, shape)?;
        anyhow::ensure!(writer.next_sample() > 0, "it begins anew");
        assert!(writer.next_sample() <= 4);
        Ok(())
    })
}
