//! What a network is and costs, before anything is encrypted.

use std::fmt;

use fhe_core::engine::meter::{Metered, PriceList};
use fhe_core::noise::Noise;
use fhe_core::{Meter, Params};

use super::network::{After, PublicNetwork};
use super::run::Run;
use super::{Counting, PublicError, Result};
use crate::Shape;

/// One layer of a [`PublicSummary`].
#[derive(Clone, Debug, PartialEq)]
pub struct PublicLayerSummary {
    /// Name.
    pub name: String,
    /// Shape of the pre-activations.
    pub output: Shape,
    /// Number of weights.
    pub weights: usize,
    /// Furthest that a pre-activation can be from its channel's centre.
    pub furthest: i64,
    /// Distance from the centre to which pre-activations are read rightly.
    pub range: i64,
    /// Values of one image that are looked up, on any path.
    pub lookups: u64,
    /// Standard deviation of the noise with which pre-activations are read, in integers, by the
    /// path that those of the images together take. For the scores it is that with which a client
    /// decrypts them.
    pub noise: f64,
}

impl PublicLayerSummary {
    /// Returns the probability that a pre-activation half an integer from a threshold is taken for
    /// one on the other side: `erfc(1 / (2 sqrt(2) noise)) / 2`. None is nearer than that.
    #[must_use]
    pub fn failure(&self) -> f64 {
        self.failure_at(0.5)
    }

    /// The same for a pre-activation at a distance from the threshold.
    #[must_use]
    pub fn failure_at(&self, distance: f64) -> f64 {
        if self.noise == 0.0 {
            0.0
        } else {
            libm::erfc(distance / (2f64.sqrt() * self.noise)) / 2.0
        }
    }

    /// Returns whether every lookup of the layer reads the right integer, but for one in a million
    /// or fewer.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.failure() <= 1e-6
    }
}

/// Shapes, ranges, noise and price of the inference of images.
#[derive(Clone, Debug, PartialEq)]
pub struct PublicSummary {
    /// The layers.
    pub layers: Vec<PublicLayerSummary>,
    /// Images that are evaluated together.
    pub images: usize,
    /// Everything that a [`Meter`] counts, for all of them.
    pub list: PriceList,
    /// The most values of an image that are held at a time: [`PublicNetwork::values_of_image`].
    pub values: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl PublicSummary {
    /// Returns the number of values of one image that are looked up, on any path.
    #[must_use]
    pub fn lookups_of_image(&self) -> u64 {
        self.layers.iter().map(|layer| layer.lookups).sum()
    }

    /// Returns a bound on the probability that an exact layer's lookup goes wrong, and the number
    /// of lookups that are read with noise. For those there is no bound but the network's own
    /// tolerance.
    #[must_use]
    pub fn failure(&self) -> (f64, u64) {
        let read = self.layers.iter().filter(|layer| layer.lookups > 0);
        read.fold((0.0, 0), |(bound, noisy), layer| match layer.is_exact() {
            true => (bound + layer.failure() * layer.lookups as f64, noisy),
            false => (bound, noisy + layer.lookups),
        })
    }
}

impl PublicNetwork {
    /// Returns the summary of the inference of so many images together, at least one, with a
    /// parameter set.
    ///
    /// With a batch part in the set, the number of images decides whether a layer's lookups take
    /// batches, which read with a noise of their own.
    ///
    /// # Errors
    /// Those of [`PublicNetwork::forward`]; [`PublicError::Images`] if the images have more values
    /// than can be counted.
    pub fn summary(&self, params: &Params, images: usize) -> Result<PublicSummary> {
        let meter = Meter::new(params);
        let (images, passes) = (images.max(1), self.config().passes());
        let samples = images.checked_mul(passes);
        let values = samples.and_then(|samples| samples.checked_mul(self.config().input.len()));
        let (Some(samples), Some(values)) = (samples, values) else {
            let expected = format!("at most {} of values in all", usize::MAX);
            return Err(PublicError::images("number of images", images, expected));
        };
        let mut run = Run { network: self, engine: &meter, samples, kept: Vec::new() };
        let mut x: Metered = meter.fresh(values);
        let mut layers = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            let s = run.pre_activations(i, &x)?;
            let mut variance = s.variance + self.reading(params, i, s.len)?;
            x = run.activate(i, s)?;
            if i + 1 == self.layers.len() {
                variance *= passes as f64;
            }
            layers.push(PublicLayerSummary {
                name: self.config().layers[i].name.clone(),
                output: layer.plan.geometry.output(),
                weights: layer.conv.weights().iter().map(Vec::len).sum(),
                furthest: layer.furthest,
                range: layer.range,
                lookups: (passes * layer.lookups()) as u64,
                noise: variance.sqrt() / layer.unit,
            });
        }
        let (values, bytes) = (self.values_of_image(), self.bytes_of_image(params));
        Ok(PublicSummary { layers, images, list: meter.list(), values, bytes })
    }

    /// Returns the variance with which `len` pre-activations of layer i are read; none of scores.
    fn reading(&self, params: &Params, i: usize, len: usize) -> Result<f64> {
        let layer = &self.layers[i];
        let After::Staircase(stairs) = &layer.after else { return Ok(0.0) };
        let (read, unit) = layer.read(stairs, self.layers[i + 1].unit);
        let (functions, of) = read.functions(params.row_size, len, (layer.unit, unit))?;
        // Thresholds that are apart are rounded to slots.
        let slot = 0.5 / params.row_size as f64;
        let rounded = match stairs.levels().counting {
            Counting::Apart => slot * slot / 12.0,
            Counting::Joint => 0.0,
        };
        Ok(Noise::new(params).lookup_each_input(&functions, &of) + rounded)
    }
}

impl fmt::Display for PublicSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  {:<12} {:<12} {:>9} {:>9} {:>9} {:>9} {:>8}   {:>12}",
            "layer", "output", "weights", "reaches", "range", "lookups", "noise", "wrong at 1/2"
        )?;
        for layer in &self.layers {
            write!(
                f,
                "  {:<12} {:<12} {:>9} {:>9} {:>9} {:>9} {:>8.2}",
                layer.name,
                layer.output.to_string(),
                layer.weights,
                layer.furthest,
                layer.range,
                layer.lookups,
                layer.noise,
            )?;
            match layer.lookups {
                0 => writeln!(f)?,
                _ => writeln!(f, "   {:>12.1e}", layer.failure())?,
            }
        }
        let (bound, noisy) = self.failure();
        let lookups = self.lookups_of_image();
        let price = &self.list.price;
        let weighted = price.weighted / self.images as u64;
        writeln!(f, "  {lookups} lookups and {weighted} weighted terms an image")?;
        if price.batches > 0 {
            writeln!(
                f,
                "  {} images together take {} batches, with {} values in all, and {} lookups \
                 beside",
                self.images, price.batches, price.batched, price.lookups
            )?;
        }
        let megabytes = self.bytes as f64 / 1e6;
        writeln!(f, "  at most {} values at a time, {megabytes:.0} MB an image", self.values)?;
        writeln!(
            f,
            "  {} lookups are exact, with a failure of at most {bound:.1e} an image; {noisy} \
             are read with noise",
            lookups - noisy
        )
    }
}
