//! Inputs of a layer, and what the gradient of its weights takes of them.

use std::ops::Range;

use fhe_core::Engine;

use crate::geometry::Geometry;

/// Inputs of a layer as selectors.
pub struct LayerInput<E: Engine> {
    /// Of each sample, [`Conv2d::input_slots`](super::Conv2d::input_slots).
    pub samples: E::Selectors,
    /// Of each stretch of channels, [`Conv2d::channel_slots`](super::Conv2d::channel_slots); empty
    /// for a layer that does without.
    pub channels: Vec<E::Selectors>,
}

impl<E: Engine> std::fmt::Debug for LayerInput<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LayerInput(hidden)")
    }
}

impl<E: Engine> LayerInput<E> {
    /// Returns what the gradient of the weights takes of an input of so many samples.
    pub fn for_gradient(&self, samples: usize) -> GradientInput<'_, E> {
        if self.channels.is_empty() {
            return GradientInput::Samples(&self.samples, 0..samples);
        }
        GradientInput::Channels(self.channels.iter().map(|x| (x, 0)).collect(), samples)
    }
}

/// Inputs as the gradient of a layer's weights takes them.
pub enum GradientInput<'a, E: Engine> {
    /// Selectors of samples, and which of them.
    Samples(&'a E::Selectors, Range<usize>),
    /// Selectors of channels over so many samples: of each stretch a list, and its first one there.
    Channels(Vec<(&'a E::Selectors, usize)>, usize),
}

impl<E: Engine> std::fmt::Debug for GradientInput<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GradientInput(hidden)")
    }
}

impl Geometry {
    /// Returns what the gradient of the weights takes of the selectors of all channels over the
    /// samples of each part, part after part: of part `part`, which has so many samples.
    #[must_use]
    pub fn channels_of_part<'a, E: Engine>(
        &self,
        x: &'a E::Selectors,
        part: usize,
        samples: usize,
    ) -> GradientInput<'a, E> {
        let first = part * self.input.channels;
        let stretches = self.channel_stretches().map(|channels| (x, first + channels.start));
        GradientInput::Channels(stretches.collect(), samples)
    }
}
