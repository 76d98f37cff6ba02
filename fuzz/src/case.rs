//! What is changed of a file.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::edit::{self, Edit};
use crate::tree::{self, TreeEdit};

/// An input: which file, and what is changed of it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Which of the real files.
    pub(crate) file: Index,
    /// Whether the file is changed as it lies there, whatever its form.
    pub(crate) plain: bool,
    /// Whether lengths and checksums are made to fit what was changed.
    pub(crate) fit: bool,
    /// Whether only that tree is changed in which a file says what it is for.
    pub(crate) inner: bool,
    /// Changes of what is a tree in it.
    pub(crate) tree: Vec<TreeEdit>,
    /// Changes of its other bytes.
    pub(crate) bytes: Vec<Edit>,
}

/// Returns inputs.
pub(crate) fn cases() -> impl Strategy<Value = Case> {
    let bytes = prop_oneof![1 => Just(Vec::new()), 2 => edit::edits()];
    let (plain, fit) = (prop::bool::weighted(0.2), prop::bool::weighted(0.9));
    let flags = (plain, fit, any::<bool>());
    (any::<Index>(), flags, tree::edits(), bytes).prop_map(
        |(file, (plain, fit, inner), tree, bytes)| Case { file, plain, fit, inner, tree, bytes },
    )
}
