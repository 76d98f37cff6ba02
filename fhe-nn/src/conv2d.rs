//! A convolution with secret weights, on samples that lie side by side.

use fhe_core::{Engine, List, Slot, Term};

use crate::geometry::Geometry;
use crate::{Error, Result};

/// A convolution with secret weights and public biases; a dense layer is one on maps of one
/// position.
///
/// `z(o, oy, ox) = b(o) + sum_{c, dy, dx} w(o, c, dy, dx) a(c, s oy + dy, s ox + dx)`, a being zero
/// in the padding. Each a is a selector, and each z a row, of one number of each sample; weights
/// are in rows of N.
///
/// # Shapes
/// Inputs: a selector for each channel, row and column, in this order. Pre-activations and errors:
/// a row for each output, row and column.
///
/// # Examples
/// ```
/// use fhe_core::{Clear, Engine, Params, from_torus, to_torus};
/// use fhe_nn::geometry::Window;
/// use fhe_nn::{Conv2d, Geometry, Shape};
///
/// # fn main() -> fhe_nn::Result<()> {
/// let params = Params::secure128_deep_v4()?;
/// let engine = Clear::exact(&params);
/// let input = Shape { channels: 1, height: 2, width: 2 };
/// // One filter of 2x2, weights 1/64, 2/64, 3/64, 4/64 and no bias.
/// let window = Window { kernel: 2, stride: 1, padding: 0 };
/// let geometry = Geometry::new("conv", params.row_size, input, 1, window)?;
/// let weights: Vec<u64> = (1..=4).map(|w| to_torus(f64::from(w) / 64.0)).collect();
/// let layer = Conv2d::new(&engine, geometry, &weights, vec![0])?;
/// // Two samples: 1, 0, -1, 2 and 3, 0, 0, 0.
/// let polynomial = |x: [i32; 2]| {
///     let mut polynomial = x.to_vec();
///     polynomial.resize(params.row_size, 0);
///     polynomial
/// };
/// let x = engine.selectors([[1, 3], [0, 0], [-1, 0], [2, 0]].map(polynomial).to_vec());
/// let z = engine.extract(&layer.forward(&engine, &x, 0)?, &[(0, 0), (0, 1)])?;
/// assert_eq!(from_torus(z[0]), (1.0 - 3.0 + 8.0) / 64.0);
/// assert_eq!(from_torus(z[1]), 3.0 / 64.0);
/// # Ok(())
/// # }
/// ```
pub struct Conv2d<E: Engine> {
    geometry: Geometry,
    /// Those of each block of outputs.
    weights: E::Rows,
    /// Of each output, a torus element.
    bias: Vec<u64>,
}

impl<E: Engine> std::fmt::Debug for Conv2d<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conv2d").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}

impl<E: Engine> Conv2d<E> {
    /// A layer with public weights, torus elements in the order output, channel, row, column of the
    /// window.
    ///
    /// # Errors
    /// [`Error::Count`] if their number is another, or the geometry is for polynomials of another
    /// size.
    pub fn new(engine: &E, geometry: Geometry, weights: &[u64], bias: Vec<u64>) -> Result<Self> {
        let n = engine.params().row_size;
        expect("coefficients of a polynomial", geometry.row_size(), n)?;
        expect("weights", weights.len(), geometry.weights())?;
        let mut rows = vec![0; n * geometry.rows()];
        for ((row, coefficient), &w) in geometry.weights_at().zip(weights) {
            rows[row * n + coefficient] = w;
        }
        Self::from_rows(geometry, engine.public_rows(&rows)?, bias)
    }

    /// A layer with the rows that another one had.
    ///
    /// # Errors
    /// [`Error::Count`] if their number, or that of the biases, is another.
    pub fn from_rows(geometry: Geometry, weights: E::Rows, bias: Vec<u64>) -> Result<Self> {
        expect("rows of weights", weights.len(), geometry.rows())?;
        expect("biases", bias.len(), geometry.output.channels)?;
        Ok(Self { geometry, weights, bias })
    }

    /// Returns the geometry.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Returns the weights, in the rows of [`Geometry::weights_at`].
    #[must_use]
    pub fn weights(&self) -> &E::Rows {
        &self.weights
    }

    /// Returns the biases.
    #[must_use]
    pub fn bias(&self) -> &[u64] {
        &self.bias
    }

    /// Adds to the weights what lies in rows as they do.
    ///
    /// # Errors
    /// [`fhe_core::Error::Shape`] if there is another number of rows.
    pub fn add_to_weights(&mut self, engine: &E, by: &E::Rows, k: i64) -> Result<()> {
        Ok(engine.add_scaled_rows(&mut self.weights, by, k)?)
    }

    /// Returns the weights of a block of outputs, a constant row each.
    fn expanded(&self, engine: &E, block: usize) -> Result<E::Rows> {
        let (g, rows) = (&self.geometry, self.geometry.rows_of_block());
        let picks: Vec<usize> = (block * rows..(block + 1) * rows).collect();
        let weights = engine.gather_rows(&self.weights, &picks)?;
        // All N, as nothing is known of coefficients that hold no weight.
        Ok(engine.expand(&weights, g.row_size())?)
    }

