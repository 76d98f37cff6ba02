//! Training of all layers of a network.

use fhe_core::noise::gaussian;
use fhe_core::params::Gadget;
use fhe_core::{Engine, Error as CoreError, List, Table, to_torus};
use fhe_nn::activation::{ErrorGate, table};
use fhe_nn::{Conv2d, Network, WeightGradient};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::{DeepRecipe, OneVsAll, Result, Source, Work};

/// Largest integer of an error of a hidden layer.
pub(crate) const HIDDEN_LIMIT: i32 = 31;

/// A network in training.
///
/// A step is one mini-batch. Its samples are taken some at a time: forward, errors, backward; then the
/// first layer, whose inputs are fresh, and the biases are updated without a lookup. Gradients of the other
/// layers are summed over the mini-batch, and one lookup a weight scales and clips them.
pub struct Deep<E: Engine> {
    recipe: DeepRecipe,
    network: Network<E>,
    step: usize,
}

impl<E: Engine> std::fmt::Debug for Deep<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deep").field("step", &self.step).finish_non_exhaustive()
    }
}

/// What a layer starts from, as torus fractions.
pub(crate) struct First {
    /// In the order output, channel, row, column of the window.
    pub(crate) weights: Vec<f64>,
    pub(crate) bias: Vec<f64>,
}

/// Draws the first weights of every layer from the recipe's public seed.
pub(crate) fn first(recipe: &DeepRecipe, n: usize) -> Result<Vec<First>> {
    let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed);
    let unit = recipe.network.unit();
    let mut layers = Vec::new();
    for (i, geometry) in recipe.network.geometries(n)?.into_iter().enumerate() {
        let training = &recipe.training[i];
        let scale = training.init * unit / recipe.network.spacing(i);
        let mut weights: Vec<f64> =
            (0..geometry.weights()).map(|_| scale * gaussian(&mut rng)).collect();
        if training.centred {
            for filter in weights.chunks_exact_mut(geometry.window()) {
                let mean = filter.iter().sum::<f64>() / filter.len() as f64;
                filter.iter_mut().for_each(|w| *w -= mean);
            }
        }
        layers.push(First { weights, bias: vec![training.bias * unit; geometry.output.channels] });
    }
    Ok(layers)
}

impl<E: Engine> Deep<E> {
    /// Starts from weights drawn from the recipe's public seed.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`], [`crate::Error::Network`].
    pub fn new(engine: &E, recipe: &DeepRecipe) -> Result<Self> {
        let n = engine.params().row_size;
        recipe.check(engine.params())?;
        let mut layers = Vec::new();
        for (geometry, start) in recipe.network.geometries(n)?.into_iter().zip(first(recipe, n)?) {
            let weights: Vec<u64> = start.weights.into_iter().map(to_torus).collect();
            let bias: Vec<u64> = start.bias.into_iter().map(to_torus).collect();
            layers.push(Conv2d::new(engine, geometry, &weights, &bias)?);
        }
        let network = Network::new(engine, &recipe.network, layers)?;
        Ok(Self { recipe: recipe.clone(), network, step: 0 })
    }

    /// Goes on from saved weights, rows of all layers and biases of all layers.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`], [`crate::Error::Network`].
    pub fn resume(
        engine: &E,
        recipe: &DeepRecipe,
        rows: &E::Rows,
        values: &E::Values,
        step: usize,
    ) -> Result<Self> {
        let n = engine.params().row_size;
        recipe.check(engine.params())?;
        let (mut row, mut value) = (0, 0);
        let mut layers = Vec::new();
        for geometry in recipe.network.geometries(n)? {
            let mut weights = Vec::with_capacity(geometry.blocks());
            for _ in 0..geometry.blocks() {
                let picks: Vec<_> = (row..row + geometry.groups()).collect();
                weights.push(engine.gather_rows(rows, &picks)?);
                row += geometry.groups();
            }
            let bias = engine.take(values, value..value + geometry.output.channels)?;
            value += geometry.output.channels;
            layers.push(Conv2d::from_parts(geometry, weights, bias)?);
        }
        let network = Network::new(engine, &recipe.network, layers)?;
        Ok(Self { recipe: recipe.clone(), network, step })
    }

