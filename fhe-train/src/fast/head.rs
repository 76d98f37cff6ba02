//! The fast twin of a linear classifier: the training of [`crate::HeadTraining`] in floating point.

use faer::MatRef;
use fhe_core::noise::{Noise, SelectorKind};
use fhe_core::{Clear, Params, Table};
use fhe_nn::{Dense, argmax};
use ndarray::ArrayView2;
use rayon::prelude::*;

use super::layer::add_product;
use super::normal::{Normal, disturb};
use super::reading::Reading;
use crate::list_lookup::{Functions, ListLookup};
use crate::loss::UNITS;
use crate::samples::Samples;
use crate::{Error, HeadRecipe, MiniBatches, Recipe, Result, Work};

/// Classes that one thread takes at a time; fixed, so that sums do not depend on the number of
/// threads.
const CLASSES: usize = 16;
/// Samples that one thread classifies at a time.
const SAMPLES: usize = 256;

/// A linear classifier in training, in floating point: a thousand classes and a million samples
/// take minutes.
///
/// With real numbers for torus elements, and normal numbers of the predicted variance for the noise
/// of every move. Scores are read on the grid of slots of the path that a mini-batch's lookups
/// take. The noise of a batch's outputs is its mean over the slots of the table.
///
/// # Examples
/// ```
/// use fhe_core::Params;
/// use fhe_train::{FastHead, HeadRecipe};
/// use ndarray::array;
///
/// # fn main() -> fhe_train::Result<()> {
/// let x = array![[7_i8, 0, 7], [0, 7, 7], [5, 1, 7], [2, 6, 7]];
/// let recipe = HeadRecipe { classes: 2, passes: 5, learning_rate: 0.02, ..HeadRecipe::default() };
/// let data = (x.view(), &[0, 1, 0, 1][..]);
/// let twin = FastHead::run(&Params::secure128()?, &recipe, data, 2, Some(1), |_, _| Ok(()))?;
/// assert_eq!(twin.classify(x.view())?, [0, 1, 0, 1]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FastHead {
    recipe: HeadRecipe,
    params: Params,
    data: MiniBatches,
    moves: Moves,
    /// What depends on the size of a mini-batch.
    lookups: Vec<Lookup>,
    /// As torus fractions, a row a class.
    weights: Vec<f32>,
    width: usize,
    seed: Option<u64>,
    step: usize,
}

/// Variances of the moves, which depend on no amplitude.
#[derive(Clone, Debug)]
struct Moves {
    noise: Noise,
    fresh: SelectorKind,
    /// What a reflection adds to a weight.
    reflect: f64,
    /// What makes a constant row of an error: in its constant, and in each other coefficient.
    constant: f64,
    idle: f64,
}

/// How the scores of a mini-batch of so many samples are looked up.
#[derive(Clone, Debug)]
struct Lookup {
    samples: usize,
    /// tanh(z / 2) of a phase.
    table: Reading,
    reading: f64,
    /// Variance of what a table of amplitude 0 gives, and what an amplitude of 1 adds.
    output: [f64; 2],
}

impl Moves {
    fn new(params: &Params, errors: usize) -> Self {
        let (noise, n) = (Noise::new(params), params.row_size);
        let (constant, idle) = match params.lists.and_then(|lists| lists.expand) {
            None => (noise.pack_constant() + noise.pack_rounding(), noise.pack_constant()),
            Some(_) => {
                let levels = n.ilog2();
                // A batch of lookups leaves errors in the rows that are expanded.
                let packed = match params.looks_up_in_place(errors, errors.div_ceil(n)) {
                    true => 0.0,
                    false => noise.pack_list(errors.min(n)) + noise.pack_list_rounding(),
                };
                (packed + noise.expansion(levels, levels), noise.expansion_beside(levels))
            }
        };
        let (fresh, reflect) = (noise.fresh_selectors(), noise.reflect());
        Self { fresh, reflect, constant, idle, noise }
    }

    /// Returns the variance of a gradient, of samples with these squared norms: of sums that are as
    /// long as [`Dense`] makes them.
    fn gradient(&self, squares: &[f64]) -> f64 {
        let sum = |squares: &[f64]| {
            let square = squares.iter().sum::<f64>();
            self.noise.products(self.fresh, squares.len(), square) + square * self.idle
        };
        squares.chunks(Dense::<Clear>::TERMS).map(sum).sum()
    }
}