    /// Returns the pre-activations. The layer's inputs are the selectors from `first` on.
    ///
    /// # Cost
    /// No lookup; an expanded row a weight, and a product a weight and position.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are fewer selectors.
    pub fn forward(&self, engine: &E, x: &E::Selectors, first: usize) -> Result<E::Rows> {
        let (g, windows) = (&self.geometry, self.geometry.windows());
        let of_block = |block: usize| {
            let outputs = 0..g.outputs_of(block).len();
            let outputs = outputs.flat_map(|o| windows.iter().map(move |window| (o, window)));
            let term = |o: usize, &(j, input): &(usize, usize)| Term {
                selector: first + input,
                row: o * g.window() + j,
            };
            let terms: Vec<Vec<Term>> =
                outputs.map(|(o, window)| window.iter().map(|w| term(o, w)).collect()).collect();
            Ok(engine.products(x, &self.expanded(engine, block)?, &terms)?)
        };
        let blocks = (0..g.blocks()).map(of_block).collect::<Result<Vec<_>>>()?;
        let mut z = engine.join_rows(&blocks.iter().collect::<Vec<_>>())?;
        drop(blocks);
        if self.bias.iter().any(|&b| b != 0) {
            let (n, area) = (g.row_size(), g.output.area());
            let phases = self.bias.iter().flat_map(|&b| std::iter::repeat_n(b, area * n));
            let bias = engine.public_rows(&phases.collect::<Vec<_>>())?;
            engine.add_scaled_rows(&mut z, &bias, 1)?;
        }
        Ok(z)
    }

    /// Returns `dL/da`, a row for each input, from the errors as selectors. With `cells` of 1 there
    /// is an error for each output. With more, filter o is that of cell p = o mod `cells`: its
    /// errors are those of filter o / `cells`, p lanes on.
    ///
    /// # Cost
    /// No lookup; an expanded row a weight, and a product a weight and position.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are fewer errors.
    pub fn input_gradient(
        &self,
        engine: &E,
        errors: &E::Selectors,
        cells: usize,
    ) -> Result<E::Rows> {
        let (g, windows) = (&self.geometry, self.geometry.windows());
        let (cells, all) = (cells.max(1), (0..errors.len()).collect::<Vec<_>>());
        let mut sum = engine.zero_rows(g.input.len());
        for block in 0..g.blocks() {
            let weights = self.expanded(engine, block)?;
            let mut moved = engine.gather_selectors(errors, &all)?;
            for cell in 0..cells {
                if cell > 0 {
                    engine.rotate_selectors(&mut moved, 1)?;
                }
                let (mut rows, mut terms) = (Vec::new(), vec![Vec::new(); g.input.len()]);
                for (i, o) in g.outputs_of(block).enumerate().filter(|(_, o)| o % cells == cell) {
                    for (p, window) in windows.iter().enumerate() {
                        let selector = o / cells * windows.len() + p;
                        for &(j, input) in window {
                            terms[input].push(Term { selector, row: rows.len() + j });
                        }
                    }
                    rows.extend(i * g.window()..(i + 1) * g.window());
                }
                let back =
                    engine.products(&moved, &engine.gather_rows(&weights, &rows)?, &terms)?;
                engine.add_scaled_rows(&mut sum, &back, 1)?;
            }
        }
        Ok(sum)
    }

    /// Returns `dL/dw`, summed over all lanes, in rows as the weights are. The layer's inputs are
    /// the selectors from `first` on, and the errors are reflected ([`Engine::reflect`]).
    ///
    /// # Cost
    /// No lookup; a product a weight and position, and a packed list a row.
    ///
    /// # Errors
    /// [`fhe_core::Error::Index`] if there are fewer inputs or errors.
    pub fn weight_gradient(
        &self,
        engine: &E,
        (x, first): (&E::Selectors, usize),
        reflected: &E::Rows,
    ) -> Result<E::Rows> {
        let (g, windows) = (&self.geometry, self.geometry.windows());
        let (n, area) = (g.row_size(), g.output.area());
        let of_block = |block: usize| {
            let outputs = g.outputs_of(block);
            let rows: Vec<usize> = (outputs.start * area..outputs.end * area).collect();
            let errors = engine.gather_rows(reflected, &rows)?;
            let mut terms = vec![Vec::new(); outputs.len() * g.window()];
            for row in 0..outputs.len() * area {
                for &(j, input) in &windows[row % area] {
                    let term = Term { selector: first + input, row };
                    terms[row / area * g.window() + j].push(term);
                }
            }
            let values = engine.dot_products(x, &errors, &terms)?;
            let slot = |value| Slot { value, coefficient: value % n };
            let list = |row: usize| (row * n..terms.len().min((row + 1) * n)).map(slot).collect();
            let lists: Vec<Vec<Slot>> = (0..g.rows_of_block()).map(list).collect();
            Ok(engine.pack(&values, &lists)?)
        };
        let blocks = (0..g.blocks()).map(of_block).collect::<Result<Vec<_>>>()?;
        Ok(engine.join_rows(&blocks.iter().collect::<Vec<_>>())?)
    }
}

/// Checks a number; a convolution does not know its layer's name.
fn expect(what: &'static str, got: usize, expected: usize) -> Result<()> {
    let layer = || "convolution".into();
    if got == expected { Ok(()) } else { Err(Error::Count { layer: layer(), what, got, expected }) }
}
