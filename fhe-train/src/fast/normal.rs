//! Fast normal numbers, in streams that do not depend on threads.

/// A stream of samples from the standard normal distribution, named by three numbers.
///
/// Uniform bits are those of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014), made normal in pairs (Box and Muller 1958). With 24 bits, nothing
/// beyond 5.8 standard deviations is drawn; one in 10^8 would be.
#[derive(Clone, Debug)]
pub(super) struct Normal {
    state: u64,
}

/// The finalizer of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Normal {
    /// A stream of its own for each name.
    pub(super) fn new(name: [u64; 3]) -> Self {
        let state = name.iter().fold(0, |state, x| mix(state ^ mix(x.wrapping_add(GOLDEN))));
        Self { state }
    }

    fn pair(&mut self) -> (f32, f32) {
        self.state = self.state.wrapping_add(GOLDEN);
        let bits = mix(self.state);
        let unit = 2f32.powi(-24);
        let (u, v) = ((1 + (bits >> 40)) as f32 * unit, (bits & 0xff_ffff) as f32 * unit);
        let radius = (-2.0 * u.ln()).sqrt();
        let (sin, cos) = (std::f32::consts::TAU * v).sin_cos();
        (radius * cos, radius * sin)
    }

    /// Adds noise of a variance.
    pub(super) fn disturb(&mut self, x: &mut [f32], variance: f64) {
        let std_dev = variance.sqrt() as f32;
        for x in x.chunks_mut(2) {
            let (a, b) = self.pair();
            x[0] += std_dev * a;
            if let Some(x) = x.get_mut(1) {
                *x += std_dev * b;
            }
        }
    }
}

/// Adds noise if there is any.
pub(super) fn disturb(noise: &mut Option<Normal>, x: &mut [f32], variance: impl Fn() -> f64) {
    if let Some(noise) = noise {
        noise.disturb(x, variance());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of SplitMix64 from state 0 (reference implementation by Vigna).
    #[test]
    fn uniform_bits_are_those_of_split_mix() {
        let first = [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f];
        for (i, bits) in (1..).zip(first) {
            assert_eq!(mix(GOLDEN.wrapping_mul(i)), bits);
        }
    }

    #[test]
    fn moments_are_those_of_the_normal_distribution() {
        let mut x = vec![1.0; 200_001];
        Normal::new([1, 2, 3]).disturb(&mut x, 4.0);
        let moment = |p: i32| {
            x.iter().map(|x| ((f64::from(*x) - 1.0) / 2.0).powi(p)).sum::<f64>() / x.len() as f64
        };
        assert!(moment(1).abs() < 0.01, "{}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.02, "{}", moment(2));
        assert!((moment(4) - 3.0).abs() < 0.1, "{}", moment(4));
        let mut y = vec![0.0; 2];
        Normal::new([1, 2, 4]).disturb(&mut y, 1.0);
        assert!(x[0] != 1.0 + 2.0 * y[0]);
    }
}
