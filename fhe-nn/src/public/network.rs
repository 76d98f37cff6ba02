//! A network of integer convolutions and activations of few levels.

use fhe_core::{Engine, to_torus};

use super::config::{LayerWeights, Pool, PublicLayerConfig, PublicNetworkConfig};
use super::conv2d::{PublicConv2d, PublicGeometry};
use super::pool;
use super::staircase::{Levels, Staircase};
use crate::{Error, Result, Shape};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layer {
    pub(super) conv: PublicConv2d,
    after: After,
    /// Index of the layer whose pre-activation is added.
    residual: Option<usize>,
    pool: Option<Pool>,
    /// Distance from a centre that pre-activations can reach.
    pub(super) furthest: i64,
    /// Distance from a centre to which they are read rightly.
    pub(super) range: i64,
    /// Torus fraction of one in the pre-activations.
    pub(super) unit: f64,
}

#[derive(Clone, Debug, PartialEq)]
enum After {
    Staircase(Staircase),
    Bias(Vec<i64>),
}

/// A network with public weights.
///
/// Layer i computes, for each output channel, `s_i = w_i * a_(i-1) + s_j` (the last term if it has a residual connection from layer
/// j) and `a_i = pool(first + step * #{thresholds that s_i reaches})`; the last layer, `s_i + bias`. Everything is an
/// integer, so the clear twin is exact.
///
/// An integer s is the torus element `s * unit`. The unit of a layer is as large as its range allows: half the torus
/// over `range + 1` for signs, a quarter for other activations; layers joined by a residual connection share theirs.
///
/// # Examples
/// ```
/// use fhe_core::{Clear, Params, from_torus, to_torus};
/// use fhe_nn::public::{LayerWeights, PublicNetwork, PublicNetworkConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Whether two signs differ: 1 if they do, -1 if not.
/// let config: PublicNetworkConfig = serde_json::from_str(
///     r#"{
///         "input": { "channels": 2, "height": 1, "width": 1 },
///         "levels": [-1, 1],
///         "layers": [
///             { "name": "hidden", "outputs": 2, "kernel": 1,
///               "activation": { "first": -1, "step": 2, "thresholds": 1 } },
///             { "name": "score", "outputs": 1, "kernel": 1 }
///         ]
///     }"#,
/// )?;
/// let weights = vec![
///     LayerWeights { weights: vec![vec![1, 1], vec![-1, -1]], thresholds: vec![vec![1], vec![1]] },
///     LayerWeights { weights: vec![vec![-1, -1]], thresholds: vec![vec![-1]] },
/// ];
/// let params = Params::secure128_bnn()?;
/// let network = PublicNetwork::new(&config, weights, params.row_size)?;
/// assert_eq!(network.classify_exactly(&[1, -1]), [1]);
/// assert_eq!(network.classify_exactly(&[1, 1]), [-1]);
///
/// // The same with the noise of ciphertexts: two lookups, which miss with a probability below 1e-50.
/// let image = [1.0, -1.0].map(|x: f64| to_torus(x * network.input_unit()));
/// let scores = network.forward(&Clear::noisy(&params, 1), &image.to_vec(), 1)?;
/// assert_eq!((from_torus(scores[0]) / network.score_unit()).round(), 1.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PublicNetwork {
    config: PublicNetworkConfig,
    pub(super) layers: Vec<Layer>,
}

/// Smallest and largest integer.
type Bounds = (i64, i64);

fn fail<T>(layer: &str, problem: String) -> Result<T> {
    Err(Error::Layer { layer: layer.into(), problem })
}

