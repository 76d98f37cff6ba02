//! The ring of integer polynomials modulo X^N' + 1 and a product of primes, in residues (RNS).
//!
//! Primes are in a chain q_0, q_1, ..., of which a ciphertext has the first few, and a special part
//! P that only key switching uses. Polynomials are held by their values at the roots of X^N' + 1.

use num_complex::Complex64;
use rayon::prelude::*;

use super::lanes;
use super::pool::{Limb, Pool};
use super::prime::Prime;

/// Sizes of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dimensions {
    /// N'.
    pub(super) size: usize,
    /// Primes of the chain.
    pub(super) chain: usize,
    /// Special primes.
    pub(super) special: usize,
}

/// The ring with its primes.
pub(super) struct Ring {
    /// N'.
    pub(super) size: usize,
    /// The chain, and then the special primes.
    pub(super) primes: Vec<Prime>,
    /// Primes of the chain.
    pub(super) chain: usize,
    pool: Pool,
}

/// Residues modulo the first primes of the chain, and perhaps the special ones.
pub(super) struct Polynomial {
    limbs: Vec<Limb>,
    /// Primes of the chain.
    pub(super) count: usize,
}

impl Polynomial {
    pub(super) fn limb(&self, i: usize) -> &[u64] {
        &self.limbs[i]
    }

    pub(super) fn limbs_mut(&mut self) -> rayon::slice::IterMut<'_, Limb> {
        self.limbs.par_iter_mut()
    }
}

/// What is left of a list of residues, ready to be taken to other primes.
struct Residues {
    /// Which primes.
    primes: Vec<usize>,
    /// `x_i (D / d_i)^-1` modulo each, coefficient by coefficient.
    scaled: Vec<Limb>,
    /// How many D the sum of `scaled_i D / d_i` is too large, for a result nearest to 0.
    turns: Limb,
}

impl Ring {
    /// Returns the ring of `chain` and `special` primes, each given by its number of bits; `None`
    /// if there are not so many.
    pub(super) fn new(size: usize, chain: &[u32], special: &[u32]) -> Option<Self> {
        let mut primes: Vec<Prime> = Vec::new();
        for &bits in chain.iter().chain(special) {
            let below = primes.iter().map(|p| p.q).filter(|q| q >> (bits - 1) == 1).min();
            primes.push(Prime::largest(size, bits, below)?);
        }
        Some(Self { size, primes, chain: chain.len(), pool: Pool::new(size) })
    }

    /// Returns a polynomial with any numbers in it.
    pub(super) fn any(&self, count: usize, special: bool) -> Polynomial {
        let limbs = count + if special { self.special() } else { 0 };
        Polynomial { limbs: self.pool.take(limbs), count }
    }

    pub(super) fn zero(&self, count: usize, special: bool) -> Polynomial {
        let mut out = self.any(count, special);
        out.limbs_mut().for_each(|limb| limb.fill(0));
        out
    }

    pub(super) fn dimensions(&self) -> Dimensions {
        Dimensions { size: self.size, chain: self.chain, special: self.special() }
    }

    /// Number of special primes.
    pub(super) fn special(&self) -> usize {
        self.primes.len() - self.chain
    }

    /// Which prime limb `i` of a polynomial is of.
    pub(super) fn prime_of(&self, x: &Polynomial, i: usize) -> usize {
        if i < x.count { i } else { self.chain + i - x.count }
    }

