//! The variances of a layer, from [`fhe_core::noise`] and from how the layer is packed.
//!
//! Two things are left out. Their sizes are standard deviations in torus fractions for
//! `secure128-deep-v1`, the noisier set. The noise of encrypted labels times their multiplier is
//! 2e-9 at most, beside 4e-8 of a lookup's output. A promoted integer can be misread, with 4e-8
//! beside a rounding limit of 4e-3.

use fhe_core::noise::{Noise, SelectorKind};
use fhe_nn::promotable::TABLES;
use fhe_nn::{CONSTANTS, Geometry};

/// The variances of a layer.
#[derive(Clone, Debug)]
pub(crate) struct LayerNoise {
    noise: Noise,
    geometry: Geometry,
    /// Channels of an input polynomial.
    group: usize,
    /// Outputs of an error polynomial.
    error_group: usize,
    input: SelectorKind,
    errors: SelectorKind,
}

impl LayerNoise {
    /// The variances of a layer whose inputs are sums of `terms` values of lookups each; `None` is
    /// for the first layer, whose inputs are fresh.
    pub(crate) fn new(noise: &Noise, geometry: &Geometry, terms: Option<f64>) -> Self {
        let g = geometry;
        let group = (0..g.input.channels).filter(|&c| g.input_at(c, 0, 0).0 == 0).count();
        let error_group =
            (0..g.output.channels).filter(|&o| g.back_error_at(o, 0, 0).0 == 0).count();
        let promoted = |len, terms| {
            let kind = noise.promoted_selectors(len, terms * noise.lookup());
            kind.unwrap_or_else(|| noise.fresh_selectors())
        };
        let input = match terms {
            None => noise.fresh_selectors(),
            Some(terms) => promoted(group * g.input.height * g.input.width, terms),
        };
        let errors = promoted(error_group * g.output.height * g.output.width, 1.0);
        Self { noise: noise.clone(), geometry: g.clone(), group, error_group, input, errors }
    }

    /// Returns the group of an input channel.
    pub(crate) fn group_of(&self, channel: usize) -> usize {
        channel / self.group
    }

    fn squared_kernel(&self) -> usize {
        self.geometry.kernel * self.geometry.kernel
    }

    /// Returns which part of the coefficients that meet an input hold no weight.
    fn idle_share(&self) -> f64 {
        let side = |s: usize| s + 2 * self.geometry.padding;
        let input = self.geometry.input;
        1.0 - self.squared_kernel() as f64 / (side(input.height) * side(input.width)) as f64
    }

    /// Returns the variance of a pre-activation of a sample whose integers have a sum of squares of
    /// `norm`: that of the products, and that of idle coefficients of variance `idle`.
    ///
    /// The latter noise is one fixed value for each pair of a row's and an input's coefficient.
    /// Fresh noise of its variance stands for it.
    pub(crate) fn forward(&self, norm: f64, idle: f64) -> f64 {
        self.noise.products(self.input, self.geometry.groups(), norm) + self.idle(norm, idle)
    }

    /// Returns the variance of a pre-activation that idle coefficients alone make.
    pub(crate) fn idle(&self, norm: f64, idle: f64) -> f64 {
        norm * idle * self.idle_share()
    }

    /// Returns the variance with which a lookup of activations or errors reads.
    pub(crate) fn reading(&self) -> f64 {
        self.noise.lookup_input(TABLES)
    }

    /// Returns the variance of a lookup's output.
    pub(crate) fn lookup(&self) -> f64 {
        self.noise.lookup()
    }

    /// Returns the variance of an input's gradient, from errors of a sum of squares `norm`.
    pub(crate) fn backward(&self, norm: f64) -> f64 {
        let len = self.transposed_len(0, 0);
        self.noise.products(self.errors, self.geometry.error_groups(), norm)
            + norm * self.noise.pack_list(len) * self.idle_share()
    }

    /// Returns the length of a list of transposed weights.
    fn transposed_len(&self, channel: usize, output: usize) -> usize {
        let (filters, g) = (self.geometry.transposed_filters(), &self.geometry);
        let full = |i: usize, size: usize, all: usize| size.min(all - i / size * size);
        full(channel, filters, g.input.channels)
            * full(output, self.error_group, g.output.channels)
            * self.squared_kernel()
    }

    /// Returns the variance of a transposed weight: that of packing, and of its rounding.
    pub(crate) fn transposed(&self, output: usize, channel: usize) -> f64 {
        self.noise.pack_list(self.transposed_len(channel, output)) + self.noise.pack_list_rounding()
    }

    fn constants(&self) -> bool {
        let g = &self.geometry;
        g.output.len() == g.output.channels && g.filters() <= CONSTANTS
    }

    /// Returns the variance of an error in the weights' gradient: that of the lookup, and what
    /// packing does to the error itself.
    pub(crate) fn error(&self) -> f64 {
        self.noise.lookup()
            + if self.constants() {
                self.noise.pack_constant() + self.noise.pack_rounding()
            } else {
                self.noise.pack_list_rounding()
            }
    }

    /// Returns the variance of a weight's gradient, summed over samples whose integers in the
    /// weight's group have a sum of squares of `norm`: that of the products, and what packing does
    /// to coefficients beside the errors.
    pub(crate) fn gradient(&self, output: usize, samples: usize, norm: f64) -> f64 {
        let filters = self.filters_with(output);
        let products = self.noise.products(self.input, samples, norm);
        if self.constants() {
            // The rows of a block's filters are products of their own, and added.
            filters as f64 * (products + norm * self.noise.pack_constant())
        } else {
            let len = filters * self.geometry.output.height * self.geometry.output.width;
            products + norm * self.noise.pack_list(len)
        }
    }

    fn filters_with(&self, output: usize) -> usize {
        self.geometry.outputs_of(output / self.geometry.filters()).len()
    }

    /// Returns the variance that an update's packing adds to every coefficient of a weight's row.
    pub(crate) fn packing(&self, output: usize, channel: usize) -> f64 {
        let first = channel / self.group * self.group;
        let channels = self.group.min(self.geometry.input.channels - first);
        self.noise.pack_list(self.filters_with(output) * channels * self.squared_kernel())
    }

    /// Returns the variance that an update's packing adds to the weight besides.
    pub(crate) fn packing_rounding(&self) -> f64 {
        self.noise.pack_list_rounding()
    }

    /// Returns the variance with which the lookup of an update reads.
    pub(crate) fn update_reading(&self) -> f64 {
        self.noise.lookup_input(1)
    }
}
