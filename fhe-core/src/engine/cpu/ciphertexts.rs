//! Lists of ciphertexts, as the engine on ciphertexts holds them.

use std::marker::PhantomData;

use tfhe::core_crypto::fft_impl::fft64::c64;

use super::huge_pages::Pages;
use crate::engine::List;
use crate::params::Gadget;
use crate::{Error, Result};

/// A kind of ciphertext. There are two, [`Lwe`] and [`Glwe`].
pub trait Kind: Send + Sync {
    /// Returns the number of torus elements of a ciphertext at row size `n`.
    fn elements(n: usize) -> usize;
}

/// A single value: N mask elements and a body (learning with errors, LWE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lwe {}

/// A row: a mask and a body of N coefficients each (LWE over polynomials, GLWE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glwe {}

impl Kind for Lwe {
    fn elements(n: usize) -> usize {
        n + 1
    }
}

impl Kind for Glwe {
    fn elements(n: usize) -> usize {
        2 * n
    }
}

/// A list of ciphertexts of one kind and size, one after another, each its mask and then its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ciphertexts<K> {
    /// The row size N, at least 1.
    pub(super) n: usize,
    pub(super) data: Pages<u64>,
    kind: PhantomData<K>,
}

/// A list of single values.
pub type Values = Ciphertexts<Lwe>;

/// A list of rows.
pub type Rows = Ciphertexts<Glwe>;

impl<K: Kind> Ciphertexts<K> {
    /// Returns ciphertexts of zero without noise.
    pub(crate) fn new(n: usize, count: usize) -> Self {
        Self { n, data: Pages::zeros(K::elements(n) * count), kind: PhantomData }
    }

    /// Takes ciphertexts of row size `n` as they lie in memory; `None` if the elements do not fill
    /// the last one, or `n` is 0.
    #[must_use]
    pub fn from_elements(n: usize, data: Vec<u64>) -> Option<Self> {
        let whole = n > 0 && data.len().is_multiple_of(K::elements(n));
        whole.then(|| Self { n, data: data.into(), kind: PhantomData })
    }

    /// Reads what [`Ciphertexts::to_le_bytes`] wrote; `None` if the bytes do not fill the last
    /// ciphertext, or `n` is 0.
    ///
    /// ```
    /// use fhe_core::engine::cpu::Values;
    /// let x = Values::from_elements(2, vec![1, 2, 3, 4, 5, 6]).unwrap();
    /// let bytes = x.to_le_bytes();
    /// assert_eq!((x.len(), bytes.len(), bytes[8]), (2, 48, 2));
    /// assert_eq!(Values::from_le_bytes(2, &bytes), Some(x));
    /// assert_eq!(Values::from_le_bytes(2, &bytes[1..]), None);
    /// ```
    #[must_use]
    pub fn from_le_bytes(n: usize, bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let data = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        rest.is_empty().then(|| Self::from_elements(n, data)).flatten()
    }

    /// Returns how many bytes `len` rows of size `n` take; none if no number can say it.
    #[must_use]
    pub fn bytes(n: usize, len: usize) -> Option<u64> {
        let words = 2u64.checked_mul(n as u64)?.checked_mul(len as u64)?;
        words.checked_mul(8)
    }

    /// Joins lists of row size `n`.
    ///
    /// # Errors
    /// [`Error::Shape`] if a list has another row size, or `n` is 0.
    pub fn concat(n: usize, lists: &[&Self]) -> Result<Self> {
        let (op, what, expected) = ("concat", "coefficients (N)", n);
        let other = lists.iter().map(|x| x.n).find(|&got| got != n);
        let got = other.or((n == 0).then_some(0));
        match got {
            Some(got) => Err(Error::Shape { op, what, got, expected: expected.max(1) }),
            None => {
                let mut data = Pages::zeros(lists.iter().map(|x| x.data.len()).sum());
                let mut rest = &mut data[..];
                for x in lists {
                    let (out, others) = rest.split_at_mut(x.data.len());
                    out.copy_from_slice(&x.data);
                    rest = others;
                }
                Ok(Self { n, data, kind: PhantomData })
            }
        }
    }

