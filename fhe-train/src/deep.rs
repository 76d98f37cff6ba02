//! Training of all layers of a network.

use fhe_core::{Engine, Error as CoreError, List, Table, to_torus};
use fhe_nn::{Conv2d, Network};

use crate::initial::initial_layers;
use crate::optimizer::Sgd;
use crate::ranks::{Alone, Ranks};
use crate::source::check_batch;
use crate::step_plan::{MiniBatches, PartPlan, StepPlan};
use crate::training_plan::TrainingPlan;
use crate::{DeepRecipe, Error, MiniBatch, OneVsAll, Result, Source, Work};

/// A network in training.
///
/// A step is one mini-batch. Its samples are taken in parts, as many together as lie side by side
/// in a polynomial: forward, errors, backward, and the gradients of all weights. The first layer,
/// whose inputs are fresh, is updated after each part, or after some
/// ([`DeepRecipe::first_layer_every`]), without a lookup. Gradients of the others
/// are summed over the mini-batch, and after the last part one lookup a weight clips them, all
/// layers together.
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
    /// Sums of the gradients of all weights but the first layer's.
    sums: Vec<E::Rows>,
}

/// What a step computes with.
struct Ready<E: Engine> {
    begun: Begun<E>,
    mini_batch: MiniBatch<E>,
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
        for (geometry, initial) in plan.network().weighted().zip(initial_layers(&plan)) {
            let phases = |x: Vec<f64>| -> Vec<u64> { x.into_iter().map(to_torus).collect() };
            let (weights, bias) = (phases(initial.weights), phases(initial.bias));
            layers.push(Conv2d::new(engine, geometry.clone(), &weights, bias)?);
        }
        let network = Network::new(plan.network(), layers)?;
        Ok(Self { plan, network, step: 0, part: 0, inside: Inside::Nothing })
    }

    /// Goes on from the rows of [`NetworkTraining::parts`] in one list, as they were after `step`
    /// steps and `part` parts of the next one.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`], [`crate::Error::Network`]; [`fhe_core::Error::Index`] if there are
    /// fewer rows than [`crate::Recipe::rows`] says.
    pub fn resume(
        engine: &E,
        recipe: &DeepRecipe,
        rows: &E::Rows,
        step: usize,
        part: usize,
    ) -> Result<Self> {
        let plan = TrainingPlan::new(recipe, engine.params())?;
        let mut reader = Reader { engine, rows, row: 0 };
        let network = reader.network(&plan)?;
        let inside = if part == 0 {
            Inside::Nothing
        } else {
            let sums = plan.network().weighted().skip(1).map(|g| reader.list(g.rows()));
            let sums = sums.collect::<Result<_>>()?;
            let used = plan.has_binary_layers().then(|| reader.network(&plan)).transpose()?;
            Inside::Saved(Begun { used, sums })
        };
        Ok(Self { plan, network, step, part, inside })
    }

    /// Returns what [`NetworkTraining::resume`] takes: lists of rows.
    ///
    /// First come the weights of all layers. Inside a step, the summed gradients of all but the
    /// first follow; and if any layer is binary, the weights of all layers with which this step
    /// computes.
    #[must_use]
    pub fn parts(&self) -> Vec<&E::Rows> {
        let begun = match &self.inside {
            Inside::Saved(begun) | Inside::Ready(Ready { begun, .. }) => Some(begun),
            Inside::Nothing | Inside::Lost => None,
        };
        let (sums, used) = begun.map_or((&[][..], None), |b| (&b.sums[..], b.used.as_ref()));
        let used = used.into_iter().flat_map(Network::weighted).map(Conv2d::weights);
        self.network.weighted().iter().map(Conv2d::weights).chain(sums).chain(used).collect()
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
        if let Some((network, _)) = self.used(engine, &Alone)? {
            self.network = network;
            self.plan = self.plan.finished();
        }
        Ok(self)
    }

    /// Returns the network with which a step computes, if it is not the one that is trained: with
    /// binary weights; and the lookups that it took.
    fn used(&self, engine: &E, ranks: &dyn Ranks<E>) -> Result<Option<(Network<E>, usize)>> {
        if !self.plan.has_binary_layers() {
            return Ok(None);
        }
        let (mut layers, mut lookups) = (Vec::new(), 0);
        for (i, layer) in self.network.weighted().iter().enumerate() {
            let (geometry, bias) = (layer.geometry().clone(), layer.bias().to_vec());
            let rows = match self.plan.signs(i) {
                None => engine.join_rows(&[layer.weights()])?,
                Some(signs) => {
                    let table = Table::new(engine.params().row_size, |x| signs.at(x))?;
                    lookups += geometry.rows() * geometry.row_size();
                    let mut latent = engine.zero_rows(geometry.rows());
                    engine.add_scaled_rows(&mut latent, layer.weights(), signs.scale)?;
                    looked_up(engine, &latent, &table, ranks)?
                }
            };
            layers.push(Conv2d::from_rows(geometry, rows, bias)?);
        }
        Ok(Some((Network::new(self.plan.network(), layers)?, lookups)))
    }

    /// Trains on the mini-batch of the next step, or on what is left of it.
    ///
    /// # Cost
    /// For each part twice N lookups for each value of the hidden layers, and the classes of each
    /// sample; for each mini-batch the weights of all layers but the first, and binary weights.
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

    /// Trains on the next part of a mini-batch, as many samples as lie side by side, or on the parts
    /// after which the first layer is updated; with the last part goes the end of the step.
    ///
    /// # Errors
    /// Those of the source and the engine. [`fhe_core::Error::Index`] if the mini-batch has no such
    /// part. [`crate::Error::Lost`] if an error ended this step before: the model is then to be
    /// loaded again.
    pub fn train_part(&mut self, engine: &E, source: &impl Source<E>) -> Result<Work> {
        self.train_part_among(engine, source, &Alone)
    }

    /// [`NetworkTraining::train_part`] among ranks: they share the parts after which the first layer
    /// is updated, and the lookups of weights.
    ///
    /// # Errors
    /// Those of [`NetworkTraining::train_part`] and of the ranks.
    pub fn train_part_among(
        &mut self,
        engine: &E,
        source: &impl Source<E>,
        ranks: &dyn Ranks<E>,
    ) -> Result<Work> {
        let mut of_weights = 0;
        let mut ready = match std::mem::replace(&mut self.inside, Inside::Lost) {
            Inside::Ready(ready) => ready,
            Inside::Saved(begun) => self.ready(engine, source, begun)?,
            Inside::Nothing => {
                let (used, made) = self.used(engine, ranks)?.unzip();
                of_weights += made.unwrap_or(0);
                let sums = self.network.weighted().iter().skip(1);
                let sums = sums.map(|layer| engine.zero_rows(layer.weights().len())).collect();
                self.ready(engine, source, Begun { used, sums })?
            }
            Inside::Lost => return Err(Error::Lost { step: self.step }),
        };
        let data = MiniBatches { batches: source.batches(), batch: source.batch_size() };
        let samples = ready.mini_batch.samples;
        check_batch(source, samples)?;
        ready.mini_batch.check(engine, self.plan.recipe().classes())?;
        let step = StepPlan::new(&self.plan, data, self.step, samples);
        let (group, len) = (step.group(self.part), step.parts());
        if group.is_empty() {
            return Err(CoreError::Index { op: "train_part", index: self.part, len }.into());
        }
        let parts: Vec<PartPlan> = group.clone().map(|index| step.part(index)).collect();
        let rule = step.rule();
        let seen = parts.iter().map(|part| part.samples.len()).sum();
        let lookups = self.passes(engine, &mut ready, &parts, ranks)?;
        if group.end < len {
            (self.part, self.inside) = (group.end, Inside::Ready(ready));
        } else {
            of_weights += self.update(engine, ready.begun.sums, &rule, ranks)?;
            (self.step, self.part, self.inside) = (self.step + 1, 0, Inside::Nothing);
        }
        Ok(Work { samples: seen, lookups: lookups + of_weights })
    }

    /// Returns what the present step computes with.
    fn ready(&self, engine: &E, source: &impl Source<E>, begun: Begun<E>) -> Result<Ready<E>> {
        Ok(Ready { begun, mini_batch: source.batch(engine, self.step)? })
    }

    /// Takes the samples of parts forward and backward, each on one of the ranks: updates the first
    /// layer, adds to the sums of the other gradients, and returns the lookups.
    fn passes(
        &mut self,
        engine: &E,
        ready: &mut Ready<E>,
        parts: &[PartPlan],
        ranks: &dyn Ranks<E>,
    ) -> Result<usize> {
        let layers = self.network.weighted().iter();
        let mut gradients: Vec<E::Rows> =
            layers.map(|layer| engine.zero_rows(layer.weights().len())).collect();
        let mut lookups = [0];
        for (unit, part) in parts.iter().enumerate() {
            if ranks.takes(unit) {
                lookups[0] += self.pass(engine, ready, part, &mut gradients)? as u64;
            }
        }
        ranks.sum(&mut lookups)?;
        gradients.iter_mut().try_for_each(|gradient| ranks.sum_rows(gradient))?;
        let [of_first, others @ ..] = &gradients[..] else { return Ok(0) };
        for (sum, gradient) in ready.begun.sums.iter_mut().zip(others) {
            engine.add_scaled_rows(sum, gradient, 1)?;
        }
        // Its amplitude has the learning rate in it.
        self.network.weighted_mut()[0].add_to_weights(engine, of_first, -1)?;
        Ok(lookups[0] as usize)
    }

    /// Takes the samples of a part forward and backward: adds to the gradients of all layers, and
    /// returns the lookups.
    fn pass(
        &self,
        engine: &E,
        ready: &Ready<E>,
        part: &PartPlan,
        gradients: &mut [E::Rows],
    ) -> Result<usize> {
        let Ready { begun, mini_batch } = ready;
        let network = begun.used.as_ref().unwrap_or(&self.network);
        let (range, count) = (part.samples.clone(), part.samples.len());
        let x = (&mini_batch.x, part.index * self.plan.network().inputs());
        let trace = network.forward(engine, x.0, x.1)?;
        let (last, classes) = (self.plan.layers() - 1, self.plan.recipe().classes());
        let y = mini_batch.label_values(engine, range)?;
        let z = engine.extract(&trace.scores, &network.scores_at(count))?;
        let loss = OneVsAll { logit_range: self.plan.recipe().network.z_range };
        let errors = loss.integer_error(engine, &z, &y, part.amplitudes[last])?;
        let errors = network.score_errors(engine, &errors, count)?;
        let errors = network.backward(engine, &trace, errors, &part.gates)?;
        let hidden: usize = trace.gates.iter().map(List::len).sum();
        for (index, sum) in gradients.iter_mut().enumerate() {
            let gradient = network.weight_gradient(engine, index, (x, &trace), &errors)?;
            engine.add_scaled_rows(sum, &gradient, 1)?;
        }
        Ok(2 * hidden * engine.params().row_size + count * classes)
    }

    /// Updates the weights of all layers but the first by a rule, and returns the lookups: one list
    /// of them for all layers.
    fn update(
        &mut self,
        engine: &E,
        mut sums: Vec<E::Rows>,
        rule: &Sgd,
        ranks: &dyn Ranks<E>,
    ) -> Result<usize> {
        let [_, layers @ ..] = self.network.weighted_mut() else { return Ok(0) };
        for ((sum, layer), scales) in sums.iter_mut().zip(&*layers).zip(rule.scales()) {
            if scales.decay > 0 {
                engine.add_scaled_rows(sum, layer.weights(), scales.decay)?;
            }
        }
        let gradients = engine.join_rows(&sums.iter().collect::<Vec<_>>())?;
        let table = Table::new(engine.params().row_size, |u| rule.at(u))?;
        let mut updates =
            Reader { engine, rows: &looked_up(engine, &gradients, &table, ranks)?, row: 0 };
        for (layer, scales) in layers.iter_mut().zip(rule.scales()) {
            let update = updates.list(layer.geometry().rows())?;
            layer.add_to_weights(engine, &update, scales.update)?;
        }
        Ok(gradients.len() * engine.params().row_size)
    }
}

