//! A checked network: what follows from a configuration and a parameter set, computed once.

use fhe_core::Params;
use fhe_core::params::Gadget;

use crate::activation::{Activation, ErrorGate};
use crate::geometry::{Cells, Window};
use crate::promotable::gadget;
use crate::{Geometry, LayerConfig, NetworkConfig, Result, Shape};

mod checks;

/// What follows a layer that is not the last one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HiddenLayer {
    /// What its pre-activations go through.
    pub activation: Activation,
    /// Index of the earlier layer whose output is added to the activation.
    pub residual: Option<usize>,
    /// Whether a later layer adds this one's output.
    pub is_source: bool,
    /// Outputs are sums over windows of so many rows and columns.
    pub pool: usize,
    /// Smallest and largest integer of the output.
    pub range: (i32, i32),
    /// How many values of lookups are added up in an integer of the output.
    pub terms: f64,
}

/// A network that can be: its configuration, checked for a parameter set, and what follows from it.
///
/// All that a plan holds fits together, and it cannot be changed. Whatever computes with a network
/// takes a plan in place of a configuration, and checks nothing again.
///
/// # Examples
/// ```
/// use fhe_core::Params;
/// use fhe_nn::activation::{Activation, Kind};
/// use fhe_nn::{LayerConfig, NetworkConfig, NetworkPlan, Shape};
///
/// # fn main() -> fhe_nn::Result<()> {
/// let relu = Activation { kind: Kind::Relu, levels: 7, range: 3.0, offset: 2, spacing: 4 };
/// let mut config = NetworkConfig {
///     input: Shape { channels: 2, height: 4, width: 4 },
///     z_range: 8.0,
///     cells: Default::default(),
///     shortcut: false,
///     layers: vec![
///         LayerConfig { pool: 2, ..LayerConfig::new("conv", 3, 1, Some(relu)) },
///         LayerConfig::new("scores", 2, 2, None),
///     ],
/// };
/// let params = Params::secure128_deep_v4()?;
/// // Four integers of -8 to 20 do not fit a digit of a promotion.
/// let error = NetworkPlan::new(&config, &params).unwrap_err();
/// assert!(error.to_string().starts_with("layer conv: its output has integers from -32 to 80"));
///
/// config.layers[0].activation = Some(Activation { spacing: 1, ..relu });
/// let plan = NetworkPlan::new(&config, &params)?;
/// assert_eq!(plan.hidden()[0].range, (-8, 20));
/// assert_eq!(plan.geometries()[1].input.area(), 4);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkPlan {
    config: NetworkConfig,
    gadget: Gadget,
    /// Of every layer; at least one.
    geometries: Vec<Geometry>,
    /// From the input to the scores.
    shortcut: Option<Geometry>,
    /// Of every layer but the last.
    hidden: Vec<HiddenLayer>,
}

impl NetworkPlan {
    /// Checks a configuration for a parameter set.
    ///
    /// # Errors
    /// [`Setting`](crate::Error::Setting), [`RepeatedName`](crate::Error::RepeatedName) and
    /// [`Integers`](crate::Error::Integers) name the first layer that cannot be;
    /// [`fhe_core::Error::NoLists`] if the set cannot promote and expand.
    pub fn new(config: &NetworkConfig, params: &Params) -> Result<Self> {
        let n = params.row_size;
        checks::network(config, n)?;
        let mut builder = Builder { config, n, geometries: Vec::new(), hidden: Vec::new() };
        let mut input = config.input;
        for (i, layer) in config.layers.iter().enumerate() {
            input = builder.push(layer, input, i + 1 == config.layers.len())?;
        }
        let Builder { geometries, hidden, .. } = builder;
        let gadget = gadget(params)?;
        for (layer, hidden) in config.layers.iter().zip(&hidden) {
            checks::integers(layer, hidden.range, gadget)?;
        }
        let shortcut = config.shortcut.then(|| shortcut(config, n)).transpose()?;
        Ok(Self { config: config.clone(), gadget, geometries, shortcut, hidden })
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// Returns the gadget of promotions.
    #[must_use]
    pub fn gadget(&self) -> Gadget {
        self.gadget
    }

    /// Returns where the numbers of each layer lie.
    #[must_use]
    pub fn geometries(&self) -> &[Geometry] {
        &self.geometries
    }

    /// Returns where the numbers of the layer from the input to the scores lie, if there is one.
    #[must_use]
    pub fn shortcut(&self) -> Option<&Geometry> {
        self.shortcut.as_ref()
    }

    /// Returns the geometries of all that has weights: of the layers, and of the shortcut.
    pub fn weighted(&self) -> impl Iterator<Item = &Geometry> {
        self.geometries.iter().chain(&self.shortcut)
    }

    /// Returns how a sample's map is cut into cells.
    #[must_use]
    pub fn cells(&self) -> Cells {
        self.config.cells
    }

    /// Returns the number T of samples that lie side by side in a polynomial: N over the cells of
    /// one.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.geometries[0].row_size() / self.cells().count()
    }

