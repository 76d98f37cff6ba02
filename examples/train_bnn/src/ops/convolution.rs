//! Convolutions of maps whose channels lie together.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use fhe_nn::public::PublicGeometry;
use rayon::prelude::*;

use super::{floats, on_floats};

/// Parts of a batch, each with its own sum of the weights' gradients: fixed, so that sums do not
/// depend on the number of threads.
const PARTS: usize = 8;
/// Rows of a matrix of windows that is made at a time: few enough for the nearer caches.
const ROWS: usize = 256;

/// Which numbers of a map a convolution's windows hold.
pub(crate) struct Windows {
    /// Numbers that lie together in the map and in the matrix of windows: first one of each, and
    /// how many.
    runs: Vec<(usize, usize, usize)>,
    positions: usize,
    /// Numbers of a window, (rows, columns, channels).
    len: usize,
    /// Numbers of the input map.
    input: usize,
}

impl Windows {
    pub(crate) fn new(geometry: &PublicGeometry) -> Self {
        let (channels, len) = (geometry.input().channels, geometry.weights());
        let area = len / channels;
        let places = geometry.places(1);
        let mut runs: Vec<(usize, usize, usize)> = Vec::new();
        for (p, window) in places.iter().enumerate() {
            // The first channel's places; the other channels lie behind each.
            for (j, place) in window[..area].iter().enumerate() {
                let (Some(from), to) = (*place, p * len + j * channels) else { continue };
                match runs.last_mut() {
                    Some((f, t, run)) if *f + *run == from && *t + *run == to => *run += channels,
                    _ => runs.push((from, to, channels)),
                }
            }
        }
        Self { runs, positions: places.len(), len, input: geometry.input().len() }
    }

    /// Writes the windows of maps as rows of a matrix (im2col); what lies in the padding is left as
    /// it is.
    fn spread(&self, maps: &[f32], windows: &mut [f32]) {
        let size = self.positions * self.len;
        for (x, out) in maps.chunks_exact(self.input).zip(windows.chunks_exact_mut(size)) {
            for &(from, to, run) in &self.runs {
                out[to..to + run].copy_from_slice(&x[from..from + run]);
            }
        }
    }

    /// Adds windows back to the maps that they come from.
    fn gather(&self, windows: &[f32], maps: &mut [f32]) {
        let size = self.positions * self.len;
        for (out, x) in maps.chunks_exact_mut(self.input).zip(windows.chunks_exact(size)) {
            for &(to, from, run) in &self.runs {
                out[to..to + run].iter_mut().zip(&x[from..from + run]).for_each(|(o, x)| *o += x);
            }
        }
    }

    /// Returns the images of a part of a batch, and those whose windows are made at a time.
    fn sizes(&self, images: usize) -> (usize, usize) {
        let part = images.div_ceil(PARTS);
        (part, ROWS.div_ceil(self.positions).min(part))
    }
}

