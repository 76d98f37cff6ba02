//! A network of convolutions and activations: forward and backward.

use fhe_core::{Engine, List, Slot};

use crate::activation::ErrorGate;
use crate::conv2d::Conv2d;
use crate::{Error, NetworkPlan, Promotable, Result, Shape};

/// A network with secret weights.
pub struct Network<E: Engine> {
    plan: NetworkPlan,
    /// The layers, and then the shortcut, if there is one.
    weighted: Vec<Conv2d<E>>,
}

impl<E: Engine> std::fmt::Debug for Network<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("config", self.plan.config()).finish_non_exhaustive()
    }
}

/// What a forward pass leaves for the way back.
pub struct Trace<E: Engine> {
    /// Of every layer but the first: its inputs.
    pub inputs: Vec<E::Selectors>,
    /// Of every layer but the last: the gates of its activations, a quarter where they are open.
    pub gates: Vec<E::Rows>,
    /// Scores of each class: that of sample s is at coefficient `s cells`.
    pub scores: E::Rows,
}

impl<E: Engine> std::fmt::Debug for Trace<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trace(hidden)")
    }
}

/// The errors of scores, as the way back takes them.
pub struct ScoreErrors<E: Engine> {
    /// Of each class, integers at the first cell of each sample.
    selectors: E::Selectors,
    /// Of each filter of the last layer, the same times an amplitude, at its cell of each sample.
    rows: E::Rows,
}

impl<E: Engine> std::fmt::Debug for ScoreErrors<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScoreErrors(hidden)")
    }
}

impl<E: Engine> Network<E> {
    /// A network with the layers of a plan, and then its shortcut, if it has one.
    ///
    /// # Errors
    /// [`Error::Count`] and [`Error::OtherGeometry`] if they are not those of the plan.
    pub fn new(plan: &NetworkPlan, weighted: Vec<Conv2d<E>>) -> Result<Self> {
        let (got, expected) = (weighted.len(), plan.weighted().count());
        if got != expected {
            let (layer, what) = ("network".into(), "layers");
            return Err(Error::Count { layer, what, got, expected });
        }
        let names = plan.config().layers.iter().map(|layer| &layer.name[..]).chain(["shortcut"]);
        for ((layer, geometry), name) in weighted.iter().zip(plan.weighted()).zip(names) {
            if layer.geometry() != geometry {
                return Err(Error::OtherGeometry { layer: name.into() });
            }
        }
        Ok(Self { plan: plan.clone(), weighted })
    }

    /// Returns the plan.
    #[must_use]
    pub fn plan(&self) -> &NetworkPlan {
        &self.plan
    }

    /// Returns all that has weights: the layers, and then the shortcut, if there is one.
    #[must_use]
    pub fn weighted(&self) -> &[Conv2d<E>] {
        &self.weighted
    }

    /// Returns the same, to be changed.
    pub fn weighted_mut(&mut self) -> &mut [Conv2d<E>] {
        &mut self.weighted
    }

    fn layers(&self) -> &[Conv2d<E>] {
        &self.weighted[..self.plan.geometries().len()]
    }

    /// Runs the samples of all lanes through the network. Its inputs are the selectors from `first`
    /// on, one for each channel, row and column.
    ///
    /// # Cost
    /// N lookups for each value of every layer but the last, whatever the number of samples;
    /// residual connections and pooling are additions.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are fewer selectors.
    pub fn forward(&self, engine: &E, x: &E::Selectors, first: usize) -> Result<Trace<E>> {
        let (mut inputs, mut gates): (Vec<E::Selectors>, Vec<E::Rows>) = (Vec::new(), Vec::new());
        let mut z = self.layers()[0].forward(engine, x, first)?;
        for (i, hidden) in self.plan.hidden().iter().enumerate() {
            let (slots, z_range) = (engine.params().row_size, self.plan.config().z_range);
            let (integers, open) = hidden.activation.tables(slots, z_range)?;
            let (levels, rows) = engine.lookup_coefficients(&z, Some(&integers), &[open])?;
            drop(z);
            let (Some(mut a), Some(gate)) = (levels, rows.into_iter().next()) else {
                return Err(missing("lookup of activations"));
            };
            if let Some(earlier) = hidden.residual.and_then(|source| inputs.get(source)) {
                engine.add_selectors(&mut a, earlier)?;
            }
            let a = pool(engine, a, self.layers()[i].geometry().output, hidden.pool)?;
            z = self.layers()[i + 1].forward(engine, &a, 0)?;
            inputs.push(a);
            gates.push(gate);
        }
        if let Some(shortcut) = self.shortcut() {
            engine.add_scaled_rows(&mut z, &shortcut.forward(engine, x, first)?, 1)?;
        }
        Ok(Trace { inputs, gates, scores: self.over_cells(engine, z)? })
    }