impl Lookup {
    fn new(params: &Params, recipe: &HeadRecipe, samples: usize) -> Result<Self> {
        let functions = Functions { tables: 1, within_half_torus: false };
        let list = ListLookup::in_order(params, samples * recipe.classes, functions);
        let scale = 4.0 * recipe.logit_range;
        let tanh = |x: f64| (x * scale / 2.0).tanh();
        // As large as an error may be.
        let unit = 1.0 / 1024.0;
        let of = |size: f64| -> Result<f64> {
            Ok(list.output(Table::new(params.row_size, |x| size * tanh(x))?))
        };
        let fixed = of(0.0)?;
        let output = [fixed, (of(unit)? - fixed) / (unit * unit)];
        let table = Reading::new(list.grid(), tanh);
        Ok(Self { samples, table, reading: list.reading(), output })
    }
}

impl FastHead {
    /// Starts from zero weights; exact, or with noise from a seed. A sample has `width` integers.
    ///
    /// # Errors
    /// [`Error::Recipe`] if the recipe does not pass its check, if there is no mini-batch, or if a
    /// sample has more integers than a polynomial of the parameter set has coefficients.
    pub fn new(
        params: &Params,
        recipe: &HeadRecipe,
        data: MiniBatches,
        width: usize,
        noise: Option<u64>,
    ) -> Result<Self> {
        let whole = HeadRecipe { inputs: Some(width), ..recipe.clone() };
        Recipe::Head(whole).check(params)?;
        if data.batch == 0 || data.batches == 0 {
            let got = format!("{} of {} samples", data.batches, data.batch);
            return Err(Error::Recipe { field: "mini-batches", got, rule: "expected at least 1" });
        }
        Ok(Self {
            recipe: recipe.clone(),
            params: params.clone(),
            data,
            moves: Moves::new(params, data.batch * recipe.classes),
            lookups: Vec::new(),
            weights: vec![0.0; recipe.classes * width],
            width,
            seed: noise,
            step: 0,
        })
    }

