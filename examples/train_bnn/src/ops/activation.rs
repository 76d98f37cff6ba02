//! Normalised steps with a straight-through gradient.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Device, Layout, Result, Shape, Tensor};
use fhe_nn::public::Levels;
use rayon::prelude::*;

use super::{floats, on_floats};

/// Variance that is added before the root.
const EPSILON: f32 = 1e-3;
/// Rows whose sums are made at a time: fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 1024;

/// Numbers that are not worth a thread of their own.
const MIN: usize = 1 << 14;

/// Equal steps: `first + step * (thresholds that x reaches)`. The gradient is that of the ramp through the middles of the
/// steps, and zero beyond its ends (the straight-through estimator: Bengio et al., arXiv 1308.3432; with the ends
/// cut off: Hubara et al., NeurIPS 2016, equation 4).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    /// Lowest value.
    pub(crate) first: f32,
    /// From one value to the next.
    pub(crate) step: f32,
    /// Number of thresholds.
    pub(crate) count: usize,
    /// The lowest threshold.
    pub(crate) lowest: f32,
    /// From one threshold to the next.
    pub(crate) spacing: f32,
}

impl Steps {
    /// Weights: integers up to `largest`, for latent numbers in -1..=1; without zero if `largest` is 1.
    pub(crate) fn weights(largest: i32) -> Self {
        let m = largest as f32;
        if largest == 1 {
            return Self { first: -1.0, step: 2.0, count: 1, lowest: 0.0, spacing: 2.0 };
        }
        let spacing = 1.0 / m;
        Self {
            first: -m,
            step: 1.0,
            count: 2 * largest as usize,
            lowest: spacing * (0.5 - m),
            spacing,
        }
    }

    /// An activation: symmetric thresholds for levels around zero, thresholds from 0 to three standard deviations for
    /// others.
    pub(crate) fn activation(levels: Levels) -> Self {
        let count = if levels.apart { 1 } else { levels.thresholds };
        let (spacing, lowest) = if levels.first < 0 {
            (2.0 / count as f32, -(count as f32 - 1.0) / count as f32)
        } else {
            (3.0 / count as f32, 1.5 / count as f32)
        };
        let (first, step) = (levels.first as f32, levels.step as f32);
        Self { first, step, count, lowest, spacing }
    }

    /// Returns the thresholds.
    pub(crate) fn thresholds(&self) -> Result<Tensor> {
        let all = (0..self.count).map(|k| self.lowest + self.spacing * k as f32);
        Tensor::new(all.collect::<Vec<f32>>(), &Device::Cpu)
    }

    fn at(&self, x: f32) -> f32 {
        // Cutting off is rounding down, as nothing is below zero.
        let reached = ((x - self.lowest) / self.spacing + 1.0).clamp(0.0, self.count as f32) as i32;
        self.first + self.step * reached as f32
    }

    /// Returns the slope of the ramp, and where it begins and ends.
    fn ramp(&self) -> (f32, f32, f32) {
        let low = self.lowest - self.spacing / 2.0;
        (self.step / self.spacing, low, low + self.spacing * self.count as f32)
    }
}

/// Latent weights as the integers that they stand for.
impl CustomOp1 for Steps {
    fn name(&self) -> &'static str {
        "steps"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(storage, layout)?;
        let out = x.par_iter().with_min_len(MIN).map(|&x| self.at(x)).collect();
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (slope, low, high) = self.ramp();
        let out: Vec<f32> = on_floats(x, |x| {
            on_floats(&gradient.contiguous()?, |g| {
                let one = |(&x, &g)| if (low..=high).contains(&x) { slope * g } else { 0.0 };
                Ok(x.par_iter().zip(g).with_min_len(MIN).map(one).collect())
            })
        })?;
        Ok(Some(Tensor::from_vec(out, x.shape(), x.device())?))
    }
}

/// The means and the standard deviations of columns.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    pub(crate) means: Vec<f32>,
    pub(crate) stds: Vec<f32>,
}

impl Moments {
    /// Normalises a row.
    fn normalise(&self, x: &[f32], out: &mut [f32]) {
        let columns = self.means.iter().zip(&self.stds);
        for ((out, x), (mean, std)) in out.iter_mut().zip(x).zip(columns) {
            *out = (x - mean) / std;
        }
    }
}

/// Returns the moments of a matrix's columns.
pub(crate) fn moments(x: &Tensor) -> Result<Moments> {
    let (rows, columns) = x.dims2()?;
    let means =
        |sums: Vec<f64>| -> Vec<f32> { sums.iter().map(|s| (s / rows as f64) as f32).collect() };
    on_floats(x, |x| {
        let sums = |f: &(dyn Fn(usize, f32) -> f32 + Sync)| {
            sums(x.par_chunks(ROWS * columns).map(|block| {
                let mut sums = vec![0f32; columns];
                for row in block.chunks_exact(columns) {
                    sums.iter_mut().zip(row).enumerate().for_each(|(c, (s, &x))| *s += f(c, x));
                }
                sums
            }))
        };
        let means_of = means(sums(&|_, x| x));
        let variances = means(sums(&|c, x| (x - means_of[c]) * (x - means_of[c])));
        let stds = variances.iter().map(|v| (v + EPSILON).sqrt()).collect();
        Ok(Moments { means: means_of, stds })
    })
}

