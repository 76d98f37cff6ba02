//! A folder of image files, one subfolder a class.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::{Error, ImageSet, ImageShape, Progress, Result, Split, image_file};

/// Endings of the names of image files, in small or large letters.
const ENDINGS: [&str; 3] = ["png", "jpg", "jpeg"];
/// Files that are decoded between two reports of progress.
const BLOCK: usize = 256;

/// How a folder of images becomes a data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FolderOptions {
    /// The shape of every image: cropped and resized as [`image_file::read`] does.
    pub shape: ImageShape,
    /// The part of each class that becomes test images, 0 to below 1; without meaning where the
    /// folder has subfolders `train` and `test`.
    pub test_share: f64,
    /// Seed of the order of the images and of the choice of test images.
    pub seed: u64,
}

impl FolderOptions {
    /// A fifth of each class to test on, seed 0.
    #[must_use]
    pub fn new(shape: ImageShape) -> Self {
        Self { shape, test_share: 0.2, seed: 0 }
    }
}

/// The image files of a folder, none of which has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderFiles {
    /// Files to train on.
    pub train: Vec<LabelledFile>,
    /// Files to test on.
    pub test: Vec<LabelledFile>,
    /// The name of each class, by label.
    pub class_names: Vec<String>,
    /// As [`ImageFolder::skipped`].
    pub skipped: Vec<PathBuf>,
}

/// An image file and its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledFile {
    /// The file.
    pub path: PathBuf,
    /// The number of the class, from 0.
    pub label: u32,
}

/// What a folder of images held.
#[derive(Clone, Debug)]
pub struct ImageFolder {
    /// The images.
    pub split: Split,
    /// Files and folders among the images that are none by their names, in order; hidden ones
    /// are not listed.
    pub skipped: Vec<PathBuf>,
}

/// Reads PNG and JPEG files from a folder with one subfolder a class.
///
/// The classes are the subfolders' names, sorted; bytes that are no UTF-8 are shown as `\u{fffd}`.
/// If the folder has subfolders `train` and `test`, each has the subfolders of the classes; else a
/// part of each class becomes test images, and at least one image stays to train on. Hidden files
/// and folders are left out. Training and test images come in an order that the seed decides, so
/// that the classes are mixed; the same files and options give the same sets.
///
/// # Shapes
/// `[n, channels, height, width]`
///
/// # Errors
/// [`Error::Io`]; [`Error::Classes`] for less than two subfolders; [`Error::MissingFile`] for a
/// class without an image to train on; [`Error::UnknownClass`] for a class in `test` that `train`
/// has not; [`Error::Config`] for `test_share`; and those of [`image_file::read`], which name the
/// file.
///
/// ```no_run
/// use std::path::Path;
///
/// use fhe_data::{FolderOptions, ImageShape, image_folder};
///
/// let options = FolderOptions::new(ImageShape::RGB32);
/// let folder = image_folder(Path::new("flowers"), &options, &|_| ())?;
/// println!("{:?}, {} to train on", folder.split.class_names, folder.split.train.len());
/// # Ok::<(), fhe_data::Error>(())
/// ```
pub fn image_folder(
    root: &Path,
    options: &FolderOptions,
    progress: &dyn Fn(Progress),
) -> Result<ImageFolder> {
    image_file::check_shape(options.shape)?;
    let FolderFiles { train, test, class_names, skipped } =
        folder_files(root, options.test_share, options.seed)?;
    let total = (train.len() + test.len()) as u64;
    let read = |part: &str, files: Vec<LabelledFile>, done: usize| {
        let name = format!("{}, {part}", root.display());
        let report = |here: usize| {
            progress(Progress { stage: "images", done: (done + here) as u64, total });
        };
        read_files(name, &files, options.shape, &report)
    };
    let done = train.len();
    let (train, test) = (read("train", train, 0)?, read("test", test, done)?);
    Ok(ImageFolder { split: Split::new(train, test, class_names)?, skipped })
}

/// Lists the PNG and JPEG files of a folder with one subfolder a class, as [`image_folder`] reads
/// them, in its order. `test_share` and `seed` are those of [`FolderOptions`].
///
/// # Errors
/// Those of [`image_folder`], but for those of reading a file.
pub fn folder_files(root: &Path, test_share: f64, seed: u64) -> Result<FolderFiles> {
    if !(0.0..1.0).contains(&test_share) {
        let wanted = "0 to below 1";
        return Err(Error::Config { field: "test_share", got: test_share, wanted });
    }
    let mut listing = Listing::default();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (train, test, classes) = if root.join("train").is_dir() && root.join("test").is_dir() {
        let classes = classes_of(&root.join("train"))?;
        let train = listing.files(&root.join("train"), &classes)?;
        let in_test = subfolders(&root.join("test"))?;
        if let Some(name) = in_test.iter().find(|name| !classes.contains(name)) {
            let (name, known) = (lossy(name), names(&classes).join(", "));
            return Err(Error::UnknownClass { name, known });
        }
        let test = listing.files(&root.join("test"), &classes)?;
        (shuffled(train, &mut rng), shuffled(test, &mut rng), classes)
    } else {
        let classes = classes_of(root)?;
        let all = shuffled(listing.files(root, &classes)?, &mut rng);
        let (test, train) = divide(all, classes.len(), test_share);
        (train, test, classes)
    };
    require_classes(root, &classes, &train)?;
    Ok(FolderFiles { train, test, class_names: names(&classes), skipped: listing.skipped })
}

