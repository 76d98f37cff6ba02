//! Validation sets and their ground truths.

use std::fs;

use fhe_data::imagenet::{Classes, ImageNet, ImageNetOptions};
use tempfile::TempDir;

use crate::set::{
    BY_NAME, SYNSETS, grey, listed, message, names, options, png, tar, train_folder, write,
};

/// Four pictures of a validation set, and their synsets.
fn validation() -> Vec<(&'static str, &'static str)> {
    vec![
        ("ILSVRC2012_val_00000001.JPEG", "n03000684"),
        ("ILSVRC2012_val_00000002.JPEG", "n01440764"),
        ("ILSVRC2012_val_00000003.JPEG", "n02119789"),
        ("ILSVRC2012_val_00000004.JPEG", "n01440764"),
    ]
}

/// A folder of the validation set's pictures, and an archive in the reverse order.
fn validation_sets() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let files: Vec<_> = validation().into_iter().map(|(name, _)| (name, grey())).collect();
    for (name, bytes) in &files {
        write(&root.path().join("val").join(name), bytes);
    }
    let reversed: Vec<_> = files.into_iter().rev().collect();
    write(&root.path().join("ILSVRC2012_img_val.tar"), &tar(&reversed));
    root
}

const TABLE: &str = "ImageId,PredictionString\n\
    ILSVRC2012_val_00000003,n02119789 85 1 499 272 \n\
    ILSVRC2012_val_00000001,n03000684 1 2 3 4 n03000684 5 6 7 8 \n\
    ILSVRC2012_val_00000004,n01440764 0 0 1 1\n\
    ILSVRC2012_val_00000002,n01440764 0 0 1 1\n";
/// The numbers of the synsets by [`DEVKIT`].
const NUMBERS: &str = "2\n3\n1\n3\n";
const DEVKIT: &str = "n02119789\nn03000684\nn01440764\n";

#[test]
fn validation_set_with_every_ground_truth() {
    let root = validation_sets();
    let devkit = root.path().join("devkit.txt");
    write(&devkit, DEVKIT.as_bytes());
    let per_line: String = validation().iter().map(|(_, synset)| format!("{synset}\n")).collect();
    for (name, text) in [
        ("LOC_val_solution.csv", TABLE),
        ("ILSVRC2012_validation_ground_truth.txt", NUMBERS),
        ("labels.txt", &per_line),
    ] {
        let truth = root.path().join(name);
        write(&truth, text.as_bytes());
        let ground_truth = (name == "labels.txt").then(|| truth.clone());
        let options = ImageNetOptions {
            ground_truth,
            devkit_synsets: Some(devkit.clone()),
            ..ImageNetOptions::default()
        };
        let mut wanted: Vec<_> =
            validation().into_iter().map(|(name, _)| name).zip([2, 0, 1, 0]).collect();
        for path in ["val", "ILSVRC2012_img_val.tar"] {
            let path = root.path().join(path);
            let set = ImageNet::validation(&path, &options).unwrap();
            assert_eq!(
                (set.total(), set.classes().synsets()),
                (Some(4), &SYNSETS.map(str::to_owned)[..])
            );
            assert_eq!(names(&listed(set.pictures())), wanted, "{name}");
            let one = ImageNetOptions { per_class: Some(1), ..options.clone() };
            let one = ImageNet::validation(&path, &one).unwrap();
            assert_eq!(
                (set.counts(), one.counts()),
                ([2, 1, 1].map(Some).into(), vec![Some(1); 3])
            );
            let last = wanted.iter().rposition(|(_, label)| *label == 0).unwrap();
            let mut kept = wanted.clone();
            kept.remove(last);
            assert_eq!((names(&listed(one.pictures())), one.total()), (kept, Some(3)), "{name}");
            wanted.reverse();
        }
        fs::remove_file(truth).unwrap();
    }
    // A table may have lines of other pictures too.
    write(&root.path().join("LOC_val_solution.csv"), TABLE.as_bytes());
    fs::remove_file(root.path().join("val").join(validation()[1].0)).unwrap();
    let set = ImageNet::validation(&root.path().join("val"), &options()).unwrap();
    assert_eq!(set.total(), Some(3));
}

#[test]
fn validation_set_that_is_sorted_already() {
    let root = tempfile::tempdir().unwrap();
    train_folder(root.path());
    fs::create_dir(root.path().join("n09999999")).unwrap();
    let set = ImageNet::validation(root.path(), &options()).unwrap();
    assert_eq!((names(&listed(set.pictures())), set.classes().len()), (BY_NAME.to_vec(), 4));
    // There is nothing to train on.
    let error = message(ImageNet::train(root.path(), &options()));
    assert!(error.ends_with("n09999999: no file ending in .JPEG, .jpg or .png"), "{error}");
}