impl PublicNetwork {
    /// Checks a network and computes the range of every accumulator, for lookups that read `slots` slots of the
    /// half torus.
    ///
    /// # Errors
    /// [`Error::Layer`] names the first layer that does not fit.
    pub fn new(
        config: &PublicNetworkConfig,
        weights: Vec<LayerWeights>,
        slots: usize,
    ) -> Result<Self> {
        let (got, expected) = (weights.len(), config.layers.len());
        if got != expected || expected == 0 || config.levels.0 >= config.levels.1 {
            let problem =
                format!("{got} layers of weights for {expected}, levels {:?}", config.levels);
            return fail("network", problem);
        }
        let windows = config.windows()?;
        let mut levels = config.levels;
        let mut layers: Vec<Layer> = Vec::new();
        let mut reached: Vec<Vec<Bounds>> = Vec::new();
        for (i, (layer, given)) in config.layers.iter().zip(weights).enumerate() {
            let name = &layer.name;
            let conv = PublicConv2d::new(name, windows[i], given.weights)?;
            conv.check_weights(name, layer.largest_weight)?;
            if given.thresholds.len() != layer.outputs {
                let got = given.thresholds.len();
                return fail(
                    name,
                    format!("thresholds of {got} channels, expected {}", layer.outputs),
                );
            }
            let mut bounds = conv.bounds(levels);
            let residual = config.residual(i);
            if let Some(j) = residual {
                for ((least, most), (low, high)) in bounds.iter_mut().zip(&reached[j]) {
                    (*least, *most) = (*least + low, *most + high);
                }
            }
            let (after, furthest) = after(layer, given.thresholds, &bounds)?;
            reached.push(bounds);
            // Two images' scores are added up.
            let times = if layer.activation.is_none() { config.passes() as i64 } else { 1 };
            let furthest = times * furthest;
            let range = layer.range.map_or(furthest, |range| times * range).max(1);
            levels = layer.activation.map_or((0, 0), |levels| levels.range());
            if let Some(Pool::Sum(side)) = layer.pool {
                let window = (side * side) as i64;
                levels = (levels.0 * window, levels.1 * window);
            }
            let halves = after.halves();
            // A range of the model's own says that it can do with less than a slot an integer.
            let whole = layer.range.is_none() && layer.activation.is_some();
            if whole && 2 * (range + 1) > slots as i64 * halves {
                let most = slots as i64 * halves / 2 - 1;
                let problem = format!(
                    "pre-activations reach {range} from their centre, and a lookup has {slots} slots: expected at most {most}; fewer or smaller weights fit, or a `range` of the layer's own, beyond which they wrap and within which they are read with noise"
                );
                return fail(name, problem);
            }
            let unit = 0.25 * halves as f64 / (range + 1) as f64;
            layers.push(Layer { conv, after, residual, pool: layer.pool, furthest, range, unit });
        }
        share_units(&mut layers);
        Ok(Self { config: config.clone(), layers })
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &PublicNetworkConfig {
        &self.config
    }

    /// Returns the torus fraction by which a client multiplies the integers of an image.
    #[must_use]
    pub fn input_unit(&self) -> f64 {
        self.layers[0].unit
    }

    /// Returns the torus fraction of one in the scores.
    #[must_use]
    pub fn score_unit(&self) -> f64 {
        self.layers[self.layers.len() - 1].unit
    }

    /// Returns the scores of an image in the clear, in integers: the definition. Channels of a position lie together.
    ///
    /// # Panics
    /// If the image is shorter than its shape.
    #[must_use]
    pub fn classify_exactly(&self, image: &[i64]) -> Vec<i64> {
        let mut scores = self.scores_of(image);
        if self.config.mirrored {
            let mirror = mirror(self.config.input);
            let image: Vec<i64> = mirror.into_iter().map(|i| image[i]).collect();
            scores.iter_mut().zip(self.scores_of(&image)).for_each(|(s, more)| *s += more);
        }
        scores
    }

    fn scores_of(&self, image: &[i64]) -> Vec<i64> {
        let mut sums: Vec<Vec<i64>> = Vec::new();
        let mut x = image.to_vec();
        for layer in &self.layers {
            let window = layer.conv.window();
            let mut s: Vec<i64> = Vec::with_capacity(window.output.len());
            for places in window.places(1) {
                let x: Vec<i64> = places.iter().map(|i| i.map_or(0, |i| x[i])).collect();
                s.extend(layer.conv.weights().iter().map(|weights| {
                    x.iter().zip(weights).map(|(x, &w)| x * i64::from(w)).sum::<i64>()
                }));
            }
            if let Some(source) = layer.residual {
                s.iter_mut().zip(&sums[source]).for_each(|(s, a)| *s += a);
            }
            let channels = window.output.channels;
            x = match &layer.after {
                After::Bias(bias) => {
                    s.iter().enumerate().map(|(i, s)| s + bias[i % channels]).collect()
                }
                After::Staircase(stairs) => {
                    let a: Vec<i64> = (s.iter().enumerate())
                        .flat_map(|(i, &s)| stairs.at(i % channels, s))
                        .collect();
                    let shape = layer.activations();
                    let pooled = |side| pool::windows(shape, 1, side);
                    match layer.pool {
                        None => a,
                        Some(Pool::Sum(side)) => {
                            pooled(side).map(|w| w.map(|i| a[i]).sum()).collect()
                        }
                        Some(Pool::Max(side)) => {
                            pooled(side).map(|w| w.map(|i| a[i]).max().unwrap_or(0)).collect()
                        }
                    }
                }
            };
            sums.push(s);
        }
        x
    }

    /// Returns the scores of `samples` images, class by class, image after image. Values of an image are its integers
    /// times [`PublicNetwork::input_unit`], channels of a position together.
    ///
    /// # Cost
    /// A lookup for each pre-activation with an activation, and one for each maximum; twice that with mirror images.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are fewer values than the images have.
    pub fn forward<E: Engine>(
        &self,
        engine: &E,
        images: &E::Values,
        samples: usize,
    ) -> Result<E::Values> {
        self.forward_watched(engine, images, samples, |_| ())
    }

    /// [`PublicNetwork::forward`] for those who watch its progress: calls `done(i)` after layer i, in each of the
    /// [`PublicNetworkConfig::passes`].
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
        let mut scores = self.scores(engine, images, samples, &done)?;
        if self.config.mirrored {
            let (len, mirror) = (self.config.input.len(), mirror(self.config.input));
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
        let first = run.pre_activations(0, images)?;
        let mut x = run.activate(0, first)?;
        done(0);
        for i in 1..self.layers.len() {
            let s = run.pre_activations(i, &x)?;
            x = run.activate(i, s)?;
            done(i);
        }
        Ok(x)
    }
}

/// A network on its way through the layers.
pub(super) struct Run<'a, E: Engine> {
    pub(super) network: &'a PublicNetwork,
    pub(super) engine: &'a E,
    pub(super) samples: usize,
    /// Of each layer so far, the pre-activations if a later one adds them.
    pub(super) kept: Vec<Option<E::Values>>,
}

