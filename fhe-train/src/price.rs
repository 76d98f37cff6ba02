//! The price of a training, before any work.

use fhe_core::engine::meter::PriceList;
use fhe_core::{Meter, Params};

use crate::{Model, Recipe, Result, ShapeSource, Source};

impl ShapeSource {
    /// Returns the price of a whole training, with the noise that its weights gather. That training
    /// itself corrects a part of the noise is not counted.
    ///
    /// # Errors
    /// [`crate::Error::Data`] if no data set has such numbers; [`crate::Error::Recipe`],
    /// [`crate::Error::Network`].
    pub fn price(&self, params: &Params, recipe: &Recipe) -> Result<PriceList> {
        self.check()?;
        let meter = Meter::new(params);
        let mut model = Model::new(&meter, recipe)?;
        for _ in 0..Source::<Meter>::batches(self) * recipe.passes() {
            model.train_step(&meter, self)?;
        }
        Ok(meter.list())
    }
}
