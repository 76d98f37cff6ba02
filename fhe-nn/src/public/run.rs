//! A network on its way through the layers, on any engine.

use fhe_core::{Engine, List, to_torus};

use super::config::Pool;
use super::network::{After, PublicNetwork, mirror};
use super::{PublicError, Result, pool};

impl PublicNetwork {
    /// Returns the scores of `samples` images, class by class, image after image. Values of an
    /// image are its integers times [`PublicNetwork::input_unit`], channels of a position together.
    ///
    /// The lookups of a layer are one list over all images, value after value of the first one,
    /// then of the second.
    ///
    /// # Cost
    /// A lookup for each pre-activation with an activation, and one for each maximum; twice that
    /// with mirror images. For each image, [`PublicNetwork::values_of_image`] values are held at a
    /// time.
    ///
    /// # Errors
    /// [`PublicError::Images`] if there are not as many values as the images have.
    /// [`PublicError::Network`] if the engine's parameter set has another number of slots than the
    /// network was made for.
    pub fn forward<E: Engine>(
        &self,
        engine: &E,
        images: &E::Values,
        samples: usize,
    ) -> Result<E::Values> {
        self.forward_watched(engine, images, samples, |_| ())
    }

    /// [`PublicNetwork::forward`] for those who watch its progress: calls `done(i)` after layer i,
    /// in each of the [`super::PublicNetworkConfig::passes`].
    ///
    /// # Cost
    /// That of [`PublicNetwork::forward`].
    ///
    /// # Errors
    /// Those of [`PublicNetwork::forward`].
    pub fn forward_watched<E: Engine>(
        &self,
        engine: &E,
        images: &E::Values,
        samples: usize,
        done: impl Fn(usize),
    ) -> Result<E::Values> {
        self.check_slots(engine.params())?;
        let (got, len) = (images.len(), self.config().input.len());
        if Some(got) != samples.checked_mul(len) {
            let expected = format!("{len} for each of {samples} images");
            return Err(PublicError::images("number of values", got, expected));
        }
        let mut scores = self.scores(engine, images, samples, &done)?;
        if self.config().mirrored {
            let mirror = mirror(self.config().input);
            let of_image = |s: usize| mirror.iter().map(move |i| s * len + i);
            let images = engine.take(images, (0..samples).flat_map(of_image))?;
            let more = self.scores(engine, &images, samples, &done)?;
            engine.add_scaled_values(&mut scores, &more, 1)?;
        }
        Ok(scores)
    }

    fn scores<E: Engine>(
        &self,
        engine: &E,
        images: &E::Values,
        samples: usize,
        done: &impl Fn(usize),
    ) -> Result<E::Values> {
        let mut run = Run { network: self, engine, samples, kept: Vec::new() };
        let last = self.layers.len() - 1;
        let mut s = run.pre_activations(0, images)?;
        for i in 0..last {
            let x = run.activate(i, s)?;
            done(i);
            s = run.pre_activations(i + 1, &x)?;
        }
        let scores = run.activate(last, s)?;
        done(last);
        Ok(scores)
    }
}

/// A network on its way through the layers.
pub(super) struct Run<'a, E: Engine> {
    pub(super) network: &'a PublicNetwork,
    pub(super) engine: &'a E,
    pub(super) samples: usize,
    /// Of each layer so far, the pre-activations if a layer to come adds them.
    pub(super) kept: Vec<Option<E::Values>>,
}

impl<E: Engine> Run<'_, E> {
    /// Returns the sums of layer i.
    pub(super) fn pre_activations(&mut self, i: usize, x: &E::Values) -> Result<E::Values> {
        let layers = &self.network.layers;
        let mut s = layers[i].conv.forward(self.engine, x, self.samples)?;
        if let Some(earlier) = layers[i].plan.residual.and_then(|j| self.kept[j].as_ref()) {
            self.engine.add_scaled_values(&mut s, earlier, 1)?;
        }
        for (j, kept) in self.kept.iter_mut().enumerate() {
            if self.network.last_use(j) <= Some(i) {
                *kept = None;
            }
        }
        let needed = self.network.last_use(i).is_some();
        self.kept.push(if needed { Some(self.engine.scaled_values(&s, 1)?) } else { None });
        Ok(s)
    }

    /// Returns the outputs of layer i: activations, or scores.
    pub(super) fn activate(&self, i: usize, mut s: E::Values) -> Result<E::Values> {
        let (engine, layer) = (self.engine, &self.network.layers[i]);
        let stairs = match &layer.after {
            After::Bias(bias) => {
                let bias = |i: usize| bias[i % bias.len()] as f64 * layer.unit;
                engine.shift_values(&mut s, |i| to_torus(bias(i)));
                return Ok(s);
            }
            After::Staircase(stairs) => stairs,
        };
        let (shape, next) = (layer.plan.activations, self.network.layers[i + 1].unit);
        let (read, unit) = layer.read(stairs, next);
        let a = read.look_up(engine, s, layer.unit, unit)?;
        match layer.pool {
            None => Ok(a),
            Some(Pool::Sum(side)) => pool::sums(engine, &a, shape, self.samples, side),
            Some(Pool::Max(side)) => {
                let sizes = (shape, self.samples, side);
                pool::maxima(engine, &a, sizes, stairs.levels(), next)
            }
        }
    }
}