impl<E: Engine> Run<'_, E> {
    /// Returns the sums of layer i.
    pub(super) fn pre_activations(&mut self, i: usize, x: &E::Values) -> Result<E::Values> {
        let layers = &self.network.layers;
        let mut s = layers[i].conv.forward(self.engine, x, self.samples)?;
        if let Some(earlier) = layers[i].residual.and_then(|j| self.kept[j].as_ref()) {
            self.engine.add_scaled_values(&mut s, earlier, 1)?;
        }
        let needed = layers.iter().any(|later| later.residual == Some(i));
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
        let (shape, next) = (layer.activations(), self.network.layers[i + 1].unit);
        match layer.pool {
            None => stairs.look_up(engine, s, layer.unit, next),
            Some(Pool::Sum(side)) => {
                let a = stairs.look_up(engine, s, layer.unit, next)?;
                pool::sums(engine, &a, shape, self.samples, side)
            }
            Some(Pool::Max(side)) => {
                // Around zero, as only an odd table reads signs from the whole torus.
                let bits = stairs.with_levels(Levels::SIGN);
                let bits = bits.look_up(engine, s, layer.unit, 0.5 * pool::bit_unit(side))?;
                let sizes = (shape, self.samples, side);
                pool::maxima(engine, &bits, sizes, stairs.levels(), next)
            }
        }
    }
}

impl Layer {
    /// Returns the shape of the activations, before pooling.
    fn activations(&self) -> Shape {
        let copies = match &self.after {
            After::Staircase(stairs) => stairs.levels().copies(),
            After::Bias(_) => 1,
        };
        let output = self.conv.window().output;
        Shape { channels: output.channels * copies, ..output }
    }
}

impl After {
    /// Returns how many quarters of the torus pre-activations have on each side.
    fn halves(&self) -> i64 {
        match self {
            Self::Staircase(stairs) => i64::from(stairs.levels().halves()),
            Self::Bias(_) => 2,
        }
    }
}