/// What was found that is no image.
#[derive(Default)]
struct Listing {
    skipped: Vec<PathBuf>,
}

impl Listing {
    /// Returns the image files of each class, by name, and their labels. A class may be missing.
    fn files(&mut self, folder: &Path, classes: &[OsString]) -> Result<Vec<LabelledFile>> {
        let mut files = Vec::new();
        self.skipped.extend(entries(folder)?.into_iter().filter(|path| !path.is_dir()));
        for (class, label) in classes.iter().zip(0..) {
            let place = folder.join(class);
            if !place.is_dir() {
                continue;
            }
            for path in entries(&place)? {
                let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
                if path.is_file() && ENDINGS.iter().any(|known| ending == *known) {
                    files.push(LabelledFile { path, label });
                } else {
                    self.skipped.push(path);
                }
            }
        }
        Ok(files)
    }
}

/// Returns what is in a folder and not hidden, sorted.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listing = || Error::io("listing", folder);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(listing())? {
        let entry = entry.map_err(listing())?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Returns the names of the folders in a folder, one a class: at least two.
fn classes_of(folder: &Path) -> Result<Vec<OsString>> {
    let names = subfolders(folder)?;
    if names.len() < 2 {
        return Err(Error::Classes { place: folder.to_path_buf(), got: names.len() });
    }
    Ok(names)
}

/// Returns the names of the folders in a folder, sorted.
fn subfolders(folder: &Path) -> Result<Vec<OsString>> {
    let folders = entries(folder)?.into_iter().filter(|path| path.is_dir());
    Ok(folders.filter_map(|path| path.file_name().map(OsString::from)).collect())
}

fn lossy(name: &OsString) -> String {
    name.to_string_lossy().into_owned()
}

fn names(classes: &[OsString]) -> Vec<String> {
    classes.iter().map(lossy).collect()
}

/// Returns a random order (Fisher and Yates).
fn shuffled<T>(mut items: Vec<T>, rng: &mut ChaCha8Rng) -> Vec<T> {
    for i in (1..items.len()).rev() {
        let j = rng.random_range(0..=i);
        items.swap(i, j);
    }
    items
}

/// Takes the first files of each class, a share of them, to test on; returns them and the others.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share below 1 of a count is a count"
)]
fn divide(
    files: Vec<LabelledFile>,
    classes: usize,
    share: f64,
) -> (Vec<LabelledFile>, Vec<LabelledFile>) {
    let mut left = vec![0usize; classes];
    for file in &files {
        left[file.label as usize] += 1;
    }
    for count in &mut left {
        *count = ((*count as f64 * share).round() as usize).min(count.saturating_sub(1));
    }
    files.into_iter().partition(|file| {
        let left = &mut left[file.label as usize];
        let test = *left > 0;
        *left = left.saturating_sub(1);
        test
    })
}

/// Checks that there is an image of every class to train on.
fn require_classes(root: &Path, classes: &[OsString], train: &[LabelledFile]) -> Result<()> {
    let mut seen = vec![false; classes.len()];
    train.iter().for_each(|file| seen[file.label as usize] = true);
    match seen.iter().position(|seen| !seen) {
        Some(at) => {
            let train = root.join("train");
            let folder = if train.is_dir() && root.join("test").is_dir() { &train } else { root };
            let field = "ending in .png, .jpg or .jpeg".into();
            Err(Error::MissingFile { place: folder.join(&classes[at]), field })
        }
        None => Ok(()),
    }
}

/// Decodes files in parallel.
fn read_files(
    name: String,
    files: &[LabelledFile],
    shape: ImageShape,
    report: &dyn Fn(usize),
) -> Result<ImageSet> {
    let mut images = Vec::new();
    let mut done = 0;
    for block in files.chunks(BLOCK) {
        let read = block.par_iter().map(|file| image_file::read(&file.path, shape));
        // Which of several errors is told does not depend on the threads: the first file's.
        for image in read.collect::<Vec<Result<Vec<u8>>>>() {
            images.extend(image?);
        }
        done += block.len();
        report(done);
    }
    let labels = files.iter().map(|file| file.label).collect();
    ImageSet::with_shape(name, shape, images, labels)
}
