//! Training of all layers of a network.

use fhe_core::{Engine, Error as CoreError, List, Table, to_torus};
use fhe_nn::{Conv2d, Geometry, GradientInput, Network, Transposed, WeightGradient};

use crate::initial::initial_layers;
use crate::optimizer::Sgd;
use crate::source::check_batch;
use crate::step_plan::{MiniBatches, PartPlan, StepPlan};
use crate::training_plan::TrainingPlan;
use crate::{Channels, DeepRecipe, Error, OneVsAll, Result, Source, Work};

mod update;

use update::OnEngine;

/// A network in training.
///
/// A step is one mini-batch. Its samples are taken in parts: forward, errors, backward; then the
/// first layer, whose inputs are fresh, and the biases are updated without a lookup. Gradients of
/// the other layers are summed over the mini-batch, and after the last part one lookup a weight
/// scales and clips them.
pub struct NetworkTraining<E: Engine> {
    plan: TrainingPlan,
    network: Network<E>,
    step: usize,
    part: usize,
    inside: Inside<E>,
}

/// What a step has besides the model.
enum Inside<E: Engine> {
    /// No step has begun.
    Nothing,
    /// A step was begun by an earlier run.
    Saved(Begun<E>),
    /// A step has begun.
    Ready(Ready<E>),
    /// An error ended a step halfway.
    Lost,
}

/// What is saved of a step that has begun, because nothing else can give it again.
struct Begun<E: Engine> {
    /// The network with which the whole step computes, if it is not the one that is trained: with
    /// binary weights.
    used: Option<Network<E>>,
    /// Sums of the gradients of every layer but the first; empty before the first part.
    sums: Vec<WeightGradient<E>>,
}

/// What a step computes with.
struct Ready<E: Engine> {
    begun: Begun<E>,
    x: E::Selectors,
    /// The channels of all parts, if the first layer takes its gradient over samples.
    channels: Option<E::Selectors>,
    labels: E::Values,
    transposed: Vec<Transposed<E>>,
}

impl<E: Engine> std::fmt::Debug for NetworkTraining<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetworkTraining")
            .field("step", &self.step)
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

impl<E: Engine> NetworkTraining<E> {
    /// Starts from weights drawn from the recipe's public seed.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`], [`crate::Error::Network`].
    pub fn new(engine: &E, recipe: &DeepRecipe) -> Result<Self> {
        let plan = TrainingPlan::new(recipe, engine.params())?;
        let mut layers = Vec::new();
        for (geometry, initial) in plan.network().geometries().iter().zip(initial_layers(&plan)) {
            let weights: Vec<u64> = initial.weights.into_iter().map(to_torus).collect();
            let bias: Vec<u64> = initial.bias.into_iter().map(to_torus).collect();
            layers.push(Conv2d::new(engine, geometry.clone(), &weights, &bias)?);
        }
        let network = Network::new(plan.network(), layers)?;
        Ok(Self { plan, network, step: 0, part: 0, inside: Inside::Nothing })
    }

    /// Goes on from the lists of [`NetworkTraining::parts`], each kind in one list, as they were
    /// after `step` steps and `part` parts of the next one.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`], [`crate::Error::Network`]; [`fhe_core::Error::Index`] if the lists
    /// are shorter than [`crate::Recipe::sizes`] says.
    pub fn resume(
        engine: &E,
        recipe: &DeepRecipe,
        rows: &E::Rows,
        values: &E::Values,
        step: usize,
        part: usize,
    ) -> Result<Self> {
        let plan = TrainingPlan::new(recipe, engine.params())?;
        let mut reader = Reader { engine, rows, values, row: 0, value: 0 };
        let network = reader.network(&plan)?;
        let inside = if part == 0 {
            Inside::Nothing
        } else {
            let sums = plan.network().geometries()[1..].iter().map(|g| reader.gradient(g));
            let sums = sums.collect::<Result<_>>()?;
            let used = plan.has_binary_layers().then(|| reader.network(&plan)).transpose()?;
            Inside::Saved(Begun { used, sums })
        };
        Ok(Self { plan, network, step, part, inside })
    }

    /// Returns what [`NetworkTraining::resume`] takes: lists of rows, and lists of values.
    ///
    /// First come the weights and the biases of all layers. Inside a step, rows of the summed
    /// gradients of all layers but the first follow; and if any layer is binary, the weights and
    /// biases of all layers with which this step computes.
    #[must_use]
    pub fn parts(&self) -> (Vec<&E::Rows>, Vec<&E::Values>) {
        let begun = match &self.inside {
            Inside::Saved(begun) | Inside::Ready(Ready { begun, .. }) => Some(begun),
            Inside::Nothing | Inside::Lost => None,
        };
        let (sums, used) = begun.map_or((&[][..], None), |b| (&b.sums[..], b.used.as_ref()));
        let used = || used.into_iter().flat_map(|network| network.layers());
        let mut rows: Vec<_> = self.network.layers().iter().flat_map(Conv2d::weights).collect();
        rows.extend(sums.iter().flat_map(WeightGradient::rows));
        rows.extend(used().flat_map(Conv2d::weights));
        (rows, self.network.layers().iter().chain(used()).map(Conv2d::bias).collect())
    }

