//! Memory that is used again.
//!
//! A polynomial of 35 limbs has 18 MB. Getting so much from the operating system, and giving it
//! back, takes as long as the arithmetic on it. Limbs wait one by one, so that what a polynomial
//! leaves serves one of any other size.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

use crate::engine::cpu::huge_pages::Pages;

/// Limbs that wait for their next use.
#[derive(Clone)]
pub(super) struct Pool {
    /// Numbers of a limb.
    size: usize,
    free: Arc<Mutex<Vec<Pages<u64>>>>,
}

/// The residues modulo one prime; its memory goes back to the pool.
pub(super) struct Limb {
    pages: Pages<u64>,
    pool: Pool,
}

impl Pool {
    /// Of limbs of so many numbers.
    pub(super) fn new(size: usize) -> Self {
        Self { size, free: Arc::default() }
    }

    /// Returns the number of limbs that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.free.lock().unwrap().len()
    }

    /// Returns so many limbs, with any numbers in them.
    pub(super) fn take(&self, limbs: usize) -> Vec<Limb> {
        let mut waiting = match self.free.lock() {
            Ok(mut free) => {
                let rest = free.len().saturating_sub(limbs);
                free.split_off(rest)
            }
            Err(_) => Vec::new(),
        };
        // New ones all at a time: neighbours share large pages.
        waiting.resize_with(limbs, || Pages::zeros(self.size));
        let limb = |pages| Limb { pages, pool: self.clone() };
        waiting.into_iter().map(limb).collect()
    }

    /// Returns one limb, with any numbers in it.
    pub(super) fn limb(&self) -> Limb {
        let waiting = self.free.lock().ok().and_then(|mut free| free.pop());
        let pages = waiting.unwrap_or_else(|| Pages::zeros(self.size));
        Limb { pages, pool: self.clone() }
    }
}

impl Drop for Limb {
    fn drop(&mut self) {
        if let Ok(mut free) = self.pool.free.lock() {
            free.push(std::mem::replace(&mut self.pages, Vec::new().into()));
        }
    }
}

impl Deref for Limb {
    type Target = [u64];
    fn deref(&self) -> &[u64] {
        &self.pages
    }
}

impl DerefMut for Limb {
    fn deref_mut(&mut self) -> &mut [u64] {
        &mut self.pages
    }
}