#[test]
fn tiny_imagenet() {
    let root = tempfile::tempdir().unwrap();
    let (train, val) = (root.path().join("train"), root.path().join("val"));
    for synset in SYNSETS {
        write(&train.join(synset).join(format!("images/{synset}_0.JPEG")), &grey());
        write(&train.join(synset).join(format!("{synset}_boxes.txt")), b"x");
    }
    write(&val.join("images/val_0.JPEG"), &grey());
    write(&val.join("images/val_1.JPEG"), &png());
    let lines = "val_0.JPEG\tn02119789\t0\t32\t44\t62\nval_1.JPEG\tn01440764\t0\t0\t63\t63\n";
    write(&val.join("val_annotations.txt"), lines.as_bytes());
    let set = ImageNet::train(&train, &options()).unwrap();
    assert_eq!(set.total(), Some(3));
    let options = ImageNetOptions { classes: Some(set.classes().clone()), ..options() };
    let set = ImageNet::validation(&val, &options).unwrap();
    assert_eq!(names(&listed(set.pictures())), [("val_0.JPEG", 1), ("val_1.JPEG", 0)]);
}

#[test]
fn bad_ground_truths() {
    let root = validation_sets();
    let val = root.path().join("val");
    let error = message(ImageNet::validation(&val, &options()));
    assert!(error.contains("val: no file of LOC_val_solution.csv, val_annotations.txt"), "{error}");
    let (truth, devkit) = (root.path().join("truth.txt"), root.path().join("devkit.txt"));
    let ascending: String = (0..1000).map(|n| format!("n{n:08}\n")).collect();
    let cases = [
        (NUMBERS, None, "truth.txt: numbers in the development kit's order, expected with them a"),
        (NUMBERS, Some(ascending.as_str()), "devkit.txt: 1000 synsets in ascending order"),
        ("2\n3\n1\n", Some(DEVKIT), "truth.txt: 3 records, expected 4"),
        ("2\n3\n1\n4\n", Some(DEVKIT), "truth.txt: record 3: label 4, expected 1 to 3"),
        ("2\n0\n1\n3\n", Some(DEVKIT), "truth.txt: record 1: label 0, expected 1 to 3"),
        ("2\nx\n1\n3\n", Some(DEVKIT), "truth.txt: record 1: label x, expected 1 to 3"),
        ("a,n01440764\nb,cat\n", None, "truth.txt: line 2, column 1: \"cat\", expected a synset"),
        ("a,n01440764\na,n02119789\n", None, "line 2, column 1: \"a\", expected each picture once"),
        ("a,n01440764\nb,n02119789\n", None, "00000001.JPEG: a picture without ground truth"),
        ("n01440764\n", None, "truth.txt: 1 synsets, expected at least 2"),
        ("", None, "truth.txt: 0 synsets, expected at least 2"),
    ];
    for (text, list, wanted) in cases {
        write(&truth, text.as_bytes());
        write(&devkit, list.unwrap_or_default().as_bytes());
        let options = ImageNetOptions {
            ground_truth: Some(truth.clone()),
            devkit_synsets: list.map(|_| devkit.clone()),
            ..ImageNetOptions::default()
        };
        let error = message(ImageNet::validation(&val, &options));
        assert!(error.contains(wanted), "{error}");
    }
    // Nothing to read: another folder than the pictures'.
    let empty = root.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let options =
        ImageNetOptions { ground_truth: Some(truth.clone()), ..ImageNetOptions::default() };
    write(&truth, TABLE.as_bytes());
    let error = message(ImageNet::validation(&empty, &options));
    assert!(error.ends_with("empty: no file ending in .JPEG, .jpg or .png"), "{error}");
    // A synset that is none of the classes given.
    let classes = Some(Classes::new(["n01440764", "n02119789"]).unwrap());
    let options = ImageNetOptions {
        classes,
        ground_truth: Some(truth.clone()),
        ..ImageNetOptions::default()
    };
    let error = message(ImageNet::validation(&val, &options));
    assert!(error.contains("line 3, column 1: \"n03000684\", expected one of the syn"), "{error}");
    // Two pictures of one number.
    fs::rename(val.join(validation()[3].0), val.join("again_00000001.JPEG")).unwrap();
    write(&truth, b"n01440764\nn02119789\nn01440764\nn01440764\n");
    let options = ImageNetOptions { classes: None, ..options };
    let error = message(ImageNet::validation(&val, &options));
    assert!(error.contains("00000001.JPEG: a second picture, expected one"), "{error}");
}