    /// Returns the number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.config.layers.last().map_or(0, |layer| layer.outputs)
    }

    /// Returns the number of polynomials of an input.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.config.input.len()
    }

    /// Returns what follows each layer but the last.
    #[must_use]
    pub fn hidden(&self) -> &[HiddenLayer] {
        &self.hidden
    }

    /// Returns the torus fraction of a unit of pre-activation.
    #[must_use]
    pub fn unit(&self) -> f64 {
        self.config.unit()
    }

    /// Returns the spacing of the integers that enter a layer.
    #[must_use]
    pub fn spacing(&self, layer: usize) -> f64 {
        let before = layer.checked_sub(1).and_then(|i| self.hidden.get(i));
        before.map_or(1.0, |hidden| f64::from(hidden.activation.spacing))
    }

    /// Returns what the errors that come back to a layer's activation are multiplied by on their
    /// way past the layers between it and its residual source.
    ///
    /// Errors of layer l are integers, `8 limit scale U / t` times what came back, where the
    /// derivative is the slope `levels / range` of the activation times it. The quotient is the
    /// unit of layer l's errors. The connection goes past these units, and takes their product,
    /// rounded to an integer.
    ///
    /// # Values
    /// 1 and more; `gates` are those of every layer but the last, and a gate that is missing counts
    /// as 1.
    #[must_use]
    pub fn residual_scale(&self, source: usize, layer: usize, gates: &[ErrorGate]) -> i64 {
        (self.residual_units(source, layer, gates).round() as i64).max(1)
    }

    /// Returns the same before it is rounded.
    #[must_use]
    pub fn residual_units(&self, source: usize, layer: usize, gates: &[ErrorGate]) -> f64 {
        let gain = |l: usize| {
            let (Some(gate), Some(hidden)) = (gates.get(l), self.hidden.get(l)) else { return 1.0 };
            let slope = f64::from(hidden.activation.levels) / hidden.activation.range;
            let integers = 8.0 * f64::from(gate.limit) * gate.scale as f64;
            integers * self.unit() / self.spacing(l + 1) / slope
        };
        (source + 1..=layer).map(gain).product()
    }
}

impl HiddenLayer {
    fn new(
        layer: &LayerConfig,
        activation: Activation,
        residual: Option<usize>,
        mut source: Option<&mut Self>,
    ) -> Self {
        if let Some(source) = &mut source {
            source.is_source = true;
        }
        let (low, high) = activation.range();
        let added = source.as_ref().map_or((0, 0), |source| source.range);
        let window = i32::try_from(layer.pool * layer.pool).unwrap_or(i32::MAX);
        let sum = |x: i32, y: i32| x.saturating_add(y).saturating_mul(window);
        Self {
            activation,
            residual,
            is_source: false,
            pool: layer.pool,
            range: (sum(low, added.0), sum(high, added.1)),
            terms: (layer.pool * layer.pool) as f64 * (1.0 + source.map_or(0.0, |s| s.terms)),
        }
    }
}

/// The layers that were checked so far.
struct Builder<'a> {
    config: &'a NetworkConfig,
    n: usize,
    geometries: Vec<Geometry>,
    hidden: Vec<HiddenLayer>,
}

impl Builder<'_> {
    /// Checks and adds the next layer, and returns the shape of what it hands on.
    fn push(&mut self, layer: &LayerConfig, input: Shape, last: bool) -> Result<Shape> {
        let index = self.geometries.len();
        checks::sizes(layer, self.n)?;
        checks::name(layer, &self.config.layers[..index])?;
        let activation = checks::activation(layer, last)?;
        let (name, window, outputs) = (&layer.name, layer.window(), layer.outputs);
        // The last layer has filters of their own for each cell.
        let filters = if last { self.config.cells.count() } else { 1 };
        let geometry = Geometry::new(name, self.n, input, outputs * filters, window)?;
        let output = geometry.output;
        checks::pool(layer, output)?;
        match activation {
            None => checks::nothing_follows(layer, output)?,
            Some(activation) => {
                let residual = self.residual(layer, activation, output)?;
                let source = residual.and_then(|j| self.hidden.get_mut(j));
                let hidden = HiddenLayer::new(layer, activation, residual, source);
                self.hidden.push(hidden);
            }
        }
        self.geometries.push(geometry);
        Ok(pooled(layer, output))
    }

    /// Returns the index of the layer that a residual connection comes from, if there is one.
    fn residual(
        &self,
        layer: &LayerConfig,
        activation: Activation,
        output: Shape,
    ) -> Result<Option<usize>> {
        let Some(from) = &layer.residual else { return Ok(None) };
        let earlier = || self.config.layers.iter().zip(&self.hidden).zip(&self.geometries);
        let source = earlier().position(|((layer, hidden), geometry)| {
            layer.name == *from
                && pooled(layer, geometry.output) == output
                && hidden.activation.spacing == activation.spacing
        });
        source.map(Some).ok_or_else(|| checks::residual_error(layer, output))
    }
}