/// Returns what follows a convolution, and how far from their centres pre-activations can be.
fn after(
    layer: &PublicLayerConfig,
    thresholds: Vec<Vec<i64>>,
    bounds: &[Bounds],
) -> Result<(After, i64)> {
    let Some(levels) = layer.activation else {
        let bias: Option<Vec<i64>> =
            thresholds.iter().map(|t| (t.len() == 1).then(|| t[0])).collect();
        let Some(bias) = bias else {
            return fail(&layer.name, "expected one bias a class".into());
        };
        let far =
            bounds.iter().zip(&bias).map(|(&(low, high), b)| (low + b).abs().max((high + b).abs()));
        let furthest = far.max().unwrap_or(0);
        return Ok((After::Bias(bias), furthest));
    };
    let mut stairs = Staircase::new(&layer.name, levels, thresholds)?;
    stairs.clamp(bounds);
    let far = bounds.iter().enumerate().map(|(o, &bounds)| stairs.furthest(o, bounds));
    let furthest = far.max().unwrap_or(0);
    Ok((After::Staircase(stairs), furthest))
}

/// Returns the places that the numbers of an image's mirror image have in the image.
fn mirror(input: Shape) -> Vec<usize> {
    let (width, channels) = (input.width, input.channels);
    let place = |i: usize| {
        let (row, x, c) = (i / (width * channels), i / channels % width, i % channels);
        (row * width + width - 1 - x) * channels + c
    };
    (0..input.len()).map(place).collect()
}

/// Gives layers that are joined by a residual connection the smallest of their units.
fn share_units(layers: &mut [Layer]) {
    let mut settled = false;
    while !settled {
        settled = true;
        for i in 0..layers.len() {
            if let Some(source) = layers[i].residual {
                let least = layers[i].unit.min(layers[source].unit);
                settled &= layers[i].unit == least && layers[source].unit == least;
                (layers[i].unit, layers[source].unit) = (least, least);
            }
        }
    }
}

impl PublicNetworkConfig {
    /// Returns the index of the layer whose pre-activation layer i adds.
    #[must_use]
    pub fn residual(&self, i: usize) -> Option<usize> {
        let name = self.layers[i].residual.as_ref()?;
        self.layers[..i].iter().position(|layer| layer.name == *name)
    }

    /// Returns how often an image goes through the layers: twice with its mirror image.
    #[must_use]
    pub fn passes(&self) -> usize {
        if self.mirrored { 2 } else { 1 }
    }

    /// Returns the windows of the layers.
    ///
    /// # Errors
    /// [`Error::Layer`] names the first layer whose shape does not fit.
    pub fn windows(&self) -> Result<Vec<PublicGeometry>> {
        let mut input = self.input;
        let mut windows: Vec<PublicGeometry> = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            let name = &layer.name;
            if self.layers[..i].iter().any(|earlier| earlier.name == *name) {
                return fail(
                    name,
                    "an earlier layer has this name: expected one of its own".into(),
                );
            }
            if (i + 1 == self.layers.len()) == layer.activation.is_some() {
                return fail(name, "every layer but the last has an activation".into());
            }
            let sizes = (layer.kernel, layer.stride, layer.padding);
            let window = PublicGeometry::new(name, input, layer.outputs, sizes)?;
            let output = window.output;
            if let Some(source) = &layer.residual
                && self.residual(i).is_none_or(|j| windows[j].output != output)
            {
                let problem = format!(
                    "residual from {source:?}: expected an earlier layer with pre-activations of {output}"
                );
                return fail(name, problem);
            }
            input = Shape { channels: layer.channels(), ..output };
            if let Some(Pool::Sum(side) | Pool::Max(side)) = layer.pool {
                if side == 0 || output.height % side + output.width % side > 0 {
                    return fail(name, format!("pool of {side} on {output}: expected a divisor"));
                }
                input = Shape { height: output.height / side, width: output.width / side, ..input };
                let two = layer.activation.is_some_and(|levels| levels.thresholds == 1);
                if matches!(layer.pool, Some(Pool::Max(_))) && !two {
                    return fail(name, "maxima are of activations with two levels".into());
                }
            }
            windows.push(window);
        }
        Ok(windows)
    }
}
