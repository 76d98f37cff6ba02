//! Where mini-batches come from.

use std::ops::Range;

use fhe_core::store::{Dataset, ValueLayout};
use fhe_core::{Clear, Cpu, Engine, Meter, Params};
use ndarray::ArrayView2;

use crate::head_recipe::MOST_CLASSES;
use crate::samples::Samples;
use crate::squared_norm;
use crate::{Error, Lanes, MiniBatch, OneVsAll, Recipe, Result};

/// Largest number of samples whose training is priced.
const MOST_SAMPLES: usize = 1 << 24;

/// Where mini-batches come from.
pub trait Source<E: Engine> {
    /// Returns the number of mini-batches of one pass; 0 if there is no sample.
    fn batches(&self) -> usize;

    /// Returns the number of samples of a mini-batch; the last one may have fewer.
    fn batch_size(&self) -> usize;

    /// Returns the mini-batch of a step, from 0 on; after the last one comes the first one.
    ///
    /// # Errors
    /// Those of the data; [`Error::Data`] if there is no sample.
    fn batch(&self, engine: &E, step: usize) -> Result<MiniBatch<E>>;
}

/// Refuses a source that has no mini-batches, or a mini-batch that is empty or too large.
pub(crate) fn check_batch<E: Engine>(source: &impl Source<E>, samples: usize) -> Result<()> {
    let fail = |what, got, expected| Err(Error::Data { op: "training", what, got, expected });
    let most = source.batch_size();
    if source.batches() == 0 {
        return fail("the number of mini-batches", 0, "at least 1".into());
    }
    if !(1..=most).contains(&samples) {
        let what = "the number of samples of a mini-batch";
        return fail(what, samples, format!("1 to {most}"));
    }
    Ok(())
}

/// Features and labels in the clear, for the twin.
///
/// One that is made by hand is checked when a mini-batch is taken.
#[derive(Clone, Debug)]
pub struct ClearSource {
    /// Samples of a mini-batch.
    pub batch: usize,
    /// Number of classes.
    pub classes: usize,
    /// Times that each sample is there, one copy of all after the other; a pass takes one copy.
    pub copies: usize,
    /// How samples lie side by side; if they do not, each is a polynomial.
    pub lanes: Option<Lanes>,
    /// Features of each sample: N integers, or those of its map.
    pub features: Vec<Vec<i32>>,
    /// Class of each sample.
    pub labels: Vec<u32>,
    /// [`crate::Recipe::label_log2`].
    pub label_log2: i32,
}

impl ClearSource {
    /// Takes samples and their classes, in mini-batches of `batch`; of a recipe with mirror images,
    /// all images and then all mirror images.
    ///
    /// # Errors
    /// [`Error::Data`] and [`Error::Label`] if they do not fit the recipe; those of
    /// [`Recipe::check`].
    pub fn new(
        params: &Params,
        recipe: &Recipe,
        (x, labels): (ArrayView2<'_, i8>, &[u32]),
        batch: usize,
    ) -> Result<Self> {
        recipe.check(params)?;
        let data = Samples::new("ClearSource::new", recipe, params.row_size, x, labels)?;
        data.check_batches(recipe, batch)?;
        Ok(Self {
            batch,
            classes: recipe.classes(),
            copies: recipe.copies(),
            lanes: recipe.lanes(params)?,
            features: (0..data.len()).map(|i| data.features(i, recipe, params.row_size)).collect(),
            labels: data.labels.to_vec(),
            label_log2: recipe.label_log2(),
        })
    }

    /// Returns the label values of one sample, a class each. A label that is no class is none of
    /// them.
    #[must_use]
    pub fn label_values(label: u32, classes: usize, log2: i32) -> Vec<u64> {
        (0..classes).map(|k| OneVsAll::label(k == label as usize, log2)).collect()
    }

    /// Returns the samples of a step's mini-batch.
    fn range(&self, step: usize) -> Range<usize> {
        let first = step % self.features.len().div_ceil(self.batch) * self.batch;
        first..first.saturating_add(self.batch).min(self.features.len())
    }

    fn check(&self) -> Result<()> {
        let op = "ClearSource";
        let fail = |what, got, expected| Err(Error::Data { op, what, got, expected });
        let samples = self.features.len();
        if self.batch == 0 {
            return fail("the number of samples of a mini-batch", 0, "at least 1".into());
        }
        if samples == 0 {
            return fail("the number of samples", 0, "at least 1".into());
        }
        if self.labels.len() != samples {
            let expected = format!("{samples}, one a sample");
            return fail("the number of labels", self.labels.len(), expected);
        }
        let whole = self.copies.checked_mul(self.batch);
        if self.copies != 1 && !whole.is_some_and(|w| w > 0 && samples.is_multiple_of(w)) {
            let expected = format!("copies with whole mini-batches of the {samples} samples");
            return fail("the number of copies", self.copies, expected);
        }
        Ok(())
    }
}

impl Source<Clear> for ClearSource {
    fn batches(&self) -> usize {
        self.features.len().div_ceil(self.batch.max(1)) / self.copies.max(1)
    }

