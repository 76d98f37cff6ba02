//! The variances of a layer, from [`fhe_core::noise`] and from how the layer computes.
//!
//! Two things are left out. The noise of encrypted labels times their multiplier is far below that
//! of a lookup's output. A promoted integer can be misread, which the lookups' noise makes
//! improbable.

use fhe_core::noise::{BatchNoise, Noise, SelectorKind};
use fhe_core::{Params, Table};
use fhe_nn::Geometry;

use crate::list_lookup::{Functions, Grid, IntegerNoise, ListLookup};
use crate::training_plan::TrainingPlan;
use crate::{OneVsAll, Result};

/// The variances of a layer, or of a shortcut.
#[derive(Clone, Debug)]
pub(crate) struct LayerNoise {
    noise: Noise,
    params: Params,
    geometry: Geometry,
    input: SelectorKind,
    errors: SelectorKind,
    lookups: Lookups,
    /// What brings errors to their rows, beside their lookup.
    to_rows: f64,
}

/// The lookups of a layer but those of its weights.
#[derive(Clone, Debug)]
struct Lookups {
    /// Of pre-activations.
    forward: ListLookup,
    /// Variance of the gates.
    gate: f64,
    /// Of errors. Those of the last layer are looked up from pre-activations.
    backward: ListLookup,
    error: IntegerNoise,
    /// Of the integers of activations and of errors in the first level of selectors, slot by slot.
    levels: Option<[BatchNoise; 2]>,
    /// Values of lookups that are added up in an integer of the output.
    terms: f64,
}

impl LayerNoise {
    /// The variances of all layers of a network, and of its shortcut, for parts of so many samples.
    pub(crate) fn of_layers(
        plan: &TrainingPlan,
        params: &Params,
        samples: usize,
    ) -> Result<Vec<Self>> {
        let (network, noise, slots) = (plan.network(), Noise::new(params), params.row_size);
        let fresh = noise.fresh_selectors();
        let values = samples * network.classes();
        let half = |tables| Functions { tables, within_half_torus: true };
        // Of the scores.
        let tables = params.lists.map_or(1, |lists| lists.selector.levels as usize + 1);
        let of_scores = Functions { tables, within_half_torus: false };
        let scores = ListLookup::in_order(params, values, of_scores);
        let loss = OneVsAll { logit_range: network.config().z_range }.integers(slots)?;
        let first = scores.integers(&loss).times(first_level(plan));
        let of_scores = scores.integers(&loss);
        // A promotion reads the first level, whose noise is in the rows of all.
        let promoted = noise.promoted_selectors(samples, first).unwrap_or(fresh);
        let packed = noise.pack_list(samples) + noise.pack_list_rounding();
        let mut layers: Vec<Self> = Vec::with_capacity(plan.weighted());
        let mut input = fresh;
        for (i, geometry) in network.geometries().iter().enumerate() {
            let (lookups, errors, to_rows, next) = match network.hidden().get(i) {
                None => {
                    let (forward, backward) = (scores.clone(), scores.clone());
                    let error = of_scores;
                    let (levels, terms) = (None, 1.0);
                    let lookups = Lookups { forward, gate: 0.0, backward, error, levels, terms };
                    (lookups, promoted, packed, input)
                }
                Some(hidden) => {
                    let z_range = network.config().z_range;
                    let (integers, gates) = hidden.activation.tables(slots, z_range)?;
                    let within_half_torus = gates.is_within_half_torus();
                    let forward =
                        ListLookup::in_place(params, Functions { tables: 2, within_half_torus });
                    let backward = ListLookup::in_place(params, half(2));
                    let of_errors = plan.gate(i, 0.0).table(slots)?;
                    let kind = |integers| noise.batch_selectors(integers).unwrap_or(fresh);
                    let (next, errors) = (kind(&integers), kind(&of_errors));
                    let next = SelectorKind { rows: hidden.terms * next.rows, ..next };
                    let (gate, error) = (forward.output(gates), backward.integers(&of_errors));
                    let levels = [&integers, &of_errors].map(|m| noise.batch_integers(m));
                    let [of_activations, of_errors] = levels;
                    let levels = of_activations.zip(of_errors).map(|(a, e)| [a, e]);
                    let terms = hidden.terms;
                    let lookups = Lookups { forward, gate, backward, error, levels, terms };
                    (lookups, errors, 0.0, next)
                }
            };
            let (noise, params, geometry) = (noise.clone(), params.clone(), geometry.clone());
            layers.push(Self { noise, params, geometry, input, errors, lookups, to_rows });
            input = next;
        }
        if let (Some(geometry), Some(last)) = (network.shortcut(), layers.last()) {
            let geometry = geometry.clone();
            layers.push(Self { geometry, input: fresh, ..last.clone() });
        }
        Ok(layers)
    }