    /// Returns the number of steps made.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// Returns the number of parts made of the step that has begun; 0 between two steps.
    #[must_use]
    pub fn part(&self) -> usize {
        self.part
    }

    /// Returns the network.
    #[must_use]
    pub fn network(&self) -> &Network<E> {
        &self.network
    }

    /// Returns the model as it is used: with binary weights where the recipe wants them. It cannot
    /// be trained on.
    ///
    /// # Cost
    /// A lookup for each binary weight.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn finished(mut self, engine: &E) -> Result<Self> {
        if let Some((network, _)) = self.used(engine)? {
            self.network = network;
            self.plan = self.plan.finished();
        }
        Ok(self)
    }

    /// Returns the network with which a step computes, if it is not the one that is trained: with
    /// binary weights; and the lookups that it took.
    fn used(&self, engine: &E) -> Result<Option<(Network<E>, usize)>> {
        if !self.plan.has_binary_layers() {
            return Ok(None);
        }
        let (mut layers, mut lookups) = (Vec::new(), 0);
        for (i, layer) in self.network.layers().iter().enumerate() {
            layers.push(match self.plan.signs(i) {
                None => layer.copy(engine)?,
                Some(signs) => {
                    let table = Table::new(engine.params().row_size, |x| signs.at(x))?;
                    lookups += layer.geometry().weights();
                    layer.look_up_weights(engine, signs.scale, &table)?
                }
            });
        }
        Ok(Some((Network::new(self.plan.network(), layers)?, lookups)))
    }

    /// Trains on the mini-batch of the next step, or on what is left of it.
    ///
    /// # Cost
    /// For each sample twice the values of the hidden layers, and the classes; for each mini-batch
    /// the weights of all layers but the first, the filters of centred layers, and binary weights.
    ///
    /// # Errors
    /// Those of [`NetworkTraining::train_part`].
    pub fn train_step(&mut self, engine: &E, source: &impl Source<E>) -> Result<Work> {
        let mut work = self.train_part(engine, source)?;
        while self.part > 0 {
            work += self.train_part(engine, source)?;
        }
        Ok(work)
    }

    /// Trains on the next part of a mini-batch, [`DeepRecipe::sub_batch`] samples; with the last
    /// part goes the end of the step.
    ///
    /// # Errors
    /// Those of the source and the engine. [`fhe_core::Error::Index`] if the mini-batch has no such
    /// part. [`crate::Error::Lost`] if an error ended this step before: the model is then to be
    /// loaded again.
    pub fn train_part(&mut self, engine: &E, source: &impl Source<E>) -> Result<Work> {
        let mut lookups = 0;
        let mut ready = match std::mem::replace(&mut self.inside, Inside::Lost) {
            Inside::Ready(ready) => ready,
            Inside::Saved(begun) => self.ready(engine, source, begun)?,
            Inside::Nothing => {
                let (used, made) = self.used(engine)?.unzip();
                lookups += made.unwrap_or(0);
                self.ready(engine, source, Begun { used, sums: Vec::new() })?
            }
            Inside::Lost => return Err(Error::Lost { step: self.step }),
        };
        let data = MiniBatches { batches: source.batches(), batch: source.batch_size() };
        let step = StepPlan::new(&self.plan, data, self.step, ready.x.len());
        let (index, len) = (self.part, step.parts());
        if index >= len {
            return Err(CoreError::Index { op: "train_part", index, len }.into());
        }
        let (part, rules) = (step.part(index), step.rules());
        lookups += self.pass(engine, &mut ready, &part)?;
        if index + 1 < len {
            (self.part, self.inside) = (index + 1, Inside::Ready(ready));
        } else {
            for (i, (sum, rule)) in ready.begun.sums.iter().zip(&rules).enumerate() {
                lookups += self.update(engine, i + 1, sum, rule)?;
            }
            (self.step, self.part, self.inside) = (self.step + 1, 0, Inside::Nothing);
        }
        Ok(Work { samples: part.samples.len(), lookups })
    }

    /// Returns what the present step computes with.
    fn ready(&self, engine: &E, source: &impl Source<E>, begun: Begun<E>) -> Result<Ready<E>> {
        let (x, labels) = source.batch(engine, self.step)?;
        check_batch(source, x.len())?;
        let channels = Channels::new(&self.plan);
        let channels = channels.map(|c| source.channels(engine, self.step, &c)).transpose()?;
        // All but the first layer's weights are as they were when the step began.
        let transposed = begun.used.as_ref().unwrap_or(&self.network).transpose(engine)?;
        Ok(Ready { begun, x, channels, labels, transposed })
    }

    /// Takes the samples of a part forward and backward: updates the first layer and the biases,
    /// sums the other gradients, and returns the lookups.
    fn pass(&mut self, engine: &E, ready: &mut Ready<E>, part: &PartPlan) -> Result<usize> {
        let Ready { begun: Begun { used, sums }, x, channels, labels, transposed } = ready;
        let network = used.as_ref().unwrap_or(&self.network);
        let (range, count) = (part.samples.clone(), part.samples.len());
        let trace = network.forward(engine, x, range.clone())?;
        let (last, classes) = (self.plan.layers() - 1, self.plan.recipe().classes());
        let y = engine.take(labels, range.start * classes..range.end * classes)?;
        let loss = OneVsAll { logit_range: self.plan.recipe().network.z_range };
        let errors = loss.integer_error(engine, &trace.scores, &y, part.amplitudes[last])?;
        let errors = network.backward(engine, &trace, transposed, errors, &part.gates, count)?;
        let backward: usize = errors.iter().map(List::len).sum();
        let forward: usize = trace.gates.iter().map(List::len).sum();

        for ((layer, errors), k) in
            self.network.layers_mut().iter_mut().zip(&errors).zip(&part.bias_steps)
        {
            layer.add_to_bias(engine, errors.finest(), count, -k)?;
        }
        for (layer, errors) in errors.iter().enumerate() {
            let input = match (layer.checked_sub(1), &channels) {
                (Some(before), _) => trace.inputs[before].for_gradient(count),
                (None, None) => GradientInput::Samples(x, range.clone()),
                (None, Some(x)) => {
                    self.plan.network().geometries()[0].channels_of_part(x, part.index, count)
                }
            };
            let gradient = self.network.weight_gradient(engine, layer, input, errors)?;
            match layer.checked_sub(1) {
                None => self.subtract_from_first(engine, &gradient)?,
                Some(i) => match sums.get_mut(i) {
                    Some(sum) => sum.add(engine, &gradient)?,
                    None => sums.push(gradient),
                },
            }
        }
        Ok(forward + backward)
    }

    /// Subtracts the gradient of the first layer, whose amplitude has the learning rate in it.
    fn subtract_from_first(&mut self, engine: &E, gradient: &WeightGradient<E>) -> Result<()> {
        let layer = &mut self.network.layers_mut()[0];
        for blocks in layer.geometry().stretches(engine.params().batch_values()) {
            let gradient = layer.gradient_values(engine, gradient, blocks.clone())?;
            layer.add_to_weights(engine, blocks, &engine.scaled_values(&gradient, -1)?)?;
        }
        Ok(())
    }

    /// Updates the weights of another layer by a rule, and returns the lookups.
    fn update(
        &mut self,
        engine: &E,
        layer: usize,
        gradient: &WeightGradient<E>,
        rule: &Sgd,
    ) -> Result<usize> {
        let layer = &mut self.network.layers_mut()[layer];
        let mut lookups = 0;
        for blocks in layer.geometry().stretches(engine.params().batch_values()) {
            let gradient = layer.gradient_values(engine, gradient, blocks.clone())?;
            let mut numbers = OnEngine { engine, layer, blocks: blocks.clone(), lookups: 0 };
            let update = rule.update(&mut numbers, gradient)?;
            lookups += numbers.lookups;
            layer.add_to_weights(engine, blocks, &update)?;
        }
        Ok(lookups)
    }
}