    /// The residues of a polynomial modulo a prime.
    pub(super) fn residues<'a>(&self, x: &'a Polynomial, prime: usize) -> &'a [u64] {
        x.limb(if prime < self.chain { prime } else { x.count + prime - self.chain })
    }

    /// Makes each limb of a new polynomial; `make` gets the number of the limb's prime.
    pub(super) fn each(
        &self,
        count: usize,
        special: bool,
        make: impl Fn(usize, &mut [u64]) + Sync,
    ) -> Polynomial {
        let mut out = self.any(count, special);
        let chain = self.chain;
        out.limbs_mut().enumerate().for_each(|(i, limb)| {
            make(if i < count { i } else { chain + i - count }, limb);
        });
        out
    }

    /// Makes each limb of two polynomials.
    pub(super) fn each_pair(
        &self,
        count: usize,
        special: bool,
        make: impl Fn(usize, [&mut [u64]; 2]) + Sync,
    ) -> [Polynomial; 2] {
        let (mut x, mut y) = (self.any(count, special), self.any(count, special));
        let chain = self.chain;
        x.limbs_mut().zip(y.limbs_mut()).enumerate().for_each(|(i, (x, y))| {
            make(if i < count { i } else { chain + i - count }, [x, y]);
        });
        [x, y]
    }

    /// From integer coefficients of up to 127 bits.
    pub(super) fn polynomial(&self, x: &[i128], count: usize, special: bool) -> Polynomial {
        self.each(count, special, |p, limb| {
            let prime = &self.primes[p];
            for (out, &x) in limb.iter_mut().zip(x) {
                *out = prime.residue(x);
            }
            prime.forward(limb);
        })
    }

    /// The coefficients modulo a prime.
    pub(super) fn coefficients(&self, x: &Polynomial, prime: usize) -> Vec<u64> {
        let modulus = &self.primes[prime];
        let mut values = self.residues(x, prime).to_vec();
        modulus.backward_scaled(&mut values);
        let scale = modulus.inverse(self.size as u64);
        values.iter_mut().for_each(|x| *x = modulus.multiply(*x, scale));
        values
    }

    /// Prepares the residues modulo some primes of a polynomial to be taken to others.
    fn lift(&self, x: &Polynomial, primes: Vec<usize>) -> Residues {
        let mut scaled = self.pool.take(primes.len());
        scaled.par_iter_mut().zip(&primes).for_each(|(out, &p)| {
            let prime = &self.primes[p];
            let mut values = self.limb();
            values.copy_from_slice(self.residues(x, p));
            prime.backward_scaled(&mut values);
            let others = primes.iter().filter(|&&o| o != p);
            let product = others.fold(self.size as u64, |product, &o| {
                prime.multiply(product, self.primes[o].q % prime.q)
            });
            lanes::weighted(out, false, &[&values], &[prime.inverse(product)], prime.reduction);
        });
        let mut turns = self.limb();
        const CHUNK: usize = 4096;
        turns.par_chunks_mut(CHUNK).enumerate().for_each(|(c, turns)| {
            let mut sums = [0.5f64; CHUNK];
            for (limb, &p) in scaled.iter().zip(&primes) {
                let inverse = 1.0 / self.primes[p].q as f64;
                let limb = &limb[c * CHUNK..];
                for (sum, &x) in sums.iter_mut().zip(limb) {
                    *sum += x as i64 as f64 * inverse;
                }
            }
            for (out, sum) in turns.iter_mut().zip(sums) {
                *out = sum as i64 as u64;
            }
        });
        Residues { primes, scaled, turns }
    }

    /// Writes `factor(p) x` modulo each prime p of a polynomial that has a factor, x being the
    /// integer nearest to 0 with the given residues. `rest` is told each prime and its limb: what
    /// was written, by its values, or what stood there before.
    ///
    /// All limbs take a few coefficients of x while these are in a near cache.
    fn lower(
        &self,
        x: &Residues,
        out: &mut Polynomial,
        factor: impl Fn(usize) -> Option<u64> + Sync,
        rest: impl Fn(usize, bool, &mut [u64]) + Sync,
    ) {
        const CHUNK: usize = 4096;
        let primes: Vec<usize> = (0..out.limbs.len()).map(|i| self.prime_of(out, i)).collect();
        let weights: Vec<Option<Vec<u64>>> =
            primes.iter().map(|&p| factor(p).map(|factor| self.weights(x, p, factor))).collect();
        let mut chunks: Vec<_> = out.limbs.iter_mut().map(|limb| limb.chunks_mut(CHUNK)).collect();
        let of_chunk = |_| chunks.iter_mut().filter_map(Iterator::next).collect();
        let chunks: Vec<Vec<&mut [u64]>> = (0..self.size.div_ceil(CHUNK)).map(of_chunk).collect();
        chunks.into_par_iter().enumerate().for_each(|(c, chunks)| {
            let of_chunk = c * CHUNK..self.size.min((c + 1) * CHUNK);
            let scaled = x.scaled.iter().chain([&x.turns]);
            let terms: Vec<&[u64]> = scaled.map(|limb| &limb[of_chunk.clone()]).collect();
            for ((out, weights), &p) in chunks.into_iter().zip(&weights).zip(&primes) {
                if let Some(weights) = weights {
                    lanes::weighted(out, false, &terms, weights, self.primes[p].reduction);
                }
            }
        });
        let limbs = out.limbs_mut().zip(&weights).zip(&primes);
        limbs.for_each(|((limb, weights), &p)| {
            if weights.is_some() {
                self.primes[p].forward(limb);
            }
            rest(p, weights.is_some(), limb);
        });
    }

    /// The weights with which `factor x` modulo a prime is the sum of the scaled residues and of
    /// the turns.
    fn weights(&self, x: &Residues, prime: usize, factor: u64) -> Vec<u64> {
        let modulus = &self.primes[prime];
        let times = |left_out: usize| {
            let others = x.primes.iter().filter(|&&o| o != left_out);
            others
                .fold(factor, |product, &o| modulus.multiply(product, self.primes[o].q % modulus.q))
        };
        let mut weights: Vec<u64> = x.primes.iter().map(|&p| times(p)).collect();
        weights.push(modulus.negate(times(usize::MAX)));
        weights
    }

    /// Cuts a polynomial modulo the chain into digits, as many primes each as there are special
    /// ones, and takes each digit to all primes: digit d is x modulo its primes, nearest to 0.
    /// (Hybrid key switching: Han, Ki, eprint 2019/688, with the exact base conversion of Halevi,
    /// Polyakov, Shoup, eprint 2018/117.)
    pub(super) fn digits(&self, x: &Polynomial) -> Vec<Polynomial> {
        let all: Vec<usize> = (0..x.count).collect();
        let digit = |primes: &[usize]| {
            let lifted = self.lift(x, primes.to_vec());
            let mut out = self.any(x.count, true);
            let factor = |p: usize| (!primes.contains(&p)).then_some(1);
            self.lower(&lifted, &mut out, factor, |p, written, out| {
                if !written {
                    out.copy_from_slice(self.residues(x, p));
                }
            });
            out
        };
        all.chunks(self.special()).map(digit).collect()
    }

    /// Divides by the primes beyond the first `count` of the chain, the special ones too if they
    /// are there, and rounds to the nearest.
    pub(super) fn divide(&self, x: &Polynomial, count: usize) -> Polynomial {
        let divisors: Vec<usize> =
            (0..x.limbs.len()).map(|i| self.prime_of(x, i)).filter(|&p| p >= count).collect();
        let inverse = |p: usize| {
            let prime = &self.primes[p];
            let divisor = divisors
                .iter()
                .fold(1, |product, &d| prime.multiply(product, self.primes[d].q % prime.q));
            prime.inverse(divisor)
        };
        let inverses: Vec<u64> = (0..count).map(inverse).collect();
        let lifted = self.lift(x, divisors.clone());
        let mut out = self.any(count, false);
        let factor = |p: usize| Some(self.primes[p].negate(inverses[p]));
        self.lower(&lifted, &mut out, factor, |p, _, out| {
            let by = self.primes[p].reduction;
            lanes::weighted(out, true, &[self.residues(x, p)], &[inverses[p]], by);
        });
        out
    }

    /// `x += y`.
    pub(super) fn add(&self, x: &mut Polynomial, y: &Polynomial) {
        x.limbs_mut().enumerate().for_each(|(p, x)| {
            lanes::weighted(x, true, &[y.limb(p)], &[1], self.primes[p].reduction);
        });
    }

    /// `x + k y`, for polynomials of the chain and k = i or -i.
    pub(super) fn plus(&self, x: &Polynomial, y: &Polynomial, k: Complex64) -> Polynomial {
        let half = self.size / 2;
        self.each(x.count, false, |p, out| {
            let prime = &self.primes[p];
            let i = if k.im > 0.0 { prime.i } else { prime.negate(prime.i) };
            out.copy_from_slice(x.limb(p));
            for (side, out) in out.chunks_exact_mut(half).enumerate() {
                let k = if side == 0 { i } else { prime.negate(i) };
                let y = &y.limb(p)[side * half..][..half];
                lanes::weighted(out, true, &[y], &[k], prime.reduction);
            }
        })
    }

    /// Limbs of all buffers that wait for their next use.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.pool.waiting()
    }

    /// Returns a limb with any numbers in it.
    pub(super) fn limb(&self) -> Limb {
        self.pool.limb()
    }

    /// P times a polynomial of the chain, with the special primes, modulo which it is 0.
    pub(super) fn times_special(&self, x: &Polynomial) -> Polynomial {
        self.each(x.count, true, |p, out| {
            if p < self.chain {
                let product = self.special_product(p);
                lanes::weighted(out, false, &[x.limb(p)], &[product], self.primes[p].reduction);
            } else {
                out.fill(0);
            }
        })
    }

    /// Adds P times a polynomial of the chain.
    pub(super) fn add_times_special(&self, out: &mut Polynomial, x: &Polynomial) {
        out.limbs_mut().take(x.count).enumerate().for_each(|(p, out)| {
            let product = self.special_product(p);
            lanes::weighted(out, true, &[x.limb(p)], &[product], self.primes[p].reduction);
        });
    }

    /// The product of the special primes, modulo another.
    pub(super) fn special_product(&self, prime: usize) -> u64 {
        let modulus = &self.primes[prime];
        let special = self.primes[self.chain..].iter();
        special.fold(1, |product, p| modulus.multiply(product, p.q % modulus.q))
    }
}
