//! A procedural data set: ten classes of shapes and textures, drawn from a seed.
//!
//! Position, size, rotation, colours (either may be the brighter one), a slope of brightness,
//! distractors and noise are random, so a linear model on pixels is far from perfect.

mod shape;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{CHANNELS, IMAGE_BYTES, ImageSet, PLANE_BYTES, SIDE_PIXELS, Split};
use shape::Shape;

/// The classes, by label.
pub const CLASS_NAMES: [&str; 10] = [
    "disc",
    "ring",
    "square",
    "triangle",
    "cross",
    "horizontal stripes",
    "vertical stripes",
    "diagonal stripes",
    "checker",
    "blobs",
];

/// Noise of a pixel: uniform within plus or minus this many grey levels.
const NOISE_LEVELS: f32 = 16.0;
/// Least distance between foreground and background, summed over the colours.
const LEAST_CONTRAST_LEVELS: f32 = 180.0;

/// Draws `n_train` and `n_test` images; classes take turns.
///
/// The same seed gives the same images; training images do not depend on `n_test`.
///
/// # Shapes
/// `[n_train, 3, 32, 32]` and `[n_test, 3, 32, 32]`
///
/// # Values
/// Pixels `0..=255`, labels `0..=9`.
#[must_use]
pub fn builtin(seed: u64, n_train: usize, n_test: usize) -> Split {
    Split {
        train: draw_set("built-in train", seed, 0, n_train),
        test: draw_set("built-in test", seed, 1, n_test),
        class_names: CLASS_NAMES.map(str::to_owned).to_vec(),
    }
}

fn draw_set(name: &str, seed: u64, stream: u64, count: usize) -> ImageSet {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    let mut images = Vec::with_capacity(count * IMAGE_BYTES);
    let mut labels = Vec::with_capacity(count);
    for label in (0..10u32).cycle().take(count) {
        labels.push(label);
        draw(&mut rng, label, &mut images);
    }
    ImageSet::from_checked(name.to_owned(), images, labels)
}

/// Draws one image of the class and appends it.
fn draw(rng: &mut ChaCha8Rng, label: u32, images: &mut Vec<u8>) {
    let shape = Shape::random(rng, label);
    let distractors: Vec<(Shape, [f32; CHANNELS])> =
        (0..rng.random_range(0..2u32)).map(|_| (Shape::speck(rng), colour(rng))).collect();
    let (back, front) = loop {
        let (back, front) = (colour(rng), colour(rng));
        let distance: f32 = back.iter().zip(&front).map(|(b, f)| (b - f).abs()).sum();
        if distance >= LEAST_CONTRAST_LEVELS {
            break (back, front);
        }
    };
    let slope = [signed(rng), signed(rng)];
    let start = images.len();
    images.resize(start + IMAGE_BYTES, 0);
    for y in 0..SIDE_PIXELS {
        for x in 0..SIDE_PIXELS {
            let (px, py) = (x as f32 - 15.5, y as f32 - 15.5);
            let mut pixel = back;
            for (speck, colour) in &distractors {
                blend(&mut pixel, colour, speck.coverage(px, py));
            }
            blend(&mut pixel, &front, shape.coverage(px, py));
            let light = slope[0] * px + slope[1] * py;
            for (channel, level) in pixel.iter().enumerate() {
                let level = level + light + signed(rng) * NOISE_LEVELS;
                images[start + channel * PLANE_BYTES + y * SIDE_PIXELS + x] = byte(level);
            }
        }
    }
}

/// Moves `pixel` towards `colour` by the part `coverage`.
fn blend(pixel: &mut [f32; CHANNELS], colour: &[f32; CHANNELS], coverage: f32) {
    for (p, c) in pixel.iter_mut().zip(colour) {
        *p += (c - *p) * coverage;
    }
}

fn colour(rng: &mut ChaCha8Rng) -> [f32; CHANNELS] {
    [0; CHANNELS].map(|_| 20.0 + 215.0 * rng.random::<f32>())
}

/// Draws a number in -1..1.
fn signed(rng: &mut ChaCha8Rng) -> f32 {
    2.0 * rng.random::<f32>() - 1.0
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the range of a byte before"
)]
fn byte(level: f32) -> u8 {
    level.round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides() {
        let a = builtin(3, 20, 10);
        assert_eq!(a, builtin(3, 20, 10));
        assert_eq!(a.train.images(), builtin(3, 30, 5).train.head(20).images());
        assert_ne!(a.train.images(), builtin(4, 20, 10).train.images());
        assert_ne!(a.train.image(0), a.test.image(0));
        assert_eq!(a.train.labels()[..11], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
    }

    #[test]
    fn the_images_stay_the_same_over_releases() {
        let hash = blake3::hash(builtin(1, 100, 0).train.images()).to_hex();
        assert_eq!(&hash.as_str()[..16], "279faf49aa589503");
    }
}