    fn shortcut(&self) -> Option<&Conv2d<E>> {
        self.weighted.get(self.layers().len())
    }

    /// Returns the sums over the cells of each sample, at the first of them: of each class from the
    /// rows of its filters of each cell.
    fn over_cells(&self, engine: &E, z: E::Rows) -> Result<E::Rows> {
        let (n, cells) = (engine.params().row_size, self.plan.cells().count());
        let mut sum = engine.zero_rows(self.plan.classes());
        for cell in 0..cells {
            let mut of_cell = engine.gather_rows(&z, &self.of_cell(cell))?;
            engine.rotate_rows(&mut of_cell, (2 * n - cell) % (2 * n))?;
            engine.add_scaled_rows(&mut sum, &of_cell, 1)?;
        }
        Ok(sum)
    }

    /// The last layer's filters of a cell, class after class.
    fn of_cell(&self, cell: usize) -> Vec<usize> {
        let cells = self.plan.cells().count();
        (0..self.plan.classes()).map(|o| o * cells + cell).collect()
    }

    /// Returns where the score of each class of each of some samples is, in the rows of
    /// [`Trace::scores`]: sample after sample.
    #[must_use]
    pub fn scores_at(&self, samples: usize) -> Vec<(usize, usize)> {
        let (classes, cells) = (self.plan.classes(), self.plan.cells().count());
        (0..samples).flat_map(|s| (0..classes).map(move |o| (o, s * cells))).collect()
    }

    /// Takes errors of samples, in the order of [`Network::scores_at`], whose values beside their
    /// levels are them times an amplitude, to the lanes of the samples.
    ///
    /// # Cost
    /// A promoted and a packed list a class; no lookup.
    ///
    /// # Errors
    /// Those of [`Engine::promote`] and [`Engine::pack`].
    pub fn score_errors(
        &self,
        engine: &E,
        errors: &Promotable<E>,
        samples: usize,
    ) -> Result<ScoreErrors<E>> {
        let (classes, cells) = (self.plan.classes(), self.plan.cells().count());
        let slot = |s: usize, o: usize| Slot { value: s * classes + o, coefficient: s * cells };
        let of_class = |o: usize| (0..samples).map(|s| slot(s, o)).collect();
        let lists: Vec<Vec<Slot>> = (0..classes).map(of_class).collect();
        let first = engine.pack(&errors.extra(engine)?, &lists)?;
        let selectors = errors.promote(engine, &lists)?;
        // The filters of a cell have errors in its lanes only.
        let mut rows = Vec::with_capacity(cells);
        for cell in 0..cells {
            let mut of_cell = engine.join_rows(&[&first])?;
            engine.rotate_rows(&mut of_cell, cell)?;
            rows.push(of_cell);
        }
        let rows = engine.join_rows(&rows.iter().collect::<Vec<_>>())?;
        let by_class: Vec<usize> =
            (0..classes * cells).map(|i| i % cells * classes + i / cells).collect();
        let rows = engine.gather_rows(&rows, &by_class)?;
        Ok(ScoreErrors { selectors, rows })
    }