/// A dense layer on a whole cell, with filters of their own for each cell.
fn shortcut(config: &NetworkConfig, n: usize) -> Result<Geometry> {
    let input = Shape { channels: config.input.len(), height: 1, width: 1 };
    let classes = config.layers.last().map_or(0, |layer| layer.outputs);
    let window = Window { kernel: 1, stride: 1, padding: 0 };
    Geometry::new("shortcut", n, input, classes * config.cells.count(), window)
}

fn pooled(layer: &LayerConfig, output: Shape) -> Shape {
    let pool = layer.pool;
    Shape { height: output.height / pool, width: output.width / pool, ..output }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Kind;

    fn config() -> NetworkConfig {
        let activation = |spacing| {
            Some(Activation { kind: Kind::Relu, levels: 3, range: 3.0, offset: 1, spacing })
        };
        let residual = Some("one".into());
        NetworkConfig {
            input: Shape { channels: 2, height: 6, width: 6 },
            z_range: 8.0,
            cells: Cells::default(),
            shortcut: false,
            layers: vec![
                LayerConfig::new("one", 4, 3, activation(1)),
                LayerConfig {
                    padding: 1,
                    residual,
                    pool: 2,
                    ..LayerConfig::new("two", 4, 3, activation(1))
                },
                LayerConfig::new("scores", 3, 2, None),
            ],
        }
    }

    #[test]
    fn a_plan_follows_residual_connections_and_pooling() {
        let params = Params::secure128_deep_v4().unwrap();
        let plan = NetworkPlan::new(&config(), &params).unwrap();
        let [one, two] = plan.hidden() else { panic!("two hidden layers") };
        assert_eq!((one.range, one.residual, one.is_source), ((-1, 2), None, true));
        // Two activations in each of four places.
        assert_eq!((two.range, two.residual, two.is_source), ((-8, 16), Some(0), false));
        assert_eq!((one.terms, two.terms), (1.0, 8.0));
        assert_eq!([0, 1, 2, 99].map(|layer| plan.spacing(layer)), [1.0; 4]);
        assert_eq!(plan.geometries()[2].input, Shape { channels: 4, height: 2, width: 2 });
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_layer() {
        type Change = fn(&mut NetworkConfig);
        let cases: [(&str, Change); 14] = [
            ("layer network: the number of layers is 0", |c| c.layers.clear()),
            ("layer network: z_range is NaN", |c| c.z_range = f64::NAN),
            ("layer network: input is 9999 @ 6x6", |c| c.input.channels = 9999),
            ("layer one: outputs is 65537", |c| c.layers[0].outputs = 65_537),
            ("layer one: its window is 9x9", |c| c.layers[0].kernel = 9),
            ("layer one: activation is missing", |c| c.layers[0].activation = None),
            ("layer two: padding is 4", |c| c.layers[1].padding = 4),
            ("layer two: pool is 3 on 4 @ 4x4", |c| c.layers[1].pool = 3),
            ("layer one: its name", |c| c.layers[1].name = "one".into()),
            // The source has another spacing, comes later, is the layer itself.
            ("layer two: residual is \"one\"", |c| {
                c.layers[0].activation.as_mut().unwrap().spacing = 3
            }),
            ("layer one: residual is \"two\"", |c| c.layers[0].residual = Some("two".into())),
            ("layer two: residual is \"two\"", |c| c.layers[1].residual = Some("two".into())),
            ("layer scores: activation is there", |c| {
                c.layers[2].activation = c.layers[0].activation
            }),
            ("layer scores: pool is 0", |c| c.layers[2].pool = 0),
        ];
        let params = Params::secure128_deep_v4().unwrap();
        for (words, change) in cases {
            let mut config = config();
            change(&mut config);
            let error = NetworkPlan::new(&config, &params).unwrap_err().to_string();
            assert!(error.starts_with(words), "{words}: {error}");
        }
        let error = NetworkPlan::new(&config(), &Params::secure128().unwrap()).unwrap_err();
        assert!(error.to_string().contains("lists"), "{error}");
    }
}