/// Maps (images x numbers) times weights (window x outputs): (images and positions x outputs).
pub(crate) struct Convolution {
    pub(crate) windows: Arc<Windows>,
    /// Whether the maps are images, whose gradient nobody needs.
    pub(crate) first: bool,
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(
        &self,
        maps: &CpuStorage,
        map_layout: &Layout,
        weights: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, w) = (floats(maps, map_layout)?, floats(weights, weight_layout)?);
        let windows = &*self.windows;
        let (images, outputs) = (x.len() / windows.input, w.len() / windows.len);
        let (part, block) = windows.sizes(images);
        let w = MatRef::from_row_major_slice(w, windows.len, outputs);
        let mut out = vec![0f32; images * windows.positions * outputs];
        let size = windows.positions * outputs;
        let parts = x.par_chunks(part * windows.input).zip(out.par_chunks_mut(part * size));
        parts.for_each(|(x, out)| {
            let mut rows = vec![0f32; block * windows.positions * windows.len];
            for (x, out) in x.chunks(block * windows.input).zip(out.chunks_mut(block * size)) {
                windows.spread(x, &mut rows);
                let count = out.len() / outputs;
                let rows = &rows[..count * windows.len];
                matmul(
                    MatMut::from_row_major_slice_mut(out, count, outputs),
                    Accum::Replace,
                    MatRef::from_row_major_slice(rows, count, windows.len),
                    w,
                    1.0,
                    Par::Seq,
                );
            }
        });
        Ok((CpuStorage::F32(out), (images * windows.positions, outputs).into()))
    }

    fn bwd(
        &self,
        maps: &Tensor,
        weights: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let windows = &*self.windows;
        let (images, outputs) = (maps.elem_count() / windows.input, weights.dim(1)?);
        let (part, block) = windows.sizes(images);
        let size = windows.positions * outputs;
        let mut of_maps = vec![0f32; if self.first { 0 } else { maps.elem_count() }];
        let mut of_weights = |x: &[f32], w: &[f32], g: &[f32]| {
            let w = MatRef::from_row_major_slice(w, windows.len, outputs);
            let one = |x: &[f32], g: &[f32], mut dx: Option<&mut [f32]>| {
                let mut sum = vec![0f32; windows.len * outputs];
                let mut rows = vec![0f32; block * windows.positions * windows.len];
                let mut back = vec![0f32; if self.first { 0 } else { rows.len() }];
                let blocks = x.chunks(block * windows.input).zip(g.chunks(block * size));
                for (i, (x, g)) in blocks.enumerate() {
                    windows.spread(x, &mut rows);
                    let count = g.len() / outputs;
                    let g = MatRef::from_row_major_slice(g, count, outputs);
                    let rows = &rows[..count * windows.len];
                    matmul(
                        MatMut::from_row_major_slice_mut(&mut sum, windows.len, outputs),
                        Accum::Add,
                        MatRef::from_row_major_slice(rows, count, windows.len).transpose(),
                        g,
                        1.0,
                        Par::Seq,
                    );
                    if let Some(dx) = dx.as_deref_mut() {
                        let back = &mut back[..count * windows.len];
                        matmul(
                            MatMut::from_row_major_slice_mut(back, count, windows.len),
                            Accum::Replace,
                            g,
                            w.transpose(),
                            1.0,
                            Par::Seq,
                        );
                        let at = i * block * windows.input;
                        windows.gather(back, &mut dx[at..at + x.len()]);
                    }
                }
                sum
            };
            let parts = x.par_chunks(part * windows.input).zip(g.par_chunks(part * size));
            let sums: Vec<Vec<f32>> = if self.first {
                parts.map(|(x, g)| one(x, g, None)).collect()
            } else {
                let parts = parts.zip(of_maps.par_chunks_mut(part * windows.input));
                parts.map(|((x, g), dx)| one(x, g, Some(dx))).collect()
            };
            let mut all = vec![0f32; windows.len * outputs];
            sums.iter().for_each(|s| all.iter_mut().zip(s).for_each(|(a, s)| *a += s));
            Ok(all)
        };
        let sum = on_floats(maps, |x| {
            on_floats(weights, |w| on_floats(&gradient.contiguous()?, |g| of_weights(x, w, g)))
        })?;
        let of_maps = match self.first {
            true => None,
            false => Some(Tensor::from_vec(of_maps, maps.shape(), maps.device())?),
        };
        Ok((of_maps, Some(Tensor::from_vec(sum, weights.shape(), weights.device())?)))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use fhe_nn::Shape;
    use fhe_nn::geometry::Window;
    use rand::prelude::*;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const IMAGES: usize = 11;

    fn integers(shape: (usize, usize), random: &mut ChaCha8Rng) -> Var {
        let x: Vec<f32> =
            (0..shape.0 * shape.1).map(|_| random.random_range(-8..=8) as f32).collect();
        Var::from_tensor(&Tensor::from_vec(x, shape, &Device::Cpu).unwrap()).unwrap()
    }

    fn dot(a: &Tensor, b: &Tensor) -> f32 {
        (a * b).unwrap().sum_all().unwrap().to_scalar().unwrap()
    }

    fn geometry() -> PublicGeometry {
        let input = Shape { channels: 3, height: 7, width: 6 };
        let filter = Window { kernel: 4, stride: 2, padding: 1 };
        PublicGeometry::new("conv", input, 5, filter).unwrap()
    }

    #[test]
    fn sums_are_those_of_the_windows() {
        let geometry = geometry();
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let x = integers((IMAGES, geometry.input().len()), &mut random);
        let w = integers((geometry.weights(), 5), &mut random);
        let op = Convolution { windows: Arc::new(Windows::new(&geometry)), first: false };
        let got = x.apply_op2(&w, op).unwrap().to_vec2::<f32>().unwrap();
        let (x, w) = (x.to_vec2::<f32>().unwrap(), w.to_vec2::<f32>().unwrap());
        // `places` go channel by channel, rows of the weights pixel by pixel.
        let (area, channels) = (geometry.weights() / 3, 3);
        let places = geometry.places(1);
        for (i, got) in got.iter().enumerate() {
            let (image, places) = (&x[i / places.len()], &places[i % places.len()]);
            for (o, got) in got.iter().enumerate() {
                let one = |(j, place): (usize, &Option<usize>)| {
                    let row = j % area * channels + j / area;
                    place.map_or(0.0, |place| image[place] * w[row][o])
                };
                assert_eq!(*got, places.iter().enumerate().map(one).sum::<f32>(), "{i} {o}");
            }
        }
    }

    /// The convolution is linear in both arguments, so its gradient along any change is its value
    /// there; in small integers, exactly.
    #[test]
    fn gradients_are_those_of_a_bilinear_map() {
        let geometry = geometry();
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let convolve = |x: &Tensor, w: &Tensor| {
            let windows = Arc::new(Windows::new(&geometry));
            x.apply_op2(w, Convolution { windows, first: false }).unwrap()
        };
        let (x, w) = ((IMAGES, geometry.input().len()), (geometry.weights(), 5));
        let [(x, dx), (w, dw)] =
            [x, w].map(|shape| (integers(shape, &mut random), integers(shape, &mut random)));
        let out = convolve(&x, &w);
        let g = integers(out.dims2().unwrap(), &mut random);
        let gradients = (&out * g.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
        assert_eq!(dot(gradients.get(&x).unwrap(), &dx), dot(&g, &convolve(&dx, &w)));
        assert_eq!(dot(gradients.get(&w).unwrap(), &dw), dot(&g, &convolve(&x, &dw)));
    }
}
