//! A whole training of the fast twin.

use fhe_core::Params;
use ndarray::ArrayView2;

use super::FastTwin;
use crate::samples::Samples;
use crate::{DeepRecipe, MiniBatches, Recipe, Result, Work};

impl FastTwin {
    /// Trains on samples from the first step to the last, as the encrypted training does: in their
    /// order, and with mirror images, which follow all images, in every second pass.
    ///
    /// `done` is called after every step with what it did.
    ///
    /// # Errors
    /// [`crate::Error::Data`] and [`crate::Error::Label`] if the samples do not fit the recipe;
    /// those of [`FastTwin::new`] and of `done`.
    pub fn run(
        params: &Params,
        recipe: &DeepRecipe,
        (x, labels): (ArrayView2<'_, i8>, &[u32]),
        batch: usize,
        noise: Option<u64>,
        mut done: impl FnMut(&Self, Work) -> Result<()>,
    ) -> Result<Self> {
        let whole = Recipe::Deep(recipe.clone());
        whole.check(params)?;
        let data = Samples::new("FastTwin::run", &whole, params.row_size, x, labels)?;
        data.check_batches(&whole, batch)?;
        let (count, copies) = (data.len(), whole.copies());
        let batches = MiniBatches { batches: count.div_ceil(batch) / copies, batch };
        let mut twin = Self::new(params, recipe, batches, noise)?;
        let x = x.as_standard_layout();
        let rows: Vec<&[i8]> = x.outer_iter().filter_map(|row| row.to_slice()).collect();
        for step in 0..batches.batches * recipe.passes {
            let first = step % (batches.batches * copies) * batch;
            let range = first..(first + batch).min(count);
            let work = twin.train_step(&rows[range.clone()], &labels[range])?;
            done(&twin, work)?;
        }
        Ok(twin)
    }
}