/// Adds lists up, in their order.
fn sums(parts: impl IndexedParallelIterator<Item = Vec<f32>>) -> Vec<f64> {
    let parts: Vec<Vec<f32>> = parts.collect();
    let mut all = vec![0f64; parts.first().map_or(0, Vec::len)];
    parts.iter().for_each(|part| all.iter_mut().zip(part).for_each(|(a, &p)| *a += f64::from(p)));
    all
}

/// `steps((x - mean) / std + offset)` of each column: batch normalisation (Ioffe and Szegedy, ICML 2015) without gain, which
/// a sign does not see, and steps. With several offsets a column, all columns with the first come first, then all with
/// the second.
pub(crate) struct Activation {
    pub(crate) steps: Steps,
    /// Those of the batch, through which the gradient goes too.
    pub(crate) moments: Moments,
}

impl CustomOp2 for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        offsets: &CpuStorage,
        offset_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, offsets) = (floats(x, layout)?, floats(offsets, offset_layout)?);
        let columns = self.moments.means.len();
        let mut out = vec![0f32; x.len() / columns * offsets.len()];
        let blocks = out.par_chunks_mut(ROWS * offsets.len()).zip(x.par_chunks(ROWS * columns));
        blocks.for_each(|(out, x)| {
            let mut y = vec![0f32; columns];
            for (out, x) in out.chunks_exact_mut(offsets.len()).zip(x.chunks_exact(columns)) {
                self.moments.normalise(x, &mut y);
                let copies = out.chunks_exact_mut(columns).zip(offsets.chunks_exact(columns));
                for (out, offsets) in copies {
                    for ((out, y), offset) in out.iter_mut().zip(&y).zip(offsets) {
                        *out = self.steps.at(y + offset);
                    }
                }
            }
        });
        Ok((CpuStorage::F32(out), (x.len() / columns, offsets.len()).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        offsets: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (rows, columns) = x.dims2()?;
        let (of_x, of_offsets) = on_floats(x, |x| {
            on_floats(offsets, |o| {
                on_floats(&gradient.contiguous()?, |g| Ok(self.gradients(x, o, g, columns)))
            })
        })?;
        Ok((
            Some(Tensor::from_vec(of_x, (rows, columns), x.device())?),
            Some(Tensor::from_vec(of_offsets, offsets.shape(), x.device())?),
        ))
    }
}

impl Activation {
    fn gradients(
        &self,
        x: &[f32],
        offsets: &[f32],
        g: &[f32],
        columns: usize,
    ) -> (Vec<f32>, Vec<f32>) {
        let width = offsets.len();
        let (slope, low, high) = self.steps.ramp();
        let mut of_x = vec![0f32; x.len()];
        let blocks = of_x.par_chunks_mut(ROWS * columns).zip(x.par_chunks(ROWS * columns));
        // Of each offset; then, of each column, along what was normalised.
        let parts = blocks.zip(g.par_chunks(ROWS * width)).map(|((out, x), g)| {
            let mut sums = vec![0f32; width + columns];
            let mut y = vec![0f32; columns];
            let (of_offsets, along) = sums.split_at_mut(width);
            let rows = out.chunks_exact_mut(columns).zip(x.chunks_exact(columns));
            for ((out, x), g) in rows.zip(g.chunks_exact(width)) {
                self.moments.normalise(x, &mut y);
                let copies = g.chunks_exact(columns).zip(offsets.chunks_exact(columns));
                for ((g, offsets), sums) in copies.zip(of_offsets.chunks_exact_mut(columns)) {
                    let numbers = out.iter_mut().zip(sums).zip(&y).zip(g.iter().zip(offsets));
                    for (((out, sum), y), (g, offset)) in numbers {
                        let at = y + offset;
                        let d = if at >= low && at <= high { slope * g } else { 0.0 };
                        *sum += d;
                        *out += d;
                    }
                }
                for ((along, out), y) in along.iter_mut().zip(&*out).zip(&y) {
                    *along += out * y;
                }
            }
            sums
        });
        let sums = sums(parts);
        let rows = (x.len() / columns) as f64;
        let mean = |c: usize| (sums[c..width].iter().step_by(columns).sum::<f64>() / rows) as f32;
        let mean: Vec<f32> = (0..columns).map(mean).collect();
        let along: Vec<f32> = sums[width..].iter().map(|s| (s / rows) as f32).collect();
        of_x.par_chunks_mut(ROWS * columns).zip(x.par_chunks(ROWS * columns)).for_each(
            |(out, x)| {
                let mut y = vec![0f32; columns];
                for (out, x) in out.chunks_exact_mut(columns).zip(x.chunks_exact(columns)) {
                    self.moments.normalise(x, &mut y);
                    let columns = mean.iter().zip(&along).zip(&self.moments.stds);
                    for ((out, y), ((mean, along), std)) in out.iter_mut().zip(&y).zip(columns) {
                        *out = (*out - mean - y * along) / std;
                    }
                }
            },
        );
        (of_x, sums[..width].iter().map(|&s| s as f32).collect())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;
    use fhe_core::noise::gaussian;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn normal(count: usize, seed: u64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..count).map(|_| gaussian(&mut random)).collect()
    }