    /// Takes the errors of the scores back to every layer: returns for each layer, from the first
    /// on, its errors times an amplitude.
    ///
    /// `gates` has one entry for every layer but the last.
    ///
    /// # Cost
    /// N lookups for each value of every layer but the last.
    ///
    /// # Errors
    /// [`fhe_core::Error::Shape`] if the lists do not fit together.
    pub fn backward(
        &self,
        engine: &E,
        trace: &Trace<E>,
        errors: ScoreErrors<E>,
        gates: &[ErrorGate],
    ) -> Result<Vec<E::Rows>> {
        let (got, expected) = (gates.len(), self.plan.hidden().len());
        if got != expected || trace.gates.len() != expected {
            let (op, what) = ("backward", "gates");
            return Err(fhe_core::Error::Shape { op, what, got, expected }.into());
        }
        let ScoreErrors { mut selectors, rows } = errors;
        let mut all = vec![rows];
        let last = self.layers().len() - 1;
        // What residual connections bring back to each layer's output.
        let mut added: Vec<Option<E::Rows>> = self.layers().iter().map(|_| None).collect();
        for (i, hidden) in self.plan.hidden().iter().enumerate().rev() {
            // The last layer has filters for each cell, and errors that wait in its first lane.
            let cells = if i + 1 == last { self.plan.cells().count() } else { 1 };
            let mut back = self.layers()[i + 1].input_gradient(engine, &selectors, cells)?;
            if let Some(more) = added[i].take() {
                engine.add_scaled_rows(&mut back, &more, 1)?;
            }
            let back = unpool(engine, back, self.layers()[i].geometry().output, hidden.pool)?;
            let inputs = gates[i].inputs(engine, &back, &trace.gates[i])?;
            let integers = gates[i].table(engine.params().row_size)?;
            let amplified = integers.times(gates[i].amplitude);
            // No way leads back from the first layer.
            let wanted = (i > 0).then_some(&integers);
            let (levels, rows) = engine.lookup_coefficients(&inputs, wanted, &[amplified])?;
            all.push(rows.into_iter().next().ok_or_else(|| missing("lookup of errors"))?);
            match levels {
                Some(levels) => selectors = levels,
                None if i > 0 => return Err(missing("lookup of errors")),
                None => {}
            }
            if let Some(source) = hidden.residual {
                let k = self.plan.residual_scale(source, i, gates);
                match &mut added[source] {
                    Some(sum) => engine.add_scaled_rows(sum, &back, k)?,
                    none => {
                        let mut scaled = engine.zero_rows(back.len());
                        engine.add_scaled_rows(&mut scaled, &back, k)?;
                        *none = Some(scaled);
                    }
                }
            }
        }
        all.reverse();
        Ok(all)
    }

    /// Returns the gradient of the weights of `weighted()[index]`, from the errors of
    /// [`Network::backward`]. The network's inputs are the selectors of `x` from an index on.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there is no such layer, or the lists do not fit together.
    pub fn weight_gradient(
        &self,
        engine: &E,
        index: usize,
        (x, trace): ((&E::Selectors, usize), &Trace<E>),
        errors: &[E::Rows],
    ) -> Result<E::Rows> {
        let (op, len) = ("weight_gradient (layer)", self.weighted.len());
        let none = || fhe_core::Error::Index { op, index, len };
        let layers = self.layers().len();
        let input = match index {
            i if i == 0 || i >= layers => x,
            _ => (trace.inputs.get(index - 1).ok_or_else(none)?, 0),
        };
        let errors = errors.get(index.min(layers - 1)).ok_or_else(none)?;
        let layer = self.weighted.get(index).ok_or_else(none)?;
        layer.weight_gradient(engine, input, &engine.reflect(errors)?)
    }
}

fn missing(op: &'static str) -> Error {
    fhe_core::Error::Shape { op, what: "outputs", got: 0, expected: 1 }.into()
}

/// Adds the integers of each window of `side` rows and columns of maps of a shape.
fn pool<E: Engine>(engine: &E, a: E::Selectors, shape: Shape, side: usize) -> Result<E::Selectors> {
    if side == 1 {
        return Ok(a);
    }
    let (height, width) = (shape.height / side, shape.width / side);
    let at = |dy: usize, dx: usize| -> Vec<usize> {
        let of = |i: usize| {
            let (c, y, x) = (i / (height * width), i / width % height, i % width);
            (c * shape.height + y * side + dy) * shape.width + x * side + dx
        };
        (0..shape.channels * height * width).map(of).collect()
    };
    let mut sum = engine.gather_selectors(&a, &at(0, 0))?;
    for (dy, dx) in (0..side * side).skip(1).map(|i| (i / side, i % side)) {
        engine.add_selectors(&mut sum, &engine.gather_selectors(&a, &at(dy, dx))?)?;
    }
    Ok(sum)
}

/// The way back of pooling: each error goes to all of its window.
fn unpool<E: Engine>(engine: &E, errors: E::Rows, shape: Shape, side: usize) -> Result<E::Rows> {
    if side == 1 {
        return Ok(errors);
    }
    let (height, width) = (shape.height / side, shape.width / side);
    let of = |i: usize| {
        let (c, y, x) = (i / shape.area(), i / shape.width % shape.height, i % shape.width);
        (c * height + (y / side).min(height - 1)) * width + (x / side).min(width - 1)
    };
    Ok(engine.gather_rows(&errors, &(0..shape.len()).map(of).collect::<Vec<_>>())?)
}
