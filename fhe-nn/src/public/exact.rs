//! The exact twin: a network in the clear, in integers.

use ndarray::{Array2, ArrayView2};

use super::config::Pool;
use super::network::{After, Layer, PublicNetwork, mirror};
use super::staircase::Staircase;
use super::{PublicError, Result, pool};

impl PublicNetwork {
    /// Returns the scores of images in the clear, in integers: the definition. Channels of a position
    /// lie together.
    ///
    /// # Shapes
    /// `[images, height * width * channels] -> [images, classes]`.
    ///
    /// # Errors
    /// [`PublicError::Images`] if the images are not the network's: in size, or by an integer out of
    /// range.
    pub fn exact_scores(&self, images: ArrayView2<'_, i64>) -> Result<Array2<i64>> {
        self.check_images(&images)?;
        let mirror = self.config().mirrored.then(|| mirror(self.config().input));
        let mut scores = Array2::zeros((images.nrows(), self.classes()));
        for (image, mut scores) in images.rows().into_iter().zip(scores.rows_mut()) {
            let image = image.to_vec();
            let mut add = |more: Vec<i64>| scores.iter_mut().zip(more).for_each(|(s, m)| *s += m);
            if let Some(mirror) = &mirror {
                add(self.scores_of(mirror.iter().map(|&i| image[i]).collect()));
            }
            add(self.scores_of(image));
        }
        Ok(scores)
    }

    /// Checks that images are the network's.
    pub(super) fn check_images(&self, images: &ArrayView2<'_, i64>) -> Result<()> {
        let (len, (low, high)) = (self.config().input.len(), self.config().levels);
        if images.ncols() != len {
            let expected = format!("{len}, as the network takes {}", self.config().input);
            return Err(PublicError::images(
                "number of integers of an image",
                images.ncols(),
                expected,
            ));
        }
        match images.indexed_iter().find(|&(_, x)| !(low..=high).contains(x)) {
            None => Ok(()),
            Some(((image, i), x)) => {
                let got = format!("{x} (number {i} of image {image})");
                Err(PublicError::images("an image's integer", got, format!("{low} to {high}")))
            }
        }
    }

    fn scores_of(&self, image: Vec<i64>) -> Vec<i64> {
        let mut sums: Vec<Vec<i64>> = Vec::new();
        let mut x = image;
        for layer in &self.layers {
            let mut s = convolved(layer, &x);
            if let Some(source) = layer.plan.residual {
                s.iter_mut().zip(&sums[source]).for_each(|(s, a)| *s += a);
            }
            let channels = layer.conv.geometry().output().channels;
            x = match &layer.after {
                After::Bias(bias) => {
                    s.iter().enumerate().map(|(i, s)| s + bias[i % channels]).collect()
                }
                After::Staircase(stairs) => activated(layer, stairs, &s),
            };
            sums.push(s);
        }
        x
    }
}

fn convolved(layer: &Layer, x: &[i64]) -> Vec<i64> {
    let mut s = Vec::with_capacity(layer.conv.geometry().output().len());
    for places in layer.conv.geometry().places(1) {
        let x: Vec<i64> = places.iter().map(|i| i.map_or(0, |i| x[i])).collect();
        s.extend(
            layer
                .conv
                .weights()
                .iter()
                .map(|weights| x.iter().zip(weights).map(|(x, &w)| x * i64::from(w)).sum::<i64>()),
        );
    }
    s
}

fn activated(layer: &Layer, stairs: &Staircase, s: &[i64]) -> Vec<i64> {
    let channels = stairs.channels();
    let a: Vec<i64> = s.iter().enumerate().flat_map(|(i, &s)| stairs.at(i % channels, s)).collect();
    let pooled = |side| pool::windows(layer.plan.activations, 1, side);
    match layer.pool {
        None => a,
        Some(Pool::Sum(side)) => pooled(side).map(|w| w.map(|i| a[i]).sum()).collect(),
        Some(Pool::Max(side)) => pooled(side).map(|w| w.map(|i| a[i]).max().unwrap_or(0)).collect(),
    }
}
