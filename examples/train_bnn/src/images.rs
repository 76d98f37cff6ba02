//! Images as a training takes them: moved, mirrored, and as the integers of the network.

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use fhe_data::{ImageSet, ImageShape};
use fhe_examples::bnn::{Recipe, Training};
use ndarray::Array2;
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Returns images as the network takes them, each changed.
pub(crate) fn inputs(
    recipe: &Recipe,
    images: &ImageSet,
    batch: &[usize],
    changes: &[Change],
) -> Result<Tensor> {
    let chosen: Vec<&[u8]> = chosen(batch, |i| images.image(i))?;
    let one = |(image, change): (&&[u8], &Change)| change.apply(image, images.shape());
    let pixels: Vec<u8> = chosen.par_iter().zip(changes).flat_map_iter(one).collect();
    let pixels = Array2::from_shape_vec((batch.len(), images.shape().bytes()), pixels)?;
    let x: Vec<f32> =
        recipe.network.integers(pixels.view())?.into_iter().map(|x| x as f32).collect();
    Ok(Tensor::from_vec(x, (batch.len(), recipe.network.input.len()), &Device::Cpu)?)
}

pub(crate) fn labels(images: &ImageSet, batch: &[usize]) -> Result<Tensor> {
    let labels: Vec<u32> = chosen(batch, |i| images.label(i))?;
    Ok(Tensor::new(&labels[..], &Device::Cpu)?)
}

/// Returns what belongs to each index; none may be beyond the last image.
fn chosen<T>(batch: &[usize], of: impl Fn(usize) -> Option<T>) -> Result<Vec<T>> {
    let one = |&i: &usize| of(i).with_context(|| format!("no image {i}"));
    batch.iter().map(one).collect()
}

/// How far an image is moved, and whether it is mirrored; what comes in from outside is black.
#[derive(Clone, Copy, Default)]
pub(crate) struct Change {
    pub(crate) down: isize,
    pub(crate) right: isize,
    pub(crate) mirror: bool,
}

impl Change {
    pub(crate) fn draw(training: &Training, random: &mut ChaCha8Rng) -> Self {
        let most = training.shift as i32;
        let mut distance = || random.random_range(-most..=most) as isize;
        let (down, right) = (distance(), distance());
        Self { down, right, mirror: training.mirror && random.random() }
    }

    fn apply(self, image: &[u8], shape: ImageShape) -> Vec<u8> {
        let (height, width) = (shape.height as isize, shape.width as isize);
        let mut out = vec![0; image.len()];
        let rows = out.chunks_exact_mut(shape.width).zip(0..);
        for (out, row) in rows {
            let (plane, y) = (row / height, row % height + self.down);
            if !(0..height).contains(&y) {
                continue;
            }
            for (out, x) in out.iter_mut().zip(0..) {
                let x = self.right + if self.mirror { width - 1 - x } else { x };
                if (0..width).contains(&x) {
                    *out = image[((plane * height + y) * width + x) as usize];
                }
            }
        }
        out
    }
}