    /// Returns the ciphertexts as they lie in memory.
    #[must_use]
    pub fn elements(&self) -> &[u64] {
        &self.data
    }

    /// Returns the elements as 64-bit words, the least significant byte first.
    #[must_use]
    pub fn to_le_bytes(&self) -> Vec<u8> {
        self.data.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    /// Returns the number of ciphertexts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.data.len() / K::elements(self.n)
    }

    /// Returns whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Returns the ciphertexts, each as its mask followed by its body.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u64]> {
        self.data.chunks_exact(K::elements(self.n))
    }
}

impl Values {
    /// Returns the number of mask elements of each value.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.n
    }
}

impl Rows {
    /// Returns the number of coefficients of a row.
    #[must_use]
    pub fn size(&self) -> usize {
        self.n
    }

    /// Takes whole rows.
    pub(crate) fn of(n: usize, data: Vec<u64>) -> Self {
        Self { n, data: data.into(), kind: PhantomData }
    }
}

impl<K: Kind> List for Ciphertexts<K> {
    fn len(&self) -> usize {
        self.len()
    }
}

/// A list of GGSW ciphertexts in the Fourier domain.
pub struct Selectors {
    pub(super) gadget: Gadget,
    /// Whether the rows of -S m are times 1 - X: see [`super::product`].
    pub(super) divided: bool,
    pub(super) data: Pages<c64>,
    /// Complex numbers of one selector.
    pub(super) stride: usize,
}

impl Selectors {
    /// Selectors that multiply whole masks: those that the client encrypts.
    pub(super) fn new(gadget: Gadget, points: usize, count: usize) -> Self {
        let stride = 4 * gadget.levels as usize * points;
        let data = Pages::zeros(stride * count);
        Self { gadget, divided: false, data, stride }
    }

    /// Selectors that multiply divided masks: those that are made of encrypted values.
    pub(super) fn divided(gadget: Gadget, points: usize, count: usize) -> Self {
        Self { divided: true, ..Self::new(gadget, points, count) }
    }

    /// Returns the row size N.
    pub(super) fn size(&self) -> usize {
        self.stride / (2 * self.gadget.levels as usize)
    }
}

impl List for Selectors {
    fn len(&self) -> usize {
        self.data.len() / self.stride
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_one_size_are_joined_and_others_refused() {
        let row = |n: u64| Rows::from_elements(n as usize, (0..2 * n).collect()).unwrap();
        let joined = Rows::concat(4, &[&row(4), &row(4)]).unwrap();
        assert_eq!((joined.len(), joined.elements()[8]), (2, 0));
        let text = |x: Result<Rows>| x.unwrap_err().to_string();
        let refused = text(Rows::concat(4, &[&row(4), &row(2)]));
        assert_eq!(refused, "concat: got 2 coefficients (N), expected 4");
        assert_eq!(text(Rows::concat(0, &[])), "concat: got 0 coefficients (N), expected 1");
        let values = Values::from_elements(4, vec![0; 10]).unwrap();
        assert!(Values::concat(3, &[&values]).is_err());
        assert_eq!(Values::concat(3, &[]).unwrap().len(), 0);
    }

    #[test]
    fn lists_that_are_not_whole_are_none() {
        assert_eq!(Values::from_elements(4, vec![0; 9]), None);
        assert_eq!(Rows::from_elements(4, vec![0; 12]), None);
        // A size of 0 would make every length a whole one.
        assert_eq!(Values::from_elements(0, vec![0; 9]), None);
        assert_eq!(Rows::from_elements(0, Vec::new()), None);
        assert_eq!(Rows::from_le_bytes(1, &[0; 12]), None);
    }
}