/// Reads what was saved, from the first row and the first value on.
struct Reader<'a, E: Engine> {
    engine: &'a E,
    rows: &'a E::Rows,
    values: &'a E::Values,
    row: usize,
    value: usize,
}

impl<E: Engine> Reader<'_, E> {
    /// Returns the next lists of so many rows each.
    fn lists(&mut self, lens: Vec<usize>) -> Result<Vec<E::Rows>> {
        let mut lists = Vec::with_capacity(lens.len());
        for len in lens {
            let picks: Vec<_> = (self.row..self.row + len).collect();
            lists.push(self.engine.gather_rows(self.rows, &picks)?);
            self.row += len;
        }
        Ok(lists)
    }

    fn gradient(&mut self, geometry: &Geometry) -> Result<WeightGradient<E>> {
        Ok(WeightGradient::from_rows(geometry, self.lists(geometry.gradient_rows())?)?)
    }

    fn network(&mut self, plan: &TrainingPlan) -> Result<Network<E>> {
        let mut layers = Vec::new();
        for geometry in plan.network().geometries() {
            let weights = self.lists(vec![geometry.groups(); geometry.blocks()])?;
            let range = self.value..self.value + geometry.output.channels;
            self.value = range.end;
            let bias = self.engine.take(self.values, range)?;
            layers.push(Conv2d::from_parts(geometry.clone(), weights, bias)?);
        }
        Ok(Network::new(plan.network(), layers)?)
    }
}