    fn var(x: &[f64], shape: impl Into<Shape>) -> Var {
        let x = x.iter().map(|&x| x as f32).collect();
        Var::from_tensor(&Tensor::from_vec(x, shape, &Device::Cpu).unwrap()).unwrap()
    }

    /// What the straight-through estimator takes steps for: the ramp, of normalised columns, in doubles.
    fn ramps(steps: Steps, x: &[f64], offsets: &[f64], columns: usize) -> Vec<f64> {
        let (slope, low, high) = steps.ramp();
        let rows = x.len() / columns;
        let mean = |f: &dyn Fn(f64) -> f64, c: usize| {
            x[c..].iter().step_by(columns).map(|&x| f(x)).sum::<f64>() / rows as f64
        };
        let means: Vec<f64> = (0..columns).map(|c| mean(&|x| x, c)).collect();
        let stds = (0..columns).map(|c| mean(&|x| (x - means[c]).powi(2), c));
        let stds: Vec<f64> = stds.map(|v| (v + f64::from(EPSILON)).sqrt()).collect();
        let one = |row: usize, k: usize| {
            let c = k % columns;
            let y = (x[row * columns + c] - means[c]) / stds[c] + offsets[k];
            f64::from(slope) * y.clamp(f64::from(low), f64::from(high))
        };
        (0..rows).flat_map(|row| (0..offsets.len()).map(move |k| one(row, k))).collect()
    }

    #[test]
    fn gradients_are_those_of_the_ramp() {
        const COLUMNS: usize = 3;
        const ROWS_HERE: usize = 2 * ROWS + 100;
        let three = Levels { first: -3, step: 2, thresholds: 3, apart: false };
        let rectifier = Levels { first: 0, step: 1, thresholds: 15, apart: false };
        let apart = Levels { first: -1, step: 2, thresholds: 3, apart: true };
        for levels in [Levels::SIGN, three, rectifier, apart] {
            let steps = Steps::activation(levels);
            let width = COLUMNS * levels.copies();
            let x: Vec<f64> =
                normal(ROWS_HERE * COLUMNS, 1).iter().map(|x| 5.0 * x + 2.0).collect();
            let (offsets, g) = (normal(width, 2), normal(ROWS_HERE * width, 3));
            let (x_var, o_var) = (var(&x, (ROWS_HERE, COLUMNS)), var(&offsets, width));
            let op = Activation { steps, moments: moments(&x_var).unwrap() };
            let out = x_var.apply_op2(&o_var, op).unwrap();
            let loss = (out * var(&g, (ROWS_HERE, width)).as_tensor()).unwrap().sum_all().unwrap();
            let gradients = loss.backward().unwrap();
            let along = |var: &Var, change: &[f64]| -> f64 {
                let gradient = gradients.get(var).unwrap().flatten_all().unwrap();
                let gradient = gradient.to_vec1::<f32>().unwrap();
                gradient.iter().zip(change).map(|(&g, d)| f64::from(g) * d).sum()
            };
            let loss_at = |x: &[f64], offsets: &[f64]| -> f64 {
                ramps(steps, x, offsets, COLUMNS).iter().zip(&g).map(|(r, g)| r * g).sum()
            };
            let moved = |x: &[f64], change: &[f64], by: f64| -> Vec<f64> {
                x.iter().zip(change).map(|(x, d)| x + by * d).collect()
            };
            const H: f64 = 1e-6;
            // A change that is not that of a mean or a deviation alone, nor without them.
            let change: Vec<f64> =
                normal(x.len(), 4).iter().zip(&x).map(|(n, x)| n + 0.1 * x).collect();
            let [up, down] = [H, -H].map(|h| loss_at(&moved(&x, &change, h), &offsets));
            let (got, expected) = (along(&x_var, &change), (up - down) / (2.0 * H));
            assert!((got - expected).abs() < 2e-3 * expected.abs(), "{levels:?}: {got} {expected}");
            let change = normal(width, 5);
            let [up, down] = [H, -H].map(|h| loss_at(&x, &moved(&offsets, &change, h)));
            let (got, expected) = (along(&o_var, &change), (up - down) / (2.0 * H));
            assert!((got - expected).abs() < 2e-3 * expected.abs(), "{levels:?}: {got} {expected}");
        }
    }

    #[test]
    fn steps_are_counted_from_their_thresholds() {
        let steps = Steps::weights(3);
        let at = |x: f32| steps.at(x);
        assert_eq!(
            [-1.0, -0.52, 0.0, 0.16, 0.17, 0.6, 1.0].map(at),
            [-3., -2., 0., 0., 1., 2., 3.]
        );
        let sign = Steps::weights(1);
        assert_eq!([-1.0, -1e-6, 0.0, 1.0].map(|x| sign.at(x)), [-1., -1., 1., 1.]);
    }
}
