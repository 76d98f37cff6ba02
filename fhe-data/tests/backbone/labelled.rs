//! Features of pictures that are read one after another, with their labels.

use std::cell::RefCell;

use fhe_data::backbone::LabelledPicture;
use fhe_data::imagenet::{ImageNet, ImageNetOptions, Preparation, RawPicture};
use fhe_data::{LabelledFile, Progress, folder_files};

use super::*;

/// Writes PNG files of two classes in turn, `root/CLASS/000.png` and so on, of 20 x 10 pixels.
fn write(root: &Path, classes: [&str; 2], count: u32) {
    for (i, small) in pictures(count).iter().enumerate() {
        let folder = root.join(classes[i % 2]);
        fs::create_dir_all(&folder).unwrap();
        let large = RgbImage::from_fn(20, 10, |x, y| *small.get_pixel(x % 4, y % 4));
        large.save(folder.join(format!("{i:03}.png"))).unwrap();
    }
}

const SYNSETS: [&str; 2] = ["n01440764", "n02119789"];

#[test]
fn pictures_of_imagenet_are_prepared_as_such() {
    let backbone = open("planes.onnx", &uneven());
    let folder = tempfile::tempdir().unwrap();
    let (root, features) = (folder.path().join("train"), folder.path().join("features"));
    write(&root, SYNSETS, 9);
    let set = ImageNet::train(&root, &ImageNetOptions::default()).unwrap();
    let cache = FeatureCache::open(&features).unwrap();
    let told = RefCell::new(Vec::new());
    let tell = |stream: &fhe_data::imagenet::Pictures| told.borrow_mut().push(stream.progress());
    let (found, labels) = cache.labelled(&backbone, &mut set.pictures(), &tell).unwrap();
    assert_eq!(labels, [0, 0, 0, 0, 0, 1, 1, 1, 1]);
    let done = |done| Progress { stage: "pictures", done, total: 9 };
    assert_eq!(told.into_inner(), [0, 9, 9].map(done));

    // The network takes 4 x 4: the shorter side becomes 5, and the centre is cropped.
    let preparation = Preparation::scaled(4).unwrap();
    assert_eq!(preparation, Preparation::new(5, 4).unwrap());
    let decoded: Vec<_> = set.pictures().map(|raw| raw.unwrap().decode().unwrap()).collect();
    let image = |picture| {
        let planes = preparation.apply(picture).unwrap();
        RgbImage::from_fn(4, 4, |x, y| Rgb([0, 16, 32].map(|c| planes[c + (4 * y + x) as usize])))
    };
    let prepared: Vec<RgbImage> = decoded.iter().map(image).collect();
    assert_eq!(found, backbone.features(&prepared).unwrap());
    let files: Vec<PathBuf> = decoded.iter().map(|picture| picture.file().to_path_buf()).collect();
    assert_ne!(found, backbone.features(&files).unwrap(), "files by themselves are not cropped");
    let one = RawPicture::read(&files[3], 7).unwrap();
    assert_eq!((one.label(), LabelledPicture::label(&one)), (7, 7));
    assert_eq!(backbone.features(&[one]).unwrap().row(0), found.row(3));
    let wide = ImageShape { channels: 3, height: 4, width: 5 };
    let refused = RawPicture::read(&files[0], 0).unwrap().planes(wide).unwrap_err().to_string();
    assert_eq!(refused, "RawPicture::planes: images of 3x4x5, expected 3x4x4");
}

#[test]
fn a_stream_goes_on_after_an_interruption() {
    let backbone = open("planes.onnx", &uneven());
    let folder = tempfile::tempdir().unwrap();
    let (root, features) = (folder.path().join("train"), folder.path().join("features"));
    write(&root, SYNSETS, 600);
    let set = ImageNet::train(&root, &ImageNetOptions::default()).unwrap();
    let cache = FeatureCache::open(&features).unwrap();
    let read = || cache.labelled(&backbone, &mut set.pictures(), &|_| ());
    let files = || fs::read_dir(&features).unwrap().count();
    // The last picture is damaged: the features of the first 512 stay.
    let last = root.join(SYNSETS[1]).join("599.png");
    let whole = fs::read(&last).unwrap();
    fs::write(&last, &whole[..whole.len() / 2]).unwrap();
    let error = read().unwrap_err().to_string();
    assert!(error.starts_with("picture 599: ") && error.contains("599.png: "), "{error}");
    assert_eq!(files(), 2);
    fs::write(&last, &whole).unwrap();
    let (found, labels) = read().unwrap();
    assert_eq!((found.dim(), labels.len(), files()), ((600, 2), 600, 3));
    // Another picture is another file: the two before it are those of before.
    fs::write(&last, fs::read(root.join(SYNSETS[1]).join("001.png")).unwrap()).unwrap();
    let (other, _) = read().unwrap();
    assert_eq!((files(), other.row(599)), (4, found.row(300)));
    assert_eq!(other.slice(s![..599, ..]), found.slice(s![..599, ..]));
}

#[test]
fn files_of_a_folder_are_a_stream() {
    let backbone = open("planes.onnx", &uneven());
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("images");
    write(&root, ["blue", "red"], 10);
    let files = folder_files(&root, 0.2, 3).unwrap().train;
    let cache = FeatureCache::open(&folder.path().join("features")).unwrap();
    let mut stream = files.clone().into_iter().map(Ok);
    let (found, labels) = cache.labelled(&backbone, &mut stream, &|_| ()).unwrap();
    // What cannot be read ends it.
    let failed = Error::TooFewRows { op: "test", got: 0, wanted: 1 };
    let mut broken = files.clone().into_iter().map(Ok).chain([Err(failed)]);
    let error = cache.labelled(&backbone, &mut broken, &|_| ()).unwrap_err();
    assert!(matches!(error, Error::TooFewRows { op: "test", .. }), "{error}");
    let (paths, wanted): (Vec<PathBuf>, Vec<u32>) =
        files.into_iter().map(|LabelledFile { path, label }| (path, label)).unzip();
    assert_eq!((found, labels), (backbone.features(&paths).unwrap(), wanted));
}
