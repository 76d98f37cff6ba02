//! Training sets: layouts, labels, names of classes.

use crate::set::{
    BY_ARCHIVE, BY_NAME, SYNSETS, first, grey, listed, message, names, options, synset_tar,
    train_folder, train_tar, write,
};
use fhe_data::imagenet::{Classes, ImageNet, ImageNetOptions};
use fhe_data::{Error, Progress};

#[test]
fn training_set_in_every_layout() {
    let root = tempfile::tempdir().unwrap();
    let (folder, tars) = (root.path().join("train"), root.path().join("tars"));
    let archive = root.path().join("ILSVRC2012_img_train.tar");
    train_folder(&folder);
    for (class, synset) in SYNSETS.iter().enumerate() {
        write(&tars.join(format!("{synset}.tar")), &synset_tar(class));
    }
    write(&archive, &train_tar());
    for (path, total, order) in
        [(&folder, Some(6), BY_NAME), (&tars, None, BY_ARCHIVE), (&archive, None, BY_ARCHIVE)]
    {
        let set = ImageNet::train(path, &options()).unwrap();
        assert_eq!(set.total(), total);
        assert_eq!(set.classes().synsets(), SYNSETS);
        assert_eq!(set.classes().names(), SYNSETS);
        assert_eq!(names(&listed(set.pictures())), order, "{}", path.display());
        // A second run is like the first one.
        assert_eq!(names(&listed(set.pictures())), order);
        let two = ImageNet::train(path, &first(2)).unwrap();
        let kept: Vec<_> = [0, 1, 3, 4, 5].map(|at| order[at]).into();
        assert_eq!(names(&listed(two.pictures())), kept);
        assert_eq!(two.total(), total.map(|_| 5));
        let known = |counts: [u64; 3]| counts.map(|count| total.map(|_| count)).to_vec();
        assert_eq!((set.counts(), two.counts()), (known([3, 1, 2]), known([2, 1, 2])));
    }
    // Progress is in pictures where their number is known.
    let set = ImageNet::train(&folder, &options()).unwrap();
    let mut pictures = set.pictures();
    assert!(pictures.by_ref().take(4).all(|raw| raw.is_ok()));
    assert_eq!(pictures.progress(), Progress { stage: "pictures", done: 4, total: 6 });
    let mut pictures = ImageNet::train(&archive, &options()).unwrap().pictures();
    assert_eq!(pictures.progress(), Progress { stage: "classes", done: 0, total: 3 });
    assert!(pictures.by_ref().take(4).all(|raw| raw.is_ok()));
    assert_eq!(pictures.progress(), Progress { stage: "classes", done: 1, total: 3 });
    assert_eq!(pictures.by_ref().count(), 2);
    assert_eq!(pictures.progress(), Progress { stage: "classes", done: 3, total: 3 });
}

#[test]
fn labels_count_the_classes_given() {
    let root = tempfile::tempdir().unwrap();
    train_folder(&root.path().join("train"));
    let mapping = root.path().join("synsets.txt");
    // Not ascending: the order of the lines does not matter.
    write(
        &mapping,
        b"n09999999 last\nn03000684 chain saw, chainsaw\n\nn01440764 tench, Tinca tinca\n\
          n00000001 first\nn02119789\tkit fox\n",
    );
    let classes = Classes::read(&mapping).unwrap();
    assert_eq!((classes.len(), classes.label("n02119789"), classes.label("x")), (5, Some(2), None));
    assert_eq!(
        classes.names(),
        ["first", "tench, Tinca tinca", "kit fox", "chain saw, chainsaw", "last"]
    );
    let options = ImageNetOptions { classes: Some(classes), ..options() };
    let set = ImageNet::train(&root.path().join("train"), &options).unwrap();
    let labels: Vec<u32> = listed(set.pictures()).into_iter().map(|(_, label)| label).collect();
    assert_eq!(labels, [1, 1, 1, 2, 3, 3]);
    assert_eq!(set.counts(), [0, 3, 1, 2, 0].map(Some));
    // A folder that is none of the classes.
    let two = Some(Classes::new(["n01440764", "n02119789"]).unwrap());
    let options = ImageNetOptions { classes: two, ..options };
    let error = message(ImageNet::train(&root.path().join("train"), &options));
    assert!(error.ends_with("n03000684 is not one of the 2 synsets given"), "{error}");
    for (text, wanted) in [
        (&b"n01440764 a\ntench\n"[..], "line 2, column 1: \"tench\", expected a synset"),
        (b"n01440764 a\nn02119789 b\n\nn01440764 c", "line 4, column 1: \"n01440764\", expected"),
    ] {
        write(&mapping, text);
        let error = message(Classes::read(&mapping));
        assert!(error.contains(wanted), "{error}");
    }
    let error = message(Classes::new(["n0144076"]));
    assert_eq!(error, "class n0144076 is not one of the synsets: n and eight digits");
}

#[test]
fn names_are_found_beside_the_set() {
    let root = tempfile::tempdir().unwrap();
    let train = root.path().join("train");
    train_folder(&train);
    let read = || ImageNet::train(&train, &options()).unwrap().classes().names().to_vec();
    assert_eq!(read(), SYNSETS);
    // Names of classes that the set has not are left out, and a class may have none.
    let words = b"n00000001\tentity\nn01440764\ttench\nn03000684\tchain saw\n";
    write(&root.path().join("words.txt"), words);
    assert_eq!(read(), ["tench", "n02119789", "chain saw"]);
    write(&train.join("LOC_synset_mapping.txt"), b"n02119789 kit fox, Vulpes macrotis\n");
    assert_eq!(read(), ["n01440764", "kit fox, Vulpes macrotis", "n03000684"]);
    assert_eq!(ImageNet::train(&train, &options()).unwrap().pictures().skipped().len(), 1);
}

#[test]
fn sets_need_two_synsets() {
    let root = tempfile::tempdir().unwrap();
    let error = message(ImageNet::train(root.path(), &options()));
    assert!(error.ends_with(": 0 synsets, expected at least 2"), "{error}");
    write(&root.path().join("n01440764/a.JPEG"), &grey());
    write(&root.path().join("cats/a.JPEG"), &grey());
    let error = message(ImageNet::train(root.path(), &options()));
    assert!(error.ends_with(": 1 synsets, expected at least 2"), "{error}");
    write(&root.path().join("n01440764.tar"), &synset_tar(0));
    let error = message(ImageNet::train(root.path(), &options()));
    assert!(error.contains("a synset for the second time"), "{error}");
    let nowhere = ImageNet::train(&root.path().join("none"), &options());
    assert!(matches!(nowhere, Err(Error::Io { .. })));
}