/// Returns a table of all coefficients of rows; each rank looks some batches of them up.
fn looked_up<E: Engine>(
    engine: &E,
    rows: &E::Rows,
    table: &Table,
    ranks: &dyn Ranks<E>,
) -> Result<E::Rows> {
    let whole = |rows: &E::Rows| -> Result<E::Rows> {
        let (_, rows) = engine.lookup_coefficients(rows, None, std::slice::from_ref(table))?;
        let (op, what) = ("lookup of weights", "outputs");
        let none = CoreError::Shape { op, what, got: 0, expected: 1 };
        Ok(rows.into_iter().next().ok_or(none)?)
    };
    if ranks.count() == 1 {
        return whole(rows);
    }
    let of_batch = engine.params().batch.map_or(1, |batch| batch.rows);
    let mut lists = Vec::new();
    for (unit, first) in (0..rows.len()).step_by(of_batch).enumerate() {
        let batch: Vec<usize> = (first..rows.len().min(first + of_batch)).collect();
        lists.push(match ranks.takes(unit) {
            true => whole(&engine.gather_rows(rows, &batch)?)?,
            false => engine.zero_rows(batch.len()),
        });
    }
    let mut out = engine.join_rows(&lists.iter().collect::<Vec<_>>())?;
    ranks.sum_rows(&mut out)?;
    Ok(out)
}

/// Reads lists of rows that lie one after the other.
struct Reader<'a, E: Engine> {
    engine: &'a E,
    rows: &'a E::Rows,
    row: usize,
}

impl<E: Engine> Reader<'_, E> {
    /// Returns the next rows.
    fn list(&mut self, len: usize) -> Result<E::Rows> {
        let picks: Vec<_> = (self.row..self.row + len).collect();
        self.row += len;
        Ok(self.engine.gather_rows(self.rows, &picks)?)
    }

    fn network(&mut self, plan: &TrainingPlan) -> Result<Network<E>> {
        let mut layers = Vec::new();
        for (geometry, initial) in plan.network().weighted().zip(initial_layers(plan)) {
            let bias = initial.bias.into_iter().map(to_torus).collect();
            layers.push(Conv2d::from_rows(geometry.clone(), self.list(geometry.rows())?, bias)?);
        }
        Ok(Network::new(plan.network(), layers)?)
    }
}