    fn size(&self) -> f64 {
        self.params.row_size as f64
    }

    /// Returns the mean variance of the coefficients of an expanded weight's row that are zero.
    fn idle(&self) -> f64 {
        self.noise.expansion_beside(self.params.row_size.ilog2())
    }

    /// Returns the variance that expansion adds to a weight.
    pub(crate) fn expanded(&self) -> f64 {
        let levels = self.params.row_size.ilog2();
        self.noise.expansion(levels, levels)
    }

    /// Returns the noise of the selectors of activations, and of those of errors, that are read as
    /// slots of these counts. None of the last layer.
    pub(crate) fn selectors(&self, slots: [&[u64]; 2]) -> [Option<SelectorKind>; 2] {
        let of = |which: usize| {
            let (noise, counts) = (&self.lookups.levels.as_ref()?[which], slots[which]);
            let all: u64 = counts.iter().sum();
            let sum = |(slot, &count): (usize, &u64)| noise.at(slot) * count as f64;
            let mean = counts.iter().enumerate().map(sum).sum::<f64>() / all.max(1) as f64;
            let kind = self.noise.batch_selectors_of(mean)?;
            let terms = if which == 0 { self.lookups.terms } else { 1.0 };
            Some(SelectorKind { rows: terms * kind.rows, ..kind })
        };
        [of(0), of(1)]
    }

    /// Returns the variance of a pre-activation whose inputs have a mean square of `square`, and
    /// are selectors of some noise; that of no lookup in particular if none is given.
    pub(crate) fn forward(&self, square: f64, kind: Option<SelectorKind>) -> f64 {
        self.sums(kind.unwrap_or(self.input), self.geometry.window() as f64, square)
    }

    /// Returns the variance of an input's gradient, from errors of a mean square of `square`.
    pub(crate) fn backward(&self, square: f64, kind: Option<SelectorKind>) -> f64 {
        let g = &self.geometry;
        let terms = (g.weights() * g.output.area()) as f64 / g.input.len() as f64;
        self.sums(kind.unwrap_or(self.errors), terms, square)
    }

    /// Returns the variance of a sum of products of dense selectors with constant rows.
    fn sums(&self, kind: SelectorKind, terms: f64, square: f64) -> f64 {
        let norm = self.size() * square;
        terms * (self.noise.products(kind, 1, norm) + norm * self.idle())
    }

    /// Returns where pre-activations are read.
    pub(crate) fn grid(&self) -> Grid {
        self.lookups.forward.grid()
    }

    /// Returns where errors are read.
    pub(crate) fn error_grid(&self) -> Grid {
        self.lookups.backward.grid()
    }

    /// Returns the variance with which pre-activations are read.
    pub(crate) fn reading(&self) -> f64 {
        self.lookups.forward.reading()
    }

    /// Returns the variance with which gated errors are read, that of their gates included.
    pub(crate) fn error_reading(&self) -> f64 {
        self.lookups.gate + self.lookups.backward.reading()
    }

    /// Returns the variance of an error in the weights' gradient: that of the lookup of integers
    /// times an amplitude, and that of the moves on its row.
    pub(crate) fn error(&self, amplitude: f64) -> f64 {
        self.lookups.error.times(amplitude) + self.to_rows + self.noise.reflect()
    }

    /// Returns the variance of a weight's gradient, summed over a part whose inputs have a mean
    /// square of `square`: that of the products, and of packing.
    pub(crate) fn gradient(&self, square: f64, kind: Option<SelectorKind>) -> f64 {
        let (n, g) = (self.params.row_size, &self.geometry);
        let products = self.noise.products(kind.unwrap_or(self.input), 1, self.size() * square);
        g.output.area() as f64 * products
            + self.noise.pack_list(n)
            + self.noise.pack_list_rounding()
    }

    /// Returns how the weights are looked up.
    pub(crate) fn update(&self) -> ListLookup {
        let functions = Functions { tables: 1, within_half_torus: false };
        ListLookup::in_place(&self.params, functions)
    }

    /// Returns a table of as many slots as a polynomial has coefficients.
    pub(crate) fn table(&self, f: impl Fn(f64) -> f64) -> Result<Table> {
        Ok(Table::new(self.params.row_size, f)?)
    }
}

/// Returns the torus fraction of one at the first level of a promotion.
fn first_level(plan: &TrainingPlan) -> f64 {
    2f64.powi(-(plan.network().gadget().base_log as i32))
}