    fn batch_size(&self) -> usize {
        self.batch
    }

    fn batch(&self, engine: &Clear, step: usize) -> Result<MiniBatch<Clear>> {
        self.check()?;
        let range = self.range(step);
        let (op, classes) = ("ClearSource", self.classes);
        if let Some(i) = range.clone().find(|&i| self.labels[i] as usize >= classes) {
            return Err(Error::Label { op, index: i, classes });
        }
        let (labels, samples) = (&self.labels[range.clone()], &self.features[range]);
        let (params, n) = (engine.params(), engine.params().row_size);
        let layout = ValueLayout::new(params, labels.len(), classes);
        let mut phases = vec![0; layout.rows() * n];
        for (i, &label) in labels.iter().enumerate() {
            let values = Self::label_values(label, classes, self.label_log2);
            for (k, value) in values.into_iter().enumerate() {
                let (row, coefficient) = layout.place(i, k);
                phases[row * n + coefficient] = value;
            }
        }
        let labels = engine.public_rows(&phases)?;
        let polynomials = match &self.lanes {
            Some(lanes) => lanes.polynomials(samples),
            None => samples.to_vec(),
        };
        Ok(MiniBatch { samples: samples.len(), classes, x: engine.selectors(polynomials), labels })
    }
}

/// What is public about a data set, for the price of a training.
#[derive(Clone, Copy, Debug)]
pub struct ShapeSource {
    /// Number of samples of a pass.
    pub samples: usize,
    /// Samples of a mini-batch.
    pub batch: usize,
    /// Number of classes.
    pub classes: usize,
    /// Mean sum of squares of a sample's features. The encoder aims at 5,000.
    pub squared_norm: f64,
    /// Samples that lie side by side, and the numbers of the map of one; if they do not, each is a
    /// polynomial.
    pub lanes: Option<(fhe_core::store::Lanes, usize)>,
}

impl ShapeSource {
    /// Returns the number of samples of a step's mini-batch.
    fn samples_of(&self, step: usize) -> usize {
        let index = step % Source::<Meter>::batches(self);
        self.batch.min(self.samples - index * self.batch)
    }

    /// Refuses numbers that no data set has.
    pub(crate) fn check(&self) -> Result<()> {
        let fail = |what, got, expected: String| {
            Err(Error::Data { op: "ShapeSource", what, got, expected })
        };
        if !(1..=MOST_SAMPLES).contains(&self.samples) {
            return fail("the number of samples", self.samples, format!("1 to {MOST_SAMPLES}"));
        }
        if self.batch == 0 {
            return fail("the number of samples of a mini-batch", 0, "at least 1".into());
        }
        if !(1..=MOST_CLASSES).contains(&self.classes) {
            return fail("the number of classes", self.classes, format!("1 to {MOST_CLASSES}"));
        }
        if !squared_norm::RANGE.contains(&self.squared_norm) {
            let (what, got) = ("the squared norm, rounded down", self.squared_norm as usize);
            return fail(what, got, "1 to 1e9".into());
        }
        Ok(())
    }
}

impl Source<Meter> for ShapeSource {
    fn batches(&self) -> usize {
        self.samples.div_ceil(self.batch.max(1))
    }

    fn batch_size(&self) -> usize {
        self.batch
    }

    fn batch(&self, engine: &Meter, step: usize) -> Result<MiniBatch<Meter>> {
        self.check()?;
        let len = self.samples_of(step);
        let x = match self.lanes {
            None => engine.fresh_selectors(len, self.squared_norm),
            Some((lanes, numbers)) => {
                // All lanes are as full as those of a sample's map are in the mean.
                let square = self.squared_norm / numbers.max(1) as f64;
                engine.fresh_selectors(lanes.count(len), square * engine.params().row_size as f64)
            }
        };
        let rows = ValueLayout::new(engine.params(), len, self.classes).rows();
        Ok(MiniBatch { samples: len, classes: self.classes, x, labels: engine.fresh(rows) })
    }
}

impl Source<Cpu> for Dataset {
    fn batches(&self) -> usize {
        self.batches() / self.shape().copies.max(1)
    }

    fn batch_size(&self) -> usize {
        self.shape().batch
    }

    fn batch(&self, engine: &Cpu, step: usize) -> Result<MiniBatch<Cpu>> {
        let index = step % self.batches();
        let (x, labels) = self.batch(engine, index)?;
        Ok(MiniBatch {
            samples: self.shape().samples_of(index),
            classes: self.shape().values,
            x,
            labels,
        })
    }
}
