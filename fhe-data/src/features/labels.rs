//! Labels and the names of their classes.

use std::collections::BTreeSet;

use crate::{Error, Result};

/// The class of each sample, by number, and the classes' names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// The class of each sample: an index of `class_names`.
    pub labels: Vec<u32>,
    /// The classes, sorted: as integers if all are integers, else as text.
    pub class_names: Vec<String>,
}

impl Labels {
    /// Numbers the classes that occur in the order of their names.
    ///
    /// ```
    /// use fhe_data::Labels;
    ///
    /// let labels = Labels::from_names(&["10", "9", "10"]);
    /// assert_eq!(labels.labels, [1, 0, 1]);
    /// assert_eq!(labels.class_names, ["9", "10"]);
    /// ```
    #[must_use]
    pub fn from_names<S: AsRef<str>>(names: &[S]) -> Self {
        let distinct: BTreeSet<&str> = names.iter().map(AsRef::as_ref).collect();
        let mut classes: Vec<&str> = distinct.into_iter().collect();
        let integer = |name: &&str| name.parse::<i64>().ok();
        if classes.iter().all(|name| integer(name).is_some()) {
            classes.sort_by_key(integer);
        }
        let index: std::collections::HashMap<&str, u32> =
            classes.iter().copied().zip(0..).collect();
        Self {
            labels: names.iter().filter_map(|name| index.get(name.as_ref()).copied()).collect(),
            class_names: classes.into_iter().map(str::to_owned).collect(),
        }
    }

    /// Numbers the same classes as another set does: those of test samples as those of training
    /// samples, even if some do not occur.
    ///
    /// # Errors
    /// [`Error::UnknownClass`] for a class that is not in `class_names`.
    pub fn with_classes(self, class_names: &[String]) -> Result<Self> {
        let mut index = Vec::with_capacity(self.class_names.len());
        for name in &self.class_names {
            match class_names.iter().zip(0u32..).find(|(known, _)| *known == name) {
                Some((_, label)) => index.push(label),
                None => {
                    let known = class_names.join(", ");
                    return Err(Error::UnknownClass { name: name.clone(), known });
                }
            }
        }
        let label = |&old: &u32| index.get(old as usize).copied();
        let labels = self.labels.iter().filter_map(label).collect();
        Ok(Self { labels, class_names: class_names.to_vec() })
    }
}
