//! Features that are kept in files.

use std::cell::RefCell;

use super::*;

#[test]
fn a_cache_goes_on_after_an_interruption() {
    let backbone = open("planes.onnx", &uneven());
    let folder = tempfile::tempdir().unwrap();
    let cache = FeatureCache::open(&folder.path().join("new/features")).unwrap();
    let files = || {
        let entries = fs::read_dir(folder.path().join("new/features")).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    };
    let mut pictures = pictures(600);
    let wanted = backbone.features(&pictures).unwrap();
    // The last part fails: the first two stay.
    let good = std::mem::replace(&mut pictures[599], RgbImage::new(0, 0));
    let error = cache.features(&backbone, &pictures, &|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("picture 599: "), "{error}");
    assert_eq!(files().len(), 2);
    pictures[599] = good;
    let told = RefCell::new(Vec::new());
    let tell = |progress: fhe_data::Progress| {
        assert_eq!((progress.stage, progress.total), ("features", 600));
        told.borrow_mut().push(progress.done);
    };
    assert_eq!(cache.features(&backbone, &pictures, &tell).unwrap(), wanted);
    assert_eq!(told.into_inner(), [256, 512, 600]);
    assert_eq!(files().len(), 3);
    // All from files: other features written under their names are what comes back.
    let whole = files();
    assert_eq!(cache.features(&backbone, &pictures, &|_| ()).unwrap(), wanted);
    assert_eq!(files(), whole);
    // Another backbone, or another picture, has files of its own.
    let logits = open("planes.onnx", &named("logits"));
    assert_eq!(cache.features(&logits, &pictures[..9], &|_| ()).unwrap().dim(), (9, 5));
    pictures[0].put_pixel(0, 0, Rgb([1, 2, 3]));
    let changed = cache.features(&backbone, &pictures, &|_| ()).unwrap();
    assert_eq!(changed, backbone.features(&pictures).unwrap());
    assert_eq!(files().len(), 5);
}

#[test]
fn a_damaged_file_of_a_cache_is_refused() {
    let backbone = open("planes.onnx", &uneven());
    let folder = tempfile::tempdir().unwrap();
    let cache = FeatureCache::open(folder.path()).unwrap();
    let pictures = pictures(4);
    let wanted = cache.features(&backbone, &pictures, &|_| ()).unwrap();
    let file = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&file, &damaged).unwrap();
    let refused = || cache.features(&backbone, &pictures, &|_| ()).unwrap_err();
    assert!(matches!(refused(), Error::Checksum { .. }), "{}", refused());
    fs::write(&file, &whole[..whole.len() - 4]).unwrap();
    assert!(matches!(refused(), Error::Malformed { .. }), "{}", refused());
    fs::write(&file, &whole).unwrap();
    assert_eq!(cache.features(&backbone, &pictures, &|_| ()).unwrap(), wanted);
}
