//! Rows read modulo t, exactly.
//!
//! With `S' = 2 S - J`, J having all coefficients 1, `2 (b - a S) = (2 b - a J) - a S'`. The masks
//! a are rounded to integers a' of `1/t`, and the public part `2 b - a J`, of the masks as they
//! were, to an integer c. Then `2 x = c - a' S'` is an integer polynomial. S' is 1 or -1
//! everywhere, so that every coefficient of a' S' is as even or odd as the sum of a'; c is rounded
//! to the nearest integer that is so too, and x is an integer, the value's slot and a multiple of
//! t.
//!
//! Rounding errors of the masks meet S', whose mean is 0, and not S: their variance is `N / 48`
//! slots squared, a quarter of what it would be. That of c adds 1/12.

/// Some rows, one after another.
pub(super) struct Read {
    /// a', between -t/2 and t/2.
    pub(super) masks: Vec<i64>,
    /// c.
    pub(super) twice: Vec<i64>,
}

impl Read {
    /// Adds a row, mask and body; if values are within the half torus, twice the row.
    pub(super) fn add(&mut self, row: &[u64], t: usize, within_half_torus: bool) {
        let shift = 64 - t.ilog2();
        let lift = |x: &u64| i128::from(if within_half_torus { x << 1 } else { *x } as i64);
        let (mask, body) = row.split_at(row.len() / 2);
        let round = |x: &u64| ((lift(x) + (1 << (shift - 1))) >> shift) as i64;
        let first = self.masks.len();
        self.masks.extend(mask.iter().map(round));
        let parity = self.masks[first..].iter().sum::<i64>().rem_euclid(2);
        let all: i128 = mask.iter().map(lift).sum();
        let mut reached = 0;
        self.twice.extend(mask.iter().zip(body).map(|(a, b)| {
            // (a J)_i is the sum of a up to i, less the rest.
            reached += lift(a);
            let exact = 2 * lift(b) - (2 * reached - all);
            // To the nearest integer 2 k + parity.
            let from = exact - (i128::from(parity) << shift);
            2 * ((from + (1 << shift)) >> (shift + 1)) as i64 + parity
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, RngExt, SeedableRng};

    /// x is an integer, the rounded value's slot, and rounding is as noisy as it must be.
    #[test]
    fn values_are_read_as_integers() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let (n, t) = (512, 1024i64);
        let key: Vec<u64> = (0..n).map(|_| rng.random_range(0..2)).collect();
        let (mut sum, mut count) = (0.0, 0);
        for half in [false, true].repeat(8) {
            let mut row: Vec<u64> = (0..2 * n).map(|_| rng.next_u64()).collect();
            let mut read = Read { masks: Vec::new(), twice: Vec::new() };
            row[0] = 1 << 63;
            row[1] = (1 << 63) - 1;
            row[n] = 1 << 63;
            read.add(&row, t as usize, half);
            for i in 0..n {
                let (mut phase, mut twice) = (row[n + i], read.twice[i]);
                for (j, bit) in key.iter().enumerate() {
                    let (k, sign) = if j <= i { (i - j, 1) } else { (n + i - j, -1) };
                    phase = phase
                        .wrapping_sub((sign * (row[k] as i64).wrapping_mul(*bit as i64)) as u64);
                    twice -= sign * read.masks[k] * (2 * *bit as i64 - 1);
                }
                assert_eq!(twice.rem_euclid(2), 0);
                let x = (twice / 2).rem_euclid(t) as f64;
                let phase = if half { phase << 1 } else { phase };
                let exact = phase as f64 / 2f64.powi(64) * t as f64;
                let error = (x - exact + t as f64 / 2.0).rem_euclid(t as f64) - t as f64 / 2.0;
                sum += error * error;
                count += 1;
            }
        }
        let (measured, expected) = (sum / f64::from(count), (n as f64 + 4.0) / 48.0);
        // 8192 of them: two standard deviations are 3 %; neighbours are not quite independent.
        assert!((measured / expected - 1.0).abs() < 0.1, "{measured} {expected}");
    }
}
