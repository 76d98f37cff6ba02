//! Dense linear algebra on column-major slices, with results that no thread count changes.
//!
//! Every call into `faer` is sequential; the parallel loops are ours, over blocks of fixed size.

use faer::diag::DiagMut;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj,
};
use faer::linalg::matmul::matmul;
use faer::linalg::qr::no_pivoting::factor::{
    qr_in_place, qr_in_place_scratch, recommended_block_size,
};
use faer::reborrow::{Reborrow, ReborrowMut};
use faer::traits::ComplexField;
use faer::{Accum, Conj, Mat, MatMut, MatRef, Par, Spec};
use rayon::prelude::*;

use crate::{Error, Result};

/// Columns that one task works on.
const BLOCK_COLUMNS: usize = 128;

/// Views `values` as a matrix of `rows` rows, column by column.
pub(super) fn columns(values: &[f32], rows: usize) -> MatRef<'_, f32> {
    MatRef::from_column_major_slice(values, rows, values.len() / rows)
}

/// Writes `left * right` over `out`; all are column-major.
pub(super) fn product_into(out: &mut [f32], left: MatRef<'_, f32>, right: MatRef<'_, f32>) {
    let out = MatMut::from_column_major_slice_mut(out, left.nrows(), right.ncols());
    matmul(out, Accum::Replace, left, right, 1.0, Par::Seq);
}

/// Returns `left * right`, its columns in parallel.
pub(super) fn product(left: MatRef<'_, f32>, right: MatRef<'_, f32>) -> Vec<f32> {
    let rows = left.nrows();
    let mut out = vec![0.0; rows * right.ncols()];
    out.par_chunks_mut(rows * BLOCK_COLUMNS).enumerate().for_each(|(block, out)| {
        let width = out.len() / rows;
        product_into(out, left, right.subcols(block * BLOCK_COLUMNS, width));
    });
    out
}

/// Adds `x * x'` to the lower triangle of `sum`, where `x` has `size` rows.
///
/// Parts of the upper triangle next to the diagonal are written as well.
pub(super) fn add_outer(sum: &mut [f32], x: &[f32], size: usize) {
    let x = columns(x, size);
    sum.par_chunks_mut(size * BLOCK_COLUMNS).enumerate().for_each(|(block, sum)| {
        let (first, width) = (block * BLOCK_COLUMNS, sum.len() / size);
        let out = MatMut::from_column_major_slice_mut(sum, size, width);
        let out = out.subrows_mut(first, size - first);
        let below = x.subrows(first, size - first);
        matmul(out, Accum::Add, below, x.subrows(first, width).transpose(), 1.0, Par::Seq);
    });
}

/// Returns the eigenvalues, descending, and eigenvectors in the same order, column-major.
///
/// # Errors
/// [`Error::Eigen`] if the iteration does not converge.
pub(super) fn eigen<T: ComplexField + Copy + Default>(
    op: &'static str,
    matrix: MatRef<'_, T>,
) -> Result<(Vec<T>, Vec<T>)> {
    let size = matrix.nrows();
    let mut values = vec![T::default(); size];
    let mut vectors = vec![T::default(); size * size];
    let scratch =
        self_adjoint_evd_scratch::<T>(size, ComputeEigenvectors::Yes, Par::Seq, Spec::default());
    let mut memory = MemBuffer::new(scratch);
    self_adjoint_evd(
        matrix,
        DiagMut::from_slice_mut(&mut values),
        Some(MatMut::from_column_major_slice_mut(&mut vectors, size, size)),
        Par::Seq,
        MemStack::new(&mut memory),
        Spec::default(),
    )
    .map_err(|_| Error::Eigen { op, size })?;
    values.reverse();
    let vectors = vectors.chunks_exact(size).rev().flatten().copied().collect();
    Ok((values, vectors))
}

/// Replaces the columns of `values` by an orthonormal basis of their span (Householder QR).
pub(super) fn orthonormalise(values: &mut [f32], rows: usize) {
    let width = values.len() / rows;
    let block = recommended_block_size::<f32>(rows, width);
    let mut factors = Mat::<f32>::zeros(block, width);
    let scratch = qr_in_place_scratch::<f32>(rows, width, block, Par::Seq, Spec::default());
    let mut basis = MatMut::from_column_major_slice_mut(&mut *values, rows, width);
    let mut memory = MemBuffer::new(scratch);
    qr_in_place(
        basis.rb_mut(),
        factors.as_mut(),
        Par::Seq,
        MemStack::new(&mut memory),
        Spec::default(),
    );
    let mut q = Mat::<f32>::identity(rows, width);
    let scratch =
        apply_block_householder_sequence_on_the_left_in_place_scratch::<f32>(rows, block, width);
    let mut memory = MemBuffer::new(scratch);
    apply_block_householder_sequence_on_the_left_in_place_with_conj(
        basis.rb(),
        factors.as_ref(),
        Conj::No,
        q.as_mut(),
        Par::Seq,
        MemStack::new(&mut memory),
    );
    basis.copy_from(&q);
}