    /// Trains on samples from the first step to the last, in their order, as the encrypted training
    /// does. `done` is called after every step with what it did.
    ///
    /// # Errors
    /// [`Error::Data`] and [`Error::Label`] if the samples do not fit the recipe; those of
    /// [`FastHead::new`] and of `done`.
    pub fn run(
        params: &Params,
        recipe: &HeadRecipe,
        (x, labels): (ArrayView2<'_, i8>, &[u32]),
        batch: usize,
        noise: Option<u64>,
        mut done: impl FnMut(&Self, Work) -> Result<()>,
    ) -> Result<Self> {
        let whole = Recipe::Head(recipe.clone());
        let data = Samples::new("FastHead::run", &whole, params.row_size, x, labels)?;
        data.check_batches(&whole, batch)?;
        let count = data.len();
        let batches = MiniBatches { batches: count.div_ceil(batch), batch };
        let mut twin = Self::new(params, recipe, batches, x.ncols(), noise)?;
        for step in 0..batches.batches * recipe.passes {
            let first = step % batches.batches * batch;
            let range = first..(first + batch).min(count);
            let samples = x.slice(ndarray::s![range.clone(), ..]);
            let work = twin.train_step(samples, &labels[range])?;
            done(&twin, work)?;
        }
        Ok(twin)
    }

    /// Returns the number of steps made.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// Returns the weights as torus fractions, a row a class.
    #[must_use]
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Trains on a mini-batch, `[samples, width]`.
    ///
    /// # Errors
    /// [`Error::Data`], [`Error::Label`] if the samples do not fit, or there are none.
    pub fn train_step(&mut self, x: ArrayView2<'_, i8>, labels: &[u32]) -> Result<Work> {
        let recipe = Recipe::Head(self.recipe.clone());
        let data = Samples::new("FastHead", &recipe, self.width, x, labels)?;
        let (samples, classes) = (data.len(), self.recipe.classes);
        let lookup = self.lookup(samples)?;
        let x = self.floats(x)?;
        let squares: Vec<f64> =
            x.chunks_exact(self.width).map(|x| x.iter().map(|&x| f64::from(x * x)).sum()).collect();
        let steps = self.data.batches.saturating_mul(self.recipe.passes);
        let half = self.recipe.amplitude(self.step, steps) as f64 * UNITS;
        let (width, moves, seed, step) = (self.width, &self.moves, self.seed, self.step as u64);
        let bias = self.bias();
        let matrix = MatRef::from_row_major_slice(&x, samples, width);
        let output = lookup.output[0] + half * half * lookup.output[1];
        let weights = self.weights.par_chunks_mut(CLASSES * width);
        weights.enumerate().for_each(|(chunk, weights)| {
            let mut noise = seed.map(|seed| Normal::new([seed, step, chunk as u64]));
            let rows = weights.len() / width;
            // A row a class, a column a sample.
            let mut errors = vec![bias; rows * samples];
            let mut reflected = weights.to_vec();
            disturb(&mut noise, &mut reflected, || moves.reflect);
            let of_classes = MatRef::from_row_major_slice(&reflected, rows, width);
            add_product(&mut errors, of_classes, matrix.transpose());
            for (k, errors) in errors.chunks_exact_mut(samples).enumerate() {
                for (z, square) in errors.iter_mut().zip(&squares) {
                    let variance =
                        || moves.noise.products(moves.fresh, 1, *square) + lookup.reading;
                    disturb(&mut noise, std::slice::from_mut(z), variance);
                }
                for (e, &label) in errors.iter_mut().zip(labels) {
                    let y = if label as usize == chunk * CLASSES + k { 1.0 } else { -1.0 };
                    *e = half as f32 * (lookup.table.at(*e) - y);
                }
                disturb(&mut noise, errors, || output + moves.constant);
            }
            let mut gradient = vec![0.0; weights.len()];
            add_product(
                &mut gradient,
                MatRef::from_row_major_slice(&errors, rows, samples),
                matrix,
            );
            disturb(&mut noise, &mut gradient, || moves.gradient(&squares));
            weights.iter_mut().zip(gradient).for_each(|(w, g)| *w -= g);
        });
        self.step += 1;
        Ok(Work { samples, lookups: samples * classes })
    }

    /// Returns the classes of samples, `[samples, width]`, as the decrypted model sees them.
    ///
    /// # Errors
    /// [`Error::Data`] if the samples are of another size.
    pub fn classify(&self, x: ArrayView2<'_, i8>) -> Result<Vec<u32>> {
        let (x, width, classes) = (self.floats(x)?, self.width, self.recipe.classes);
        let weights = MatRef::from_row_major_slice(&self.weights, classes, width).transpose();
        let bias = self.bias();
        let chunks = x.par_chunks(SAMPLES * width).map(|x| {
            let samples = x.len() / width;
            let mut scores = vec![0.0; samples * classes];
            add_product(&mut scores, MatRef::from_row_major_slice(x, samples, width), weights);
            // On the torus, as the decrypted model has them.
            scores.iter_mut().for_each(|z| *z = (*z + bias) - (*z + bias).round());
            scores.chunks_exact(classes).map(|scores| argmax(scores) as u32).collect()
        });
        Ok(chunks.collect::<Vec<Vec<u32>>>().concat())
    }

    /// Returns the bias as a torus fraction.
    fn bias(&self) -> f32 {
        (self.recipe.bias / (4.0 * self.recipe.logit_range)) as f32
    }

    /// Returns how the scores of so many samples are looked up.
    fn lookup(&mut self, samples: usize) -> Result<Lookup> {
        if let Some(lookup) = self.lookups.iter().find(|lookup| lookup.samples == samples) {
            return Ok(lookup.clone());
        }
        let lookup = Lookup::new(&self.params, &self.recipe, samples)?;
        self.lookups.push(lookup.clone());
        Ok(lookup)
    }

    fn floats(&self, x: ArrayView2<'_, i8>) -> Result<Vec<f32>> {
        if x.ncols() != self.width {
            let (op, what, got) = ("FastHead", "the number of features", x.ncols());
            return Err(Error::Data { op, what, got, expected: self.width.to_string() });
        }
        Ok(x.iter().map(|&x| f32::from(x)).collect())
    }
}
