//! What the built-in classes look like.

use std::f32::consts::{PI, SQRT_2};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A figure or texture at a place, of a size, turned by an angle.
pub(super) struct Shape {
    kind: Kind,
    x: f32,
    y: f32,
    radius: f32,
    cos: f32,
    sin: f32,
}

enum Kind {
    Disc,
    Ring,
    Square,
    Triangle,
    Cross,
    /// Bands across the x axis, of this period in pixels.
    Stripes(f32),
    /// Squares of half this period.
    Checker(f32),
    /// Round spots: x, y and radius of each, in pixels.
    Blobs(Vec<[f32; 3]>),
}

impl Shape {
    /// Draws place, size and angle for a class.
    pub(super) fn random(rng: &mut ChaCha8Rng, label: u32) -> Self {
        let period = between(rng, 4.5, 8.0);
        let tilt = between(rng, -0.15, 0.15);
        let (kind, angle) = match label {
            0 => (Kind::Disc, 0.0),
            1 => (Kind::Ring, 0.0),
            2 => (Kind::Square, between(rng, -0.3, 0.3)),
            3 => (Kind::Triangle, between(rng, -0.4, 0.4)),
            4 => (Kind::Cross, between(rng, -0.3, 0.3)),
            5 => (Kind::Stripes(period), PI / 2.0 + tilt),
            6 => (Kind::Stripes(period), tilt),
            7 => {
                let side = if rng.random::<f32>() < 0.5 { PI / 4.0 } else { -PI / 4.0 };
                (Kind::Stripes(period), side + tilt)
            }
            8 => (Kind::Checker(between(rng, 6.0, 11.0)), between(rng, -0.4, 0.4)),
            _ => (Kind::Blobs(blobs(rng)), between(rng, -PI, PI)),
        };
        let radius = between(rng, 8.0, 12.0);
        Self::new(kind, between(rng, -3.0, 3.0), between(rng, -3.0, 3.0), radius, angle)
    }

    /// Draws a spot or a small square that means nothing.
    pub(super) fn speck(rng: &mut ChaCha8Rng) -> Self {
        let kind = if rng.random::<f32>() < 0.5 { Kind::Disc } else { Kind::Square };
        let (x, y) = (between(rng, -14.0, 14.0), between(rng, -14.0, 14.0));
        let radius = between(rng, 1.0, 2.5);
        Self::new(kind, x, y, radius, between(rng, -PI, PI))
    }

    fn new(kind: Kind, x: f32, y: f32, radius: f32, angle: f32) -> Self {
        Self { kind, x, y, radius, cos: angle.cos(), sin: angle.sin() }
    }

    /// Returns how much of the pixel at (`x`, `y`) from the centre is covered, 0 to 1.
    pub(super) fn coverage(&self, x: f32, y: f32) -> f32 {
        let (x, y) = (x - self.x, y - self.y);
        let (x, y) = (x * self.cos + y * self.sin, y * self.cos - x * self.sin);
        // Textures fill a square window.
        let window = x.abs().max(y.abs()) - self.radius - 4.0;
        let distance = match &self.kind {
            Kind::Disc => x.hypot(y) - self.radius,
            Kind::Ring => (x.hypot(y) - self.radius * 0.8).abs() - self.radius * 0.22,
            Kind::Square => x.abs().max(y.abs()) - self.radius / SQRT_2 * 1.2,
            Kind::Triangle => triangle(x, y, self.radius),
            Kind::Cross => cross(x.abs(), y.abs(), self.radius * 1.1),
            Kind::Stripes(period) => wave(x, *period).max(window),
            Kind::Checker(period) => {
                let (u, v) = (wave(x, *period), wave(y, *period));
                // Inside where exactly one of the two is.
                u.min(v).max(-u.max(v)).max(window)
            }
            Kind::Blobs(spots) => spots
                .iter()
                .map(|[u, v, radius]| (x - u).hypot(y - v) - radius)
                .fold(f32::INFINITY, f32::min),
        };
        (0.5 - distance).clamp(0.0, 1.0)
    }
}

fn between(rng: &mut ChaCha8Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * rng.random::<f32>()
}

fn blobs(rng: &mut ChaCha8Rng) -> Vec<[f32; 3]> {
    (0..rng.random_range(7..12u32))
        .map(|_| [between(rng, -11.0, 11.0), between(rng, -11.0, 11.0), between(rng, 1.2, 2.6)])
        .collect()
}

/// Signed distance to the nearest band of a pattern that repeats along `x`.
fn wave(x: f32, period: f32) -> f32 {
    (x.rem_euclid(period) - period / 2.0).abs() - period / 4.0
}

/// Signed distance, about, to an equilateral triangle with its corners at `radius`.
fn triangle(x: f32, y: f32, radius: f32) -> f32 {
    let slanted = 0.75f32.sqrt() * x.abs() + 0.5 * y;
    slanted.max(-y) - radius * 0.55
}

/// Signed distance, about, to two crossed bars.
fn cross(x: f32, y: f32, radius: f32) -> f32 {
    let (long, wide) = (radius, radius * 0.27);
    (x - long).max(y - wide).min((x - wide).max(y - long))
}
