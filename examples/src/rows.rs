//! Rows of features and their labels, in the clear at the client.

use anyhow::Result;
use fhe_data::{Encoded, Quantizer};
use ndarray::{Array2, s};

use crate::client::Labelled;
use crate::encoder::SampleEncoder;

/// Features and their labels.
#[derive(Clone, Debug)]
pub struct Rows {
    features: Numbers,
    labels: Vec<u32>,
}

/// Features as they came: a network of others gives many, which have half the size.
#[derive(Clone, Debug)]
pub enum Numbers {
    /// Floats of 32 bits.
    Single(Array2<f32>),
    /// Floats of 64 bits.
    Double(Array2<f64>),
}

impl Default for Rows {
    fn default() -> Self {
        Self::new(Numbers::Single(Array2::default((0, 0))), Vec::new())
    }
}

impl Rows {
    /// Takes a row of features for each label.
    #[must_use]
    pub fn new(features: Numbers, labels: Vec<u32>) -> Self {
        Self { features, labels }
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Returns the labels.
    #[must_use]
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Returns two parts by the numbers of their rows, which are all rows, each once. Rows are
    /// moved where they lie, so that only those of the second part take memory anew.
    #[must_use]
    pub fn split(self, first: Vec<usize>, second: &[usize]) -> (Self, Self) {
        let count = first.len();
        let order = [&first, second].concat();
        let Self { features, mut labels } = self;
        reorder(order.clone(), |i, j| labels.swap(i, j));
        let behind = labels.split_off(count);
        let (features, rest) = match features {
            Numbers::Single(x) => {
                let (x, rest) = divide(x, order, count);
                (Numbers::Single(x), Numbers::Single(rest))
            }
            Numbers::Double(x) => {
                let (x, rest) = divide(x, order, count);
                (Numbers::Double(x), Numbers::Double(rest))
            }
        };
        (Self::new(features, labels), Self::new(rest, behind))
    }

    /// Fits a quantizer that makes at most `n` integers of a row.
    ///
    /// # Errors
    /// Those of [`Quantizer::fit`].
    pub fn quantizer(&self, n: usize) -> fhe_data::Result<Quantizer> {
        // The constant behind the features is the bias.
        match &self.features {
            Numbers::Single(x) => Quantizer::fit(x.view(), (x.ncols() + 1).min(n)),
            Numbers::Double(x) => Quantizer::fit(x.view(), (x.ncols() + 1).min(n)),
        }
    }

    /// Adds labels and features to a hash.
    pub fn add_to(&self, hash: &mut blake3::Hasher) {
        hash.update(&(self.len() as u64).to_le_bytes());
        for label in &self.labels {
            hash.update(&label.to_le_bytes());
        }
        let mut add = |number: &[u8]| {
            hash.update(number);
        };
        match &self.features {
            Numbers::Single(x) => x.iter().for_each(|x| add(&x.to_le_bytes())),
            Numbers::Double(x) => x.iter().for_each(|x| add(&x.to_le_bytes())),
        }
    }

    /// Encodes the first rows, or all if there are fewer.
    ///
    /// # Errors
    /// Those of the encoder; an encoder of images.
    pub fn encode(&self, encoder: &SampleEncoder, count: usize) -> Result<Labelled> {
        let (quantizer, count) = (encoder.quantizer()?, count.min(self.len()));
        let features: Encoded = match &self.features {
            Numbers::Single(x) => quantizer.encode(x.slice(s![..count, ..]))?,
            Numbers::Double(x) => quantizer.encode(x.slice(s![..count, ..]))?,
        };
        Ok(Labelled { features, labels: self.labels[..count].to_vec() })
    }
}

/// Brings the rows of a matrix into an order, and returns the first ones and the others.
fn divide<T: Clone>(
    mut rows: Array2<T>,
    order: Vec<usize>,
    first: usize,
) -> (Array2<T>, Array2<T>) {
    let columns = rows.ncols();
    reorder(order, |i, j| (0..columns).for_each(|column| rows.swap([i, column], [j, column])));
    let rest = rows.slice(s![first.., ..]).to_owned();
    rows.slice_collapse(s![..first, ..]);
    (rows, rest)
}

/// Brings items into an order by exchanging two at a time: item `order[i]` comes to place i.
fn reorder(mut order: Vec<usize>, mut swap: impl FnMut(usize, usize)) {
    for start in 0..order.len() {
        let mut place = start;
        // The item of each place on the way comes from the next place, until the way is closed.
        while order[place] != start {
            let next = std::mem::replace(&mut order[place], place);
            swap(place, next);
            place = next;
        }
        order[place] = place;
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Axis;

    use super::*;

    #[test]
    fn parts_are_those_that_were_asked_for() {
        let (train, test) = fhe_data::train_test_split(50, 0.3, 7).unwrap();
        let x = Array2::from_shape_fn((50, 3), |(i, j)| (10 * i + j) as f64);
        let labels: Vec<u32> = (0..50).collect();
        // In both layouts that files have.
        for x in [x.clone(), x.t().as_standard_layout().to_owned().reversed_axes()] {
            let rows = Rows::new(Numbers::Double(x.clone()), labels.clone());
            let (first, second) = rows.split(train.clone(), &test);
            for (part, wanted) in [(first, &train), (second, &test)] {
                assert!(part.labels().iter().zip(wanted).all(|(&i, &j)| i as usize == j));
                assert_eq!((part.len(), part.is_empty()), (wanted.len(), false));
                let Numbers::Double(found) = part.features else { unreachable!() };
                assert_eq!(found, x.select(Axis(0), wanted));
            }
        }
    }
}