    /// Returns the number of steps made.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// Returns the network.
    #[must_use]
    pub fn network(&self) -> &Network<E> {
        &self.network
    }

    /// Returns the model as it is used: with binary weights where the recipe wants them. It cannot be trained
    /// on.
    ///
    /// # Cost
    /// A lookup for each binary weight.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn finished(mut self, engine: &E) -> Result<Self> {
        if let Some((network, _)) = self.used(engine)? {
            self.network = network;
            self.recipe.training.iter_mut().for_each(|training| training.binary = None);
        }
        Ok(self)
    }

    /// Returns the network with which a step computes, if it is not the one that is trained: with binary weights.
    fn used(&self, engine: &E) -> Result<Option<(Network<E>, usize)>> {
        if !self.recipe.has_binary_layers() {
            return Ok(None);
        }
        let (mut layers, mut lookups) = (Vec::new(), 0);
        for (i, layer) in self.network.layers().iter().enumerate() {
            layers.push(match self.recipe.training[i].binary {
                None => layer.copy(engine)?,
                Some(binary) => {
                    let (k, scale) = self.recipe.signs(i, binary);
                    let slots = engine.params().row_size;
                    let table = Table::new(slots, |x| if x < 0.0 { -scale } else { scale })?;
                    lookups += layer.geometry().weights();
                    layer.look_up_weights(engine, k, &table)?
                }
            });
        }
        Ok(Some((Network::new(engine, &self.recipe.network, layers)?, lookups)))
    }

    /// Trains on the mini-batch of the next step.
    ///
    /// # Cost
    /// For each sample twice the values of the hidden layers, and the classes; for each mini-batch the
    /// weights of all layers but the first, the filters of centred layers, and binary weights.
    ///
    /// # Errors
    /// Those of the source and the engine.
    pub fn train_step(&mut self, engine: &E, source: &impl Source<E>) -> Result<Work> {
        let (batches, first_batch) = (source.batches(), self.recipe.first_batch);
        let (x, labels) = source.batch(engine, self.step)?;
        let samples = x.len();
        let batch = source.batch_size();
        // Steps of the first layer: all mini-batches count as full, so that a schedule depends on no data.
        let per_batch = batch.div_ceil(first_batch);
        let steps = batches * self.recipe.passes * per_batch;

        let used = self.used(engine)?;
        let mut lookups = used.as_ref().map_or(0, |used| used.1);
        let used = used.map(|used| used.0);
        let transposed = used.as_ref().unwrap_or(&self.network).transpose(engine)?;
        let layers = self.network.layers().len();
        let mut sums: Vec<Option<WeightGradient<E>>> = (0..layers).map(|_| None).collect();
        let mut schedule = 1.0;
        for (i, first) in (0..samples).step_by(first_batch).enumerate() {
            let range = first..(first + first_batch).min(samples);
            schedule = self.recipe.schedule(self.step * per_batch + i, steps);
            let network = used.as_ref().unwrap_or(&self.network);
            let trace = network.forward(engine, &x, range.clone())?;
            let classes = self.recipe.classes();
            let y = engine.take(&labels, range.start * classes..range.end * classes)?;
            let loss = OneVsAll { logit_range: self.recipe.network.z_range };
            let amplitude = self.recipe.amplitude(layers - 1, schedule, batch);
            let errors = loss.integer_error(engine, &trace.scores, &y, amplitude)?;
            let gates: Vec<ErrorGate> = (0..layers - 1)
                .map(|layer| ErrorGate {
                    limit: HIDDEN_LIMIT,
                    scale: self.recipe.error_scale(layer),
                    amplitude: self.recipe.amplitude(layer, schedule, batch),
                })
                .collect();
            let count = range.len();
            let errors = network.backward(engine, &trace, &transposed, errors, &gates, count)?;
            lookups += errors.iter().map(|e| e.len() / 4).sum::<usize>()
                + trace.gates.iter().map(|gates| gates.len()).sum::<usize>();

            self.update_biases(engine, &errors, count, schedule)?;
            for (layer, errors) in errors.iter().enumerate() {
                let input = match layer {
                    0 => (&x, range.clone()),
                    _ => (&trace.inputs[layer - 1], 0..count),
                };
                let gradient = self.network.weight_gradient(engine, layer, input, errors)?;
                match &mut sums[layer] {
                    _ if layer == 0 => self.update_first(engine, &gradient)?,
                    Some(sum) => sum.add(engine, &gradient)?,
                    none => *none = Some(gradient),
                }
            }
        }
        for (layer, sum) in sums.into_iter().enumerate() {
            if let Some(sum) = sum {
                lookups += self.update(engine, layer, &sum, schedule, batch)?;
            }
        }
        self.step += 1;
        Ok(Work { samples, lookups })
    }

    fn update_biases(
        &mut self,
        engine: &E,
        errors: &[E::Values],
        samples: usize,
        schedule: f64,
    ) -> Result<()> {
        let params = engine.params();
        let gadget: Gadget = params
            .lists
            .ok_or_else(|| CoreError::NoLists { op: "deep", name: params.name.clone() })?
            .selector;
        for (layer, errors) in errors.iter().enumerate() {
            let k = self.recipe.bias_step(layer, schedule, gadget);
            let errors = table(engine, errors, gadget.levels as usize - 1)?;
            self.network.layers_mut()[layer].add_to_bias(engine, &errors, samples, -k)?;
        }
        Ok(())
    }

    fn update_first(&mut self, engine: &E, gradient: &WeightGradient<E>) -> Result<()> {
        let layer = &mut self.network.layers_mut()[0];
        for block in 0..layer.geometry().blocks() {
            let gradient = layer.gradient_values(engine, gradient, block)?;
            layer.add_to_weights(engine, block, &engine.scaled_values(&gradient, -1)?)?;
        }
        Ok(())
    }

    /// `w -= rate clip(mean gradient)`, one lookup a weight.
    fn update(
        &mut self,
        engine: &E,
        layer: usize,
        gradient: &WeightGradient<E>,
        schedule: f64,
        batch: usize,
    ) -> Result<usize> {
        let training = &self.recipe.training[layer];
        let spacing = self.recipe.network.spacing(layer);
        let per_unit = self.recipe.amplitude(layer, schedule, batch) * spacing * batch as f64;
        let step = schedule * training.rate * self.recipe.network.unit() / spacing;
        let clip = training.clip;
        let down =
            Table::new(engine.params().row_size, |u| -step * (u / per_unit).clamp(-clip, clip))?;
        let down = [down];
        let decay = self.recipe.decay_scale(layer, batch);
        let window = self.network.layers()[layer].geometry().window();
        let centring =
            training.centred.then(|| self.recipe.centring(layer, window)).flatten().unwrap_or(0);
        let layer = &mut self.network.layers_mut()[layer];
        let mut lookups = layer.geometry().weights();
        for block in 0..layer.geometry().blocks() {
            let mut gradient = layer.gradient_values(engine, gradient, block)?;
            if decay > 0 {
                let weights = layer.weight_values(engine, block)?;
                engine.add_scaled_values(&mut gradient, &weights, decay)?;
            }
            let mut update = engine.lookup(&gradient, &down)?;
            if centring > 0 {
                centre(engine, &mut update, window, centring)?;
                lookups += layer.geometry().outputs_of(block).len();
            }
            layer.add_to_weights(engine, block, &update)?;
        }
        Ok(lookups)
    }
}

/// Takes the mean of each filter's `window` updates out of them: the sum, `k` times as large, is read by a
/// lookup, which divides it.
fn centre<E: Engine>(engine: &E, update: &mut E::Values, window: usize, k: i64) -> Result<()> {
    let filters = update.len() / window;
    let mut sums = engine.public_values(&vec![0; filters]);
    for w in 0..window {
        let picks = (0..filters).map(|filter| filter * window + w);
        engine.add_scaled_values(&mut sums, &engine.take(update, picks)?, k)?;
    }
    let divisor = k as f64 * window as f64;
    let mean = Table::new(engine.params().row_size, |x| x / divisor)?;
    let means = engine.lookup(&sums, &[mean])?;
    let picks = (0..filters * window).map(|i| i / window);
    Ok(engine.add_scaled_values(update, &engine.take(&means, picks)?, -1)?)
}
